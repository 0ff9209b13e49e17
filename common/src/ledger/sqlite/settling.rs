//! How calls ended: each settlement moves its message by id and call, or finds that it has gone on.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sqlx::{FromRow, SqliteConnection};

use super::{delays, ending, from_sqlx, json_rows};
use crate::clock::Timestamp;
use crate::domain::event::EventKind;
use crate::domain::id::{MessageId, SubmissionId};
use crate::domain::phase::{Phase, Settled};
use crate::domain::reason::Reason;
use crate::domain::report::{Report, VendorMessageId};
use crate::domain::status::Status;
use crate::ledger::delays::{ASK, RETRY};
use crate::ledger::rows::{NewDelay, NewEvent, status_number};
use crate::ledger::settling::{LostCall, latest};
use crate::ledger::{LedgerError, Settlement};

/// Carries settlements out; returns the reports that go into the outbox with them.
pub(super) async fn carry_out(
    connection: &mut SqliteConnection,
    settlements: &[Settlement],
) -> Result<Vec<Report>, LedgerError> {
    let mut reports = taken(&mut *connection, settlements).await?;
    reports.extend(ended(&mut *connection, settlements).await?);
    not_taken(&mut *connection, settlements).await?;
    lost(connection, settlements).await?;
    Ok(reports)
}

/// A row that a settlement has moved. SQLite's RETURNING sees nothing but the row itself, so what
/// moved it is looked up by its key.
#[derive(FromRow)]
struct MovedRow {
    message_id: MessageId,
    submission_id: SubmissionId,
    attempt: i64,
    message_type: i64,
}

impl MovedRow {
    const fn key(&self) -> CallKey {
        (self.message_id, self.submission_id)
    }

    const fn delay(&self, due: Timestamp) -> NewDelay {
        NewDelay {
            message: self.message_id,
            attempt: self.attempt,
            group: self.message_type,
            due,
        }
    }
}

/// A message and the call it was claimed for.
type CallKey = (MessageId, SubmissionId);

/// The settlements of one kind in key order. Of several for the same message and call the first
/// counts, as it would if they came one after another.
fn of_kind(
    settlements: &[Settlement],
    wanted: impl Fn(&Settled) -> bool,
) -> BTreeMap<CallKey, &Settlement> {
    let mut found = BTreeMap::new();
    for one in settlements.iter().filter(|one| wanted(&one.settled)) {
        found.entry((one.id, one.submission)).or_insert(one);
    }
    found
}

/// SUBMITTING or UNKNOWN → ANSWERED, SENT. Returns the reports of partners that want SENT.
async fn taken(
    connection: &mut SqliteConnection,
    settlements: &[Settlement],
) -> Result<Vec<Report>, LedgerError> {
    let takes = of_kind(settlements, |settled| matches!(settled, Settled::Taken(_)));
    if takes.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<Value> = takes
        .iter()
        .map(|((id, call), one)| {
            let vendor_id = one.vendor_id().map(VendorMessageId::as_str);
            json!([
                id.to_column(),
                call.to_column(),
                vendor_id,
                one.at.millis(),
                one.vendor_code
            ])
        })
        .collect();
    let moved: Vec<MovedRow> = sqlx::query_as(
        "UPDATE messages SET phase = ?1, status = ?2, \
         vendor_message_id = coalesce(j.value->>2, vendor_message_id), \
         vendor_code = j.value->>4, sent_at = coalesce(sent_at, j.value->>3) \
         FROM json_each(?3) j WHERE messages.message_id = j.value->>0 \
         AND submission_id = j.value->>1 AND phase IN (?4, ?5) \
         RETURNING message_id, submission_id, attempt, message_type",
    )
    .bind(i64::from(Phase::Answered.number()))
    .bind(status_number(Status::Sent))
    .bind(json_rows(&rows))
    .bind(i64::from(Phase::Submitting.number()))
    .bind(i64::from(Phase::Unknown.number()))
    .fetch_all(connection)
    .await
    .map_err(from_sqlx)?;
    Ok(moved
        .iter()
        .filter_map(|row| takes.get(&row.key()))
        .filter_map(|one| one.report())
        .collect())
}

/// → ANSWERED with a final answer, whose report goes into the outbox.
async fn ended(
    connection: &mut SqliteConnection,
    settlements: &[Settlement],
) -> Result<Vec<Report>, LedgerError> {
    let finals = of_kind(settlements, |settled| matches!(settled, Settled::Final(..)));
    if finals.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<Value> = finals
        .iter()
        .filter_map(|((id, call), one)| {
            let verdict = one.verdict()?;
            Some(json!([
                id.to_column(),
                call.to_column(),
                one.vendor_id().map(VendorMessageId::as_str),
                one.at.millis(),
                one.vendor_code,
                verdict.name(),
                verdict.reason().map(Reason::name),
            ]))
        })
        .collect();
    let moved: Vec<MovedRow> = sqlx::query_as(
        "UPDATE messages SET phase = ?1, \
         status = CASE j.value->>5 WHEN 'DELIVERED' THEN ?2 ELSE status END, \
         sent_at = CASE j.value->>5 WHEN 'DELIVERED' THEN coalesce(sent_at, j.value->>3) \
                   ELSE sent_at END, \
         vendor_message_id = coalesce(j.value->>2, vendor_message_id), \
         vendor_code = j.value->>4, verdict = j.value->>5, reason = j.value->>6, \
         answered_at = j.value->>3 \
         FROM json_each(?3) j WHERE messages.message_id = j.value->>0 \
         AND submission_id = j.value->>1 \
         AND (phase IN (?4, ?5) OR (phase = ?1 AND verdict IS NULL)) \
         RETURNING message_id, submission_id, attempt, message_type",
    )
    .bind(i64::from(Phase::Answered.number()))
    .bind(status_number(Status::Sent))
    .bind(json_rows(&rows))
    .bind(i64::from(Phase::Submitting.number()))
    .bind(i64::from(Phase::Unknown.number()))
    .fetch_all(connection)
    .await
    .map_err(from_sqlx)?;
    Ok(moved
        .iter()
        .filter_map(|row| finals.get(&row.key()))
        .filter_map(|one| one.report())
        .collect())
}

/// SUBMITTING, or UNKNOWN after a take-over, → WAITING with a delay row. Without an owner the ledger
/// went back since the claim, and what the caller knows of its call proves nothing.
async fn not_taken(
    connection: &mut SqliteConnection,
    settlements: &[Settlement],
) -> Result<(), LedgerError> {
    let given_back = of_kind(settlements, |settled| {
        matches!(settled, Settled::NotTaken { .. })
    });
    if given_back.is_empty() {
        return Ok(());
    }
    let rows: Vec<Value> = given_back
        .iter()
        .map(|((id, call), one)| {
            json!([id.to_column(), call.to_column(), i64::from(one.charged())])
        })
        .collect();
    let moved: Vec<MovedRow> = sqlx::query_as(
        "UPDATE messages SET phase = ?1, attempt = attempt + (j.value->>2) \
         FROM json_each(?2) j WHERE messages.message_id = j.value->>0 \
         AND submission_id = j.value->>1 AND phase IN (?3, ?4) AND owner IS NOT NULL \
         RETURNING message_id, submission_id, attempt, message_type",
    )
    .bind(i64::from(Phase::Waiting.number()))
    .bind(json_rows(&rows))
    .bind(i64::from(Phase::Submitting.number()))
    .bind(i64::from(Phase::Unknown.number()))
    .fetch_all(&mut *connection)
    .await
    .map_err(from_sqlx)?;
    let moved: Vec<(&MovedRow, &Settlement)> = moved
        .iter()
        .filter_map(|row| Some((row, *given_back.get(&row.key())?)))
        .collect();
    let waiting: Vec<_> = moved
        .iter()
        .map(|(row, one)| row.delay(one.due.unwrap_or(one.at)))
        .collect();
    delays::add(&mut *connection, RETRY, &waiting).await?;
    let events: Vec<_> = moved
        .iter()
        .map(|(row, one)| one.waits(row.attempt))
        .collect();
    ending::add_events(connection, &events, latest(settlements)).await
}

/// SUBMITTING → UNKNOWN, with an ask row where the vendor can be asked.
async fn lost(
    connection: &mut SqliteConnection,
    settlements: &[Settlement],
) -> Result<(), LedgerError> {
    let calls: Vec<LostCall> = settlements.iter().filter_map(Settlement::lost).collect();
    unknown(connection, &calls, EventKind::Unknown, latest(settlements))
        .await
        .map(|_| ())
}

/// SUBMITTING → UNKNOWN for these calls, with events; returns how many moved.
pub(super) async fn unknown(
    connection: &mut SqliteConnection,
    calls: &[LostCall],
    event: EventKind,
    now: Timestamp,
) -> Result<u32, LedgerError> {
    if calls.is_empty() {
        return Ok(0);
    }
    let mut by_key: BTreeMap<CallKey, &LostCall> = BTreeMap::new();
    for call in calls {
        by_key.entry((call.id, call.submission)).or_insert(call);
    }
    let rows: Vec<Value> = by_key
        .keys()
        .map(|(id, call)| json!([id.to_column(), call.to_column()]))
        .collect();
    let moved: Vec<MovedRow> = sqlx::query_as(
        "UPDATE messages SET phase = ?1 FROM json_each(?2) j \
         WHERE messages.message_id = j.value->>0 AND submission_id = j.value->>1 AND phase = ?3 \
         RETURNING message_id, submission_id, attempt, message_type",
    )
    .bind(i64::from(Phase::Unknown.number()))
    .bind(json_rows(&rows))
    .bind(i64::from(Phase::Submitting.number()))
    .fetch_all(&mut *connection)
    .await
    .map_err(from_sqlx)?;
    let moved: Vec<(&MovedRow, &LostCall)> = moved
        .iter()
        .filter_map(|row| Some((row, *by_key.get(&row.key())?)))
        .collect();
    let asks: Vec<_> = moved
        .iter()
        .filter_map(|(row, call)| Some(row.delay(call.ask_at?)))
        .collect();
    delays::add(&mut *connection, ASK, &asks).await?;
    let events: Vec<_> = moved
        .iter()
        .map(|(row, call)| NewEvent {
            message: row.message_id,
            kind: event,
            note: call.note.clone(),
        })
        .collect();
    ending::add_events(connection, &events, now).await?;
    Ok(u32::try_from(moved.len()).unwrap_or(u32::MAX))
}
