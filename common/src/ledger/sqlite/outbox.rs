use std::time::Duration;

use async_trait::async_trait;
use sqlx::SqliteConnection;

use super::{SqliteLedger, frames, from_sqlx, json_list};
use crate::broker::ReportFrame;
use crate::clock::Timestamp;
use crate::domain::id::{InstanceId, OutboxId};
use crate::domain::report::Report;
use crate::ledger::{Dispatch, LedgerError, Outbox};

/// A row this much younger than now is from before the clock went back.
const AHEAD: Duration = Duration::from_secs(1);

#[async_trait]
impl Outbox for SqliteLedger {
    async fn retire(&self, rows: &[OutboxId]) -> Result<(), LedgerError> {
        let rows = rows.to_vec();
        self.writer
            .run(move |connection| Box::pin(async move { delete(connection, &rows).await }))
            .await
    }

    async fn outbox_of(
        &self,
        me: InstanceId,
        after: Option<OutboxId>,
        before: Timestamp,
        limit: u32,
    ) -> Result<Vec<Dispatch>, LedgerError> {
        let rows: Vec<(OutboxId, Vec<u8>)> = sqlx::query_as(
            // A row from the future was made before the clock went back: it is old, too.
            "SELECT outbox_id, frames FROM outbox WHERE owner = ? AND outbox_id > ? \
             AND (created_at < ? OR created_at > ?) ORDER BY outbox_id LIMIT ?",
        )
        .bind(me.to_column())
        .bind(after.map_or(0, OutboxId::to_column))
        .bind(before.millis())
        .bind(self.clock.now().plus(AHEAD).millis())
        .bind(i64::from(limit))
        .fetch_all(self.readers())
        .await
        .map_err(from_sqlx)?;
        rows.iter()
            .map(|(id, frames)| frames::read(*id, frames))
            .collect()
    }

    async fn adopt_outbox(&self, me: InstanceId, limit: u32) -> Result<Vec<Dispatch>, LedgerError> {
        let now = self.clock.now();
        // Looked at first with a reader: most of the time there is nothing to adopt, and a write
        // transaction a second would be paid for nothing.
        let orphans: Vec<i64> = sqlx::query_scalar(ORPHANS)
            .bind(now.millis())
            .bind(i64::from(limit))
            .fetch_all(self.readers())
            .await
            .map_err(from_sqlx)?;
        if orphans.is_empty() {
            return Ok(Vec::new());
        }
        self.writer
            .run(move |connection| {
                Box::pin(async move {
                    let rows: Vec<(OutboxId, Vec<u8>)> = sqlx::query_as(
                        "UPDATE outbox SET owner = ?1 \
                         WHERE outbox_id IN (SELECT value FROM json_each(?2)) \
                         AND (owner IS NULL OR owner NOT IN \
                              (SELECT instance_id FROM instances WHERE lease_until > ?3)) \
                         RETURNING outbox_id, frames",
                    )
                    .bind(me.to_column())
                    .bind(json_list(orphans))
                    .bind(now.millis())
                    .fetch_all(connection)
                    .await
                    .map_err(from_sqlx)?;
                    rows.iter()
                        .map(|(id, frames)| frames::read(*id, frames))
                        .collect()
                })
            })
            .await
    }

    async fn release_outbox(&self, me: InstanceId) -> Result<u64, LedgerError> {
        self.writer
            .run(move |connection| {
                Box::pin(async move {
                    let done = sqlx::query("UPDATE outbox SET owner = NULL WHERE owner = ?")
                        .bind(me.to_column())
                        .execute(connection)
                        .await
                        .map_err(from_sqlx)?;
                    Ok(done.rows_affected())
                })
            })
            .await
    }

    async fn outbox_size(&self) -> Result<u64, LedgerError> {
        super::count(self, "SELECT count(*) FROM outbox").await
    }

    async fn keep_reports(
        &self,
        me: InstanceId,
        outbox: OutboxId,
        reports: &[Report],
        cursor: Option<(&str, &str)>,
        now: Timestamp,
    ) -> Result<Option<Dispatch>, LedgerError> {
        let publications = ReportFrame::publications(reports, self.frame_version.get());
        let cursor = cursor.map(|(source, at)| (source.to_owned(), at.to_owned()));
        self.writer
            .run(move |connection| {
                Box::pin(async move {
                    if let Some((source, at)) = cursor {
                        sqlx::query(
                            "INSERT INTO poll_cursors (source, cursor) VALUES (?, ?) \
                             ON CONFLICT (source) DO UPDATE SET cursor = excluded.cursor",
                        )
                        .bind(source)
                        .bind(at)
                        .execute(&mut *connection)
                        .await
                        .map_err(from_sqlx)?;
                    }
                    frames::keep(connection, me, outbox, publications, now).await
                })
            })
            .await
    }

    async fn poll_cursor(&self, source: &str) -> Result<Option<String>, LedgerError> {
        let row: Option<Option<String>> =
            sqlx::query_scalar("SELECT cursor FROM poll_cursors WHERE source = ?")
                .bind(source)
                .fetch_optional(self.readers())
                .await
                .map_err(from_sqlx)?;
        Ok(row.flatten())
    }

    async fn lease_poll(
        &self,
        me: InstanceId,
        source: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<bool, LedgerError> {
        let source = source.to_owned();
        self.writer
            .run(move |connection| {
                Box::pin(async move {
                    let taken = sqlx::query(
                        "INSERT INTO poll_cursors (source, leased_by, leased_until) \
                         VALUES (?1, ?2, ?3) ON CONFLICT (source) DO UPDATE \
                         SET leased_by = ?2, leased_until = ?3 \
                         WHERE leased_by IS NULL OR leased_by = ?2 OR leased_until <= ?4 \
                         OR leased_by NOT IN \
                            (SELECT instance_id FROM instances WHERE lease_until > ?4)",
                    )
                    .bind(source)
                    .bind(me.to_column())
                    .bind(until.millis())
                    .bind(now.millis())
                    .execute(connection)
                    .await
                    .map_err(from_sqlx)?;
                    Ok(taken.rows_affected() == 1)
                })
            })
            .await
    }
}

const ORPHANS: &str = "SELECT outbox_id FROM outbox WHERE owner IS NULL OR owner NOT IN \
                       (SELECT instance_id FROM instances WHERE lease_until > ?) \
                       ORDER BY outbox_id LIMIT ?";

/// Deletes retired rows.
pub(super) async fn delete(
    connection: &mut SqliteConnection,
    rows: &[OutboxId],
) -> Result<(), LedgerError> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query("DELETE FROM outbox WHERE outbox_id IN (SELECT value FROM json_each(?))")
        .bind(json_list(rows.iter().map(|row| row.to_column())))
        .execute(connection)
        .await
        .map_err(from_sqlx)?;
    Ok(())
}
