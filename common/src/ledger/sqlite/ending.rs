//! The transaction in which messages end: whatever moved them, a report or a deadline, status,
//! webhook rows, events and statistics are written together.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};
use sqlx::SqliteConnection;

use super::rows::{MessageRow, status_number};
use super::{from_sqlx, json_rows};
use crate::clock::Timestamp;
use crate::domain::event::{ResultEvent, compose};
use crate::domain::id::{InstanceId, WebhookId};
use crate::domain::kind::MessageType;
use crate::domain::phase::{Effect, Event, Row, step};
use crate::domain::reason::Reason;
use crate::domain::status::Status;
use crate::ledger::LedgerError;
use crate::telemetry::metric;

/// An event for a loaded message.
pub(super) struct Move {
    /// The message, by column.
    pub(super) message: i64,
    /// What wants to move it.
    pub(super) event: Event,
    /// The vendor's code that goes with it.
    pub(super) vendor_code: Option<String>,
    /// When it happened.
    pub(super) at: Timestamp,
}

/// What one move did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Did {
    /// The row moved.
    Moved,
    /// A stray report: an event only.
    Stray,
    /// Nothing.
    Nothing,
}

/// A message while its moves are carried out.
struct Moving {
    stored: MessageRow,
    row: Row,
    changed: bool,
    reason: Option<Reason>,
    vendor_code: Option<String>,
    sent_at: Option<i64>,
    ended: bool,
    tell_sent: bool,
}

/// What a transaction of moves wrote.
pub(super) struct Written {
    /// How many messages ended.
    pub(super) ended: u32,
    /// How many webhook rows were written.
    pub(super) webhooks: u32,
    ends: Ends,
}

/// How many messages ended how.
type Ends = HashMap<(MessageType, Status, Option<Reason>), u64>;

impl Written {
    /// Counts the ends in the metrics: after the commit, so that none is counted twice.
    pub(super) fn count(&self) {
        for ((kind, status, reason), messages) in &self.ends {
            metric::messages_ended(*kind, *status, *reason, *messages);
        }
    }
}

/// Everything a transaction of moves writes.
pub(super) struct Ending {
    me: InstanceId,
    now: Timestamp,
    rows: BTreeMap<i64, Moving>,
    strays: Vec<(i64, &'static str, String)>,
}

impl Ending {
    pub(super) fn new(
        me: InstanceId,
        now: Timestamp,
        stored: Vec<MessageRow>,
    ) -> Result<Self, LedgerError> {
        let rows = stored
            .into_iter()
            .map(|stored| {
                let row = stored.to_phase_row()?;
                let moving = Moving {
                    row,
                    changed: false,
                    reason: stored.reason.as_deref().and_then(Reason::parse),
                    vendor_code: stored.vendor_code.clone(),
                    sent_at: stored.sent_at,
                    ended: false,
                    tell_sent: false,
                    stored,
                };
                Ok((moving.stored.message_id, moving))
            })
            .collect::<Result<_, LedgerError>>()?;
        Ok(Self {
            me,
            now,
            rows,
            strays: Vec::new(),
        })
    }

    /// Lets the phase machine decide on one move.
    pub(super) fn carry_out(&mut self, one: &Move) -> Did {
        let Some(moving) = self.rows.get_mut(&one.message) else {
            return Did::Nothing;
        };
        // A repeated "taken" moves nothing, but a partner that wants SENT is told once.
        if let Event::Report { verdict, .. } = &one.event
            && !verdict.is_final()
            && moving.row.status == Status::Sent
        {
            moving.tell_sent = true;
        }
        let Some(next) = step(&moving.row, &one.event) else {
            return Did::Nothing;
        };
        if next.effects.contains(&Effect::Stray) {
            let code = one.vendor_code.as_deref().unwrap_or("none");
            self.strays.push((
                one.message,
                "STRAY_REPORT",
                format!("came too late or for an earlier call; code {code}"),
            ));
            return Did::Stray;
        }
        moving.changed = true;
        if one.vendor_code.is_some() {
            moving.vendor_code.clone_from(&one.vendor_code);
        }
        for effect in &next.effects {
            if let Effect::End(status, reason) = effect {
                moving.ended = true;
                moving.reason = *reason;
                if *status == Status::Delivered {
                    moving.sent_at = moving
                        .sent_at
                        .or(Some(one.at.millis().min(self.now.millis())));
                }
            }
        }
        if next.row.status == Status::Sent {
            moving.sent_at = moving
                .sent_at
                .or(Some(one.at.millis().min(self.now.millis())));
            moving.tell_sent = true;
        }
        moving.row = next.row;
        Did::Moved
    }

    /// Writes it all: rows in key order, webhook rows, events, and statistics last. Says what was written.
    pub(super) async fn write(
        self,
        connection: &mut SqliteConnection,
        webhook_ids: &[WebhookId],
    ) -> Result<Written, LedgerError> {
        self.write_rows(&mut *connection).await?;
        let webhooks = self.write_webhooks(&mut *connection, webhook_ids).await?;
        add_events(&mut *connection, &self.strays, self.now).await?;
        let ended = self.write_statistics(connection).await?;
        Ok(Written {
            ended,
            webhooks,
            ends: self.ends()?,
        })
    }

    /// How the messages of this transaction ended.
    fn ends(&self) -> Result<Ends, LedgerError> {
        let mut ends = Ends::new();
        for moving in self.rows.values().filter(|moving| moving.ended) {
            let end = (moving.stored.kind()?, moving.row.status, moving.reason);
            *ends.entry(end).or_default() += 1;
        }
        Ok(ends)
    }

    async fn write_rows(&self, connection: &mut SqliteConnection) -> Result<(), LedgerError> {
        let rows: Vec<Value> = self
            .rows
            .values()
            .filter(|moving| moving.changed)
            .map(|moving| {
                json!([
                    moving.stored.message_id,
                    moving.row.phase.number(),
                    status_number(moving.row.status),
                    moving.reason.map(Reason::name),
                    moving.vendor_code,
                    moving.row.vendor_id.as_ref().map(ToString::to_string),
                    moving.sent_at,
                    moving.ended.then_some(self.now.millis()),
                ])
            })
            .collect();
        if rows.is_empty() {
            return Ok(());
        }
        sqlx::query(
            "UPDATE messages SET phase = j.value->>1, status = j.value->>2, \
             reason = j.value->>3, vendor_code = j.value->>4, vendor_message_id = j.value->>5, \
             sent_at = j.value->>6, final_at = j.value->>7 \
             FROM json_each(?) j WHERE messages.message_id = j.value->>0",
        )
        .bind(json_rows(&rows))
        .execute(connection)
        .await
        .map_err(from_sqlx)?;
        Ok(())
    }

    async fn write_webhooks(
        &self,
        connection: &mut SqliteConnection,
        ids: &[WebhookId],
    ) -> Result<u32, LedgerError> {
        let mut by_partner: BTreeMap<&str, Vec<&Moving>> = BTreeMap::new();
        for moving in self
            .rows
            .values()
            .filter(|moving| moving.ended || moving.tell_sent)
        {
            by_partner
                .entry(&moving.stored.partner_id)
                .or_default()
                .push(moving);
        }
        let mut ids = ids.iter();
        let mut written = 0;
        for (partner, moved) in by_partner {
            let endpoint: Option<(Option<String>, i64, bool)> = sqlx::query_as(
                "SELECT webhook_url, webhook_batch, webhook_sent FROM partners \
                 WHERE partner_id = ?",
            )
            .bind(partner)
            .fetch_optional(&mut *connection)
            .await
            .map_err(from_sqlx)?;
            let Some((Some(_), batch, wants_sent)) = endpoint else {
                continue;
            };
            let mut told = Vec::new();
            let results: Vec<ResultEvent> = moved
                .iter()
                .filter_map(|moving| {
                    let sent = !moving.ended;
                    if sent && (!wants_sent || moving.stored.sent_told) {
                        return None;
                    }
                    if sent {
                        told.push(moving.stored.message_id);
                    }
                    Some(self.result(moving))
                })
                .collect::<Result<_, _>>()?;
            mark_told(&mut *connection, &told).await?;
            let size = usize::try_from(batch).unwrap_or(1).clamp(1, 100);
            for chunk in results.chunks(size) {
                let id = ids.next().ok_or_else(|| {
                    LedgerError::Refused("fewer webhook ids than webhooks".into())
                })?;
                self.write_webhook(&mut *connection, *id, partner, chunk)
                    .await?;
                written += 1;
            }
        }
        Ok(written)
    }

    async fn write_webhook(
        &self,
        connection: &mut SqliteConnection,
        id: WebhookId,
        partner: &str,
        results: &[ResultEvent],
    ) -> Result<(), LedgerError> {
        sqlx::query(
            "INSERT INTO webhooks (webhook_id, partner_id, owner, attempt, next_attempt_at, \
             results, body, created_at) VALUES (?, ?, ?, 0, ?, ?, ?, ?)",
        )
        .bind(id.to_column())
        .bind(partner)
        .bind(self.me.to_column())
        .bind(self.now.millis())
        .bind(i64::try_from(results.len()).unwrap_or(0))
        .bind(compose(id, results))
        .bind(self.now.millis())
        .execute(connection)
        .await
        .map_err(from_sqlx)?;
        Ok(())
    }

    fn result(&self, moving: &Moving) -> Result<ResultEvent, LedgerError> {
        Ok(ResultEvent {
            message: moving.stored.id(),
            client_msg_id: moving.stored.client()?,
            kind: moving.stored.kind()?,
            status: moving.row.status,
            reason: moving.reason.filter(|_| moving.ended),
            vendor_code: moving.vendor_code.clone(),
            accepted_at: Timestamp::from_millis(moving.stored.created_at),
            sent_at: moving.sent_at.map(Timestamp::from_millis),
            final_at: moving.ended.then_some(self.now),
            metadata: moving.stored.detail.clone(),
        })
    }

    /// Daily statistics, aggregated so that one row is written once, in key order.
    async fn write_statistics(
        &self,
        connection: &mut SqliteConnection,
    ) -> Result<u32, LedgerError> {
        let mut ended = 0;
        let mut days: BTreeMap<(&str, i32, i64), [i64; 4]> = BTreeMap::new();
        for moving in self.rows.values().filter(|moving| moving.ended) {
            ended += 1;
            let day = Timestamp::from_millis(moving.stored.created_at)
                .kst_day()
                .number();
            let key = (
                moving.stored.partner_id.as_str(),
                day,
                moving.stored.message_type,
            );
            let counts = days.entry(key).or_default();
            let delivered = i64::from(moving.row.status == Status::Delivered);
            counts[0] += 1;
            counts[1] += delivered;
            counts[2] += 1 - delivered;
            counts[3] += i64::from(moving.row.status == Status::Expired);
        }
        for ((partner, day, kind), [total, success, failed, expired]) in days {
            sqlx::query(
                "INSERT INTO partner_daily_stats \
                 (partner_id, stat_date, message_type, total, success, failed, expired) \
                 VALUES (?, ?, ?, ?, ?, ?, ?) \
                 ON CONFLICT (partner_id, stat_date, message_type) DO UPDATE SET \
                 total = total + excluded.total, success = success + excluded.success, \
                 failed = failed + excluded.failed, expired = expired + excluded.expired",
            )
            .bind(partner)
            .bind(day)
            .bind(kind)
            .bind(total)
            .bind(success)
            .bind(failed)
            .bind(expired)
            .execute(&mut *connection)
            .await
            .map_err(from_sqlx)?;
        }
        Ok(ended)
    }
}

async fn mark_told(connection: &mut SqliteConnection, told: &[i64]) -> Result<(), LedgerError> {
    if told.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "UPDATE messages SET sent_told = 1 \
         WHERE message_id IN (SELECT value FROM json_each(?))",
    )
    .bind(super::json_list(told.iter().copied()))
    .execute(connection)
    .await
    .map_err(from_sqlx)?;
    Ok(())
}

/// Events of messages: (message, kind, note).
pub(super) async fn add_events(
    connection: &mut SqliteConnection,
    events: &[(i64, &'static str, String)],
    now: Timestamp,
) -> Result<(), LedgerError> {
    if events.is_empty() {
        return Ok(());
    }
    let rows: Vec<Value> = events
        .iter()
        .map(|(id, kind, note)| json!([id, kind, note]))
        .collect();
    sqlx::query(
        "INSERT INTO message_events (message_id, at, kind, note) \
         SELECT value->>0, ?1, value->>1, value->>2 FROM json_each(?2)",
    )
    .bind(now.millis())
    .bind(json_rows(&rows))
    .execute(connection)
    .await
    .map_err(from_sqlx)?;
    Ok(())
}
