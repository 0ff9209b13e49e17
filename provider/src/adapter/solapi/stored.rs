//! A message as the vendor gives it back: in the answer to a call, in a report, in a list. The three
//! have the same names for the same things, and each may leave out, set to null or add what it likes.

use pabal_common::clock::Timestamp;
use pabal_common::domain::id::{MessageId, SubmissionId};
use pabal_common::domain::report::{Report, VendorAccount, VendorMessageId, Verdict};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use super::super::reading::{occurred_at, short_code};
use super::codes::verdict;

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Stored {
    #[serde(deserialize_with = "text")]
    pub(super) message_id: Option<String>,
    #[serde(deserialize_with = "text")]
    pub(super) status_code: Option<String>,
    #[serde(deserialize_with = "fields")]
    custom_fields: Option<Fields>,
    #[serde(deserialize_with = "text")]
    date_received: Option<String>,
    #[serde(deserialize_with = "text")]
    date_reported: Option<String>,
}

/// Ours, or those of whoever else sends by this account.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Fields {
    #[serde(deserialize_with = "text")]
    message: Option<String>,
    #[serde(deserialize_with = "text")]
    call: Option<String>,
}

impl Stored {
    /// Which message it is, if it is one of ours.
    pub(super) fn message(&self) -> Option<MessageId> {
        self.custom_fields.as_ref()?.message.as_ref()?.parse().ok()
    }

    /// In which call it went.
    pub(super) fn call(&self) -> Option<SubmissionId> {
        self.custom_fields.as_ref()?.call.as_ref()?.parse().ok()
    }

    /// The vendor's id: 32 letters and digits, upper case.
    pub(super) fn vendor_id(&self) -> Option<VendorMessageId> {
        let id = self.message_id.as_ref()?.trim();
        VendorMessageId::new(&id.to_ascii_uppercase())
    }

    /// What it says of a message, if it says which.
    pub(super) fn report(&self, account: &VendorAccount, now: Timestamp) -> Option<Report> {
        let (vendor_id, message) = (self.vendor_id(), self.message());
        if vendor_id.is_none() && message.is_none() {
            return None;
        }
        let code = self.status_code.as_deref();
        let at = self.date_received.as_ref().or(self.date_reported.as_ref());
        let at = at.and_then(|at| Timestamp::parse_rfc3339(at));
        Some(Report {
            account: account.clone(),
            vendor_id,
            message,
            // Which call it was means something only together with the message.
            submission: message.and_then(|_| self.call()),
            verdict: code.map_or(Verdict::Taken, verdict),
            vendor_code: code.map(short_code),
            occurred_at: occurred_at(at.map(Timestamp::millis), now),
        })
    }
}

/// A text, or a number as text; anything else is none.
pub(super) fn text<'de, D: Deserializer<'de>>(value: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Loose {
        Text(String),
        Number(u64),
        Other(IgnoredAny),
    }
    Ok(match Loose::deserialize(value)? {
        Loose::Text(text) => Some(text),
        Loose::Number(number) => Some(number.to_string()),
        Loose::Other(_) => None,
    })
}

/// Fields of another shape than ours are somebody else's.
fn fields<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Fields>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Loose {
        Ours(Fields),
        Other(IgnoredAny),
    }
    Ok(match Loose::deserialize(value)? {
        Loose::Ours(fields) => Some(fields),
        Loose::Other(_) => None,
    })
}
