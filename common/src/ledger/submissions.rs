//! Claims and their settlement: the two transactions around a vendor call.

use async_trait::async_trait;
use sqlx::FromRow;

use super::rows::{attempt_from, kind_from, lane_from, partner_id, purpose_from};
use super::{Dispatch, LedgerError};
use crate::broker::Member;
use crate::clock::Timestamp;
use crate::domain::event::EventKind;
use crate::domain::id::{InstanceId, MessageId, OutboxId, PartnerId, SubmissionId};
use crate::domain::kind::{Lane, MessageType, Purpose};
use crate::domain::phase::Settled;
use crate::domain::report::VendorAccount;

/// The wish to take messages for one vendor call, with the route's permit in hand.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The call.
    pub submission: SubmissionId,
    /// The route, by name.
    pub route: String,
    /// The route's vendor account.
    pub account: VendorAccount,
    /// Whom to take. A member that is not QUEUED at this attempt, or whose validity has passed, is
    /// left where it is.
    pub members: Vec<Member>,
}

/// A claimed message as it is stored.
#[derive(Clone, Debug, FromRow)]
pub(super) struct ClaimedRow {
    pub(super) message_id: MessageId,
    pub(super) partner_id: String,
    pub(super) message_type: i64,
    pub(super) purpose: i64,
    pub(super) lane: i64,
    pub(super) attempt: i64,
    pub(super) sealed: Vec<u8>,
    pub(super) valid_until: i64,
    pub(super) poison: i64,
    pub(super) tell_sent: bool,
}

impl ClaimedRow {
    pub(super) fn attempt(&self) -> u16 {
        attempt_from(self.attempt)
    }

    pub(super) fn read(self) -> Result<ClaimedMessage, LedgerError> {
        Ok(ClaimedMessage {
            id: self.message_id,
            partner: partner_id(&self.partner_id)?,
            kind: kind_from(self.message_type)?,
            purpose: purpose_from(self.purpose)?,
            lane: lane_from(self.lane),
            attempt: attempt_from(self.attempt),
            sealed: self.sealed,
            valid_until: Timestamp::from_millis(self.valid_until),
            poison: u16::try_from(self.poison).unwrap_or(u16::MAX),
            tell_sent: self.tell_sent,
        })
    }
}

/// Why messages that are QUEUED are made to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// No route is usable: that is what a message fails for if it never gets further.
    NoRoute,
    /// Working on them went wrong for a reason of their own: counted in
    /// [`ClaimedMessage::poison`].
    Faulty,
}

impl Hold {
    /// The event of it, and what it says.
    pub(super) const fn event(self) -> (EventKind, &'static str) {
        match self {
            Self::NoRoute => (EventKind::Held, "no usable route"),
            Self::Faulty => (EventKind::Quarantined, "working on it failed"),
        }
    }
}

/// What a claim got.
#[derive(Clone, Debug, Default)]
pub struct ClaimedCall {
    /// The messages now SUBMITTING under this submission, in the claim's order.
    pub messages: Vec<ClaimedMessage>,
}

/// One claimed message with its sealed content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedMessage {
    /// Its id.
    pub id: MessageId,
    /// Whose it is.
    pub partner: PartnerId,
    /// Its type.
    pub kind: MessageType,
    /// What it is for.
    pub purpose: Purpose,
    /// Its lane.
    pub lane: Lane,
    /// The attempt.
    pub attempt: u16,
    /// The sealed content.
    pub sealed: Vec<u8>,
    /// Until when it is worth sending.
    pub valid_until: Timestamp,
    /// How often it was made to wait as [`Hold::Faulty`].
    pub poison: u16,
    /// Whether its partner wants to be told SENT.
    pub tell_sent: bool,
}

/// A message that is looked at before it is taken, with its sealed content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Looked {
    /// Its id.
    pub id: MessageId,
    /// Whose it is.
    pub partner: PartnerId,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// The sealed content.
    pub sealed: Vec<u8>,
}

/// The columns of a message that is looked at.
#[derive(FromRow)]
pub(super) struct LookedRow {
    message_id: MessageId,
    partner_id: String,
    created_at: i64,
    sealed: Vec<u8>,
}

impl LookedRow {
    pub(super) fn read(self) -> Result<Looked, LedgerError> {
        Ok(Looked {
            id: self.message_id,
            partner: partner_id(&self.partner_id)?,
            accepted_at: Timestamp::from_millis(self.created_at),
            sealed: self.sealed,
        })
    }
}

/// How a call ended for one message.
#[derive(Clone, Debug)]
pub struct Settlement {
    /// The message.
    pub id: MessageId,
    /// The call.
    pub submission: SubmissionId,
    /// How it ended.
    pub settled: Settled,
    /// The vendor account of the call.
    pub account: VendorAccount,
    /// The vendor's code, where there is one; at most 64 bytes.
    pub vendor_code: Option<String>,
    /// When we knew.
    pub at: Timestamp,
    /// For [`Settled::NotTaken`]: when it may be tried again. For a lost answer of a vendor that
    /// can be asked: when to ask. Otherwise nothing.
    pub due: Option<Timestamp>,
    /// Whether the reporter should hear of a taken message too, because its partner wants SENT.
    pub tell_sent: bool,
}

/// The sender's room.
#[async_trait]
pub trait Submissions: Send + Sync {
    /// What these messages are, before any of them is taken; those there are, in no order.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn look(&self, messages: &[MessageId]) -> Result<Vec<Looked>, LedgerError>;

    /// QUEUED → SUBMITTING for every member of every claim that still allows it, then reads back by
    /// submission id. All claims share one transaction. Nothing is locked afterwards.
    ///
    /// # Errors
    /// [`LedgerError`]; after a lost commit read back with [`reread`](Self::reread).
    async fn claim(
        &self,
        me: InstanceId,
        claims: &[Claim],
        now: Timestamp,
    ) -> Result<Vec<ClaimedCall>, LedgerError>;

    /// What a claim really got, with a locking read: for claims whose commit's answer was lost.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn reread(&self, claim: &Claim) -> Result<ClaimedCall, LedgerError>;

    /// QUEUED → WAITING at the same attempt, with a delay row and an event: HELD without a usable
    /// route, QUARANTINED for what is faulty.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn hold(
        &self,
        kind: MessageType,
        members: &[Member],
        why: Hold,
        due: Timestamp,
        now: Timestamp,
    ) -> Result<(), LedgerError>;

    /// Records how calls ended, each by submission id, with everything the moves require (delay and
    /// ask rows, events, one outbox row with the reports) in one transaction. What no longer fits is
    /// skipped. Also retires confirmed outbox rows.
    ///
    /// # Errors
    /// [`LedgerError`]; settling the same again is safe.
    async fn settle(
        &self,
        me: InstanceId,
        outbox: OutboxId,
        settlements: &[Settlement],
        retire: &[OutboxId],
    ) -> Result<Option<Dispatch>, LedgerError>;
}
