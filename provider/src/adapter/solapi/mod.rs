//! Solapi (CoolSMS), message API v4: SMS, LMS, Alimtalk, Brand Message, RCS and Naver notifications.
//! A call is accepted message by message, reported by callback with our ids, and can be asked for.
//!
//! The vendor offers no key by which it would recognise a call sent again, so none ever is.

mod answer;
mod button;
mod codes;
mod list;
mod message;
mod report;
mod settings;
mod signing;
mod stored;

use std::sync::Arc;

use async_trait::async_trait;
use pabal_common::clock::{Clock, SystemClock, Timestamp};
use pabal_common::crypto::random_token;
use pabal_common::domain::report::{Report, VendorAccount};
use reqwest::header::{AUTHORIZATION, HeaderMap};

pub(super) use codes::CODES;

use super::exchange::{Exchange, Request};
use super::{Account, BuildError};
use crate::provider::{
    Answer, AskError, Asked, Call, CallbackError, Capabilities, Found, Outcome, ProbeError,
    Provider, ReportPath,
};
use message::{Submit, message};
use report::Proof;
use settings::Settings;
use signing::Signer;

/// The vendor takes 10,000 a call. With a hundred, a lost answer leaves a hundred messages unknown,
/// and the answer stays far below what is read of one.
const BATCH: usize = 100;
const PATH: &str = "/messages/v4/send-many/detail";

/// One Solapi account.
pub(super) struct Solapi {
    account: VendorAccount,
    capabilities: Capabilities,
    exchange: Exchange,
    signer: Signer,
    settings: Settings,
    callbacks: Proof,
    clock: Arc<dyn Clock>,
}

impl Solapi {
    /// The adapter.
    pub(super) fn new(account: Account) -> Result<Self, BuildError> {
        let settings = Settings::of(&account)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        Ok(Self {
            exchange: Exchange::bearing(&account, HeaderMap::new())?,
            signer: Signer::new(
                settings.key_id.clone(),
                &account.api_key,
                Arc::clone(&clock),
                random_token,
            ),
            callbacks: Proof::of(&account)?,
            settings,
            clock,
            account: account.account,
            capabilities: Capabilities {
                batch: BATCH,
                duplicate_window: None,
                can_be_asked: true,
                answers_finally: false,
                reports: ReportPath::Callback,
                definitive: &codes::DEFINITIVE,
            },
        })
    }

    fn signed<'a>(&self, request: Request<'a>) -> Request<'a> {
        request.header(AUTHORIZATION, self.signer.authorization())
    }
}

#[async_trait]
impl Provider for Solapi {
    fn account(&self) -> &VendorAccount {
        &self.account
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn submit(&self, call: &Call) -> Outcome {
        let (mut messages, mut sent, mut refused) = (Vec::new(), Vec::new(), Vec::new());
        for (place, outgoing) in call.messages.iter().enumerate() {
            match message(outgoing, call.submission, &self.settings) {
                Ok(message) => {
                    messages.push(message);
                    sent.push(outgoing.id);
                }
                Err(code) => refused.push((place, CODES.answer(code, None))),
            }
        }
        if messages.is_empty() {
            return merged(Vec::new(), refused);
        }
        let request = match Request::json(PATH, &Submit::of(messages)) {
            Ok(request) => self.signed(request),
            Err(nothing_left) => return nothing_left,
        };
        let read = |body: &[u8]| answer::read_answer(body, &sent);
        let outcome = self.exchange.call(request, read, answer::read_error).await;
        match outcome {
            Ok(answers) => merged(answers, refused),
            // What was never sent is not unknown.
            Err(Outcome::Unknown(how)) if !refused.is_empty() => {
                let lost = Answer::Unknown {
                    code: how.to_string(),
                };
                merged(vec![lost; sent.len()], refused)
            }
            // Nothing was taken: who comes again is refused then.
            Err(outcome) => outcome,
        }
    }

    async fn ask(&self, asked: &[Asked]) -> Result<Vec<Found>, AskError> {
        self.look_up(asked).await.map_err(AskError)
    }

    async fn probe(&self) -> Result<(), ProbeError> {
        self.look().await.map_err(ProbeError)
    }

    fn read_callback(
        &self,
        header: &(dyn Fn(&str) -> Option<String> + Sync),
        body: &[u8],
        now: Timestamp,
    ) -> Result<Vec<Report>, CallbackError> {
        self.callbacks.check(header)?;
        report::read_reports(&self.account, body, now)
    }
}

/// The answers of a call: the vendor's, and at their places those of messages it never saw.
fn merged(mut answers: Vec<Answer>, refused: Vec<(usize, Answer)>) -> Outcome {
    // By growing place, so that each finds all before it.
    for (place, answer) in refused {
        answers.insert(place, answer);
    }
    Outcome::Answered(answers)
}
