//! What a vendor says of a message, in one form for every vendor.

use std::fmt;
use std::sync::Arc;

use super::id::{MessageId, SubmissionId};
use super::reason::Reason;
use crate::clock::Timestamp;

/// One account at one vendor, written `provider/account`; vendor message ids are unique within it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VendorAccount(Arc<str>);

impl VendorAccount {
    /// The account `account` at `provider`.
    pub fn new(provider: &str, account: &str) -> Self {
        Self(format!("{provider}/{account}").into())
    }

    /// As the ledger and the frames write it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// From what [`as_str`](Self::as_str) gave.
    pub fn from_stored(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for VendorAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for VendorAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The vendor's id of a message, brought into one notation by its adapter (case, leading zeros,
/// hexadecimal or decimal), so that comparing bytes is enough.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VendorMessageId(Arc<str>);

impl VendorMessageId {
    /// The longest one kept, in bytes; an adapter cuts nothing, it refuses the answer.
    pub const MAX: usize = 128;

    /// An id as the adapter has normalised it; `None` if it is empty or over [`MAX`](Self::MAX).
    pub fn new(text: &str) -> Option<Self> {
        (1..=Self::MAX)
            .contains(&text.len())
            .then(|| Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for VendorMessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for VendorMessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the vendor says happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The vendor has the message; nothing is decided yet.
    Taken,
    /// The recipient has it. Ends the message.
    Delivered,
    /// It will not arrive. Ends the message.
    Failed(Reason),
}

impl Verdict {
    /// Whether it ends a message.
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Taken)
    }

    /// The word for the ledger and the frames.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Taken => "TAKEN",
            Self::Delivered => "DELIVERED",
            Self::Failed(_) => "FAILED",
        }
    }

    /// From the stored word and reason; a failure without a known reason is
    /// [`Reason::Unspecified`].
    pub fn from_stored(name: &str, reason: Option<&str>) -> Option<Self> {
        match name {
            "TAKEN" => Some(Self::Taken),
            "DELIVERED" => Some(Self::Delivered),
            "FAILED" => Some(Self::Failed(
                reason
                    .and_then(Reason::parse)
                    .unwrap_or(Reason::Unspecified),
            )),
            _ => None,
        }
    }

    /// The reason, where there is one.
    pub const fn reason(self) -> Option<Reason> {
        match self {
            Self::Failed(reason) => Some(reason),
            Self::Taken | Self::Delivered => None,
        }
    }
}

/// A normalised report: from a callback, a poll, an answer or asking. It never holds the vendor's
/// own body, because that may hold a number or a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Whose report it is.
    pub account: VendorAccount,
    /// The vendor's id, if the report carries it.
    pub vendor_id: Option<VendorMessageId>,
    /// Our own id, if the vendor carries it back or the sender made the report.
    pub message: Option<MessageId>,
    /// The call it answers, if the sender made it.
    pub submission: Option<SubmissionId>,
    /// What happened.
    pub verdict: Verdict,
    /// The vendor's own code, for people; at most 64 bytes.
    pub vendor_code: Option<String>,
    /// When it happened, by the vendor's word, else when we learnt it.
    pub occurred_at: Timestamp,
}
