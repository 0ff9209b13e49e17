//! Kakao: Alimtalk is answered finally, Brand Message is accepted and its result polled. What
//! became of a message can be asked by our id.
//!
//! Ids are `KKO` and a decimal number; case, the prefix and leading zeros mean nothing.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use pabal_common::clock::{Clock as _, SystemClock, Timestamp};
use pabal_common::domain::id::MessageId;
use pabal_common::domain::kind::MessageType;
use pabal_common::domain::message::Button;
use pabal_common::domain::reason::Reason;
use pabal_common::domain::report::{Report, VendorAccount, VendorMessageId};
use reqwest::header::HeaderName;
use serde::{Deserialize, Serialize};

use super::code::{Codes, Meaning};
use super::exchange::Exchange;
use super::reading::{Answers, Base, WireId, occurred_at, short_code};
use super::{Account, BuildError};
use crate::provider::{
    Answer, AskError, Asked, Call, Capabilities, Found, Outcome, Outgoing, PollError, Polled,
    ProbeError, Provider, ReportPath,
};

/// What Kakao's result codes mean. 3005 is "sent, receipt not confirmed": it may still arrive
/// within three days, so it decides nothing.
pub(super) const CODES: Codes = Codes(&[
    ("0000", Meaning::Taken),
    ("1000", Meaning::Delivered),
    ("1001", Meaning::Definitive(Reason::ContentRejected)),
    ("1002", Meaning::Definitive(Reason::ProviderError)),
    ("1003", Meaning::Definitive(Reason::SenderRejected)),
    ("1006", Meaning::Definitive(Reason::SenderRejected)),
    ("1007", Meaning::Definitive(Reason::SenderRejected)),
    ("1011", Meaning::Definitive(Reason::ProviderError)),
    ("1020", Meaning::Definitive(Reason::InvalidRecipient)),
    ("1021", Meaning::Definitive(Reason::SenderRejected)),
    ("1022", Meaning::Definitive(Reason::SenderRejected)),
    ("1023", Meaning::Definitive(Reason::SenderRejected)),
    ("1024", Meaning::Definitive(Reason::SenderRejected)),
    ("1025", Meaning::Definitive(Reason::SenderRejected)),
    ("1027", Meaning::Definitive(Reason::SenderRejected)),
    ("1028", Meaning::Definitive(Reason::ContentRejected)),
    ("1030", Meaning::Definitive(Reason::ContentRejected)),
    ("3000", Meaning::Ambiguous),
    ("3005", Meaning::Taken),
    ("3006", Meaning::Ambiguous),
    ("3008", Meaning::Definitive(Reason::InvalidRecipient)),
    ("3012", Meaning::Ambiguous),
    ("3013", Meaning::Definitive(Reason::ContentRejected)),
    ("3014", Meaning::Definitive(Reason::ContentRejected)),
    ("3015", Meaning::Definitive(Reason::ContentRejected)),
    ("3016", Meaning::Definitive(Reason::ContentRejected)),
    ("3018", Meaning::Definitive(Reason::RecipientUnavailable)),
    ("3019", Meaning::Definitive(Reason::NotCapable)),
    ("3020", Meaning::Definitive(Reason::RecipientBlocked)),
    ("3021", Meaning::Definitive(Reason::NotCapable)),
    ("3022", Meaning::Definitive(Reason::OutOfHours)),
    ("3024", Meaning::Definitive(Reason::ContentRejected)),
    ("3025", Meaning::Definitive(Reason::ContentRejected)),
    ("3027", Meaning::Definitive(Reason::ContentRejected)),
    ("3028", Meaning::Definitive(Reason::ContentRejected)),
    ("3091", Meaning::Definitive(Reason::Spam)),
    ("4000", Meaning::Ambiguous),
    ("4001", Meaning::Ambiguous),
    // It has a request with this id already, so it was taken.
    ("4131", Meaning::Taken),
    ("4133", Meaning::Definitive(Reason::ContentRejected)),
    ("4134", Meaning::Definitive(Reason::ContentRejected)),
    ("4138", Meaning::Definitive(Reason::QuotaExceeded)),
    ("4144", Meaning::Definitive(Reason::ContentRejected)),
    ("4161", Meaning::Taken),
    ("4290", Meaning::Throttled),
    ("9998", Meaning::Ambiguous),
    ("9999", Meaning::Ambiguous),
]);
const DEFINITIVE: [(&str, Reason); CODES.count_definitive()] = CODES.definitive();

const BATCH: usize = 100;
/// The most messages asked for at once.
const ASK: usize = 100;
/// The most results fetched at once.
const PAGE: &str = "1000";

#[derive(Serialize)]
struct Submit<'a> {
    messages: Vec<Message<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Message<'a> {
    serial: MessageId,
    service: &'static str,
    to: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sender_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    template_code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    variables: Option<&'a BTreeMap<String, String>>,
    text: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    buttons: &'a [Button],
}

#[derive(Deserialize)]
struct Submitted {
    results: Vec<Answered>,
}

#[derive(Deserialize)]
struct Answered {
    serial: MessageId,
    code: String,
    id: Option<WireId>,
}

#[derive(Deserialize)]
struct Page {
    results: Vec<PolledResult>,
    next: String,
    #[serde(default)]
    more: bool,
}

#[derive(Deserialize)]
struct PolledResult {
    id: Option<WireId>,
    serial: Option<String>,
    code: String,
    at: Option<i64>,
}

#[derive(Deserialize)]
struct AskedPage {
    messages: Vec<AskedResult>,
}

#[derive(Deserialize)]
struct AskedResult {
    serial: MessageId,
    found: bool,
    id: Option<WireId>,
    code: Option<String>,
    at: Option<i64>,
}

/// One Kakao account.
pub(super) struct Kakao {
    account: VendorAccount,
    capabilities: Capabilities,
    exchange: Exchange,
}

impl Kakao {
    /// The adapter.
    pub(super) fn new(account: Account) -> Result<Self, BuildError> {
        account.no_settings()?;
        Ok(Self {
            exchange: Exchange::new(&account, HeaderName::from_static("x-kakao-key"), "")?,
            account: account.account,
            capabilities: Capabilities {
                batch: BATCH,
                duplicate_window: None,
                can_be_asked: true,
                answers_finally: true,
                reports: ReportPath::Poll,
                definitive: &DEFINITIVE,
            },
        })
    }
}

#[async_trait]
impl Provider for Kakao {
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
            .submit("/v3/messages", &body, CODES, |answer| {
                let ids: Vec<_> = call.messages.iter().map(|message| message.id).collect();
                read_answer(answer, &ids)
            })
            .await
    }

    async fn ask(&self, asked: &[Asked]) -> Result<Vec<Found>, AskError> {
        let mut found = Vec::with_capacity(asked.len());
        for asked in asked.chunks(ASK) {
            let serials: Vec<_> = asked.iter().map(|asked| asked.id.to_string()).collect();
            let body = self
                .exchange
                .get("/v3/messages", &[("serials", &serials.join(","))])
                .await
                .map_err(AskError)?;
            let page = read_found(&self.account, &body, asked, SystemClock.now());
            found.extend(page.ok_or_else(|| AskError("unreadable answer".to_owned()))?);
        }
        Ok(found)
    }

    async fn probe(&self) -> Result<(), ProbeError> {
        self.exchange.probe("/v3/health").await
    }

    async fn poll(&self, cursor: Option<&str>) -> Result<Polled, PollError> {
        let mut query = vec![("limit", PAGE)];
        query.extend(cursor.map(|cursor| ("after", cursor)));
        let page = self.exchange.get("/v3/results", &query).await;
        let page = page.map_err(PollError)?;
        read_page(&self.account, &page, SystemClock.now())
            .ok_or_else(|| PollError("unreadable answer".to_owned()))
    }
}

fn message(outgoing: &Outgoing) -> Message<'_> {
    let content = &outgoing.content;
    let template = content.template.as_ref();
    Message {
        serial: outgoing.id,
        service: match outgoing.kind {
            MessageType::KakaoBrandMessage => "BM",
            _ => "AT",
        },
        to: &content.to,
        sender_key: content.channel.sender_key.as_deref(),
        template_code: template.map(|template| template.code.as_str()),
        variables: template.map(|template| &template.variables),
        text: &content.text,
        buttons: &content.buttons,
    }
}

fn vendor_id(id: &WireId) -> Option<VendorMessageId> {
    id.normal("KKO", Base::Decimal)
}

fn read_answer(body: &[u8], messages: &[MessageId]) -> Option<Vec<Answer>> {
    let answer: Submitted = serde_json::from_slice(body).ok()?;
    let places: HashMap<_, _> = messages.iter().zip(0..).collect();
    let mut answers = Answers::of(messages.len());
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
        answers.put(*places.get(&entry.serial)?, answer)?;
    }
    answers.complete()
}

fn read_page(account: &VendorAccount, body: &[u8], now: Timestamp) -> Option<Polled> {
    let page: Page = serde_json::from_slice(body).ok()?;
    let reports = page.results.iter().filter_map(|result| {
        let vendor_id = result.id.as_ref().and_then(vendor_id);
        let message = result.serial.as_deref();
        let message = message.and_then(|id| id.parse().ok());
        // Without any id there is no message it could belong to.
        (vendor_id.is_some() || message.is_some()).then(|| Report {
            account: account.clone(),
            vendor_id,
            message,
            submission: None,
            verdict: CODES.verdict(&result.code),
            vendor_code: Some(short_code(&result.code)),
            occurred_at: occurred_at(result.at, now),
        })
    });
    Some(Polled {
        reports: reports.collect(),
        cursor: Some(page.next),
        more: page.more,
    })
}

/// `None` unless there is exactly one entry for every message asked for.
fn read_found(
    account: &VendorAccount,
    body: &[u8],
    asked: &[Asked],
    now: Timestamp,
) -> Option<Vec<Found>> {
    let page: AskedPage = serde_json::from_slice(body).ok()?;
    if page.messages.len() != asked.len() {
        return None;
    }
    let told: HashMap<_, _> = page
        .messages
        .iter()
        .map(|result| (result.serial, result))
        .collect();
    let found = asked.iter().map(|asked| {
        let told = told.get(&asked.id)?;
        if !told.found {
            return Some(Found::NotFound);
        }
        let code = told.code.as_deref()?;
        Some(Found::Known(Report {
            account: account.clone(),
            vendor_id: told.id.as_ref().and_then(vendor_id),
            message: Some(asked.id),
            submission: Some(asked.submission),
            verdict: CODES.verdict(code),
            vendor_code: Some(short_code(code)),
            occurred_at: occurred_at(told.at, now),
        }))
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use pabal_common::domain::id::SubmissionId;
    use pabal_common::domain::report::Verdict;
    use proptest::prelude::*;

    use super::*;

    const IDS: [MessageId; 2] = [MessageId::from_number(1), MessageId::from_number(2)];

    fn account() -> VendorAccount {
        VendorAccount::new("kakao", "main")
    }

    fn asked() -> Vec<Asked> {
        let asked = |id| Asked {
            id,
            submission: SubmissionId::from_number(9),
            vendor_id: None,
        };
        IDS.map(asked).to_vec()
    }

    #[test]
    fn asking_needs_an_answer_for_every_message() {
        let body = format!(
            r#"{{"messages":[{{"serial":"{}","found":false}},{{"serial":"{}","found":true,"id":"KKO0012","code":"1000"}}]}}"#,
            IDS[1], IDS[0]
        );
        let found = read_found(&account(), body.as_bytes(), &asked(), Timestamp::default());
        let found = found.unwrap();
        assert_eq!(found[1], Found::NotFound);
        let Found::Known(report) = &found[0] else {
            panic!("not known");
        };
        assert_eq!(report.verdict, Verdict::Delivered);
        assert_eq!(report.vendor_id, VendorMessageId::new("12"));

        let one = format!(
            r#"{{"messages":[{{"serial":"{}","found":false}}]}}"#,
            IDS[0]
        );
        let twice = format!(
            r#"{{"messages":[{{"serial":"{0}","found":false}},{{"serial":"{0}","found":false}}]}}"#,
            IDS[0]
        );
        for body in [one, twice, "{}".to_owned()] {
            let found = read_found(&account(), body.as_bytes(), &asked(), Timestamp::default());
            assert_eq!(found, None, "{body}");
        }
    }

    #[test]
    fn a_result_without_any_id_does_not_hold_up_the_page() {
        let body = br#"{"results":[{"code":"1000"},{"id":7,"code":"3020"}],"next":"2"}"#;
        let page = read_page(&account(), body, Timestamp::default()).unwrap();
        assert_eq!(page.reports.len(), 1);
        let blocked = Verdict::Failed(Reason::RecipientBlocked);
        assert_eq!(page.reports[0].verdict, blocked);
        assert_eq!(page.cursor.as_deref(), Some("2"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_readers_panic(body: Vec<u8>) {
            let now = Timestamp::default();
            let answers = read_answer(&body, &IDS);
            prop_assert!(answers.is_none_or(|answers| answers.len() == IDS.len()));
            let _ = read_page(&account(), &body, now);
            let _ = read_found(&account(), &body, &asked(), now);
        }
    }
}
