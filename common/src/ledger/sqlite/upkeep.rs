use async_trait::async_trait;
use serde_json::{Value, json};

use super::intake::id_list;
use super::{
    SqliteLedger, delays, ending, frames, from_sqlx, json_list, json_rows, message_columns,
    settling,
};
use crate::broker::ReportFrame;
use crate::clock::Timestamp;
use crate::domain::event::EventKind;
use crate::domain::id::{InstanceId, MessageId, OutboxId, SubmissionId};
use crate::domain::phase::Phase;
use crate::domain::report::Report;
use crate::domain::status::Status;
use crate::ledger::delays::{ASK, LAST_ASK, RETRY};
use crate::ledger::rows::{MessageRow, status_number};
use crate::ledger::settling::LostCall;
use crate::ledger::upkeep::{DoubtfulRow, OTHERS, QueuedRow, first_webhook};
use crate::ledger::{Dispatch, LedgerError, Upkeep, Watched, WatchedStatus};

#[async_trait]
impl Upkeep for SqliteLedger {
    async fn walk(
        &self,
        status: WatchedStatus,
        after: Option<MessageId>,
        limit: u32,
    ) -> Result<Vec<Watched>, LedgerError> {
        // idx_message_status holds the primary key as its second part, so this is one range of it.
        let rows: Vec<MessageRow> = sqlx::query_as(concat!(
            "SELECT ",
            message_columns!(),
            " FROM messages m INDEXED BY idx_message_status \
             WHERE m.status = ? AND m.message_id > ? ORDER BY m.message_id LIMIT ?"
        ))
        .bind(status.number())
        .bind(after.map_or(i64::MIN, MessageId::to_column))
        .bind(i64::from(limit))
        .fetch_all(self.readers())
        .await
        .map_err(from_sqlx)?;
        rows.iter().map(MessageRow::to_watched).collect()
    }

    async fn take_over(
        &self,
        claims: &[(MessageId, SubmissionId, Option<Timestamp>)],
        why: &str,
        now: Timestamp,
    ) -> Result<u32, LedgerError> {
        let claims: Vec<_> = claims
            .iter()
            .map(|(id, call, ask_at)| LostCall {
                id: *id,
                submission: *call,
                ask_at: *ask_at,
                note: why.to_owned(),
            })
            .collect();
        self.writer
            .run(move |connection| {
                Box::pin(async move {
                    settling::unknown(connection, &claims, EventKind::TakenOver, now).await
                })
            })
            .await
    }

    async fn queue_again(
        &self,
        me: InstanceId,
        outbox: OutboxId,
        lost: &[(MessageId, Timestamp)],
        now: Timestamp,
    ) -> Result<Option<Dispatch>, LedgerError> {
        let rows: Vec<Value> = lost
            .iter()
            .map(|(id, at)| json!([id.to_column(), at.millis()]))
            .collect();
        let version = self.frame_version.get();
        self.writer
            .run(move |connection| {
                Box::pin(async move {
                    let queued: Vec<QueuedRow> = sqlx::query_as(
                        "UPDATE messages SET queued_at = ?1 FROM json_each(?2) j \
                         WHERE messages.message_id = j.value->>0 AND queued_at = j.value->>1 \
                         AND phase = ?3 RETURNING message_id, attempt, message_type, queue",
                    )
                    .bind(now.millis())
                    .bind(json_rows(&rows))
                    .bind(i64::from(Phase::Queued.number()))
                    .fetch_all(&mut *connection)
                    .await
                    .map_err(from_sqlx)?;
                    let members = queued
                        .iter()
                        .map(QueuedRow::to_member)
                        .collect::<Result<Vec<_>, _>>()?;
                    let publications = frames::send_frames(members, now, version);
                    frames::keep(connection, me, outbox, publications, now).await
                })
            })
            .await
    }

    async fn report_again(
        &self,
        me: InstanceId,
        outbox: OutboxId,
        answered: &[(MessageId, Timestamp)],
        now: Timestamp,
    ) -> Result<Option<Dispatch>, LedgerError> {
        let answered: Vec<Value> = answered
            .iter()
            .map(|(id, at)| json!([id.to_column(), at.millis()]))
            .collect();
        let version = self.frame_version.get();
        self.writer
            .run(move |connection| {
                Box::pin(async move {
                    // Moving answered_at on keeps the next round from doing it again at once.
                    let rows: Vec<MessageRow> = sqlx::query_as(concat!(
                        "SELECT ",
                        message_columns!(),
                        " FROM json_each(?) j CROSS JOIN messages m ON m.message_id = j.value->>0 \
                         WHERE m.answered_at = j.value->>1 AND m.phase = ? \
                         AND m.verdict IS NOT NULL"
                    ))
                    .bind(json_rows(&answered))
                    .bind(i64::from(Phase::Answered.number()))
                    .fetch_all(&mut *connection)
                    .await
                    .map_err(from_sqlx)?;
                    sqlx::query(
                        "UPDATE messages SET answered_at = ? \
                         WHERE message_id IN (SELECT value FROM json_each(?))",
                    )
                    .bind(now.millis())
                    .bind(json_list(rows.iter().map(|row| row.message_id.to_column())))
                    .execute(&mut *connection)
                    .await
                    .map_err(from_sqlx)?;
                    let reports: Vec<Report> = rows
                        .iter()
                        .filter_map(MessageRow::recorded_answer)
                        .collect();
                    let publications = ReportFrame::publications(&reports, version);
                    frames::keep(connection, me, outbox, publications, now).await
                })
            })
            .await
    }

    async fn ask_once_more(
        &self,
        messages: &[MessageId],
        now: Timestamp,
    ) -> Result<u32, LedgerError> {
        let ids = id_list(messages.iter().copied());
        self.writer
            .run(move |connection| {
                Box::pin(async move {
                    let added = sqlx::query(
                        "INSERT INTO delays (message_id, kind, attempt, route_group, due) \
                         SELECT m.message_id, ?1, m.attempt, m.message_type, ?2 FROM messages m \
                         WHERE m.message_id IN (SELECT value FROM json_each(?3)) \
                         AND m.phase IN (?4, ?5) AND m.verdict IS NULL \
                         ON CONFLICT (message_id, kind) DO NOTHING",
                    )
                    .bind(LAST_ASK)
                    .bind(now.millis())
                    .bind(ids)
                    .bind(i64::from(Phase::Unknown.number()))
                    .bind(i64::from(Phase::Answered.number()))
                    .execute(connection)
                    .await
                    .map_err(from_sqlx)?;
                    Ok(u32::try_from(added.rows_affected()).unwrap_or(u32::MAX))
                })
            })
            .await
    }

    async fn delay_again(
        &self,
        messages: &[MessageId],
        now: Timestamp,
    ) -> Result<u32, LedgerError> {
        let ids = id_list(messages.iter().copied());
        // Looked at with a reader first: most of the time every one of them has its delay, and the
        // writer has better things to do.
        let adrift: Vec<i64> = sqlx::query_scalar(
            "SELECT m.message_id FROM messages m \
             WHERE m.message_id IN (SELECT value FROM json_each(?)) AND m.phase = ? \
             AND NOT EXISTS (SELECT 1 FROM delays d \
                 WHERE d.message_id = m.message_id AND d.kind = ?)",
        )
        .bind(ids)
        .bind(i64::from(Phase::Waiting.number()))
        .bind(RETRY)
        .fetch_all(self.readers())
        .await
        .map_err(from_sqlx)?;
        if adrift.is_empty() {
            return Ok(0);
        }
        self.writer
            .run(move |connection| {
                Box::pin(async move {
                    let added = sqlx::query(
                        "INSERT INTO delays (message_id, kind, attempt, route_group, due) \
                         SELECT m.message_id, ?1, m.attempt, m.message_type, ?2 FROM messages m \
                         WHERE m.message_id IN (SELECT value FROM json_each(?3)) AND m.phase = ?4 \
                         ON CONFLICT (message_id, kind) DO NOTHING",
                    )
                    .bind(RETRY)
                    .bind(now.millis())
                    .bind(json_list(adrift))
                    .bind(i64::from(Phase::Waiting.number()))
                    .execute(connection)
                    .await
                    .map_err(from_sqlx)?;
                    Ok(u32::try_from(added.rows_affected()).unwrap_or(u32::MAX))
                })
            })
            .await
    }

    async fn restored(&self, seen: u64, now: Timestamp) -> Result<u64, LedgerError> {
        self.writer
            .run(move |connection| {
                Box::pin(async move {
                    let doubtful: Vec<DoubtfulRow> = sqlx::query_as(
                        "UPDATE messages SET phase = ?1, claimed_at = ?2, owner = NULL \
                         WHERE status = ?3 AND phase IN (?4, ?5, ?6) \
                         RETURNING message_id, attempt, message_type, \
                         provider_account IS NOT NULL AS was_claimed",
                    )
                    .bind(i64::from(Phase::Unknown.number()))
                    .bind(now.millis())
                    .bind(status_number(Status::Received))
                    .bind(i64::from(Phase::Queued.number()))
                    .bind(i64::from(Phase::Waiting.number()))
                    .bind(i64::from(Phase::Submitting.number()))
                    .fetch_all(&mut *connection)
                    .await
                    .map_err(from_sqlx)?;
                    sqlx::query("DELETE FROM delays WHERE kind = ?")
                        .bind(RETRY)
                        .execute(&mut *connection)
                        .await
                        .map_err(from_sqlx)?;
                    sqlx::query("UPDATE ledger_counter SET counter = max(counter, ?) + 1")
                        .bind(seen.cast_signed())
                        .execute(&mut *connection)
                        .await
                        .map_err(from_sqlx)?;
                    let asks: Vec<_> = doubtful.iter().filter_map(|row| row.ask(now)).collect();
                    delays::add(&mut *connection, ASK, &asks).await?;
                    let events: Vec<_> = doubtful.iter().map(DoubtfulRow::event).collect();
                    ending::add_events(connection, &events, now).await?;
                    Ok(doubtful.len() as u64)
                })
            })
            .await
    }

    async fn retire_messages(&self, before: Timestamp, limit: u32) -> Result<u32, LedgerError> {
        let now = self.clock.now();
        let first_id = first_webhook(before).to_column();
        self.writer
            .run(move |connection| {
                Box::pin(async move {
                    // idx_message_created_at
                    let old: Vec<i64> = sqlx::query_scalar(
                        "SELECT message_id FROM messages WHERE created_at < ? AND phase = ? \
                         ORDER BY created_at LIMIT ?",
                    )
                    .bind(before.millis())
                    .bind(i64::from(Phase::Done.number()))
                    .bind(i64::from(limit))
                    .fetch_all(&mut *connection)
                    .await
                    .map_err(from_sqlx)?;
                    if !old.is_empty() {
                        // The day totals are frozen before the first message they count goes.
                        sqlx::query(
                            "UPDATE partner_daily_stats SET frozen = 1 \
                             WHERE stat_date <= ? AND frozen = 0",
                        )
                        .bind(before.kst_day().number())
                        .execute(&mut *connection)
                        .await
                        .map_err(from_sqlx)?;
                    }
                    let ids = json_list(old.iter().copied());
                    for statement in [
                        "DELETE FROM message_events \
                         WHERE message_id IN (SELECT value FROM json_each(?))",
                        "DELETE FROM messages \
                         WHERE message_id IN (SELECT value FROM json_each(?))",
                    ] {
                        sqlx::query(statement)
                            .bind(&ids)
                            .execute(&mut *connection)
                            .await
                            .map_err(from_sqlx)?;
                    }
                    // What waits for a disabled endpoint is kept as long as its messages. Ids are
                    // in order of time, so this is the head of the table; a dead letter that was
                    // sent again has its old id, but is young.
                    sqlx::query(
                        "DELETE FROM webhooks WHERE webhook_id IN (SELECT webhook_id \
                         FROM webhooks WHERE webhook_id < ? AND created_at < ? LIMIT ?)",
                    )
                    .bind(first_id)
                    .bind(before.millis())
                    .bind(OTHERS)
                    .execute(&mut *connection)
                    .await
                    .map_err(from_sqlx)?;
                    for (statement, until) in [
                        (
                            "DELETE FROM dead_letters WHERE dead_letter_id IN \
                             (SELECT dead_letter_id FROM dead_letters \
                              WHERE created_at < ? LIMIT ?)",
                            before,
                        ),
                        (
                            "DELETE FROM refresh_tokens WHERE token_hash IN \
                             (SELECT token_hash FROM refresh_tokens \
                              WHERE expires_at < ? LIMIT ?)",
                            now,
                        ),
                    ] {
                        sqlx::query(statement)
                            .bind(until.millis())
                            .bind(OTHERS)
                            .execute(&mut *connection)
                            .await
                            .map_err(from_sqlx)?;
                    }
                    Ok(u32::try_from(old.len()).unwrap_or(u32::MAX))
                })
            })
            .await
    }
}
