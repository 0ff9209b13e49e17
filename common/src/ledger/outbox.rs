//! What was promised to the broker and is not yet confirmed.

use async_trait::async_trait;

use super::{Dispatch, LedgerError};
use crate::clock::Timestamp;
use crate::domain::id::{InstanceId, OutboxId};
use crate::domain::report::Report;

/// The outbox room.
#[async_trait]
pub trait Outbox: Send + Sync {
    /// Removes rows whose frames are all confirmed.
    ///
    /// # Errors
    /// [`LedgerError`]; the rows stay and are published again, which is harmless.
    async fn retire(&self, rows: &[OutboxId]) -> Result<(), LedgerError>;

    /// Own rows after `after` that were made before `before`, oldest first.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn outbox_of(
        &self,
        me: InstanceId,
        after: Option<OutboxId>,
        before: Timestamp,
        limit: u32,
    ) -> Result<Vec<Dispatch>, LedgerError>;

    /// Takes over rows that nobody alive owns, by conditional update, oldest first.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn adopt_outbox(&self, me: InstanceId, limit: u32) -> Result<Vec<Dispatch>, LedgerError>;

    /// Gives all own rows to whoever can publish them, because our own way to the broker is down.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn release_outbox(&self, me: InstanceId) -> Result<u64, LedgerError>;

    /// How many rows there are.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn outbox_size(&self) -> Result<u64, LedgerError>;

    /// Keeps reports for the report queue: when the broker is away, or as the result of a poll,
    /// whose cursor moves in the same transaction.
    ///
    /// # Errors
    /// [`LedgerError`]: neither reports nor cursor were kept.
    async fn keep_reports(
        &self,
        me: InstanceId,
        outbox: OutboxId,
        reports: &[Report],
        cursor: Option<(&str, &str)>,
        now: Timestamp,
    ) -> Result<Option<Dispatch>, LedgerError>;

    /// Where polling of `source` goes on.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn poll_cursor(&self, source: &str) -> Result<Option<String>, LedgerError>;

    /// Takes the right to poll `source` from `now` until `until`; false if another live process has
    /// it. Of many processes only how long that is counts: it runs by the ledger's own clock.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn lease_poll(
        &self,
        me: InstanceId,
        source: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<bool, LedgerError>;
}
