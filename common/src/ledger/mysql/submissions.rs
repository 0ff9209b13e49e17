use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use serde_json::{Value, json};
use sqlx::MySqlConnection;

use super::{Fault, MysqlLedger, delays, ending, frames, json_ids, json_rows, outbox, settling};
use crate::broker::{Member, ReportFrame};
use crate::clock::Timestamp;
use crate::domain::id::{InstanceId, MessageId, OutboxId};
use crate::domain::kind::MessageType;
use crate::domain::phase::Phase;
use crate::ledger::delays::RETRY;
use crate::ledger::rows::{NewDelay, NewEvent};
use crate::ledger::settling::latest;
use crate::ledger::submissions::{ClaimedRow, LookedRow};
use crate::ledger::{
    Claim, ClaimedCall, Dispatch, Hold, LedgerError, Looked, Settlement, Submissions,
};

#[async_trait]
impl Submissions for MysqlLedger {
    async fn look(&self, messages: &[MessageId]) -> Result<Vec<Looked>, LedgerError> {
        let rows: Vec<LookedRow> = self
            .read(&messages, |connection, messages| {
                Box::pin(async move {
                    let rows = sqlx::query_as(
                        "SELECT m.message_id, m.partner_id, m.created_at, m.sealed \
                         FROM JSON_TABLE(?, '$[*]' \
                         COLUMNS (id CHAR(13) CHARACTER SET ascii PATH '$')) j \
                         STRAIGHT_JOIN messages m FORCE INDEX (PRIMARY) ON m.message_id = j.id",
                    )
                    .bind(json_ids(messages.iter()))
                    .fetch_all(connection)
                    .await?;
                    Ok(rows)
                })
            })
            .await?;
        rows.into_iter().map(LookedRow::read).collect()
    }

    async fn claim(
        &self,
        me: InstanceId,
        claims: &[Claim],
        now: Timestamp,
    ) -> Result<Vec<ClaimedCall>, LedgerError> {
        self.transact(&(me, claims, now), |tx, (me, claims, now)| {
            Box::pin(claim(tx, *me, claims, *now))
        })
        .await
    }

    async fn reread(&self, claim: &Claim) -> Result<ClaimedCall, LedgerError> {
        self.transact(claim, |tx, claim| Box::pin(held(tx, claim)))
            .await
    }

    async fn hold(
        &self,
        kind: MessageType,
        members: &[Member],
        why: Hold,
        due: Timestamp,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        self.transact(
            &(kind, members, why, due, now),
            |tx, (kind, members, why, due, now)| {
                Box::pin(hold(tx, *kind, members, *why, *due, *now))
            },
        )
        .await
    }

    async fn settle(
        &self,
        me: InstanceId,
        outbox_id: OutboxId,
        settlements: &[Settlement],
        retire: &[OutboxId],
    ) -> Result<Option<Dispatch>, LedgerError> {
        let version = self.frame_version.get();
        self.transact(
            &(me, outbox_id, settlements, retire),
            move |tx, (me, outbox_id, settlements, retire)| {
                Box::pin(async move {
                    let reports = settling::carry_out(&mut *tx, settlements).await?;
                    outbox::delete(&mut *tx, retire).await?;
                    let publications = ReportFrame::publications(&reports, version);
                    frames::keep(tx, *me, *outbox_id, publications, latest(settlements)).await
                })
            },
        )
        .await
    }
}

/// The columns of [`ClaimedRow`], for `SELECT` from `messages m`. The partner is looked up in a
/// subquery, which a locking read does not lock.
macro_rules! claimed_columns {
    () => {
        "m.message_id, m.partner_id, m.message_type, m.purpose, m.lane, m.attempt, m.sealed, \
         m.valid_until, m.poison, EXISTS (SELECT 1 FROM partners p WHERE p.partner_id = m.partner_id \
         AND p.webhook_sent = 1 AND p.webhook_url IS NOT NULL) AS tell_sent"
    };
}

/// Takes what is still to be had of all claims. The rows of all of them are locked in key order:
/// two senders may want the same messages, in calls put together differently.
async fn claim(
    tx: &mut MySqlConnection,
    me: InstanceId,
    claims: &[Claim],
    now: Timestamp,
) -> Result<Vec<ClaimedCall>, Fault> {
    // Of several wishes for a message at the same attempt the first counts.
    let mut wishes: BTreeMap<(MessageId, u16), (usize, usize)> = BTreeMap::new();
    for (call, claim) in claims.iter().enumerate() {
        for (place, member) in claim.members.iter().enumerate() {
            wishes
                .entry((member.id, member.attempt))
                .or_insert((call, place));
        }
    }
    let mut taken: Vec<((usize, usize), ClaimedRow)> = free(&mut *tx, wishes.keys(), now)
        .await?
        .into_iter()
        .filter_map(|row| Some((*wishes.get(&(row.message_id, row.attempt()))?, row)))
        .collect();
    take(tx, me, claims, &taken, now).await?;
    taken.sort_unstable_by_key(|(place, _)| *place);
    let mut calls = vec![ClaimedCall::default(); claims.len()];
    for ((call, _), row) in taken {
        calls[call].messages.push(row.read()?);
    }
    Ok(calls)
}

/// Locks messages that are QUEUED at the attempt asked for and still worth sending.
async fn free(
    tx: &mut MySqlConnection,
    wanted: impl Iterator<Item = &(MessageId, u16)>,
    now: Timestamp,
) -> Result<Vec<ClaimedRow>, Fault> {
    let rows: Vec<Value> = wanted.map(|(id, attempt)| json!([id, attempt])).collect();
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let free = sqlx::query_as(concat!(
        "SELECT ",
        claimed_columns!(),
        " FROM (SELECT * FROM JSON_TABLE(?, '$[*]' \
         COLUMNS (id CHAR(13) CHARACTER SET ascii PATH '$[0]', attempt INT PATH '$[1]')) list) j \
         STRAIGHT_JOIN messages m FORCE INDEX (PRIMARY) ON m.message_id = j.id WHERE m.phase = ? \
         AND m.attempt = j.attempt AND m.valid_until > ? FOR UPDATE"
    ))
    .bind(json_rows(&rows))
    .bind(i64::from(Phase::Queued.number()))
    .bind(now.millis())
    .fetch_all(tx)
    .await?;
    Ok(free)
}

async fn take(
    tx: &mut MySqlConnection,
    me: InstanceId,
    claims: &[Claim],
    taken: &[((usize, usize), ClaimedRow)],
    now: Timestamp,
) -> Result<(), Fault> {
    if taken.is_empty() {
        return Ok(());
    }
    // A list cuts off what is too long for it, and a table refuses it: so a name is wide in the list.
    let rows: Vec<Value> = taken
        .iter()
        .map(|((call, _), row)| {
            let claim = &claims[*call];
            json!([
                row.message_id,
                claim.submission,
                claim.route,
                claim.account.as_str()
            ])
        })
        .collect();
    sqlx::query(
        "UPDATE JSON_TABLE(?, '$[*]' COLUMNS (id CHAR(13) CHARACTER SET ascii PATH '$[0]', \
         submission CHAR(13) CHARACTER SET ascii PATH '$[1]', \
         route VARCHAR(1000) CHARACTER SET utf8mb4 PATH '$[2]', \
         account VARCHAR(1000) CHARACTER SET utf8mb4 PATH '$[3]')) j \
         STRAIGHT_JOIN messages m FORCE INDEX (PRIMARY) ON m.message_id = j.id \
         SET m.phase = ?, m.owner = ?, m.submission_id = j.submission, m.route = j.route, \
         m.provider_account = j.account, m.vendor_message_id = NULL, m.claimed_at = ?, \
         m.route_closed = 0",
    )
    .bind(json_rows(&rows))
    .bind(i64::from(Phase::Submitting.number()))
    .bind(me)
    .bind(now.millis())
    .execute(tx)
    .await?;
    Ok(())
}

/// What a claim got. The read locks, so that it waits for the commit whose answer was lost.
///
/// That commit can be seen before it is on disk: the server frees its rows first. A vendor must not
/// be called for a claim that a power cut would take back, so something harmless is written: what
/// this transaction writes comes later in the log, and its own commit waits until it is on disk.
async fn held(tx: &mut MySqlConnection, claim: &Claim) -> Result<ClaimedCall, Fault> {
    let places: HashMap<MessageId, usize> = claim
        .members
        .iter()
        .enumerate()
        .map(|(place, member)| (member.id, place))
        .collect();
    let mut ids: Vec<&MessageId> = places.keys().collect();
    ids.sort_unstable();
    let mut rows: Vec<ClaimedRow> = sqlx::query_as(concat!(
        "SELECT ",
        claimed_columns!(),
        " FROM (SELECT * FROM JSON_TABLE(?, '$[*]' \
         COLUMNS (id CHAR(13) CHARACTER SET ascii PATH '$')) list) j \
         STRAIGHT_JOIN messages m FORCE INDEX (PRIMARY) ON m.message_id = j.id \
         WHERE m.submission_id = ? AND m.phase = ? FOR UPDATE"
    ))
    .bind(json_ids(ids))
    .bind(claim.submission)
    .bind(i64::from(Phase::Submitting.number()))
    .fetch_all(&mut *tx)
    .await?;
    rows.sort_unstable_by_key(|row| places.get(&row.message_id).copied());
    touch(tx, &rows).await?;
    let messages = rows
        .into_iter()
        .map(ClaimedRow::read)
        .collect::<Result<_, _>>()?;
    Ok(ClaimedCall { messages })
}

/// Moves the time of these claims, which are locked, by a millisecond.
async fn touch(tx: &mut MySqlConnection, rows: &[ClaimedRow]) -> Result<(), Fault> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "UPDATE JSON_TABLE(?, '$[*]' COLUMNS (id CHAR(13) CHARACTER SET ascii PATH '$')) j \
         STRAIGHT_JOIN messages m FORCE INDEX (PRIMARY) ON m.message_id = j.id \
         SET m.claimed_at = m.claimed_at + 1",
    )
    .bind(json_ids(rows.iter().map(|row| row.message_id)))
    .execute(tx)
    .await?;
    Ok(())
}

async fn hold(
    tx: &mut MySqlConnection,
    kind: MessageType,
    members: &[Member],
    why: Hold,
    due: Timestamp,
    now: Timestamp,
) -> Result<(), Fault> {
    let queued = queued(&mut *tx, members).await?;
    if queued.is_empty() {
        return Ok(());
    }
    let faulty = why == Hold::Faulty;
    sqlx::query(
        "UPDATE JSON_TABLE(?, '$[*]' COLUMNS (id CHAR(13) CHARACTER SET ascii PATH '$')) j \
         STRAIGHT_JOIN messages m FORCE INDEX (PRIMARY) ON m.message_id = j.id \
         SET m.phase = ?, m.route_closed = GREATEST(m.route_closed, ?), \
         m.poison = m.poison + ?",
    )
    .bind(json_ids(queued.iter().map(|(id, _)| id)))
    .bind(i64::from(Phase::Waiting.number()))
    .bind(i64::from(!faulty))
    .bind(i64::from(faulty))
    .execute(&mut *tx)
    .await?;
    let waiting: Vec<_> = queued
        .iter()
        .map(|(message, attempt)| NewDelay {
            message: *message,
            attempt: *attempt,
            group: i64::from(kind.number()),
            due,
        })
        .collect();
    delays::add(&mut *tx, RETRY, &waiting).await?;
    let (event, note) = why.event();
    let events: Vec<_> = queued
        .iter()
        .map(|(message, _)| NewEvent {
            message: *message,
            kind: event,
            note: note.to_owned(),
        })
        .collect();
    ending::add_events(tx, &events, now).await
}

/// Locks those of the members that are QUEUED at their attempt, in key order.
async fn queued(
    tx: &mut MySqlConnection,
    members: &[Member],
) -> Result<Vec<(MessageId, i64)>, Fault> {
    let mut keys: Vec<_> = members.iter().map(|one| (one.id, one.attempt)).collect();
    keys.sort_unstable();
    keys.dedup();
    let rows: Vec<Value> = keys
        .iter()
        .map(|(id, attempt)| json!([id, attempt]))
        .collect();
    let queued = sqlx::query_as(
        "SELECT m.message_id, m.attempt FROM (SELECT * FROM JSON_TABLE(?, '$[*]' \
         COLUMNS (id CHAR(13) CHARACTER SET ascii PATH '$[0]', attempt INT PATH '$[1]')) list) j \
         STRAIGHT_JOIN messages m FORCE INDEX (PRIMARY) ON m.message_id = j.id WHERE m.phase = ? \
         AND m.attempt = j.attempt FOR UPDATE",
    )
    .bind(json_rows(&rows))
    .bind(i64::from(Phase::Queued.number()))
    .fetch_all(tx)
    .await?;
    Ok(queued)
}
