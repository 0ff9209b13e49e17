//! NHN Cloud: SMS v3.0, or KakaoTalk Bizmessage (Alimtalk v2.3, Brand Message v1.0), as the
//! account's setting `product` says, `sms` or `kakao`.
//!
//! Every answer is HTTP 200 and tells in its header whether the call succeeded. A message is known
//! by request id and place in it, and by the recipient's grouping key, which here has to be an id
//! of ours. NHN takes up to 1,000 recipients of one text; this simulator takes one.
//!
//! The setting `clock_behind`, in seconds, makes its results older than they are: who polls reads
//! only what is old enough to be complete.

mod callback;
mod kakao;
mod kst;
mod results;
mod sms;
mod wire;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Response};
use axum::routing::{get, post};
use pabal_common::clock::Timestamp;
use pabal_common::domain::id::MessageId;

use super::{Fate, Member, Vendor, lock};
use crate::outcome::{Ending, Outcome};
pub(crate) use callback::CALLBACK;
use wire::failure;

const SECRET_KEY: &str = "x-secret-key";
const IDEMPOTENCY_KEY: &str = "x-nc-api-idempotency-key";
/// The most recipients NHN takes in a call.
const MOST_RECIPIENTS: usize = 1000;
/// How many messages' lists and how many keys are remembered.
const REMEMBERED: usize = 1_000_000;

/// The settings of a local account.
pub(crate) const SETTINGS: &[(&str, &str)] =
    &[("product", "sms"), ("app_key", "simulator-app-key")];

/// Which API an account serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Product {
    Sms,
    Kakao,
}

impl Product {
    fn of(vendor: &Vendor) -> Self {
        match setting(vendor, "product") {
            "kakao" => Self::Kakao,
            _ => Self::Sms,
        }
    }

    /// The word for wrong credentials. For a wrong secret key that of SMS is not documented.
    const fn stranger(self) -> i32 {
        match self {
            Self::Sms => -1000,
            Self::Kakao => -1001,
        }
    }

    /// The word for a message that is definitively refused: no such sender, no such template.
    const fn refusal(self) -> i32 {
        match self {
            Self::Sms => -2312,
            Self::Kakao => -3003,
        }
    }

    const fn code_of(self, ending: Ending) -> &'static str {
        match (self, ending) {
            (_, Ending::Delivered) => "1000",
            (Self::Sms, Ending::InvalidRecipient) => "3003",
            (Self::Sms, Ending::RecipientUnavailable) => "2003",
            (Self::Sms, Ending::RecipientBlocked) => "3006",
            (Self::Sms, Ending::Spam) => "3012",
            (Self::Kakao, Ending::InvalidRecipient) => "3008",
            (Self::Kakao, Ending::RecipientUnavailable) => "3018",
            (Self::Kakao, Ending::RecipientBlocked) => "3020",
            // Kakao filters by sanctions on the channel.
            (Self::Kakao, Ending::Spam) => "1027",
        }
    }
}

/// The list in which a message can be found afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum List {
    Sms,
    Mms,
    AuthSms,
    Alimtalk,
    AuthAlimtalk,
    Brand,
}

/// One recipient, as far as the simulator cares.
struct Recipient {
    message: MessageId,
    number: String,
}

/// What an account knows beyond what every vendor does.
struct Desk {
    vendor: Arc<Vendor>,
    product: Product,
    lists: Mutex<HashMap<MessageId, List>>,
    keys: Mutex<HashSet<String>>,
}

pub(crate) fn router(vendor: Arc<Vendor>) -> Router {
    let desk = Arc::new(Desk {
        product: Product::of(&vendor),
        vendor,
        lists: Mutex::default(),
        keys: Mutex::default(),
    });
    let router = match desk.product {
        Product::Sms => Router::new()
            .route(
                "/sms/v3.0/appKeys/{app}/sender/{*service}",
                post(send_sms).get(results::list),
            )
            .route(
                "/sms/v3.0/appKeys/{app}/message-results",
                get(results::poll),
            ),
        Product::Kakao => Router::new()
            .route(
                "/alimtalk/v2.3/appkeys/{app}/message-results",
                get(results::poll),
            )
            .route(
                "/alimtalk/v2.3/appkeys/{app}/message-results/count",
                get(results::count),
            )
            .route(
                "/alimtalk/v2.3/appkeys/{app}/{*service}",
                post(send_alimtalk).get(results::list),
            )
            .route(
                "/brand-message/v1.0/appkeys/{app}/{service}",
                post(send_brand).get(results::list_brand),
            ),
    };
    router.with_state(desk)
}

async fn send_sms(
    State(desk): State<Arc<Desk>>,
    Path((app, service)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let Some((list, rules)) = sms::service(&service) else {
        return failure(-9998);
    };
    let read = || sms::read(&body, rules);
    desk.send(&app, &headers, list, read).await
}

async fn send_alimtalk(
    State(desk): State<Arc<Desk>>,
    Path((app, service)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let Some((list, rules)) = kakao::alimtalk(&service) else {
        return failure(-9998);
    };
    let read = || kakao::read(&body, rules);
    desk.send(&app, &headers, list, read).await
}

async fn send_brand(
    State(desk): State<Arc<Desk>>,
    Path((app, service)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let Some((list, rules)) = kakao::brand(&service) else {
        return failure(-9998);
    };
    let read = || kakao::read(&body, rules);
    desk.send(&app, &headers, list, read).await
}

impl Desk {
    async fn send(
        &self,
        app: &str,
        headers: &HeaderMap,
        list: List,
        read: impl FnOnce() -> Result<Recipient, i32>,
    ) -> Response<Body> {
        if !self.is_ours(app, headers) {
            return failure(self.product.stranger());
        }
        let key = headers
            .get(IDEMPOTENCY_KEY)
            .filter(|_| self.product == Product::Kakao);
        let key = key.and_then(|key| key.to_str().ok()).map(str::to_owned);
        if key
            .as_ref()
            .is_some_and(|key| lock(&self.keys).contains(key))
        {
            return failure(-1005);
        }
        let recipient = match read() {
            Ok(recipient) => recipient,
            Err(code) => return failure(code),
        };
        let member = Member {
            message: recipient.message,
            outcome: Outcome::of_recipient(&recipient.number),
            immediate: false,
        };
        self.remember(recipient.message, list);
        let stranger = self.product.stranger();
        match self.vendor.receive(vec![member]).await {
            Ok(fates) => {
                if let ([Fate::Taken(_)], Some(key)) = (fates.as_slice(), key) {
                    self.remember_key(key);
                }
                wire::answer(self.product, &recipient, fates.first())
            }
            Err(fault) => fault.answer(|| failure(stranger)),
        }
    }

    fn is_ours(&self, app: &str, headers: &HeaderMap) -> bool {
        app == setting(&self.vendor, "app_key")
            && self.vendor.is_authorised(headers, SECRET_KEY, "")
    }

    fn remember(&self, message: MessageId, list: List) {
        let mut lists = lock(&self.lists);
        if lists.len() < REMEMBERED {
            lists.insert(message, list);
        }
    }

    fn remember_key(&self, key: String) {
        let mut keys = lock(&self.keys);
        if keys.len() < REMEMBERED {
            keys.insert(key);
        }
    }

    /// In which list a message stands; after a restart, in the usual one.
    fn list_of(&self, message: MessageId) -> List {
        let known = lock(&self.lists).get(&message).copied();
        known.unwrap_or(match self.product {
            Product::Sms => List::Sms,
            Product::Kakao => List::Alimtalk,
        })
    }

    /// A moment as this vendor's clock has it.
    fn told(&self, at: Timestamp) -> Timestamp {
        let behind = setting(&self.vendor, "clock_behind").parse().unwrap_or(0);
        at.minus(Duration::from_secs(behind))
    }
}

fn setting<'a>(vendor: &'a Vendor, name: &str) -> &'a str {
    let value = vendor.account.settings.get(name);
    value.map_or("", String::as_str)
}

/// The request id of the vendor's message `number`; every message has a request of its own.
fn request_id(number: u64) -> String {
    format!("NHN{number:022}")
}

/// As the adapter writes a message's key.
pub(crate) fn vendor_id(number: u64) -> String {
    format!("{}:1", request_id(number))
}
