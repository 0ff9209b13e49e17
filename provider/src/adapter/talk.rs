//! Naver TalkTalk: one message a call, HTTP 200 even for a failure, no reports. Accepted is the
//! end of this channel, so a success is a delivery.

use async_trait::async_trait;
use pabal_common::domain::id::MessageId;
use pabal_common::domain::reason::Reason;
use pabal_common::domain::report::VendorAccount;
use reqwest::header::AUTHORIZATION;
use serde::{Deserialize, Serialize};

use super::code::{Codes, Meaning};
use super::exchange::Exchange;
use super::{Account, BuildError};
use crate::provider::{
    Answer, Call, Capabilities, NotConnected, Outcome, ProbeError, Provider, ReportPath,
};

/// What TalkTalk's result codes mean.
pub(super) const CODES: Codes = Codes(&[
    ("00", Meaning::Delivered),
    ("01", Meaning::Definitive(Reason::ProviderError)),
    ("02", Meaning::Definitive(Reason::ContentRejected)),
    ("31", Meaning::Definitive(Reason::InvalidRecipient)),
    ("32", Meaning::Definitive(Reason::RecipientUnavailable)),
    ("33", Meaning::Definitive(Reason::RecipientBlocked)),
    ("34", Meaning::Definitive(Reason::Spam)),
    ("35", Meaning::Definitive(Reason::ContentRejected)),
    ("99", Meaning::Ambiguous),
    ("IMG-01", Meaning::Definitive(Reason::ContentRejected)),
    ("IMG-02", Meaning::Definitive(Reason::ContentRejected)),
    ("IMG-03", Meaning::Definitive(Reason::ContentRejected)),
]);
const DEFINITIVE: [(&str, Reason); CODES.count_definitive()] = CODES.definitive();

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    event: &'static str,
    user: &'a str,
    text_content: TextContent<'a>,
    options: Options<'a>,
}

#[derive(Serialize)]
struct TextContent<'a> {
    text: &'a str,
}

#[derive(Serialize)]
struct Options<'a> {
    reference: MessageId,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EventResult {
    success: bool,
    result_code: String,
}

/// One TalkTalk channel.
pub(super) struct Talk {
    account: VendorAccount,
    capabilities: Capabilities,
    exchange: Exchange,
}

impl Talk {
    /// The adapter.
    pub(super) fn new(account: Account) -> Result<Self, BuildError> {
        account.no_settings()?;
        Ok(Self {
            exchange: Exchange::new(&account, AUTHORIZATION, "")?,
            account: account.account,
            capabilities: Capabilities {
                batch: 1,
                duplicate_window: None,
                can_be_asked: false,
                answers_finally: true,
                reports: ReportPath::None,
                definitive: &DEFINITIVE,
            },
        })
    }
}

#[async_trait]
impl Provider for Talk {
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
                "TalkTalk takes one message a call"
            );
            return Outcome::NotConnected(NotConnected::Refused);
        };
        let event = Event {
            event: "send",
            user: &message.content.to,
            text_content: TextContent {
                text: &message.content.text,
            },
            options: Options {
                reference: message.id,
                channel: message.content.channel.talk_id.as_deref(),
            },
        };
        self.exchange
            .submit("/chatbot/v1/event", &event, CODES, read_answer)
            .await
    }

    async fn probe(&self) -> Result<(), ProbeError> {
        self.exchange.probe("/chatbot/v1/health").await
    }
}

/// The flag and the code must agree; otherwise the answer proves nothing.
fn read_answer(body: &[u8]) -> Option<Vec<Answer>> {
    let result: EventResult = serde_json::from_slice(body).ok()?;
    let answer = CODES.answer(&result.result_code, None);
    let delivered = matches!(answer, Answer::Delivered { .. });
    (delivered == result.success).then(|| vec![answer])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_flag_that_contradicts_its_code_proves_nothing() {
        for body in [
            r#"{"success":false,"resultCode":"00"}"#,
            r#"{"success":true,"resultCode":"01"}"#,
            r#"{"success":true}"#,
        ] {
            assert_eq!(read_answer(body.as_bytes()), None, "{body}");
        }
    }

    #[test]
    fn code_99_is_not_a_refusal() {
        let answers = read_answer(br#"{"success":false,"resultCode":"99"}"#).unwrap();
        assert!(matches!(&answers[0], Answer::Unknown { code } if code == "99"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(body: Vec<u8>, success: bool, code in "\\PC{0,90}") {
            let _ = read_answer(&body);
            let body = serde_json::json!({"success": success, "resultCode": code}).to_string();
            let _ = read_answer(body.as_bytes());
        }
    }
}
