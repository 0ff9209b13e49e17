//! Accepting messages.

use async_trait::async_trait;

use super::{Dispatch, LedgerError};
use crate::domain::id::{InstanceId, MessageId, OutboxId};
use crate::domain::message::NewMessage;

/// How a repeated client id compares with the message accepted under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duplicate {
    /// The same request again.
    Same,
    /// Another request under the same id.
    Conflict,
}

/// What became of one message of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// Kept. It is in the batch's [`Dispatch`].
    Kept,
    /// The client id is taken by this message.
    Repeated(MessageId, Duplicate),
    /// Another message has this message id: make a new id and offer it again.
    IdTaken,
}

/// A committed batch.
#[derive(Clone, Debug)]
pub struct AcceptedBatch {
    /// What became of each, in the caller's order.
    pub outcomes: Vec<Accepted>,
    /// The frames of those that were kept; `None` if none was.
    pub dispatch: Option<Dispatch>,
}

/// The intake room.
#[async_trait]
pub trait Intake: Send + Sync {
    /// Keeps messages and one outbox row for the whole batch in one transaction, and retires outbox
    /// rows whose frames are confirmed. Rows are inserted in the order of their unique key; what
    /// became of each is read back, never counted. Two of a batch with the same client id: the
    /// first in order is kept.
    ///
    /// # Errors
    /// [`LedgerError`]: nothing was kept, unless the commit's answer was lost; offering the same
    /// messages again is safe either way.
    async fn accept(
        &self,
        me: InstanceId,
        outbox: OutboxId,
        messages: &[NewMessage],
        retire: &[OutboxId],
    ) -> Result<AcceptedBatch, LedgerError>;
}
