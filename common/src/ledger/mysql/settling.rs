//! How calls ended: rows are locked in key order, the phase machine decides on each, and what it
//! has moved is written at once.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use sqlx::MySqlConnection;

use super::{Fault, delays, ending, json_rows};
use crate::clock::Timestamp;
use crate::domain::event::EventKind;
use crate::domain::id::MessageId;
use crate::domain::phase::{Event, Settled, step};
use crate::domain::reason::Reason;
use crate::domain::report::Report;
use crate::domain::status::Status;
use crate::ledger::delays::{ASK, RETRY};
use crate::ledger::rows::{MessageRow, NewDelay, NewEvent, status_number};
use crate::ledger::settling::{LostCall, latest};
use crate::ledger::{LedgerError, Settlement};

/// Carries settlements out; returns the reports that go into the outbox with them.
pub(super) async fn carry_out(
    tx: &mut MySqlConnection,
    settlements: &[Settlement],
) -> Result<Vec<Report>, Fault> {
    if settlements.is_empty() {
        return Ok(Vec::new());
    }
    let ids = settlements.iter().map(|one| one.id);
    let mut locked = Locked::new(ending::lock(&mut *tx, ids.collect()).await?);
    let mut reports = Vec::new();
    let (mut retries, mut asks, mut events) = (Vec::new(), Vec::new(), Vec::new());
    for one in in_order(settlements) {
        let Some(row) = locked.settle(one)? else {
            continue;
        };
        reports.extend(one.report());
        match &one.settled {
            Settled::Taken(_) | Settled::Final(..) => {}
            Settled::NotTaken { .. } => {
                retries.push(delay(row, one.due.unwrap_or(one.at)));
                events.push(one.waits(row.attempt));
            }
            Settled::Lost => {
                asks.extend(one.due.map(|due| delay(row, due)));
                events.extend(one.lost().map(|call| became(&call, EventKind::Unknown)));
            }
        }
    }
    locked.write(&mut *tx).await?;
    delays::add(&mut *tx, RETRY, &retries).await?;
    delays::add(&mut *tx, ASK, &asks).await?;
    ending::add_events(tx, &events, latest(settlements)).await?;
    Ok(reports)
}

/// SUBMITTING → UNKNOWN for these calls, with events; returns how many moved.
pub(super) async fn unknown(
    tx: &mut MySqlConnection,
    calls: &[LostCall],
    event: EventKind,
    now: Timestamp,
) -> Result<u32, Fault> {
    if calls.is_empty() {
        return Ok(0);
    }
    let ids = calls.iter().map(|call| call.id);
    let mut locked = Locked::new(ending::lock(&mut *tx, ids.collect()).await?);
    let (mut asks, mut events) = (Vec::new(), Vec::new());
    for call in calls {
        let taken_over = Event::TakeOver {
            submission: call.submission,
        };
        if let Some(row) = locked.step(call.id, &taken_over)? {
            asks.extend(call.ask_at.map(|due| delay(row, due)));
            events.push(became(call, event));
        }
    }
    locked.write(&mut *tx).await?;
    delays::add(&mut *tx, ASK, &asks).await?;
    ending::add_events(tx, &events, now).await?;
    Ok(u32::try_from(events.len()).unwrap_or(u32::MAX))
}

/// What a vendor has taken first, then what it has ended, given back, and lost; each in key order.
fn in_order(settlements: &[Settlement]) -> Vec<&Settlement> {
    let mut sorted: Vec<&Settlement> = settlements.iter().collect();
    sorted.sort_by_key(|one| {
        let kind = match one.settled {
            Settled::Taken(_) => 0,
            Settled::Final(..) => 1,
            Settled::NotTaken { .. } => 2,
            Settled::Lost => 3,
        };
        (kind, one.id, one.submission)
    });
    sorted
}

const fn delay(row: &MessageRow, due: Timestamp) -> NewDelay {
    NewDelay {
        message: row.message_id,
        attempt: row.attempt,
        group: row.message_type,
        due,
    }
}

fn became(call: &LostCall, event: EventKind) -> NewEvent {
    NewEvent {
        message: call.id,
        kind: event,
        note: call.note.clone(),
    }
}

/// Messages that are locked, and which of them have moved.
struct Locked {
    rows: BTreeMap<MessageId, MessageRow>,
    moved: BTreeSet<MessageId>,
}

impl Locked {
    fn new(rows: Vec<MessageRow>) -> Self {
        Self {
            rows: rows.into_iter().map(|row| (row.message_id, row)).collect(),
            moved: BTreeSet::new(),
        }
    }

    /// Moves a row as a settlement wants; the row if it does.
    fn settle(&mut self, one: &Settlement) -> Result<Option<&MessageRow>, LedgerError> {
        let event = Event::Settle {
            submission: one.submission,
            settled: one.settled.clone(),
        };
        let Some(row) = self.step(one.id, &event)? else {
            return Ok(None);
        };
        if matches!(one.settled, Settled::Taken(_) | Settled::Final(..)) {
            row.vendor_code.clone_from(&one.vendor_code);
            if row.status == status_number(Status::Sent) {
                row.sent_at = row.sent_at.or(Some(one.at.millis()));
            }
        }
        if let Some(verdict) = one.verdict() {
            row.verdict = Some(verdict.name().to_owned());
            row.reason = verdict
                .reason()
                .map(|reason| Reason::name(reason).to_owned());
            row.answered_at = Some(one.at.millis());
        }
        Ok(Some(row))
    }

    /// Lets the phase machine move a row; the row if it does.
    fn step(
        &mut self,
        id: MessageId,
        event: &Event,
    ) -> Result<Option<&mut MessageRow>, LedgerError> {
        let Some(row) = self.rows.get_mut(&id) else {
            return Ok(None);
        };
        let Some(next) = step(&row.to_phase_row()?, event) else {
            return Ok(None);
        };
        row.phase = i64::from(next.row.phase.number());
        row.status = status_number(next.row.status);
        row.attempt = i64::from(next.row.attempt);
        row.vendor_message_id = next.row.vendor_id.map(|id| id.to_string());
        self.moved.insert(id);
        Ok(Some(row))
    }

    /// Writes every row that has moved.
    async fn write(&self, tx: &mut MySqlConnection) -> Result<(), Fault> {
        let rows: Vec<Value> = self
            .moved
            .iter()
            .filter_map(|id| self.rows.get(id))
            .map(|row| {
                json!([
                    row.message_id,
                    row.phase,
                    row.status,
                    row.attempt,
                    row.vendor_message_id,
                    row.vendor_code,
                    row.sent_at,
                    row.verdict,
                    row.reason,
                    row.answered_at,
                ])
            })
            .collect();
        if rows.is_empty() {
            return Ok(());
        }
        sqlx::query(
            "UPDATE JSON_TABLE(?, '$[*]' COLUMNS (id CHAR(13) CHARACTER SET ascii PATH '$[0]', \
             phase TINYINT PATH '$[1]', status TINYINT PATH '$[2]', attempt SMALLINT PATH '$[3]', \
             vendor_id VARCHAR(128) CHARACTER SET utf8mb4 PATH '$[4]', \
             vendor_code VARCHAR(64) CHARACTER SET utf8mb4 PATH '$[5]', \
             sent_at BIGINT PATH '$[6]', verdict VARCHAR(16) CHARACTER SET ascii PATH '$[7]', \
             reason VARCHAR(64) CHARACTER SET ascii PATH '$[8]', answered_at BIGINT PATH '$[9]')) j \
             STRAIGHT_JOIN messages m FORCE INDEX (PRIMARY) ON m.message_id = j.id \
             SET m.phase = j.phase, m.status = j.status, m.attempt = j.attempt, \
             m.vendor_message_id = j.vendor_id, m.vendor_code = j.vendor_code, \
             m.sent_at = j.sent_at, m.verdict = j.verdict, m.reason = j.reason, \
             m.answered_at = j.answered_at",
        )
        .bind(json_rows(&rows))
        .execute(tx)
        .await?;
        Ok(())
    }
}
