//! What keeps the ledger moving when a process, a queue or a report was lost.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::FromRow;

use super::rows::{NewDelay, NewEvent, attempt_from, kind_from, known, status_number};
use super::{Dispatch, LedgerError};
use crate::broker::{Member, QueueName};
use crate::clock::{ManualClock, Timestamp};
use crate::domain::event::EventKind;
use crate::domain::id::{Ids, InstanceId, MessageId, OutboxId, SubmissionId, WebhookId};
use crate::domain::kind::MessageType;
use crate::domain::phase::Phase;
use crate::domain::report::VendorAccount;
use crate::domain::status::Status;

/// The most rows of one other table that go with a chunk of old messages.
pub(super) const OTHERS: i64 = 2_000;

/// Which part of the status index a walk goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchedStatus {
    /// Not yet taken by a vendor.
    Received,
    /// Taken, without an end.
    Sent,
}

impl WatchedStatus {
    pub(super) const fn number(self) -> i64 {
        status_number(match self {
            Self::Received => Status::Received,
            Self::Sent => Status::Sent,
        })
    }
}

/// What a walk sees of a message that has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// Its id.
    pub id: MessageId,
    /// Its type.
    pub kind: MessageType,
    /// Where it is.
    pub phase: Phase,
    /// The attempt.
    pub attempt: u16,
    /// Its queue.
    pub queue: QueueName,
    /// When it was queued last.
    pub queued_at: Timestamp,
    /// Who claimed it.
    pub owner: Option<InstanceId>,
    /// The call.
    pub submission: Option<SubmissionId>,
    /// The call's account.
    pub account: Option<VendorAccount>,
    /// When it was claimed for the current call.
    pub claimed_at: Option<Timestamp>,
    /// When it was answered, where it holds a final answer.
    pub answered_at: Option<Timestamp>,
    /// Until when it is worth sending.
    pub valid_until: Timestamp,
}

/// After what time a message is overdue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overdue {
    /// How long after its claim an SMS may wait for a report.
    pub sms: Duration,
    /// The same for every other type.
    pub others: Duration,
}

impl Default for Overdue {
    fn default() -> Self {
        Self {
            sms: MessageType::Sms.carrier_deadline(),
            others: MessageType::Lms.carrier_deadline(),
        }
    }
}

impl Overdue {
    /// How long after its claim a message of this type may wait for a report.
    pub fn after(&self, kind: MessageType) -> Duration {
        match kind {
            MessageType::Sms => self.sms,
            // What is not back within a day was lost with its answer, or has arrived.
            MessageType::Email => kind.carrier_deadline().min(self.others),
            _ => self.others,
        }
    }
}

/// A message that is queued again.
#[derive(FromRow)]
pub(super) struct QueuedRow {
    pub(super) message_id: MessageId,
    attempt: i64,
    message_type: i64,
    queue: i64,
}

impl QueuedRow {
    pub(super) fn to_member(&self) -> Result<(QueueName, MessageType, Member), LedgerError> {
        let member = Member {
            id: self.message_id,
            attempt: attempt_from(self.attempt),
        };
        let queue = known("queue", self.queue, QueueName::from_number)?;
        Ok((queue, kind_from(self.message_type)?, member))
    }
}

/// A message that may have been sent since the ledger's backup was made.
#[derive(FromRow)]
pub(super) struct DoubtfulRow {
    pub(super) message_id: MessageId,
    attempt: i64,
    message_type: i64,
    was_claimed: bool,
}

impl DoubtfulRow {
    /// The question to its vendor. Which vendors can be asked is not known here; a question to one
    /// that cannot be asked is passed over.
    pub(super) fn ask(&self, now: Timestamp) -> Option<NewDelay> {
        self.was_claimed.then_some(NewDelay {
            message: self.message_id,
            attempt: self.attempt,
            group: self.message_type,
            due: now,
        })
    }

    pub(super) fn event(&self) -> NewEvent {
        NewEvent {
            message: self.message_id,
            kind: EventKind::Unknown,
            note: "the ledger went back; it may have been sent".into(),
        }
    }
}

/// The first id a webhook made then could have: ids are in order of time.
pub(super) fn first_webhook(at: Timestamp) -> WebhookId {
    Ids::new(Arc::new(ManualClock::new(at)), 0).webhook()
}

/// The room of upkeep.
#[async_trait]
pub trait Upkeep: Send + Sync {
    /// The next messages of a status after `after`, by primary key.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn walk(
        &self,
        status: WatchedStatus,
        after: Option<MessageId>,
        limit: u32,
    ) -> Result<Vec<Watched>, LedgerError>;

    /// SUBMITTING → UNKNOWN for claims that are still exactly these, with an ask row where
    /// `ask_at` says the account can be asked.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn take_over(
        &self,
        claims: &[(MessageId, SubmissionId, Option<Timestamp>)],
        why: &str,
        now: Timestamp,
    ) -> Result<u32, LedgerError>;

    /// Puts messages that are still QUEUED since exactly then into the outbox again, `queued_at`
    /// now.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn queue_again(
        &self,
        me: InstanceId,
        outbox: OutboxId,
        lost: &[(MessageId, Timestamp)],
        now: Timestamp,
    ) -> Result<Option<Dispatch>, LedgerError>;

    /// Puts the final answers that these rows hold, still ANSWERED since exactly then, into the outbox
    /// again, `answered_at` now.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn report_again(
        &self,
        me: InstanceId,
        outbox: OutboxId,
        answered: &[(MessageId, Timestamp)],
        now: Timestamp,
    ) -> Result<Option<Dispatch>, LedgerError>;

    /// Has the vendors of these overdue UNKNOWN or ANSWERED messages asked at `now`, once each.
    /// Returns how many questions were added.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn ask_once_more(
        &self,
        messages: &[MessageId],
        now: Timestamp,
    ) -> Result<u32, LedgerError>;

    /// WAITING messages whose delay row is missing get one again; returns how many.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn delay_again(&self, messages: &[MessageId], now: Timestamp)
    -> Result<u32, LedgerError>;

    /// After the ledger went back in time: every QUEUED, WAITING or SUBMITTING row may have been
    /// sent already and becomes UNKNOWN; the counter is raised past `seen`. Returns how many rows.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn restored(&self, seen: u64, now: Timestamp) -> Result<u64, LedgerError>;

    /// Deletes ended messages accepted before `before`, their events and webhooks, old dead letters
    /// and refresh tokens, at most `limit` messages. Day totals stay. Returns how many messages went.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn retire_messages(&self, before: Timestamp, limit: u32) -> Result<u32, LedgerError>;
}
