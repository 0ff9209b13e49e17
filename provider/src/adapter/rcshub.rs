//! RCS: accepted in small batches, reported by callback with the hub's id and ours.
//!
//! Ids are `RCS-` and a hexadecimal number; case, the prefix and leading zeros mean nothing.

use std::collections::HashMap;

use async_trait::async_trait;
use pabal_common::clock::Timestamp;
use pabal_common::crypto::CallbackKey;
use pabal_common::domain::id::MessageId;
use pabal_common::domain::message::Button;
use pabal_common::domain::reason::Reason;
use pabal_common::domain::report::{Report, VendorAccount, VendorMessageId};
use reqwest::header::AUTHORIZATION;
use serde::{Deserialize, Serialize};

use super::code::{Codes, Meaning};
use super::exchange::Exchange;
use super::reading::{Answers, Base, WireId, occurred_at, short_code};
use super::{Account, BuildError, signature};
use crate::provider::{
    Answer, Call, CallbackError, Capabilities, Outcome, Outgoing, ProbeError, Provider, ReportPath,
};

/// What the hub's codes mean: 0000 accepts, 1000 reports, 88xx both.
pub(super) const CODES: Codes = Codes(&[
    ("0000", Meaning::Taken),
    ("1000", Meaning::Delivered),
    ("8800", Meaning::Definitive(Reason::ContentRejected)),
    ("8801", Meaning::Definitive(Reason::InvalidRecipient)),
    ("8802", Meaning::Definitive(Reason::RecipientBlocked)),
    ("8803", Meaning::Definitive(Reason::Spam)),
    ("8804", Meaning::Definitive(Reason::ProviderError)),
    ("8805", Meaning::Definitive(Reason::SenderRejected)),
    ("8810", Meaning::Throttled),
    ("8811", Meaning::Definitive(Reason::QuotaExceeded)),
    // It has a message with this id already, so it was taken.
    ("8814", Meaning::Taken),
    ("8836", Meaning::Definitive(Reason::NotCapable)),
    ("8837", Meaning::Definitive(Reason::RecipientUnavailable)),
    ("8869", Meaning::Definitive(Reason::ContentRejected)),
    ("8876", Meaning::Definitive(Reason::ContentRejected)),
    ("8877", Meaning::Definitive(Reason::ContentRejected)),
    ("8886", Meaning::Taken),
    ("8890", Meaning::Definitive(Reason::ContentRejected)),
    ("8899", Meaning::Ambiguous),
]);
const DEFINITIVE: [(&str, Reason); CODES.count_definitive()] = CODES.definitive();

const BATCH: usize = 20;
const ACCEPTED: &str = "0000";

#[derive(Serialize)]
struct Submit<'a> {
    messages: Vec<Message<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Message<'a> {
    message_id: MessageId,
    to: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    brand_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chatbot_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    messagebase_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
    description: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    buttons: &'a [Button],
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Submitted {
    accepted: Vec<Accepted>,
    rejected: Vec<Rejected>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Accepted {
    message_id: MessageId,
    rcs_id: Option<WireId>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rejected {
    message_id: MessageId,
    code: String,
}

#[derive(Deserialize)]
struct Callback {
    reports: Vec<Reported>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reported {
    rcs_id: Option<WireId>,
    message_id: Option<String>,
    code: String,
    at: Option<i64>,
}

/// One account at the RCS hub.
pub(super) struct RcsHub {
    account: VendorAccount,
    capabilities: Capabilities,
    exchange: Exchange,
    callbacks: CallbackKey,
}

impl RcsHub {
    /// The adapter.
    pub(super) fn new(account: Account) -> Result<Self, BuildError> {
        account.no_settings()?;
        Ok(Self {
            exchange: Exchange::new(&account, AUTHORIZATION, "Bearer ")?,
            callbacks: signature::key(&account)?,
            account: account.account,
            capabilities: Capabilities {
                batch: BATCH,
                duplicate_window: None,
                can_be_asked: false,
                answers_finally: false,
                reports: ReportPath::Callback,
                definitive: &DEFINITIVE,
            },
        })
    }
}

#[async_trait]
impl Provider for RcsHub {
    fn account(&self) -> &VendorAccount {
        &self.account
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn submit(&self, call: &Call) -> Outcome {
        let body = Submit {
            messages: call.messages.iter().map(message).collect(),
        };
        self.exchange
            .submit("/rcs/v1/messages", &body, CODES, |answer| {
                let ids: Vec<_> = call.messages.iter().map(|message| message.id).collect();
                read_answer(answer, &ids)
            })
            .await
    }

    async fn probe(&self) -> Result<(), ProbeError> {
        self.exchange.probe("/rcs/v1/health").await
    }

    fn read_callback(
        &self,
        header: &(dyn Fn(&str) -> Option<String> + Sync),
        body: &[u8],
        now: Timestamp,
    ) -> Result<Vec<Report>, CallbackError> {
        signature::check(&self.callbacks, header, body, now)?;
        read_reports(&self.account, body, now)
    }
}

fn message(outgoing: &Outgoing) -> Message<'_> {
    let content = &outgoing.content;
    Message {
        message_id: outgoing.id,
        to: &content.to,
        brand_id: content.channel.brand_id.as_deref(),
        chatbot_id: content.channel.chatbot_id.as_deref(),
        messagebase_id: content.channel.messagebase_id.as_deref(),
        title: content.subject.as_deref(),
        description: &content.text,
        buttons: &content.buttons,
    }
}

fn vendor_id(id: &WireId) -> Option<VendorMessageId> {
    id.normal("RCS-", Base::Hexadecimal)
}

fn read_answer(body: &[u8], messages: &[MessageId]) -> Option<Vec<Answer>> {
    let answer: Submitted = serde_json::from_slice(body).ok()?;
    let places: HashMap<_, _> = messages.iter().zip(0..).collect();
    let mut answers = Answers::of(messages.len());
    for entry in answer.accepted {
        let answer = match &entry.rcs_id {
            Some(id) => match vendor_id(id) {
                Some(id) => CODES.answer(ACCEPTED, Some(id)),
                None => Answer::Unknown {
                    code: "BAD_ID".to_owned(),
                },
            },
            None => CODES.answer(ACCEPTED, None),
        };
        answers.put(*places.get(&entry.message_id)?, answer)?;
    }
    for entry in answer.rejected {
        let answer = CODES.answer(&entry.code, None);
        answers.put(*places.get(&entry.message_id)?, answer)?;
    }
    answers.complete()
}

fn read_reports(
    account: &VendorAccount,
    body: &[u8],
    now: Timestamp,
) -> Result<Vec<Report>, CallbackError> {
    let callback: Callback = serde_json::from_slice(body)
        .map_err(|error| CallbackError::Unreadable(error.to_string()))?;
    let reports = callback.reports.iter().filter_map(|reported| {
        let vendor_id = reported.rcs_id.as_ref().and_then(vendor_id);
        let message = reported.message_id.as_deref();
        let message = message.and_then(|id| id.parse().ok());
        // Without any id there is no message it could belong to.
        (vendor_id.is_some() || message.is_some()).then(|| Report {
            account: account.clone(),
            vendor_id,
            message,
            submission: None,
            verdict: CODES.verdict(&reported.code),
            vendor_code: Some(short_code(&reported.code)),
            occurred_at: occurred_at(reported.at, now),
        })
    });
    Ok(reports.collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const IDS: [MessageId; 2] = [MessageId::from_number(1), MessageId::from_number(2)];

    #[test]
    fn answers_are_placed_by_our_id_and_a_missing_one_is_unknown() {
        let body = format!(
            r#"{{"accepted":[{{"messageId":"{}"}}],"rejected":[]}}"#,
            IDS[1]
        );
        let answers = read_answer(body.as_bytes(), &IDS).unwrap();
        assert!(matches!(&answers[0], Answer::Unknown { .. }));
        assert_eq!(answers[1], Answer::Taken { vendor_id: None });
    }

    #[test]
    fn an_answer_that_contradicts_itself_or_speaks_of_others_is_none() {
        let both = format!(
            r#"{{"accepted":[{{"messageId":"{0}"}}],"rejected":[{{"messageId":"{0}","code":"8801"}}]}}"#,
            IDS[0]
        );
        let other = r#"{"accepted":[{"messageId":"0000000000009"}],"rejected":[]}"#;
        for body in [
            &both,
            other,
            r#"{"accepted":[],"rejected":[]}"#,
            "{}",
            "null",
        ] {
            assert_eq!(read_answer(body.as_bytes(), &IDS), None, "{body}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_readers_panic(body: Vec<u8>) {
            let answers = read_answer(&body, &IDS);
            prop_assert!(answers.is_none_or(|answers| answers.len() == IDS.len()));
            let account = VendorAccount::new("rcshub", "main");
            let _ = read_reports(&account, &body, Timestamp::default());
        }

        #[test]
        fn a_report_of_the_right_shape_never_panics(id in "\\PC{0,150}", ours in "\\PC{0,20}", code in "\\PC{0,90}", at: i64) {
            let report = serde_json::json!({"rcsId": id, "messageId": ours, "code": code, "at": at});
            let body = serde_json::json!({ "reports": [report] }).to_string();
            let account = VendorAccount::new("rcshub", "main");
            let reports = read_reports(&account, body.as_bytes(), Timestamp::default()).unwrap();
            prop_assert!(reports.iter().all(|report| report.vendor_code.as_ref().unwrap().len() <= 64));
        }
    }
}
