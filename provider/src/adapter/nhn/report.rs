//! A message's result as NHN writes it: polled, looked up, or called back.

use pabal_common::clock::Timestamp;
use pabal_common::domain::id::MessageId;
use pabal_common::domain::reason::Reason;
use pabal_common::domain::report::{Report, VendorAccount, VendorMessageId, Verdict};
use serde::Deserialize;
use serde_json::Value;

use super::super::code::Codes;
use super::super::reading::{occurred_at, short_code};
use super::kst;
use super::wire::{Word, vendor_id};

/// One result. Which fields there are depends on the product and on how it comes; all are optional,
/// so that a row which lacks one is still read.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Row {
    request_id: Option<String>,
    recipient_seq: Option<Word>,
    /// SMS: 0 failed, 1 requested, 2 in progress, 3 succeeded, 4 cancelled, 5 duplicate, 6 failed
    /// or 7 waiting by the limits on advertising.
    msg_status: Option<Word>,
    /// Callbacks, and Kakao.
    message_status: Option<String>,
    result_code: Option<Word>,
    recipient_grouping_key: Option<String>,
    /// As the example of a callback writes it.
    #[serde(rename = "recipientGropuingKey")]
    misspelt_grouping_key: Option<String>,
    update_date: Option<String>,
    result_date: Option<String>,
    receive_date: Option<String>,
}

impl Row {
    /// Those of `rows` that can be read; the others have nothing to tell.
    pub(super) fn read_all(rows: Vec<Value>) -> Vec<Self> {
        let total = rows.len();
        let read = rows.into_iter().map(serde_json::from_value);
        let read: Vec<Self> = read.filter_map(Result::ok).collect();
        if read.len() < total {
            tracing::warn!(
                skipped = total - read.len(),
                "results of NHN could not be read"
            );
        }
        read
    }

    /// Our id, if the row bears it.
    pub(super) fn message(&self) -> Option<MessageId> {
        let key = self.recipient_grouping_key.as_deref();
        let key = key.or(self.misspelt_grouping_key.as_deref());
        key?.parse().ok()
    }

    /// When NHN last changed the result, in Unix seconds.
    pub(super) fn updated_at(&self) -> Option<i64> {
        let updated = self.update_date.as_deref().and_then(kst::read)?;
        Some(updated.unix_seconds())
    }

    /// As a report; `None` if it bears no id at all: there is no message it could belong to.
    pub(super) fn report(
        &self,
        account: &VendorAccount,
        codes: Codes,
        now: Timestamp,
    ) -> Option<Report> {
        let (vendor_id, message) = (self.vendor_id(), self.message());
        if vendor_id.is_none() && message.is_none() {
            return None;
        }
        let date = self.result_date.as_deref().or(self.receive_date.as_deref());
        let at = date.and_then(kst::read).map(Timestamp::millis);
        Some(Report {
            account: account.clone(),
            vendor_id,
            message,
            submission: None,
            verdict: self.verdict(codes),
            vendor_code: self.code().map(|code| short_code(&code)),
            occurred_at: occurred_at(at, now),
        })
    }

    fn vendor_id(&self) -> Option<VendorMessageId> {
        vendor_id(self.request_id.as_deref(), self.recipient_seq.as_ref())
    }

    fn code(&self) -> Option<String> {
        let code = self.result_code.as_ref()?.text();
        (!code.is_empty()).then_some(code)
    }

    /// By the code; the status alone decides where it says that nothing has ended, or there is no
    /// code.
    pub(super) fn verdict(&self, codes: Codes) -> Verdict {
        let status = self.msg_status.as_ref().map(Word::text);
        let status = status.or_else(|| self.message_status.clone());
        let status = status.as_deref();
        if matches!(status, Some("1" | "2" | "7")) {
            return Verdict::Taken;
        }
        match (self.code(), status) {
            (Some(code), _) => codes.verdict(&code),
            (None, Some("3" | "COMPLETED")) => Verdict::Delivered,
            (None, Some("0" | "FAILED")) => Verdict::Failed(Reason::Unspecified),
            (None, Some("4" | "CANCEL")) => Verdict::Failed(Reason::ProviderError),
            (None, Some("5" | "DUPLICATED")) => Verdict::Failed(Reason::Duplicate),
            (None, Some("6" | "FAILED_AD")) => Verdict::Failed(Reason::OutOfHours),
            (None, _) => Verdict::Taken,
        }
    }
}
