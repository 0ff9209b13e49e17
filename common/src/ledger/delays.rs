//! Messages whose time has not come, and lost answers to be asked for. The ledger alone keeps time.

use async_trait::async_trait;
use sqlx::FromRow;

use super::{Dispatch, LedgerError};
use crate::clock::Timestamp;
use crate::domain::id::{InstanceId, MessageId, OutboxId, SubmissionId};
use crate::domain::kind::MessageType;
use crate::domain::phase::Phase;
use crate::domain::report::{VendorAccount, VendorMessageId};

/// The number of a retry, a deferral or a message without a route.
pub(super) const RETRY: i64 = 1;
/// The number of a lost answer to be asked for.
pub(super) const ASK: i64 = 2;
/// The number of a message without a result at its deadline, to be asked for once more.
pub(super) const LAST_ASK: i64 = 3;

/// How many delayed messages of a type may be released now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DueGroup {
    /// The type: its routes are the route group.
    pub kind: MessageType,
    /// At most this many.
    pub limit: u32,
}

/// A message whose answer was lost, taken for asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The message.
    pub id: MessageId,
    /// The call.
    pub submission: SubmissionId,
    /// Whom to ask.
    pub account: VendorAccount,
    /// The vendor's id, if known.
    pub vendor_id: Option<VendorMessageId>,
}

/// A due ask and where its message is.
#[derive(Clone, Debug, FromRow)]
pub(super) struct AskRow {
    pub(super) message_id: MessageId,
    pub(super) kind: i64,
    /// 0 if there is no message any more.
    pub(super) phase: i64,
    pub(super) submission_id: Option<SubmissionId>,
    pub(super) provider_account: Option<String>,
    pub(super) vendor_message_id: Option<String>,
}

impl AskRow {
    /// Whether there is still something to ask for, and somebody to ask.
    pub(super) fn is_open(&self) -> bool {
        if self.submission_id.is_none() || self.provider_account.is_none() {
            return false;
        }
        let in_phase = |phase: Phase| self.phase == i64::from(phase.number());
        in_phase(Phase::Unknown) || (self.kind == LAST_ASK && in_phase(Phase::Answered))
    }

    pub(super) fn to_ask(&self) -> Option<Ask> {
        Some(Ask {
            id: self.message_id,
            submission: self.submission_id?,
            account: VendorAccount::from_stored(self.provider_account.as_deref()?),
            vendor_id: self
                .vendor_message_id
                .as_deref()
                .and_then(VendorMessageId::new),
        })
    }
}

/// The room of delays.
#[async_trait]
pub trait Delays: Send + Sync {
    /// WAITING → QUEUED for what is due (retries and deferrals) in the given groups, oldest first:
    /// delay row deleted, outbox row written, one transaction. A delay whose message no longer
    /// waits at that attempt is deleted and nothing is published for it.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn release_due(
        &self,
        me: InstanceId,
        outbox: OutboxId,
        groups: &[DueGroup],
        now: Timestamp,
    ) -> Result<Option<Dispatch>, LedgerError>;

    /// When the next retry or deferral of these types is due; nothing if none waits.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn next_due(&self, kinds: &[MessageType]) -> Result<Option<Timestamp>, LedgerError>;

    /// Takes due asks and moves each one's due time to `again`, so that no one else asks
    /// meanwhile. The row goes only with the move out of UNKNOWN. Asks whose message is no longer
    /// UNKNOWN are deleted.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn take_asks(
        &self,
        now: Timestamp,
        again: Timestamp,
        limit: u32,
    ) -> Result<Vec<Ask>, LedgerError>;

    /// Removes the questions about these messages: there is nobody to ask.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn drop_asks(&self, messages: &[MessageId]) -> Result<(), LedgerError>;

    /// How many delays there are.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn delays_size(&self) -> Result<u64, LedgerError>;
}
