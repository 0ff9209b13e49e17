use std::collections::HashMap;

use async_trait::async_trait;
use serde_json::{Value, json};
use sqlx::SqliteConnection;

use super::{SqliteLedger, frames, from_sqlx, json_list, json_rows};
use crate::broker::{Member, QueueName};
use crate::clock::Timestamp;
use crate::domain::id::{InstanceId, MessageId, OutboxId};
use crate::domain::kind::{Lane, MessageType};
use crate::domain::phase::Phase;
use crate::ledger::delays::{ASK, AskRow, LAST_ASK, RETRY};
use crate::ledger::rows::{NewDelay, attempt_from, kind_from, lane_from, lane_number};
use crate::ledger::{Ask, Delays, Dispatch, DueGroup, LedgerError};

#[async_trait]
impl Delays for SqliteLedger {
    async fn release_due(
        &self,
        me: InstanceId,
        outbox: OutboxId,
        groups: &[DueGroup],
        now: Timestamp,
    ) -> Result<Option<Dispatch>, LedgerError> {
        let (groups, version) = (groups.to_vec(), self.frame_version.get());
        self.writer
            .run(move |connection| {
                Box::pin(async move {
                    let mut released = Vec::new();
                    for group in groups {
                        released.extend(release(&mut *connection, group, now).await?);
                    }
                    let publications = frames::send_frames(released, now, version);
                    frames::keep(connection, me, outbox, publications, now).await
                })
            })
            .await
    }

    async fn next_due(&self, kinds: &[MessageType]) -> Result<Option<Timestamp>, LedgerError> {
        // idx_delay_group_due, one look-up a type.
        let due: Option<i64> = sqlx::query_scalar(
            "SELECT min((SELECT d.due FROM delays d WHERE d.kind = ?1 AND d.route_group = j.value \
             ORDER BY d.due LIMIT 1)) FROM json_each(?2) j",
        )
        .bind(RETRY)
        .bind(json_list(kinds.iter().map(|kind| i64::from(kind.number()))))
        .fetch_one(self.readers())
        .await
        .map_err(from_sqlx)?;
        Ok(due.map(Timestamp::from_millis))
    }

    async fn take_asks(
        &self,
        now: Timestamp,
        again: Timestamp,
        limit: u32,
    ) -> Result<Vec<Ask>, LedgerError> {
        let waiting: Option<i64> = sqlx::query_scalar(
            "SELECT 1 FROM delays WHERE kind IN (?, ?) \
             AND route_group IN (SELECT value FROM json_each(?)) AND due <= ? LIMIT 1",
        )
        .bind(ASK)
        .bind(LAST_ASK)
        .bind(every_group())
        .bind(now.millis())
        .fetch_optional(self.readers())
        .await
        .map_err(from_sqlx)?;
        if waiting.is_none() {
            return Ok(Vec::new());
        }
        self.writer
            .run(move |connection| Box::pin(take_asks(connection, now, again, limit)))
            .await
    }

    async fn drop_asks(&self, messages: &[MessageId]) -> Result<(), LedgerError> {
        let ids = json_list(messages.iter().map(|id| id.to_column()));
        self.writer
            .run(move |connection| {
                Box::pin(async move {
                    sqlx::query(
                        "DELETE FROM delays WHERE kind IN (?, ?) \
                         AND message_id IN (SELECT value FROM json_each(?))",
                    )
                    .bind(ASK)
                    .bind(LAST_ASK)
                    .bind(ids)
                    .execute(connection)
                    .await
                    .map_err(from_sqlx)?;
                    Ok(())
                })
            })
            .await
    }

    async fn delays_size(&self) -> Result<u64, LedgerError> {
        super::count(self, "SELECT count(*) FROM delays").await
    }
}

/// Adds delay rows of a kind; one that is there is moved.
pub(super) async fn add(
    connection: &mut SqliteConnection,
    kind: i64,
    rows: &[NewDelay],
) -> Result<(), LedgerError> {
    if rows.is_empty() {
        return Ok(());
    }
    let rows: Vec<Value> = rows
        .iter()
        .map(|row| {
            json!([
                row.message.to_column(),
                row.attempt,
                row.group,
                row.due.millis()
            ])
        })
        .collect();
    sqlx::query(
        "INSERT INTO delays (message_id, kind, attempt, route_group, due) \
         SELECT value->>0, ?1, value->>1, value->>2, value->>3 FROM json_each(?2) WHERE true \
         ON CONFLICT (message_id, kind) DO UPDATE \
         SET attempt = excluded.attempt, route_group = excluded.route_group, due = excluded.due",
    )
    .bind(kind)
    .bind(json_rows(&rows))
    .execute(connection)
    .await
    .map_err(from_sqlx)?;
    Ok(())
}

async fn release(
    connection: &mut SqliteConnection,
    group: DueGroup,
    now: Timestamp,
) -> Result<Vec<(QueueName, MessageType, Member)>, LedgerError> {
    // idx_delay_group_due
    let due: Vec<(i64, i64)> = sqlx::query_as(
        "SELECT message_id, attempt FROM delays \
         WHERE kind = ? AND route_group = ? AND due <= ? ORDER BY due LIMIT ?",
    )
    .bind(RETRY)
    .bind(i64::from(group.kind.number()))
    .bind(now.millis())
    .bind(i64::from(group.limit))
    .fetch_all(&mut *connection)
    .await
    .map_err(from_sqlx)?;
    if due.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<Value> = due
        .iter()
        .map(|(id, attempt)| json!([id, attempt]))
        .collect();
    let mut released: Vec<(i64, i64, i64, i64)> = sqlx::query_as(
        "UPDATE messages SET phase = ?1, queued_at = ?2, queue = ?3 ->> lane \
         FROM json_each(?4) j WHERE messages.message_id = j.value->>0 \
         AND phase = ?5 AND attempt = j.value->>1 \
         RETURNING message_id, attempt, message_type, lane",
    )
    .bind(i64::from(Phase::Queued.number()))
    .bind(now.millis())
    .bind(retry_queues())
    .bind(json_rows(&rows))
    .bind(i64::from(Phase::Waiting.number()))
    .fetch_all(&mut *connection)
    .await
    .map_err(from_sqlx)?;
    // In the order of their time, not of their rows.
    let place: HashMap<i64, usize> = due
        .iter()
        .enumerate()
        .map(|(place, (id, _))| (*id, place))
        .collect();
    released.sort_by_key(|(id, ..)| place.get(id).copied());
    // Rows that no longer fit go too: their message is elsewhere.
    sqlx::query(
        "DELETE FROM delays WHERE kind = ? AND message_id IN (SELECT value FROM json_each(?))",
    )
    .bind(RETRY)
    .bind(json_list(due.iter().map(|(id, _)| *id)))
    .execute(connection)
    .await
    .map_err(from_sqlx)?;
    released
        .into_iter()
        .map(|(id, attempt, kind, lane)| {
            let member = Member {
                id: MessageId::from_column(id),
                attempt: attempt_from(attempt),
            };
            Ok((QueueName::Retry(lane_from(lane)), kind_from(kind)?, member))
        })
        .collect()
}

/// The number of each lane's retry queue, at the place that is the lane's number.
fn retry_queues() -> String {
    let mut lanes = Lane::ALL;
    lanes.sort_by_key(|lane| lane_number(*lane));
    json_list(
        lanes
            .into_iter()
            .map(|lane| i64::from(QueueName::Retry(lane).number())),
    )
}

/// Every route group there can be: naming them makes asks a few ranges of the index.
fn every_group() -> String {
    json_list(
        MessageType::ALL
            .into_iter()
            .map(|kind| i64::from(kind.number())),
    )
}

/// The keys of asks, for `json_each`.
fn keys(rows: &[AskRow]) -> String {
    let keys: Vec<Value> = rows
        .iter()
        .map(|row| json!([row.message_id.to_column(), row.kind]))
        .collect();
    json_rows(&keys)
}

async fn take_asks(
    connection: &mut SqliteConnection,
    now: Timestamp,
    again: Timestamp,
    limit: u32,
) -> Result<Vec<Ask>, LedgerError> {
    // idx_delay_group_due, one range a group.
    let due: Vec<AskRow> = sqlx::query_as(
        "SELECT d.message_id, d.kind, coalesce(m.phase, 0) AS phase, m.submission_id, \
         m.provider_account, m.vendor_message_id \
         FROM delays d LEFT JOIN messages m ON m.message_id = d.message_id \
         WHERE d.kind IN (?, ?) AND d.route_group IN (SELECT value FROM json_each(?)) AND d.due <= ? \
         ORDER BY d.due LIMIT ?",
    )
    .bind(ASK)
    .bind(LAST_ASK)
    .bind(every_group())
    .bind(now.millis())
    .bind(i64::from(limit))
    .fetch_all(&mut *connection)
    .await
    .map_err(from_sqlx)?;
    let (open, settled): (Vec<_>, Vec<_>) = due.into_iter().partition(AskRow::is_open);
    sqlx::query(
        "DELETE FROM delays WHERE (message_id, kind) IN \
         (SELECT value->>0, value->>1 FROM json_each(?))",
    )
    .bind(keys(&settled))
    .execute(&mut *connection)
    .await
    .map_err(from_sqlx)?;
    sqlx::query(
        "UPDATE delays SET due = ? WHERE (message_id, kind) IN \
         (SELECT value->>0, value->>1 FROM json_each(?))",
    )
    .bind(again.millis())
    .bind(keys(&open))
    .execute(connection)
    .await
    .map_err(from_sqlx)?;
    Ok(open.iter().filter_map(AskRow::to_ask).collect())
}
