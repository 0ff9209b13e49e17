//! What Pabal asks of a vendor, and the few things a vendor may answer.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use pabal_common::clock::Timestamp;
use pabal_common::domain::id::{MessageId, SubmissionId};
use pabal_common::domain::kind::{MessageType, Purpose};
use pabal_common::domain::message::Content;
use pabal_common::domain::reason::Reason;
use pabal_common::domain::report::{Report, VendorAccount, VendorMessageId};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

/// How a vendor tells what became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportPath {
    /// The vendor calls us.
    Callback,
    /// We ask for what is new, with a cursor.
    Poll,
    /// They come over the connections that the sender keeps open.
    Session,
    /// It tells nothing beyond its answer.
    None,
}

/// What an adapter's vendor can do, declared once.
#[derive(Clone, Debug)]
pub struct Capabilities {
    /// The most messages in one call.
    pub batch: usize,
    /// For how long, from the first claim, the vendor removes duplicates by our id; `None` if it
    /// does not. Nothing is ever sent again outside it.
    pub duplicate_window: Option<Duration>,
    /// Whether the vendor can be asked what became of a call whose answer was lost.
    pub can_be_asked: bool,
    /// Whether its answer can end a message.
    pub answers_finally: bool,
    /// How its reports come.
    pub reports: ReportPath,
    /// The vendor's codes that surely mean "not taken, never will be". A code that is not listed
    /// is an unknown outcome, not a refusal.
    pub definitive: &'static [(&'static str, Reason)],
}

impl Capabilities {
    /// The reason behind a definitive code; `None` if the code decides nothing.
    pub fn definitive(&self, code: &str) -> Option<Reason> {
        self.definitive
            .iter()
            .find(|(listed, _)| *listed == code)
            .map(|(_, reason)| *reason)
    }
}

/// One message of a call, opened.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Our id; vendors that carry a reference get it.
    pub id: MessageId,
    /// Its type.
    pub kind: MessageType,
    /// What it is for.
    pub purpose: Purpose,
    /// Recipient, text and the rest.
    pub content: Content,
    /// The files that go with it, in the order of [`Content::attachments`].
    pub attachments: Vec<Attachment>,
}

/// A file that goes with a message. Its `Debug` shows neither its name nor its bytes.
#[derive(Clone)]
pub struct Attachment {
    /// Its media type, such as `image/jpeg`.
    pub media_type: String,
    /// The name the partner gave it.
    pub name: Option<String>,
    /// Its bytes; messages of one call with the same file share them.
    pub bytes: Bytes,
}

impl fmt::Debug for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attachment")
            .field("media_type", &self.media_type)
            .field("length", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

/// One vendor call: every message is claimed for exactly this submission.
#[derive(Clone, Debug)]
pub struct Call {
    /// The submission the members are claimed for.
    pub submission: SubmissionId,
    /// 1..=[`Capabilities::batch`] messages.
    pub messages: Vec<Outgoing>,
}

/// The vendor's answer for one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Taken; a report will tell more, where the vendor reports.
    Taken {
        /// The vendor's id, if it gave one.
        vendor_id: Option<VendorMessageId>,
    },
    /// Taken and delivered, by a vendor that answers finally.
    Delivered {
        /// The vendor's id, if it gave one.
        vendor_id: Option<VendorMessageId>,
        /// The vendor's code.
        code: Option<String>,
    },
    /// Definitively refused: never taken, never retried.
    Refused {
        /// The vendor's code.
        code: String,
        /// What it means.
        reason: Reason,
    },
    /// Not taken now; deferred at no cost.
    Throttled,
    /// This message was not taken and may be later; others are not concerned. It waits at no cost, at
    /// least as long as it is old, until its validity ends.
    Deferred {
        /// The vendor's code.
        code: String,
        /// How long to wait instead.
        retry_after: Option<Duration>,
    },
    /// Not taken, because the account is closed to us for now. The message waits for another route,
    /// or for this one.
    Closed {
        /// The vendor's code.
        code: String,
        /// Why.
        why: Closed,
    },
    /// The answer does not say whether the message was taken.
    Unknown {
        /// The vendor's code or what was wrong with the answer.
        code: String,
    },
}

/// Why a vendor takes nothing from an account until somebody acts: no message is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Closed {
    /// The prepaid balance is used up.
    #[error("no balance")]
    Balance,
    /// The quota of the day or month is used up.
    #[error("quota used up")]
    Quota,
    /// It does not know our key or password, or our address.
    #[error("credentials refused")]
    Credentials,
    /// The account or its sender profile is suspended.
    #[error("account suspended")]
    Suspended,
}

impl Closed {
    /// Every reason.
    pub const ALL: [Self; 4] = [
        Self::Balance,
        Self::Quota,
        Self::Credentials,
        Self::Suspended,
    ];

    /// The name in metrics and lists, and by which senders tell each other.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Balance => "BALANCE",
            Self::Quota => "QUOTA",
            Self::Credentials => "CREDENTIALS",
            Self::Suspended => "SUSPENDED",
        }
    }

    /// The reason of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|why| why.name() == name)
    }
}

/// Why surely no byte of the request left us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotConnected {
    /// Nobody listens, or the network refused.
    #[error("connection refused")]
    Refused,
    /// No connection within the time allowed.
    #[error("connecting timed out")]
    TimedOut,
    /// The TLS handshake failed.
    #[error("TLS handshake failed")]
    Tls,
    /// The name could not be resolved.
    #[error("name not resolved")]
    Dns,
}

/// How an answer was lost after the first byte had left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// The connection broke.
    #[error("connection broke before the answer")]
    Reset,
    /// No answer within the time allowed.
    #[error("no answer in time")]
    TimedOut,
    /// An answer that proves nothing about whether the call was taken.
    #[error("HTTP status {0}")]
    Status(u16),
    /// A success that cannot be read.
    #[error("unreadable answer")]
    Garbled,
}

/// What came of a call. There is no way to say "failed" without saying which kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An answer for every message, in the call's order.
    Answered(Vec<Answer>),
    /// Surely not taken.
    NotConnected(NotConnected),
    /// The vendor took nothing because it is too much; wait at least this long if it says so.
    Throttled {
        /// The vendor's hint.
        retry_after: Option<Duration>,
    },
    /// Nothing was taken, because the account is closed to us for now.
    Closed {
        /// The vendor's code.
        code: String,
        /// Why.
        why: Closed,
    },
    /// The whole call was definitively refused.
    Refused {
        /// The vendor's code.
        code: String,
        /// What it means.
        reason: Reason,
    },
    /// It may have been taken.
    Unknown(Lost),
}

/// A message whose answer was lost, to be asked for.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Our id.
    pub id: MessageId,
    /// The call in which it was sent.
    pub submission: SubmissionId,
    /// The vendor's id, if a report told it.
    pub vendor_id: Option<VendorMessageId>,
}

/// What the vendor knows of a message it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// It has the message; perhaps with its end.
    Known(Report),
    /// It does not know the message. That proves nothing: the call may still be on its way.
    NotFound,
}

/// Asking failed; ask again later.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the vendor could not be asked: {0}")]
pub struct AskError(pub String);

/// The vendor does not look usable.
#[derive(Clone, Debug, thiserror::Error)]
#[error("probe failed: {0}")]
pub struct ProbeError(pub String);

/// New reports from a vendor that is polled.
#[derive(Clone, Debug, Default)]
pub struct Polled {
    /// The reports since the cursor.
    pub reports: Vec<Report>,
    /// Where to go on; stored in the transaction that keeps the reports.
    pub cursor: Option<String>,
    /// Whether more is waiting.
    pub more: bool,
}

/// Polling failed; poll again later from the same cursor.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the vendor could not be polled: {0}")]
pub struct PollError(pub String);

/// Reports that came over a standing connection were not kept; the vendor must not be told that
/// they were.
#[derive(Clone, Debug, thiserror::Error)]
#[error("reports were not kept: {0}")]
pub struct ReportsNotKept(pub String);

/// Where a vendor's standing connection hands its reports in.
#[async_trait]
pub trait ReportDesk: Send + Sync {
    /// Returns once every report is with the broker, or in the outbox that will bring it there.
    ///
    /// # Errors
    /// [`ReportsNotKept`]; the vendor is to send them again.
    async fn keep(
        &self,
        account: &VendorAccount,
        reports: Vec<Report>,
    ) -> Result<(), ReportsNotKept>;
}

/// Why a callback is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallbackError {
    /// This vendor does not call back.
    #[error("this vendor sends no callbacks")]
    NotExpected,
    /// The signature is missing, wrong, or outside the replay window.
    #[error("not authentic: {0}")]
    NotAuthentic(String),
    /// Authentic, but not readable.
    #[error("unreadable: {0}")]
    Unreadable(String),
}

/// One account at one vendor.
///
/// The rule an adapter must keep: [`Outcome::NotConnected`] only if surely no byte of the request
/// left; [`Answer::Refused`] only for a code in [`Capabilities::definitive`]; everything else after
/// the first byte is unknown. An adapter never retries by itself.
#[async_trait]
pub trait Provider: Send + Sync {
    /// Which account this is.
    fn account(&self) -> &VendorAccount;

    /// What the vendor can do.
    fn capabilities(&self) -> &Capabilities;

    /// Hands one call to the vendor. Bounded by the adapter's own connect and answer time-outs.
    /// Dropping the future may leave the outcome unknown, as a lost answer does.
    async fn submit(&self, call: &Call) -> Outcome;

    /// Asks what became of messages whose answer was lost; one entry each, in order.
    ///
    /// # Errors
    /// [`AskError`] if the vendor gives no usable answer, or cannot be asked.
    async fn ask(&self, asked: &[Asked]) -> Result<Vec<Found>, AskError> {
        let _ = asked;
        Err(AskError("this vendor cannot be asked".to_owned()))
    }

    /// Asks whether the vendor is usable, without sending a message.
    ///
    /// # Errors
    /// [`ProbeError`] if it is not.
    async fn probe(&self) -> Result<(), ProbeError>;

    /// Checks a callback's authenticity the vendor's way and reads it. `header` looks a request
    /// header up by its lower-case name.
    ///
    /// # Errors
    /// [`CallbackError`], for every callback if the vendor sends none; nothing of the body is taken
    /// then.
    fn read_callback(
        &self,
        header: &(dyn Fn(&str) -> Option<String> + Sync),
        body: &[u8],
        now: Timestamp,
    ) -> Result<Vec<Report>, CallbackError> {
        let _ = (header, body, now);
        Err(CallbackError::NotExpected)
    }

    /// Keeps the vendor's standing connections open until `stop`, where the protocol has them
    /// ([`ReportPath::Session`]), and hands what is reported over them to `desk`. Returns at once
    /// elsewhere. Until it runs, [`submit`](Self::submit) finds no connection.
    async fn stay_connected(&self, desk: Arc<dyn ReportDesk>, stop: CancellationToken) {
        let _ = (desk, stop);
    }

    /// Fetches reports after `cursor`, for vendors that are polled.
    ///
    /// # Errors
    /// [`PollError`], for every vendor that is not polled; the cursor stays.
    async fn poll(&self, cursor: Option<&str>) -> Result<Polled, PollError> {
        let _ = cursor;
        Err(PollError("this vendor is not polled".to_owned()))
    }
}
