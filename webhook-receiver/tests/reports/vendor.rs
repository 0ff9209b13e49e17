//! Vendors: the real carrier adapter with callbacks signed by hand, and a scripted one.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use pabal_common::clock::Timestamp;
use pabal_common::crypto::CallbackKey;
use pabal_common::domain::report::{Report, VendorAccount, VendorMessageId, Verdict};
use pabal_provider::adapter::{self, Account};
use pabal_provider::{
    AskError, Asked, Call, CallbackError, Capabilities, Found, Outcome, PollError, Polled,
    ProbeError, Provider, ReportPath,
};
use secrecy::SecretString;

use crate::house::NOW;

const SECRET: &str = "a secret of this carrier";

/// A carrier account that calls back.
pub(crate) fn carrier(account: &str) -> Arc<dyn Provider> {
    let account = Account {
        account: VendorAccount::new("carrier", account),
        base_url: "http://127.0.0.1:1".to_owned(),
        api_key: SecretString::from("key"),
        callback_secret: Some(SecretString::from(SECRET)),
        settings: Default::default(),
        connect_timeout: Duration::from_secs(1),
        answer_timeout: Duration::from_secs(1),
    };
    adapter::build("carrier", account).unwrap()
}

/// A callback as the carrier signs it.
#[derive(Clone)]
pub(crate) struct Callback {
    pub(crate) seconds: i64,
    pub(crate) signature: String,
    pub(crate) body: Vec<u8>,
}

impl Callback {
    /// Delivery reports for these vendor ids, signed now.
    pub(crate) fn delivered(ids: &[&str]) -> Self {
        let entries = ids
            .iter()
            .map(|id| format!(r#"{{"id":"{id}","code":"2000"}}"#));
        let entries: Vec<_> = entries.collect();
        Self::signed(format!("[{}]", entries.join(",")), NOW)
    }

    pub(crate) fn signed(body: impl Into<Vec<u8>>, at: Timestamp) -> Self {
        let key: CallbackKey = SECRET.parse().unwrap();
        let (body, seconds) = (body.into(), at.unix_seconds());
        Self {
            seconds,
            signature: key.sign(seconds, &body),
            body,
        }
    }

    pub(crate) async fn post(&self, base: &str, path: &str) -> reqwest::Response {
        reqwest::Client::new()
            .post(format!("{base}{path}"))
            .header("x-vendor-timestamp", self.seconds)
            .header("x-vendor-signature", &self.signature)
            .body(self.body.clone())
            .send()
            .await
            .unwrap()
    }
}

/// How a scripted vendor takes a poll.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Temper {
    #[default]
    Answers,
    Fails,
    Panics,
    Hangs,
}

/// A polled vendor with a list of reports; its cursor is the place in the list. Or one that calls
/// back, believes everything, and whose callbacks are the vendor's id of one report.
pub(crate) struct Scripted {
    account: VendorAccount,
    capabilities: Capabilities,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    ids: Vec<String>,
    asked: Vec<Option<String>>,
    temper: Temper,
    callbacks: usize,
}

/// How many reports it tells at once.
const PAGE: usize = 2;

impl Scripted {
    pub(crate) fn new(account: &str) -> Arc<Self> {
        Self::with(account, ReportPath::Poll)
    }

    pub(crate) fn calling_back(account: &str) -> Arc<Self> {
        Self::with(account, ReportPath::Callback)
    }

    fn with(account: &str, reports: ReportPath) -> Arc<Self> {
        Arc::new(Self {
            account: VendorAccount::new("scripted", account),
            capabilities: Capabilities {
                batch: 1,
                duplicate_window: None,
                can_be_asked: false,
                answers_finally: false,
                reports,
                definitive: &[],
            },
            state: Mutex::default(),
        })
    }

    pub(crate) fn reports(&self, ids: &[&str]) {
        let ids = ids.iter().map(|id| (*id).to_owned());
        self.state.lock().unwrap().ids.extend(ids);
    }

    pub(crate) fn set(&self, temper: Temper) {
        self.state.lock().unwrap().temper = temper;
    }

    /// The cursors it was asked with, in order.
    pub(crate) fn asked(&self) -> Vec<Option<String>> {
        self.state.lock().unwrap().asked.clone()
    }

    /// How many callbacks it has read.
    pub(crate) fn callbacks(&self) -> usize {
        self.state.lock().unwrap().callbacks
    }

    pub(crate) fn polls(&self) -> usize {
        self.state.lock().unwrap().asked.len()
    }

    fn delivered(&self, id: &str) -> Report {
        Report {
            account: self.account.clone(),
            vendor_id: VendorMessageId::new(id),
            message: None,
            submission: None,
            verdict: Verdict::Delivered,
            vendor_code: None,
            occurred_at: NOW,
        }
    }
}

#[async_trait]
impl Provider for Scripted {
    fn account(&self) -> &VendorAccount {
        &self.account
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn submit(&self, _: &Call) -> Outcome {
        unreachable!("nothing is sent here")
    }

    async fn ask(&self, _: &[Asked]) -> Result<Vec<Found>, AskError> {
        unreachable!("nothing is asked here")
    }

    async fn probe(&self) -> Result<(), ProbeError> {
        unreachable!("nothing is probed here")
    }

    fn read_callback(
        &self,
        _: &(dyn Fn(&str) -> Option<String> + Sync),
        body: &[u8],
        _: Timestamp,
    ) -> Result<Vec<Report>, CallbackError> {
        if self.capabilities.reports != ReportPath::Callback {
            return Err(CallbackError::NotExpected);
        }
        self.state.lock().unwrap().callbacks += 1;
        Ok(vec![self.delivered(std::str::from_utf8(body).unwrap())])
    }

    async fn poll(&self, cursor: Option<&str>) -> Result<Polled, PollError> {
        let (temper, ids) = {
            let mut state = self.state.lock().unwrap();
            state.asked.push(cursor.map(str::to_owned));
            (state.temper, state.ids.clone())
        };
        match temper {
            Temper::Answers => {}
            Temper::Fails => return Err(PollError("out of order".to_owned())),
            Temper::Panics => panic!("a bug of the adapter"),
            Temper::Hangs => std::future::pending().await,
        }
        let from: usize = cursor.map_or(0, |cursor| cursor.parse().unwrap());
        let to = ids.len().min(from + PAGE);
        Ok(Polled {
            reports: ids[from..to].iter().map(|id| self.delivered(id)).collect(),
            cursor: (to > 0).then(|| to.to_string()),
            more: to < ids.len(),
        })
    }
}
