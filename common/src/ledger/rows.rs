//! How a message's columns become the domain's values, and the rows that are written beside it.

use sqlx::FromRow;

use super::{LedgerError, MessageView, Overdue, Watched};
use crate::broker::QueueName;
use crate::clock::Timestamp;
use crate::domain::event::EventKind;
use crate::domain::id::{
    ClientMsgId, InstanceId, MessageId, NotAPartnerId, PartnerId, SubmissionId,
};
use crate::domain::kind::{Lane, MessageType, Purpose};
use crate::domain::phase::{Phase, Row};
use crate::domain::reason::Reason;
use crate::domain::report::{Report, VendorAccount, VendorMessageId, Verdict};
use crate::domain::status::Status;

/// The status numbers of the column; PROCESSING is never stored.
pub(super) const fn status_number(status: Status) -> i64 {
    match status {
        Status::Received => 1,
        Status::Processing => 2,
        Status::Sent => 3,
        Status::Delivered => 4,
        Status::Failed => 5,
        Status::Expired => 6,
    }
}

pub(super) fn status_from(number: i64) -> Result<Status, LedgerError> {
    Status::ALL
        .into_iter()
        .find(|status| status_number(*status) == number)
        .ok_or_else(|| LedgerError::Corrupt(format!("status {number}")))
}

pub(super) const fn purpose_number(purpose: Purpose) -> i64 {
    match purpose {
        Purpose::Auth => 1,
        Purpose::Info => 2,
        Purpose::Ad => 3,
    }
}

pub(super) fn purpose_from(number: i64) -> Result<Purpose, LedgerError> {
    [Purpose::Auth, Purpose::Info, Purpose::Ad]
        .into_iter()
        .find(|purpose| purpose_number(*purpose) == number)
        .ok_or_else(|| LedgerError::Corrupt(format!("purpose {number}")))
}

pub(super) const fn lane_number(lane: Lane) -> i64 {
    match lane {
        Lane::Ordinary => 0,
        Lane::Express => 1,
        Lane::Bulk => 2,
    }
}

pub(super) const fn lane_from(number: i64) -> Lane {
    match number {
        1 => Lane::Express,
        2 => Lane::Bulk,
        _ => Lane::Ordinary,
    }
}

pub(super) fn kind_from(number: i64) -> Result<MessageType, LedgerError> {
    known("message type", number, MessageType::from_number)
}

pub(super) fn phase_from(number: i64) -> Result<Phase, LedgerError> {
    known("phase", number, Phase::from_number)
}

/// Reads a stored partner id.
pub(super) fn partner_id(text: &str) -> Result<PartnerId, LedgerError> {
    text.parse()
        .map_err(|error: NotAPartnerId| LedgerError::Corrupt(error.to_string()))
}

/// A stored number that stands for a value of a closed set.
pub(super) fn known<T>(
    what: &str,
    number: i64,
    read: impl Fn(u8) -> Option<T>,
) -> Result<T, LedgerError> {
    u8::try_from(number)
        .ok()
        .and_then(read)
        .ok_or_else(|| LedgerError::Corrupt(format!("{what} {number}")))
}

/// A stored attempt.
pub(super) fn attempt_from(number: i64) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

/// An event to be added to a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NewEvent {
    pub(super) message: MessageId,
    pub(super) kind: EventKind,
    /// For people.
    pub(super) note: String,
}

/// A delay to be written for a message; one of its kind that is there is moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NewDelay {
    pub(super) message: MessageId,
    pub(super) attempt: i64,
    /// The route group: the number of the message's type.
    pub(super) group: i64,
    pub(super) due: Timestamp,
}

/// Every column of a message but its sealed content.
#[derive(Clone, Debug, FromRow)]
pub(super) struct MessageRow {
    pub(super) message_id: MessageId,
    pub(super) partner_id: String,
    pub(super) client_msg_id: String,
    pub(super) digest: Vec<u8>,
    pub(super) message_type: i64,
    pub(super) purpose: i64,
    pub(super) lane: i64,
    pub(super) status: i64,
    pub(super) phase: i64,
    pub(super) attempt: i64,
    pub(super) queue: i64,
    pub(super) queued_at: i64,
    pub(super) owner: Option<InstanceId>,
    pub(super) submission_id: Option<SubmissionId>,
    pub(super) route: Option<String>,
    pub(super) provider_account: Option<String>,
    pub(super) vendor_message_id: Option<String>,
    pub(super) claimed_at: Option<i64>,
    pub(super) verdict: Option<String>,
    pub(super) answered_at: Option<i64>,
    pub(super) reason: Option<String>,
    pub(super) vendor_code: Option<String>,
    pub(super) route_closed: bool,
    pub(super) sent_told: bool,
    pub(super) created_at: i64,
    pub(super) valid_until: i64,
    pub(super) sent_at: Option<i64>,
    pub(super) final_at: Option<i64>,
    pub(super) detail: Option<String>,
}

/// The columns of [`MessageRow`], for `SELECT` from `messages m`.
macro_rules! message_columns {
    () => {
        "m.message_id, m.partner_id, m.client_msg_id, m.digest, m.message_type, m.purpose, m.lane, \
         m.status, m.phase, m.attempt, m.queue, m.queued_at, m.owner, m.submission_id, m.route, \
         m.provider_account, m.vendor_message_id, m.claimed_at, m.verdict, m.answered_at, m.reason, \
         m.vendor_code, m.route_closed, m.sent_told, m.created_at, m.valid_until, m.sent_at, \
         m.final_at, m.detail"
    };
}
pub(super) use message_columns;

impl MessageRow {
    pub(super) fn kind(&self) -> Result<MessageType, LedgerError> {
        kind_from(self.message_type)
    }

    pub(super) fn partner(&self) -> Result<PartnerId, LedgerError> {
        partner_id(&self.partner_id)
    }

    pub(super) fn client(&self) -> Result<ClientMsgId, LedgerError> {
        self.client_msg_id
            .parse()
            .map_err(|_| LedgerError::Corrupt(format!("client id of {}", self.message_id)))
    }

    /// The part the phase machine decides on.
    pub(super) fn to_phase_row(&self) -> Result<Row, LedgerError> {
        Ok(Row {
            phase: phase_from(self.phase)?,
            status: status_from(self.status)?,
            attempt: attempt_from(self.attempt),
            owner: self.owner,
            submission: self.submission_id,
            account: self
                .provider_account
                .as_deref()
                .map(VendorAccount::from_stored),
            vendor_id: self
                .vendor_message_id
                .as_deref()
                .and_then(VendorMessageId::new),
            verdict: self
                .verdict
                .as_deref()
                .and_then(|name| Verdict::from_stored(name, self.reason.as_deref())),
            route_closed: self.route_closed,
        })
    }

    /// Whether the deadline of its phase has passed. A call in flight is never ended by time.
    pub(super) fn is_overdue(&self, now: Timestamp, limits: Overdue) -> Result<bool, LedgerError> {
        Ok(match phase_from(self.phase)? {
            Phase::Queued | Phase::Waiting => Timestamp::from_millis(self.valid_until) <= now,
            Phase::Unknown | Phase::Answered => {
                let from = self.claimed_at.unwrap_or(self.created_at);
                Timestamp::from_millis(from).plus(limits.after(self.kind()?)) <= now
            }
            Phase::Submitting | Phase::Done => false,
        })
    }

    pub(super) fn to_view(&self) -> Result<MessageView, LedgerError> {
        let status = status_from(self.status)?;
        Ok(MessageView {
            id: self.message_id,
            partner: self.partner()?,
            client_msg_id: self.client()?,
            digest: self
                .digest
                .as_slice()
                .try_into()
                .map_err(|_| LedgerError::Corrupt(format!("digest of {}", self.message_id)))?,
            kind: self.kind()?,
            purpose: purpose_from(self.purpose)?,
            lane: lane_from(self.lane),
            status: status.shown(self.claimed_at.is_some()),
            phase: phase_from(self.phase)?,
            attempt: attempt_from(self.attempt),
            // A refused message remembers its reason before the reporter has ended it.
            reason: self
                .reason
                .as_deref()
                .and_then(Reason::parse)
                .filter(|_| status.is_final()),
            vendor_code: self.vendor_code.clone(),
            route: self.route.clone(),
            account: self.provider_account.clone(),
            vendor_id: self.vendor_message_id.clone(),
            owner: self.owner,
            submission: self.submission_id,
            accepted_at: Timestamp::from_millis(self.created_at),
            queued_at: Timestamp::from_millis(self.queued_at),
            claimed_at: self.claimed_at.map(Timestamp::from_millis),
            sent_at: self.sent_at.map(Timestamp::from_millis),
            final_at: self.final_at.map(Timestamp::from_millis),
            valid_until: Timestamp::from_millis(self.valid_until),
            metadata: self.detail.clone(),
        })
    }

    pub(super) fn to_watched(&self) -> Result<Watched, LedgerError> {
        let answered_at = self.verdict.as_ref().and(self.answered_at);
        Ok(Watched {
            id: self.message_id,
            kind: self.kind()?,
            phase: phase_from(self.phase)?,
            attempt: attempt_from(self.attempt),
            queue: known("queue", self.queue, QueueName::from_number)?,
            queued_at: Timestamp::from_millis(self.queued_at),
            owner: self.owner,
            submission: self.submission_id,
            account: self
                .provider_account
                .as_deref()
                .map(VendorAccount::from_stored),
            claimed_at: self.claimed_at.map(Timestamp::from_millis),
            answered_at: answered_at.map(Timestamp::from_millis),
            valid_until: Timestamp::from_millis(self.valid_until),
        })
    }

    /// The final answer an ANSWERED message holds, as a report.
    pub(super) fn recorded_answer(&self) -> Option<Report> {
        let verdict = Verdict::from_stored(self.verdict.as_deref()?, self.reason.as_deref())?;
        Some(Report {
            account: VendorAccount::from_stored(self.provider_account.as_deref()?),
            vendor_id: self
                .vendor_message_id
                .as_deref()
                .and_then(VendorMessageId::new),
            message: Some(self.message_id),
            submission: self.submission_id,
            verdict,
            vendor_code: self.vendor_code.clone(),
            occurred_at: Timestamp::from_millis(self.answered_at?),
        })
    }
}
