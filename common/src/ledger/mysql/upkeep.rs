use std::collections::BTreeSet;

use async_trait::async_trait;
use serde_json::{Value, json};
use sqlx::{FromRow, MySqlConnection};

use super::{
    Fault, MysqlLedger, delays, ending, frames, json_ids, json_rows, lease_now, message_columns,
    settling,
};
use crate::broker::{FrameVersion, ReportFrame};
use crate::clock::Timestamp;
use crate::domain::event::EventKind;
use crate::domain::id::{InstanceId, MessageId, OutboxId, SubmissionId};
use crate::domain::phase::Phase;
use crate::domain::report::Report;
use crate::domain::status::Status;
use crate::ledger::delays::{ASK, LAST_ASK, RETRY};
use crate::ledger::rows::{MessageRow, NewDelay, status_number};
use crate::ledger::settling::LostCall;
use crate::ledger::upkeep::{DoubtfulRow, OTHERS, QueuedRow, first_webhook};
use crate::ledger::{Dispatch, LedgerError, Upkeep, Watched, WatchedStatus};

/// How many rows a transaction looks at after the ledger went back.
const CHUNK: i64 = 5_000;

#[async_trait]
impl Upkeep for MysqlLedger {
    async fn walk(
        &self,
        status: WatchedStatus,
        after: Option<MessageId>,
        limit: u32,
    ) -> Result<Vec<Watched>, LedgerError> {
        let rows = self
            .read(&(status, after, limit), |connection, given| {
                let (status, after, limit) = *given;
                Box::pin(walk(connection, status, after, limit))
            })
            .await?;
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
        self.transact(&(claims, now), |tx, (claims, now)| {
            Box::pin(settling::unknown(tx, claims, EventKind::TakenOver, *now))
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
        let version = self.frame_version.get();
        let given = (me, outbox, lost, now);
        self.transact(&given, move |tx, (me, outbox, lost, now)| {
            Box::pin(queue_again(tx, *me, *outbox, lost, *now, version))
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
        let version = self.frame_version.get();
        let given = (me, outbox, answered, now);
        self.transact(&given, move |tx, (me, outbox, answered, now)| {
            Box::pin(report_again(tx, *me, *outbox, answered, *now, version))
        })
        .await
    }

    async fn ask_once_more(
        &self,
        messages: &[MessageId],
        now: Timestamp,
    ) -> Result<u32, LedgerError> {
        self.transact(&(messages, now), |tx, (messages, now)| {
            Box::pin(ask_once_more(tx, messages, *now))
        })
        .await
    }

    async fn delay_again(
        &self,
        messages: &[MessageId],
        now: Timestamp,
    ) -> Result<u32, LedgerError> {
        // Looked at without a lock first: most of the time every one of them has its delay.
        let adrift: Vec<MessageId> = self
            .read(&messages, |connection, messages| {
                Box::pin(adrift(connection, messages))
            })
            .await?;
        if adrift.is_empty() {
            return Ok(0);
        }
        self.transact(&(adrift, now), |tx, (adrift, now)| {
            Box::pin(delay_again(tx, adrift, *now))
        })
        .await
    }

    /// In chunks, each a transaction: every doubtful row at once would be too long for one. The
    /// counter is raised last, so that a ledger which was broken off half-way is still refused by
    /// everybody, and this is called again: what has become UNKNOWN is no longer doubtful, so that
    /// nothing is done twice. Delays go after the last row that they could have moved.
    async fn restored(&self, seen: u64, now: Timestamp) -> Result<u64, LedgerError> {
        let mut doubtful = 0;
        let mut after = None;
        loop {
            let looked = self
                .transact(&(after, now), |tx, (after, now)| {
                    Box::pin(doubt(tx, *after, *now))
                })
                .await?;
            doubtful += looked.doubtful;
            match looked.next {
                Some(last) => after = Some(last),
                None => break,
            }
        }
        while self
            .transact(&(), |tx, ()| Box::pin(drop_retries(tx)))
            .await?
            == CHUNK.unsigned_abs()
        {}
        // Alone, as wherever it is raised: every heartbeat waits for this row.
        self.singly(&seen, |connection, seen| {
            Box::pin(async move {
                sqlx::query("UPDATE ledger_counter SET counter = greatest(counter, ?) + 1")
                    .bind(seen.cast_signed())
                    .execute(connection)
                    .await?;
                Ok(())
            })
        })
        .await?;
        Ok(doubtful)
    }

    async fn retire_messages(&self, before: Timestamp, limit: u32) -> Result<u32, LedgerError> {
        let retired = self
            .transact(&(before, limit), |tx, (before, limit)| {
                Box::pin(retire(tx, *before, *limit))
            })
            .await?;
        // Each a transaction of its own: they lock nothing that the others lock.
        self.transact(&before, |tx, before| Box::pin(retire_webhooks(tx, *before)))
            .await?;
        self.transact(&before, |tx, before| Box::pin(retire_letters(tx, *before)))
            .await?;
        let now = self.lease_clock.given();
        self.transact(&now, |tx, now| Box::pin(retire_tokens(tx, *now)))
            .await?;
        Ok(retired)
    }
}

async fn walk(
    connection: &mut MySqlConnection,
    status: WatchedStatus,
    after: Option<MessageId>,
    limit: u32,
) -> Result<Vec<MessageRow>, Fault> {
    // idx_message_status holds the primary key as its second part, so this is one range of it.
    let rows = sqlx::query_as(concat!(
        "SELECT ",
        message_columns!(),
        " FROM messages m FORCE INDEX (idx_message_status) \
         WHERE m.status = ? AND m.message_id > ? ORDER BY m.message_id LIMIT ?"
    ));
    let rows = rows
        .bind(status.number())
        .bind(text_or_first(after))
        .bind(i64::from(limit));
    Ok(rows.fetch_all(connection).await?)
}

/// An id to begin after; no id is before the empty text.
fn text_or_first(after: Option<MessageId>) -> String {
    after.map(|id| id.to_string()).unwrap_or_default()
}

async fn queue_again(
    tx: &mut MySqlConnection,
    me: InstanceId,
    outbox: OutboxId,
    lost: &[(MessageId, Timestamp)],
    now: Timestamp,
    version: FrameVersion,
) -> Result<Option<Dispatch>, Fault> {
    let queued = sqlx::query_as(
        "SELECT m.message_id, m.attempt, m.message_type, m.queue \
         FROM (SELECT * FROM JSON_TABLE(?, '$[*]' \
         COLUMNS (id CHAR(13) CHARACTER SET ascii PATH '$[0]', \
         queued_at BIGINT PATH '$[1]')) list) j STRAIGHT_JOIN messages m ON m.message_id = j.id \
         WHERE m.queued_at = j.queued_at AND m.phase = ? FOR UPDATE",
    );
    let queued: Vec<QueuedRow> = queued
        .bind(moments(lost))
        .bind(i64::from(Phase::Queued.number()))
        .fetch_all(&mut *tx)
        .await?;
    if queued.is_empty() {
        return Ok(None);
    }
    sqlx::query(
        "UPDATE JSON_TABLE(?, '$[*]' COLUMNS (id CHAR(13) CHARACTER SET ascii PATH '$')) j \
         STRAIGHT_JOIN messages m ON m.message_id = j.id SET m.queued_at = ?",
    )
    .bind(json_ids(queued.iter().map(|row| row.message_id)))
    .bind(now.millis())
    .execute(&mut *tx)
    .await?;
    let members = queued
        .iter()
        .map(QueuedRow::to_member)
        .collect::<Result<Vec<_>, _>>()?;
    let publications = frames::send_frames(members, now, version);
    frames::keep(tx, me, outbox, publications, now).await
}

async fn report_again(
    tx: &mut MySqlConnection,
    me: InstanceId,
    outbox: OutboxId,
    answered: &[(MessageId, Timestamp)],
    now: Timestamp,
    version: FrameVersion,
) -> Result<Option<Dispatch>, Fault> {
    let rows = sqlx::query_as(concat!(
        "SELECT ",
        message_columns!(),
        " FROM (SELECT * FROM JSON_TABLE(?, '$[*]' \
         COLUMNS (id CHAR(13) CHARACTER SET ascii PATH '$[0]', \
         answered_at BIGINT PATH '$[1]')) list) j STRAIGHT_JOIN messages m ON m.message_id = j.id \
         WHERE m.answered_at = j.answered_at AND m.phase = ? AND m.verdict IS NOT NULL FOR UPDATE"
    ));
    let rows: Vec<MessageRow> = rows
        .bind(moments(answered))
        .bind(i64::from(Phase::Answered.number()))
        .fetch_all(&mut *tx)
        .await?;
    if rows.is_empty() {
        return Ok(None);
    }
    // Moving answered_at on keeps the next round from doing it again at once.
    sqlx::query(
        "UPDATE JSON_TABLE(?, '$[*]' COLUMNS (id CHAR(13) CHARACTER SET ascii PATH '$')) j \
         STRAIGHT_JOIN messages m ON m.message_id = j.id SET m.answered_at = ?",
    )
    .bind(json_ids(rows.iter().map(|row| row.message_id)))
    .bind(now.millis())
    .execute(&mut *tx)
    .await?;
    let reports: Vec<Report> = rows
        .iter()
        .filter_map(MessageRow::recorded_answer)
        .collect();
    let publications = ReportFrame::publications(&reports, version);
    frames::keep(tx, me, outbox, publications, now).await
}

/// Ids and when they were seen, for `JSON_TABLE`, in the order in which rows are locked.
fn moments(seen: &[(MessageId, Timestamp)]) -> String {
    let seen: BTreeSet<(MessageId, Timestamp)> = seen.iter().copied().collect();
    let rows: Vec<Value> = seen
        .iter()
        .map(|(id, at)| json!([id.to_string(), at.millis()]))
        .collect();
    json_rows(&rows)
}

/// Ids for `JSON_TABLE`, each once and in the order in which rows are locked.
fn in_order(messages: &[MessageId]) -> String {
    let ids: BTreeSet<MessageId> = messages.iter().copied().collect();
    json_ids(ids)
}

/// What a delay of a message is made from.
#[derive(FromRow)]
struct DelayedRow {
    message_id: MessageId,
    attempt: i64,
    message_type: i64,
}

async fn ask_once_more(
    tx: &mut MySqlConnection,
    messages: &[MessageId],
    now: Timestamp,
) -> Result<u32, Fault> {
    let open = sqlx::query_as(
        "SELECT m.message_id, m.attempt, m.message_type FROM (SELECT * FROM JSON_TABLE(?, '$[*]' \
         COLUMNS (id CHAR(13) CHARACTER SET ascii PATH '$')) list) j STRAIGHT_JOIN messages m \
         ON m.message_id = j.id WHERE m.phase IN (?, ?) AND m.verdict IS NULL FOR UPDATE",
    );
    let open: Vec<DelayedRow> = open
        .bind(in_order(messages))
        .bind(i64::from(Phase::Unknown.number()))
        .bind(i64::from(Phase::Answered.number()))
        .fetch_all(&mut *tx)
        .await?;
    add_missing(tx, LAST_ASK, &open, now).await
}

async fn adrift(
    connection: &mut MySqlConnection,
    messages: &[MessageId],
) -> Result<Vec<MessageId>, Fault> {
    let adrift = sqlx::query_scalar(
        "SELECT m.message_id \
         FROM JSON_TABLE(?, '$[*]' COLUMNS (id CHAR(13) CHARACTER SET ascii PATH '$')) j \
         STRAIGHT_JOIN messages m ON m.message_id = j.id \
         LEFT JOIN delays d FORCE INDEX (PRIMARY) ON d.message_id = m.message_id AND d.kind = ? \
         WHERE m.phase = ? AND d.message_id IS NULL",
    );
    let adrift = adrift
        .bind(in_order(messages))
        .bind(RETRY)
        .bind(i64::from(Phase::Waiting.number()));
    Ok(adrift.fetch_all(connection).await?)
}

async fn delay_again(
    tx: &mut MySqlConnection,
    messages: &[MessageId],
    now: Timestamp,
) -> Result<u32, Fault> {
    let waiting = sqlx::query_as(
        "SELECT m.message_id, m.attempt, m.message_type FROM (SELECT * FROM JSON_TABLE(?, '$[*]' \
         COLUMNS (id CHAR(13) CHARACTER SET ascii PATH '$')) list) j STRAIGHT_JOIN messages m \
         ON m.message_id = j.id WHERE m.phase = ? FOR UPDATE",
    );
    let waiting: Vec<DelayedRow> = waiting
        .bind(in_order(messages))
        .bind(i64::from(Phase::Waiting.number()))
        .fetch_all(&mut *tx)
        .await?;
    add_missing(tx, RETRY, &waiting, now).await
}

/// Adds a delay, due now, to those of these locked messages that have none of this kind. Nobody adds
/// one to a message that is locked, so that what is missing stays missing; returns how many were.
async fn add_missing(
    tx: &mut MySqlConnection,
    kind: i64,
    rows: &[DelayedRow],
    now: Timestamp,
) -> Result<u32, Fault> {
    if rows.is_empty() {
        return Ok(0);
    }
    let there = sqlx::query_scalar(
        "SELECT d.message_id \
         FROM JSON_TABLE(?, '$[*]' COLUMNS (id CHAR(13) CHARACTER SET ascii PATH '$')) j \
         STRAIGHT_JOIN delays d FORCE INDEX (PRIMARY) ON d.message_id = j.id AND d.kind = ?",
    );
    let there: Vec<MessageId> = there
        .bind(json_ids(rows.iter().map(|row| row.message_id)))
        .bind(kind)
        .fetch_all(&mut *tx)
        .await?;
    let missing: Vec<NewDelay> = rows
        .iter()
        .filter(|row| !there.contains(&row.message_id))
        .map(|row| NewDelay {
            message: row.message_id,
            attempt: row.attempt,
            group: row.message_type,
            due: now,
        })
        .collect();
    delays::add(tx, kind, &missing).await?;
    Ok(u32::try_from(missing.len()).unwrap_or(u32::MAX))
}

/// What a chunk of the messages no vendor has taken showed.
struct Looked {
    /// How many of them may have been sent.
    doubtful: u64,
    /// Where the next chunk begins; nothing after the last.
    next: Option<MessageId>,
}

/// A message no vendor has taken, and whether it may have been sent.
#[derive(FromRow)]
struct UntakenRow {
    phase: i64,
    #[sqlx(flatten)]
    row: DoubtfulRow,
}

/// Looks at the next chunk of what no vendor has taken; what may have been sent becomes UNKNOWN.
async fn doubt(
    tx: &mut MySqlConnection,
    after: Option<MessageId>,
    now: Timestamp,
) -> Result<Looked, Fault> {
    let untaken = sqlx::query_as(
        "SELECT m.message_id, m.attempt, m.message_type, m.phase, \
         m.provider_account IS NOT NULL AS was_claimed \
         FROM messages m FORCE INDEX (idx_message_status) \
         WHERE m.status = ? AND m.message_id > ? ORDER BY m.message_id LIMIT ? FOR UPDATE",
    );
    let untaken: Vec<UntakenRow> = untaken
        .bind(status_number(Status::Received))
        .bind(text_or_first(after))
        .bind(CHUNK)
        .fetch_all(&mut *tx)
        .await?;
    let full = untaken.len() as u64 == CHUNK.unsigned_abs();
    let next = untaken.last().filter(|_| full);
    let next = next.map(|last| last.row.message_id);
    let in_doubt = [Phase::Queued, Phase::Waiting, Phase::Submitting];
    let doubtful: Vec<&DoubtfulRow> = untaken
        .iter()
        .filter(|one| {
            in_doubt
                .iter()
                .any(|it| one.phase == i64::from(it.number()))
        })
        .map(|one| &one.row)
        .collect();
    if !doubtful.is_empty() {
        sqlx::query(
            "UPDATE JSON_TABLE(?, '$[*]' COLUMNS (id CHAR(13) CHARACTER SET ascii PATH '$')) j \
             STRAIGHT_JOIN messages m ON m.message_id = j.id \
             SET m.phase = ?, m.claimed_at = ?, m.owner = NULL",
        )
        .bind(json_ids(doubtful.iter().map(|row| row.message_id)))
        .bind(i64::from(Phase::Unknown.number()))
        .bind(now.millis())
        .execute(&mut *tx)
        .await?;
        let asks: Vec<_> = doubtful.iter().filter_map(|row| row.ask(now)).collect();
        delays::add(&mut *tx, ASK, &asks).await?;
        let events: Vec<_> = doubtful.iter().map(|row| row.event()).collect();
        ending::add_events(tx, &events, now).await?;
    }
    Ok(Looked {
        doubtful: doubtful.len() as u64,
        next,
    })
}

/// Deletes some retries and deferrals, by idx_delay_group_due; returns how many.
async fn drop_retries(tx: &mut MySqlConnection) -> Result<u64, Fault> {
    let deleted = sqlx::query("DELETE FROM delays WHERE kind = ? LIMIT ?")
        .bind(RETRY)
        .bind(CHUNK)
        .execute(tx)
        .await?;
    Ok(deleted.rows_affected())
}

/// An ended message to be deleted, and which row of the statistics counts it.
#[derive(FromRow)]
struct OldRow {
    message_id: MessageId,
    partner_id: String,
    message_type: i64,
    created_at: i64,
}

async fn retire(tx: &mut MySqlConnection, before: Timestamp, limit: u32) -> Result<u32, Fault> {
    // What another process is deleting is left to it.
    let old = sqlx::query_as(
        "SELECT m.message_id, m.partner_id, m.message_type, m.created_at \
         FROM messages m FORCE INDEX (idx_message_created_at) \
         WHERE m.created_at < ? AND m.phase = ? ORDER BY m.created_at LIMIT ? \
         FOR UPDATE SKIP LOCKED",
    );
    let old: Vec<OldRow> = old
        .bind(before.millis())
        .bind(i64::from(Phase::Done.number()))
        .bind(i64::from(limit))
        .fetch_all(&mut *tx)
        .await?;
    if old.is_empty() {
        return Ok(0);
    }
    let ids = json_ids(old.iter().map(|row| row.message_id));
    for statement in [
        "DELETE e FROM JSON_TABLE(?, '$[*]' COLUMNS (id CHAR(13) CHARACTER SET ascii PATH '$')) j \
         STRAIGHT_JOIN message_events e ON e.message_id = j.id",
        "DELETE m FROM JSON_TABLE(?, '$[*]' COLUMNS (id CHAR(13) CHARACTER SET ascii PATH '$')) j \
         STRAIGHT_JOIN messages m ON m.message_id = j.id",
    ] {
        sqlx::query(statement).bind(&ids).execute(&mut *tx).await?;
    }
    freeze(tx, &old).await?;
    Ok(u32::try_from(old.len()).unwrap_or(u32::MAX))
}

/// Freezes the numbers that count these messages, in the transaction in which the messages go.
async fn freeze(tx: &mut MySqlConnection, old: &[OldRow]) -> Result<(), Fault> {
    let counted: BTreeSet<(&str, i32, i64)> = old
        .iter()
        .map(|row| {
            let day = Timestamp::from_millis(row.created_at).kst_day().number();
            (row.partner_id.as_str(), day, row.message_type)
        })
        .collect();
    let counted: Vec<Value> = counted.into_iter().map(|key| json!(key)).collect();
    sqlx::query(
        "UPDATE JSON_TABLE(?, '$[*]' COLUMNS (partner VARCHAR(32) CHARACTER SET ascii PATH '$[0]', \
         day INT PATH '$[1]', kind TINYINT PATH '$[2]')) j \
         STRAIGHT_JOIN partner_daily_stats s FORCE INDEX (uk_stat_partner_date_type) \
         ON s.partner_id = j.partner AND s.stat_date = j.day AND s.message_type = j.kind \
         SET s.frozen = TRUE",
    )
    .bind(json_rows(&counted))
    .execute(tx)
    .await?;
    Ok(())
}

/// What waits for a disabled endpoint is kept as long as its messages. Ids are in order of time, so
/// this is the head of the table; a dead letter that was sent again has its old id, but is young.
async fn retire_webhooks(tx: &mut MySqlConnection, before: Timestamp) -> Result<(), Fault> {
    sqlx::query(
        "DELETE FROM webhooks WHERE webhook_id < ? AND created_at < ? ORDER BY webhook_id LIMIT ?",
    )
    .bind(first_webhook(before))
    .bind(before.millis())
    .bind(OTHERS)
    .execute(tx)
    .await?;
    Ok(())
}

async fn retire_letters(tx: &mut MySqlConnection, before: Timestamp) -> Result<(), Fault> {
    // idx_dead_letter_created_at
    sqlx::query("DELETE FROM dead_letters WHERE created_at < ? ORDER BY created_at LIMIT ?")
        .bind(before.millis())
        .bind(OTHERS)
        .execute(tx)
        .await?;
    Ok(())
}

async fn retire_tokens(tx: &mut MySqlConnection, now: Option<i64>) -> Result<(), Fault> {
    // idx_refresh_expires
    sqlx::query(concat!(
        "DELETE FROM refresh_tokens WHERE expires_at < ",
        lease_now!(),
        " ORDER BY expires_at LIMIT ?"
    ))
    .bind(now)
    .bind(OTHERS)
    .execute(tx)
    .await?;
    Ok(())
}
