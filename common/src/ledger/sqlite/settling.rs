//! How calls ended: each settlement moves its message by id and call, or finds that it has gone on.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sqlx::{FromRow, SqliteConnection};

use super::rows::status_number;
use super::{delays, ending, from_sqlx, json_rows};
use crate::clock::Timestamp;
use crate::domain::id::{MessageId, SubmissionId};
use crate::domain::phase::{Phase, Settled};
use crate::domain::reason::Reason;
use crate::domain::report::{Report, VendorMessageId, Verdict};
use crate::domain::status::Status;
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
    message_id: i64,
    submission_id: i64,
    attempt: i64,
    message_type: i64,
}

impl MovedRow {
    const fn key(&self) -> CallKey {
        (self.message_id, self.submission_id)
    }
}

/// A message and the call it was claimed for.
type CallKey = (i64, i64);

/// The settlements of one kind in key order. Of several for the same message and call the first
/// counts, as it would if they came one after another.
fn of_kind(
    settlements: &[Settlement],
    wanted: impl Fn(&Settled) -> bool,
) -> BTreeMap<CallKey, &Settlement> {
    let mut found = BTreeMap::new();
    for one in settlements.iter().filter(|one| wanted(&one.settled)) {
        found
            .entry((one.id.to_column(), one.submission.to_column()))
            .or_insert(one);
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
            let vendor_id = vendor_id(one).map(VendorMessageId::as_str);
            json!([id, call, vendor_id, one.at.millis(), one.vendor_code])
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
        .filter(|one| one.tell_sent)
        .map(|one| report(one, Verdict::Taken))
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
            let verdict = verdict(one)?;
            Some(json!([
                id,
                call,
                vendor_id(one).map(VendorMessageId::as_str),
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
        .filter_map(|one| Some(report(one, verdict(one)?)))
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
        .map(|((id, call), one)| json!([id, call, i64::from(charged(one))]))
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
        .map(|(row, one)| {
            (
                row.message_id,
                row.attempt,
                row.message_type,
                one.due.unwrap_or(one.at),
            )
        })
        .collect();
    delays::add(&mut *connection, delays::RETRY, &waiting).await?;
    let now = settlements
        .iter()
        .map(|one| one.at)
        .max()
        .unwrap_or_default();
    let events: Vec<_> = moved
        .iter()
        .map(|(row, one)| {
            if charged(one) {
                let next = row.attempt + 1;
                (
                    row.message_id,
                    "RETRY",
                    format!("could not connect; attempt {next} follows"),
                )
            } else {
                (
                    row.message_id,
                    "DEFERRED",
                    "not taken, not counted".to_owned(),
                )
            }
        })
        .collect();
    ending::add_events(connection, &events, now).await
}

/// SUBMITTING → UNKNOWN, with an ask row where the vendor can be asked.
async fn lost(
    connection: &mut SqliteConnection,
    settlements: &[Settlement],
) -> Result<(), LedgerError> {
    let claims: Vec<LostCall> = settlements
        .iter()
        .filter(|one| one.settled == Settled::Lost)
        .map(|one| LostCall {
            id: one.id,
            submission: one.submission,
            ask_at: one.due,
            note: match &one.vendor_code {
                Some(code) => format!("the answer was lost: {code}"),
                None => "the answer was lost".to_owned(),
            },
        })
        .collect();
    let now = settlements
        .iter()
        .map(|one| one.at)
        .max()
        .unwrap_or_default();
    unknown(connection, &claims, "UNKNOWN", now)
        .await
        .map(|_| ())
}

/// A call that may have been taken.
pub(super) struct LostCall {
    pub(super) id: MessageId,
    pub(super) submission: SubmissionId,
    /// When to ask, where the vendor can be asked.
    pub(super) ask_at: Option<Timestamp>,
    /// For people.
    pub(super) note: String,
}

/// SUBMITTING → UNKNOWN for these calls, with events; returns how many moved.
pub(super) async fn unknown(
    connection: &mut SqliteConnection,
    calls: &[LostCall],
    event: &'static str,
    now: Timestamp,
) -> Result<u32, LedgerError> {
    if calls.is_empty() {
        return Ok(0);
    }
    let mut by_key: BTreeMap<CallKey, &LostCall> = BTreeMap::new();
    for call in calls {
        by_key
            .entry((call.id.to_column(), call.submission.to_column()))
            .or_insert(call);
    }
    let rows: Vec<Value> = by_key.keys().map(|(id, call)| json!([id, call])).collect();
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
        .filter_map(|(row, call)| {
            Some((row.message_id, row.attempt, row.message_type, call.ask_at?))
        })
        .collect();
    delays::add(&mut *connection, delays::ASK, &asks).await?;
    let events: Vec<_> = moved
        .iter()
        .map(|(row, call)| (row.message_id, event, call.note.clone()))
        .collect();
    ending::add_events(connection, &events, now).await?;
    Ok(u32::try_from(moved.len()).unwrap_or(u32::MAX))
}

const fn charged(one: &Settlement) -> bool {
    matches!(one.settled, Settled::NotTaken { charged: true })
}

const fn verdict(one: &Settlement) -> Option<Verdict> {
    match &one.settled {
        Settled::Final(verdict, _) => Some(*verdict),
        Settled::Taken(_) | Settled::NotTaken { .. } | Settled::Lost => None,
    }
}

fn vendor_id(one: &Settlement) -> Option<&VendorMessageId> {
    match &one.settled {
        Settled::Taken(id) | Settled::Final(_, id) => id.as_ref(),
        Settled::NotTaken { .. } | Settled::Lost => None,
    }
}

fn report(one: &Settlement, verdict: Verdict) -> Report {
    Report {
        account: one.account.clone(),
        vendor_id: vendor_id(one).cloned(),
        message: Some(one.id),
        submission: Some(one.submission),
        verdict,
        vendor_code: one.vendor_code.clone(),
        occurred_at: one.at,
    }
}
