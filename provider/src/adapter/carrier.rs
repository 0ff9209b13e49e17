//! SMS, LMS and MMS: accepted in batches, reported by callback under the carrier's id alone.
//!
//! Because a report bears nothing of ours, the report of a call whose answer was lost can never be
//! matched. Ids are 64-bit numbers, written as hexadecimal text or as a decimal JSON number.
//!
//! The protocol has no place for the pictures of an MMS: a message that has some is refused here, so that
//! nobody gets half of it.

use async_trait::async_trait;
use pabal_common::clock::Timestamp;
use pabal_common::crypto::CallbackKey;
use pabal_common::domain::id::MessageId;
use pabal_common::domain::kind::MessageType;
use pabal_common::domain::reason::Reason;
use pabal_common::domain::report::{Report, VendorAccount, VendorMessageId};
use reqwest::header::HeaderName;
use serde::{Deserialize, Serialize};

use super::code::{Codes, Meaning};
use super::exchange::Exchange;
use super::reading::{Answers, Base, WireId, occurred_at, short_code};
use super::{Account, BuildError, signature};
use crate::provider::{
    Answer, Call, CallbackError, Capabilities, Outcome, Outgoing, ProbeError, Provider, ReportPath,
};

/// What the carrier's codes mean: 1000 answers, 2000 reports, 4xxx both.
pub(super) const CODES: Codes = Codes(&[
    ("1000", Meaning::Taken),
    ("2000", Meaning::Delivered),
    ("4000", Meaning::Definitive(Reason::ContentRejected)),
    ("4001", Meaning::Definitive(Reason::ProviderError)),
    ("4002", Meaning::Definitive(Reason::ProviderError)),
    ("4003", Meaning::Definitive(Reason::QuotaExceeded)),
    ("4101", Meaning::Definitive(Reason::InvalidRecipient)),
    ("4102", Meaning::Definitive(Reason::RecipientUnavailable)),
    ("4103", Meaning::Definitive(Reason::RecipientBlocked)),
    ("4104", Meaning::Definitive(Reason::Spam)),
    ("4105", Meaning::Definitive(Reason::NotCapable)),
    ("4106", Meaning::Definitive(Reason::SenderRejected)),
    ("4107", Meaning::Definitive(Reason::ContentRejected)),
    ("4108", Meaning::Definitive(Reason::OptedOut)),
    ("4290", Meaning::Throttled),
    ("5000", Meaning::Ambiguous),
    ("5001", Meaning::Ambiguous),
    // Our own, of messages that are not sent.
    (PICTURES, Meaning::Definitive(Reason::ContentRejected)),
]);
/// The code of a message with pictures.
const PICTURES: &str = "PICTURES";
const DEFINITIVE: [(&str, Reason); CODES.count_definitive()] = CODES.definitive();

const BATCH: usize = 100;

#[derive(Serialize)]
struct Submit<'a> {
    messages: Vec<Message<'a>>,
}

#[derive(Serialize)]
struct Message<'a> {
    #[serde(rename = "ref")]
    reference: MessageId,
    #[serde(rename = "type")]
    kind: &'static str,
    to: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    text: &'a str,
}

#[derive(Deserialize)]
struct Submitted {
    results: Vec<Accepted>,
}

#[derive(Deserialize)]
struct Accepted {
    index: usize,
    code: String,
    id: Option<WireId>,
}

#[derive(Deserialize)]
struct Reported {
    id: WireId,
    code: String,
    at: Option<i64>,
}

/// One account at a carrier.
pub(super) struct Carrier {
    account: VendorAccount,
    capabilities: Capabilities,
    exchange: Exchange,
    callbacks: CallbackKey,
}

impl Carrier {
    /// The adapter.
    pub(super) fn new(account: Account) -> Result<Self, BuildError> {
        account.no_settings()?;
        Ok(Self {
            exchange: Exchange::new(&account, HeaderName::from_static("x-api-key"), "")?,
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
impl Provider for Carrier {
    fn account(&self) -> &VendorAccount {
        &self.account
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn submit(&self, call: &Call) -> Outcome {
        let has_no_pictures = |outgoing: &&Outgoing| outgoing.attachments.is_empty();
        let sent: Vec<_> = call.messages.iter().filter(has_no_pictures).collect();
        if sent.is_empty() {
            return Outcome::Answered(with_refused(call, Vec::new()));
        }
        let body = Submit {
            messages: sent.iter().copied().map(message).collect(),
        };
        self.exchange
            .submit("/v2/messages", &body, CODES, |answer| {
                let answers = read_answer(answer, sent.len())?;
                Some(with_refused(call, answers))
            })
            .await
    }

    async fn probe(&self) -> Result<(), ProbeError> {
        self.exchange.probe("/v2/health").await
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

/// The answers of those that were sent, with the refused among them in the call's order.
fn with_refused(call: &Call, sent: Vec<Answer>) -> Vec<Answer> {
    let mut sent = sent.into_iter();
    let answer = |outgoing: &Outgoing| match outgoing.attachments.is_empty() {
        true => sent.next(),
        false => Some(CODES.answer(PICTURES, None)),
    };
    call.messages.iter().filter_map(answer).collect()
}

fn message(outgoing: &Outgoing) -> Message<'_> {
    let content = &outgoing.content;
    Message {
        reference: outgoing.id,
        kind: match outgoing.kind {
            MessageType::Lms => "LMS",
            MessageType::Mms => "MMS",
            _ => "SMS",
        },
        to: &content.to,
        from: content.from.as_deref(),
        subject: content.subject.as_deref(),
        text: &content.text,
    }
}

fn vendor_id(id: &WireId) -> Option<VendorMessageId> {
    id.normal("", Base::Hexadecimal)
}

fn read_answer(body: &[u8], messages: usize) -> Option<Vec<Answer>> {
    let answer: Submitted = serde_json::from_slice(body).ok()?;
    let mut answers = Answers::of(messages);
    for entry in answer.results {
        let answer = match &entry.id {
            Some(id) => match vendor_id(id) {
                Some(id) => CODES.answer(&entry.code, Some(id)),
                None => Answer::Unknown {
                    code: "BAD_ID".to_owned(),
                },
            },
            None => CODES.answer(&entry.code, None),
        };
        answers.put(entry.index, answer)?;
    }
    answers.complete()
}

fn read_reports(
    account: &VendorAccount,
    body: &[u8],
    now: Timestamp,
) -> Result<Vec<Report>, CallbackError> {
    let reported: Vec<Reported> = serde_json::from_slice(body)
        .map_err(|error| CallbackError::Unreadable(error.to_string()))?;
    let reports = reported.iter().filter_map(|reported| {
        // Without an id there is no message it could belong to.
        Some(Report {
            account: account.clone(),
            vendor_id: Some(vendor_id(&reported.id)?),
            message: None,
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

    #[test]
    fn answers_are_placed_by_index_and_a_missing_one_is_unknown() {
        let body =
            br#"{"results":[{"index":2,"code":"1000","id":"00FF"},{"index":0,"code":"4101"}]}"#;
        let answers = read_answer(body, 3).unwrap();
        assert!(matches!(
            &answers[0],
            Answer::Refused {
                reason: Reason::InvalidRecipient,
                ..
            }
        ));
        assert!(matches!(&answers[1], Answer::Unknown { .. }));
        let id = VendorMessageId::new("ff");
        assert_eq!(answers[2], Answer::Taken { vendor_id: id });
    }

    #[test]
    fn an_answer_that_speaks_of_other_messages_is_none() {
        for body in [
            r#"{"results":[]}"#,
            r#"{"results":[{"index":1,"code":"1000"}]}"#,
            r#"{"results":[{"index":0,"code":"1000"},{"index":0,"code":"4101"}]}"#,
            r#"{"results":[{"index":-1,"code":"1000"}]}"#,
            "[]",
            "",
        ] {
            assert_eq!(read_answer(body.as_bytes(), 1), None, "{body}");
        }
    }

    #[test]
    fn an_accepted_message_with_an_id_that_cannot_be_kept_is_unknown() {
        let id = "z".repeat(200);
        let body = format!(r#"{{"results":[{{"index":0,"code":"1000","id":"{id}"}}]}}"#);
        let answers = read_answer(body.as_bytes(), 1).unwrap();
        assert!(matches!(&answers[0], Answer::Unknown { .. }));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_readers_panic(body: Vec<u8>, messages in 1_usize..5) {
            let answers = read_answer(&body, messages);
            prop_assert!(answers.is_none_or(|answers| answers.len() == messages));
            let account = VendorAccount::new("carrier", "main");
            let _ = read_reports(&account, &body, Timestamp::default());
        }

        #[test]
        fn an_answer_of_the_right_shape_has_one_entry_per_message(
            entries in proptest::collection::vec((0_usize..6, "[0-9]{0,5}", proptest::option::of("\\PC{0,150}")), 0..8),
        ) {
            let results: Vec<_> = entries
                .iter()
                .map(|(index, code, id)| serde_json::json!({"index": index, "code": code, "id": id}))
                .collect();
            let body = serde_json::json!({ "results": results }).to_string();
            let answers = read_answer(body.as_bytes(), 4);
            prop_assert!(answers.is_none_or(|answers| answers.len() == 4));
        }
    }
}
