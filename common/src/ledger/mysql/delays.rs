use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use serde_json::{Value, json};
use sqlx::MySqlConnection;

use super::{Fault, MysqlLedger, frames, json_ids, json_rows};
use crate::broker::{Member, QueueName};
use crate::clock::Timestamp;
use crate::domain::id::{InstanceId, MessageId, OutboxId};
use crate::domain::kind::MessageType;
use crate::domain::phase::Phase;
use crate::ledger::delays::{ASK, AskRow, LAST_ASK, RETRY};
use crate::ledger::rows::{NewDelay, attempt_from, kind_from, lane_from};
use crate::ledger::{Ask, Delays, Dispatch, DueGroup, LedgerError};

#[async_trait]
impl Delays for MysqlLedger {
    async fn release_due(
        &self,
        me: InstanceId,
        outbox: OutboxId,
        groups: &[DueGroup],
        now: Timestamp,
    ) -> Result<Option<Dispatch>, LedgerError> {
        let version = self.frame_version.get();
        self.transact(
            &(me, outbox, groups, now),
            move |tx, (me, outbox, groups, now)| {
                Box::pin(async move {
                    let mut released = Vec::new();
                    for group in *groups {
                        released.extend(release(&mut *tx, *group, *now).await?);
                    }
                    let publications = frames::send_frames(released, *now, version);
                    frames::keep(tx, *me, *outbox, publications, *now).await
                })
            },
        )
        .await
    }

    async fn next_due(&self, kinds: &[MessageType]) -> Result<Option<Timestamp>, LedgerError> {
        self.read(&kinds, |connection, kinds| {
            Box::pin(next_due(connection, kinds))
        })
        .await
    }

    async fn take_asks(
        &self,
        now: Timestamp,
        again: Timestamp,
        limit: u32,
    ) -> Result<Vec<Ask>, LedgerError> {
        // Looked at first without a transaction: most of the time there is nothing to ask.
        let waiting = self
            .read(&now, |connection, now| {
                Box::pin(due_questions(connection, *now))
            })
            .await?;
        if waiting.is_empty() {
            return Ok(Vec::new());
        }
        self.transact(
            &(waiting, now, again, limit),
            |tx, (waiting, now, again, limit)| {
                Box::pin(take_asks(tx, waiting, *now, *again, *limit))
            },
        )
        .await
    }

    async fn drop_asks(&self, messages: &[MessageId]) -> Result<(), LedgerError> {
        self.transact(&messages, |tx, messages| {
            Box::pin(async move {
                let keys = messages.iter().flat_map(|id| [(*id, ASK), (*id, LAST_ASK)]);
                delete(tx, keys.collect()).await
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
    tx: &mut MySqlConnection,
    kind: i64,
    rows: &[NewDelay],
) -> Result<(), Fault> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut rows = rows.to_vec();
    rows.sort_unstable_by_key(|row| row.message);
    let rows: Vec<Value> = rows
        .iter()
        .map(|row| json!([row.message, row.attempt, row.group, row.due.millis()]))
        .collect();
    sqlx::query(
        "INSERT INTO delays (message_id, kind, attempt, route_group, due) \
         SELECT j.a, ?, j.b, j.c, j.d FROM JSON_TABLE(?, '$[*]' COLUMNS (\
         a CHAR(13) CHARACTER SET ascii PATH '$[0]', b SMALLINT PATH '$[1]', \
         c SMALLINT PATH '$[2]', d BIGINT PATH '$[3]')) j \
         ON DUPLICATE KEY UPDATE attempt = VALUES(attempt), \
         route_group = VALUES(route_group), due = VALUES(due)",
    )
    .bind(kind)
    .bind(json_rows(&rows))
    .execute(tx)
    .await?;
    Ok(())
}

/// Deletes the delays with these keys, in order.
pub(super) async fn delete(
    tx: &mut MySqlConnection,
    keys: BTreeSet<(MessageId, i64)>,
) -> Result<(), Fault> {
    if keys.is_empty() {
        return Ok(());
    }
    let keys: Vec<Value> = keys.iter().map(|(id, kind)| json!([id, kind])).collect();
    sqlx::query(
        "DELETE d FROM JSON_TABLE(?, '$[*]' COLUMNS (\
         id CHAR(13) CHARACTER SET ascii PATH '$[0]', kind TINYINT PATH '$[1]')) j \
         STRAIGHT_JOIN delays d FORCE INDEX (PRIMARY) \
         ON d.message_id = j.id AND d.kind = j.kind",
    )
    .bind(json_rows(&keys))
    .execute(tx)
    .await?;
    Ok(())
}

/// A message that a due delay holds, and where it is.
#[derive(sqlx::FromRow)]
struct Waiting {
    message_id: MessageId,
    message_type: i64,
    lane: i64,
    phase: i64,
    attempt: i64,
}

impl Waiting {
    fn retry_queue(&self) -> QueueName {
        QueueName::Retry(lane_from(self.lane))
    }
}

/// Releases one group. Everybody else locks a message before its delay, and here the delay comes
/// first: so nothing is waited for. What another has in hand is left for the next time.
async fn release(
    tx: &mut MySqlConnection,
    group: DueGroup,
    now: Timestamp,
) -> Result<Vec<(QueueName, MessageType, Member)>, Fault> {
    let due = due_delays(&mut *tx, group, now).await?;
    if due.is_empty() {
        return Ok(Vec::new());
    }
    let free = free_messages(&mut *tx, &due).await?;
    let gone = gone_messages(
        &mut *tx,
        due.iter().filter(|(id, _)| !free.contains_key(id)),
    )
    .await?;
    // In the order of their time, not of their rows.
    let released: Vec<&Waiting> = due
        .iter()
        .filter_map(|(id, attempt)| {
            let message = free.get(id)?;
            let waits = message.phase == i64::from(Phase::Waiting.number());
            (waits && message.attempt == *attempt).then_some(message)
        })
        .collect();
    queue(&mut *tx, &released, now).await?;
    // Delays that no longer fit go too: their message is elsewhere, or nowhere.
    let done = free.keys().chain(&gone).map(|id| (*id, RETRY));
    delete(tx, done.collect()).await?;
    released
        .into_iter()
        .map(|message| {
            let member = Member {
                id: message.message_id,
                attempt: attempt_from(message.attempt),
            };
            Ok((
                message.retry_queue(),
                kind_from(message.message_type)?,
                member,
            ))
        })
        .collect()
}

/// Locks due delays of a group that nobody else has in hand, oldest first.
async fn due_delays(
    tx: &mut MySqlConnection,
    group: DueGroup,
    now: Timestamp,
) -> Result<Vec<(MessageId, i64)>, Fault> {
    let due = sqlx::query_as(
        "SELECT message_id, attempt FROM delays FORCE INDEX (idx_delay_group_due) \
         WHERE kind = ? AND route_group = ? AND due <= ? ORDER BY due LIMIT ? \
         FOR UPDATE SKIP LOCKED",
    )
    .bind(RETRY)
    .bind(i64::from(group.kind.number()))
    .bind(now.millis())
    .bind(group.limit)
    .fetch_all(tx)
    .await?;
    Ok(due)
}

/// Locks the messages of delays, as far as nobody else has them in hand.
async fn free_messages(
    tx: &mut MySqlConnection,
    due: &[(MessageId, i64)],
) -> Result<BTreeMap<MessageId, Waiting>, Fault> {
    let mut ids: Vec<MessageId> = due.iter().map(|(id, _)| *id).collect();
    ids.sort_unstable();
    let free: Vec<Waiting> = sqlx::query_as(
        "SELECT m.message_id, m.message_type, m.lane, m.phase, m.attempt \
         FROM (SELECT * FROM JSON_TABLE(?, '$[*]' \
         COLUMNS (id CHAR(13) CHARACTER SET ascii PATH '$')) list) j \
         STRAIGHT_JOIN messages m FORCE INDEX (PRIMARY) ON m.message_id = j.id \
         FOR UPDATE SKIP LOCKED",
    )
    .bind(json_ids(ids))
    .fetch_all(tx)
    .await?;
    Ok(free.into_iter().map(|one| (one.message_id, one)).collect())
}

/// Which of these there is no message for any more.
async fn gone_messages(
    tx: &mut MySqlConnection,
    delays: impl Iterator<Item = &(MessageId, i64)>,
) -> Result<Vec<MessageId>, Fault> {
    let ids: Vec<MessageId> = delays.map(|(id, _)| *id).collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let there: Vec<MessageId> = sqlx::query_scalar(
        "SELECT m.message_id \
         FROM JSON_TABLE(?, '$[*]' COLUMNS (id CHAR(13) CHARACTER SET ascii PATH '$')) j \
         STRAIGHT_JOIN messages m FORCE INDEX (PRIMARY) ON m.message_id = j.id",
    )
    .bind(json_ids(&ids))
    .fetch_all(tx)
    .await?;
    let there: BTreeSet<MessageId> = there.into_iter().collect();
    Ok(ids.into_iter().filter(|id| !there.contains(id)).collect())
}

/// WAITING → QUEUED for messages that are locked.
async fn queue(
    tx: &mut MySqlConnection,
    released: &[&Waiting],
    now: Timestamp,
) -> Result<(), Fault> {
    if released.is_empty() {
        return Ok(());
    }
    let rows: Vec<Value> = released
        .iter()
        .map(|message| json!([message.message_id, message.retry_queue().number()]))
        .collect();
    sqlx::query(
        "UPDATE JSON_TABLE(?, '$[*]' COLUMNS (id CHAR(13) CHARACTER SET ascii PATH '$[0]', \
         queue SMALLINT PATH '$[1]')) j \
         STRAIGHT_JOIN messages m FORCE INDEX (PRIMARY) ON m.message_id = j.id \
         SET m.phase = ?, m.queued_at = ?, m.queue = j.queue",
    )
    .bind(json_rows(&rows))
    .bind(i64::from(Phase::Queued.number()))
    .bind(now.millis())
    .execute(tx)
    .await?;
    Ok(())
}

async fn next_due(
    connection: &mut MySqlConnection,
    kinds: &[MessageType],
) -> Result<Option<Timestamp>, Fault> {
    let groups: Vec<Value> = kinds.iter().map(|kind| json!(kind.number())).collect();
    // idx_delay_group_due, one look-up a type: MySQL sees that nothing has to be sorted only if every
    // column of it is named.
    let due: Option<i64> = sqlx::query_scalar(
        "SELECT min(oldest.due) FROM (SELECT (SELECT d.due \
         FROM delays d FORCE INDEX (idx_delay_group_due) \
         WHERE d.kind = ? AND d.route_group = j.route_group \
         ORDER BY d.kind, d.route_group, d.due LIMIT 1) AS due \
         FROM JSON_TABLE(?, '$[*]' COLUMNS (route_group SMALLINT PATH '$')) j) oldest",
    )
    .bind(RETRY)
    .bind(json_rows(&groups))
    .fetch_one(connection)
    .await?;
    Ok(due.map(Timestamp::from_millis))
}

/// A kind of question and a route group.
type Questions = (i64, i64);

/// Where questions are due, those waiting longest first.
async fn due_questions(
    connection: &mut MySqlConnection,
    now: Timestamp,
) -> Result<Vec<Questions>, Fault> {
    let every: Vec<Value> = [ASK, LAST_ASK]
        .into_iter()
        .flat_map(|ask| MessageType::ALL.map(|kind| json!([ask, kind.number()])))
        .collect();
    // idx_delay_group_due, one look-up a kind of question and type, likewise.
    let due = sqlx::query_as(
        "SELECT oldest.kind, oldest.route_group FROM (SELECT j.kind, j.route_group, \
         (SELECT d.due FROM delays d FORCE INDEX (idx_delay_group_due) \
         WHERE d.kind = j.kind AND d.route_group = j.route_group \
         ORDER BY d.kind, d.route_group, d.due LIMIT 1) AS due \
         FROM JSON_TABLE(?, '$[*]' COLUMNS (kind TINYINT PATH '$[0]', \
         route_group SMALLINT PATH '$[1]')) j) oldest \
         WHERE oldest.due <= ? ORDER BY oldest.due",
    )
    .bind(json_rows(&every))
    .bind(now.millis())
    .fetch_all(connection)
    .await?;
    Ok(due)
}

async fn take_asks(
    tx: &mut MySqlConnection,
    waiting: &[Questions],
    now: Timestamp,
    again: Timestamp,
    limit: u32,
) -> Result<Vec<Ask>, Fault> {
    let mut due = Vec::new();
    for questions in waiting {
        let rest = (limit as usize).saturating_sub(due.len());
        due.extend(lock_questions(&mut *tx, *questions, now, rest).await?);
    }
    if due.is_empty() {
        return Ok(Vec::new());
    }
    let (open, settled): (Vec<_>, Vec<_>) = asked_for(&mut *tx, &due)
        .await?
        .into_iter()
        .partition(AskRow::is_open);
    let settled = settled.iter().map(|row| (row.message_id, row.kind));
    delete(&mut *tx, settled.collect()).await?;
    put_off(tx, &open, again).await?;
    Ok(open.iter().filter_map(AskRow::to_ask).collect())
}

/// Locks due questions of one kind and group that nobody else has in hand, oldest first.
async fn lock_questions(
    tx: &mut MySqlConnection,
    (kind, group): Questions,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<(MessageId, i64)>, Fault> {
    let questions = sqlx::query_as(
        "SELECT message_id, kind FROM delays FORCE INDEX (idx_delay_group_due) \
         WHERE kind = ? AND route_group = ? AND due <= ? ORDER BY due LIMIT ? \
         FOR UPDATE SKIP LOCKED",
    )
    .bind(kind)
    .bind(group)
    .bind(now.millis())
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(tx)
    .await?;
    Ok(questions)
}

/// Where the messages of questions are now. They are not locked: a message that becomes UNKNOWN
/// meanwhile waits for its question's row, and then writes it anew.
async fn asked_for(
    tx: &mut MySqlConnection,
    due: &[(MessageId, i64)],
) -> Result<Vec<AskRow>, Fault> {
    let keys: Vec<Value> = due.iter().map(|(id, kind)| json!([id, kind])).collect();
    let rows = sqlx::query_as(
        "SELECT j.id AS message_id, j.kind, coalesce(m.phase, 0) AS phase, m.submission_id, \
         m.provider_account, m.vendor_message_id \
         FROM JSON_TABLE(?, '$[*]' COLUMNS (id CHAR(13) CHARACTER SET ascii PATH '$[0]', \
         kind TINYINT PATH '$[1]')) j LEFT JOIN messages m ON m.message_id = j.id",
    )
    .bind(json_rows(&keys))
    .fetch_all(tx)
    .await?;
    Ok(rows)
}

async fn put_off(tx: &mut MySqlConnection, open: &[AskRow], again: Timestamp) -> Result<(), Fault> {
    if open.is_empty() {
        return Ok(());
    }
    let keys: Vec<Value> = open
        .iter()
        .map(|row| json!([row.message_id, row.kind]))
        .collect();
    sqlx::query(
        "UPDATE JSON_TABLE(?, '$[*]' COLUMNS (id CHAR(13) CHARACTER SET ascii PATH '$[0]', \
         kind TINYINT PATH '$[1]')) j STRAIGHT_JOIN delays d FORCE INDEX (PRIMARY) \
         ON d.message_id = j.id AND d.kind = j.kind SET d.due = ?",
    )
    .bind(json_rows(&keys))
    .bind(again.millis())
    .execute(tx)
    .await?;
    Ok(())
}
