//! What keeps the ledger moving when a process, a queue or a report was lost.

use std::time::Duration;

use async_trait::async_trait;

use super::{Dispatch, LedgerError};
use crate::broker::QueueName;
use crate::clock::Timestamp;
use crate::domain::id::{InstanceId, MessageId, OutboxId, SubmissionId};
use crate::domain::kind::MessageType;
use crate::domain::phase::Phase;
use crate::domain::report::VendorAccount;

/// Which part of the status index a walk goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchedStatus {
    /// Not yet taken by a vendor.
    Received,
    /// Taken, without an end.
    Sent,
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
    pub const fn after(&self, kind: MessageType) -> Duration {
        match kind {
            MessageType::Sms => self.sms,
            _ => self.others,
        }
    }
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

    /// Puts the final answers that these ANSWERED rows hold into the outbox again.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn report_again(
        &self,
        me: InstanceId,
        outbox: OutboxId,
        messages: &[MessageId],
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
