//! Google RCS Business Messaging, REST version 1: one message a call, under an id of ours, to a
//! number in E.164; reported by events posted to a webhook.
//!
//! Before a message's first byte there may be a token to fetch and a question whether the recipient
//! can take RCS. Both have to be done within half of the connect time-out, connecting has the other
//! half, so that the first byte leaves as early as that of any other protocol; a failure of theirs
//! proves that nothing of the message left.

mod id;
mod message;
mod refusal;
#[cfg(test)]
mod tests;
mod token;
mod webhook;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pabal_common::clock::{SystemClock, Timestamp};
use pabal_common::domain::phone::Recipient;
use pabal_common::domain::report::{Report, VendorAccount};
use reqwest::header::{AUTHORIZATION, HeaderMap};
use serde::Deserialize;
use tokio::time::timeout;

use self::message::AgentMessage;
use self::refusal::{DEFINITIVE, NO_NUMBER, Refusal};
use self::token::{Token, Tokens};
use self::webhook::{ClientToken, read_event};
use super::exchange::{Exchange, Request, probed};
use super::{Account, BuildError};
use crate::provider::{
    Answer, Call, CallbackError, Capabilities, NotConnected, Outcome, Outgoing, ProbeError,
    Provider, ReportPath,
};

pub(super) use self::refusal::CODES;
#[cfg(test)]
pub(super) use self::webhook::EVENTS;

/// The number that a probe asks for: a country alone, so nobody's.
const NOBODY: &str = "+82";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// The agent's id.
    agent_id: String,
    /// The service account's address, `client_email` of its key file.
    client_email: String,
    /// Where tokens are granted, or a path at the base URL.
    #[serde(default = "google")]
    token_url: String,
    /// Whether each recipient is asked for before a message is sent.
    #[serde(default)]
    check_capability: bool,
}

fn google() -> String {
    "https://oauth2.googleapis.com/token".to_owned()
}

/// `AgentMessage` as it is answered.
#[derive(Deserialize)]
struct Created {
    name: String,
}

/// One agent.
pub(super) struct Rbm {
    account: VendorAccount,
    capabilities: Capabilities,
    exchange: Exchange,
    tokens: Tokens,
    callbacks: ClientToken,
    agent: String,
    check_capability: bool,
    /// For what comes before the message itself.
    before: Duration,
}

impl Rbm {
    /// The adapter.
    pub(super) fn new(account: Account) -> Result<Self, BuildError> {
        let settings: Settings = account.settings()?;
        let clock = Arc::new(SystemClock);
        let before = account.connect_timeout / 2;
        let api = Account {
            connect_timeout: account.connect_timeout - before,
            ..account.clone()
        };
        Ok(Self {
            tokens: Tokens::new(&account, settings.client_email, &settings.token_url, clock)?,
            exchange: Exchange::bearing(&api, HeaderMap::new())?,
            callbacks: ClientToken::new(account.callback_secret()?)?,
            account: account.account,
            agent: settings.agent_id,
            check_capability: settings.check_capability,
            before,
            capabilities: Capabilities {
                batch: 1,
                // A repeated id is ignored, but nothing says for how long ids are remembered.
                duplicate_window: None,
                can_be_asked: false,
                answers_finally: false,
                reports: ReportPath::Callback,
                definitive: &DEFINITIVE,
            },
        })
    }

    async fn send(&self, message: &Outgoing) -> Result<Vec<Answer>, Outcome> {
        let Ok(to) = message.content.to.parse::<Recipient>() else {
            return Ok(vec![CODES.answer(NO_NUMBER, None)]);
        };
        let to = to.e164();
        let token = timeout(self.before, self.prepare(&to))
            .await
            .unwrap_or(Err(Outcome::NotConnected(NotConnected::TimedOut)))?;
        let id = id::uuid(message.id);
        let path = format!("/v1/phones/{to}/agentMessages");
        let query = [("messageId", id.as_str()), ("agentId", &self.agent)];
        let request = Request::json(&path, &AgentMessage::of(&message.content))?.query(&query);
        let taken = || Answer::Taken {
            vendor_id: id::vendor_id(message.id),
        };
        let read = |body: &[u8]| is_ours(body, &id).then(|| vec![taken()]);
        let refused = |refusal: &Refusal| refusal.answer(id::vendor_id(message.id));
        self.call(&token, request, read, refused).await
    }

    /// What has to be known before the message: a token and, if it is wanted, that the recipient
    /// can take it.
    async fn prepare(&self, to: &str) -> Result<Token, Outcome> {
        let token = self.tokens.get().await?;
        if self.check_capability {
            match self.ask_capability(&token, to).await {
                // Whatever became of the question, the message has not been sent.
                Err(Outcome::Unknown(_) | Outcome::Answered(_)) => {
                    return Err(Outcome::Throttled { retry_after: None });
                }
                asked => asked?,
            }
        }
        Ok(token)
    }

    /// `phones.getCapabilities`: a refusal where the agent cannot reach the recipient.
    async fn ask_capability(&self, token: &Token, to: &str) -> Result<(), Outcome> {
        let path = format!("/v1/phones/{to}/capabilities");
        let query = [("agentId", self.agent.as_str())];
        let request = Request::get(&path).query(&query);
        let read = |body: &[u8]| {
            serde_json::from_slice(body)
                .ok()
                .map(|_: serde_json::Value| ())
        };
        self.call(token, request, read, |refusal| refusal.answer(None))
            .await
    }

    /// One call with `token`, which is given up if the platform refuses it.
    async fn call<T>(
        &self,
        token: &Token,
        request: Request<'_>,
        read: impl FnOnce(&[u8]) -> Option<T> + Send,
        refused: impl FnOnce(&Refusal) -> Answer + Send,
    ) -> Result<T, Outcome> {
        let mut blames_token = false;
        let refused = |body: &[u8]| {
            let refusal = Refusal::read(body)?;
            blames_token = refusal.blames_token();
            Some(refused(&refusal))
        };
        let request = request.header(AUTHORIZATION, token.header.clone());
        let called = self.exchange.call(request, read, refused).await;
        if blames_token {
            return Err(self.tokens.refused(token));
        }
        if called.is_ok() {
            self.tokens.believed();
        }
        called
    }
}

#[async_trait]
impl Provider for Rbm {
    fn account(&self) -> &VendorAccount {
        &self.account
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn submit(&self, call: &Call) -> Outcome {
        let [message] = call.messages.as_slice() else {
            // The protocol has no batch; nothing has been sent.
            tracing::error!(
                messages = call.messages.len(),
                "RBM takes one message a call"
            );
            return Outcome::NotConnected(NotConnected::Refused);
        };
        let answers = self.send(message).await;
        answers.map_or_else(|outcome| outcome, Outcome::Answered)
    }

    /// The API has no health address. Asking for a number that is nobody's needs a token, the
    /// agent's permission and the platform.
    async fn probe(&self) -> Result<(), ProbeError> {
        let asked = async {
            let token = timeout(self.before, self.tokens.get()).await;
            let token = token.unwrap_or(Err(Outcome::NotConnected(NotConnected::TimedOut)))?;
            self.ask_capability(&token, NOBODY).await
        };
        match asked.await {
            Ok(()) | Err(Outcome::Refused { .. }) => Ok(()),
            Err(outcome) => Err(probed(&outcome)),
        }
    }

    fn read_callback(
        &self,
        header: &(dyn Fn(&str) -> Option<String> + Sync),
        body: &[u8],
        now: Timestamp,
    ) -> Result<Vec<Report>, CallbackError> {
        let signature = header("x-goog-signature");
        let data = self.callbacks.open(signature.as_deref(), body)?;
        let report = read_event(&self.account, &data, now)?;
        Ok(report.into_iter().collect())
    }
}

/// Whether a success speaks of the message with this id.
fn is_ours(body: &[u8], id: &str) -> bool {
    serde_json::from_slice(body).is_ok_and(|Created { name }| name.rsplit('/').next() == Some(id))
}
