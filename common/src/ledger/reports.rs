//! The one place where a message ends.

use async_trait::async_trait;
use bytes::Bytes;
use sqlx::FromRow;

use super::LedgerError;
use crate::broker::{FrameVersion, ReportFrame};
use crate::clock::Timestamp;
use crate::domain::id::{InstanceId, MessageId, WebhookId};
use crate::domain::report::Report;

/// What a report did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It moved the message, perhaps to its end.
    Moved(MessageId),
    /// The message was there already: a repeat, or an earlier state.
    Nothing(MessageId),
    /// A final report that may not change anything any more; kept as an event.
    Stray(MessageId),
    /// No message is known for it yet.
    Unmatched,
}

/// A committed batch of reports.
#[derive(Clone, Debug, Default)]
pub struct ApplyOutcome {
    /// What each report did, in order.
    pub applied: Vec<Applied>,
    /// How many messages ended.
    pub ended: u32,
    /// The partners' webhooks that were written, for immediate delivery by their owner.
    pub webhooks: u32,
}

/// A report that waits for its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedReport {
    /// Its key.
    pub key: i64,
    /// The report.
    pub report: Report,
    /// How often it was matched in vain.
    pub misses: u32,
    /// When it was parked first.
    pub since: Timestamp,
}

/// A parked report as it is stored.
#[derive(Clone, Debug, FromRow)]
pub(super) struct ParkedRow {
    pub(super) parked_id: i64,
    pub(super) report: Vec<u8>,
    pub(super) misses: i64,
    pub(super) since: i64,
}

impl ParkedRow {
    pub(super) fn read(self) -> Result<ParkedReport, LedgerError> {
        let key = self.parked_id;
        let unreadable =
            |what: String| LedgerError::Corrupt(format!("parked report {key}: {what}"));
        let frame = ReportFrame::decode(&Bytes::from(self.report))
            .map_err(|error| unreadable(error.to_string()))?;
        let report = frame
            .reports
            .into_iter()
            .next()
            .ok_or_else(|| unreadable("it is empty".into()))?;
        Ok(ParkedReport {
            key,
            report,
            misses: u32::try_from(self.misses).unwrap_or(u32::MAX),
            since: Timestamp::from_millis(self.since),
        })
    }
}

/// A report as it is parked: a frame of one.
pub(super) fn to_park(report: &Report, version: FrameVersion) -> Vec<u8> {
    let frame = ReportFrame {
        reports: vec![report.clone()],
    };
    frame.encode(version).to_vec()
}

/// The reporter's room.
#[async_trait]
pub trait Reports: Send + Sync {
    /// Applies reports in one transaction: rows locked in key order, then status, webhook rows
    /// (owned by `me`, ids from `webhook_ids`), events, and last the daily statistics, aggregated and
    /// sorted. `webhook_ids` must hold an id per report.
    ///
    /// # Errors
    /// [`LedgerError`]; applying the same again is safe.
    async fn apply(
        &self,
        me: InstanceId,
        reports: &[Report],
        webhook_ids: &[WebhookId],
        now: Timestamp,
    ) -> Result<ApplyOutcome, LedgerError>;

    /// Ends what is overdue, in the same transaction as a report would: a recorded final answer and
    /// a parked report win over EXPIRED. A row that is no longer overdue is left.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn expire(
        &self,
        me: InstanceId,
        overdue: &[MessageId],
        webhook_ids: &[WebhookId],
        now: Timestamp,
        limits: super::Overdue,
    ) -> Result<u32, LedgerError>;

    /// Keeps reports that match no message yet; matched again when due.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn park(
        &self,
        reports: &[Report],
        now: Timestamp,
        due: Timestamp,
    ) -> Result<(), LedgerError>;

    /// Parked reports that are due, each pushed on to `again` so that no one else takes them
    /// meanwhile.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn take_parked(
        &self,
        now: Timestamp,
        again: Timestamp,
        limit: u32,
    ) -> Result<Vec<ParkedReport>, LedgerError>;

    /// Sets when parked reports are matched again, one miss more each.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn repark(&self, parked: &[(i64, Timestamp)]) -> Result<(), LedgerError>;

    /// How many reports are parked.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn parked_size(&self) -> Result<u64, LedgerError>;

    /// Removes parked reports that were applied or given up.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn unpark(&self, keys: &[i64]) -> Result<(), LedgerError>;
}
