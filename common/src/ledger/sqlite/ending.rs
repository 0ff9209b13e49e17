//! Writes the outcome of a transaction in which messages move towards their end.

use serde_json::{Value, json};
use sqlx::SqliteConnection;

use super::{from_sqlx, json_rows};
use crate::clock::Timestamp;
use crate::domain::id::{InstanceId, WebhookId};
use crate::ledger::LedgerError;
use crate::ledger::ending::{Audience, Changed, DayCounts, Ending, NewWebhook, Written};
use crate::ledger::rows::NewEvent;

/// Writes it all: rows in key order, webhook rows owned by `me`, events, and statistics last. Says
/// what was written.
pub(super) async fn write(
    connection: &mut SqliteConnection,
    ending: Ending,
    me: InstanceId,
    webhook_ids: &[WebhookId],
    now: Timestamp,
) -> Result<Written, LedgerError> {
    let audience = audience(&mut *connection, &ending).await?;
    let outcome = ending.outcome(&audience, webhook_ids)?;
    write_rows(&mut *connection, &outcome.rows).await?;
    for webhook in &outcome.webhooks {
        write_webhook(&mut *connection, webhook, me, now).await?;
    }
    add_events(&mut *connection, &outcome.events, now).await?;
    for day in &outcome.days {
        count(&mut *connection, day).await?;
    }
    Ok(outcome.written)
}

async fn audience(
    connection: &mut SqliteConnection,
    ending: &Ending,
) -> Result<Vec<Audience>, LedgerError> {
    let partners: Vec<Value> = ending.partners().into_iter().map(Value::from).collect();
    if partners.is_empty() {
        return Ok(Vec::new());
    }
    sqlx::query_as(
        "SELECT partner_id, webhook_batch, webhook_sent FROM partners \
         WHERE webhook_url IS NOT NULL AND partner_id IN (SELECT value FROM json_each(?)) \
         ORDER BY partner_id",
    )
    .bind(json_rows(&partners))
    .fetch_all(connection)
    .await
    .map_err(from_sqlx)
}

async fn write_rows(
    connection: &mut SqliteConnection,
    rows: &[Changed],
) -> Result<(), LedgerError> {
    if rows.is_empty() {
        return Ok(());
    }
    let rows: Vec<Value> = rows
        .iter()
        .map(|row| {
            json!([
                row.message.to_column(),
                row.phase,
                row.status,
                row.reason,
                row.vendor_code,
                row.vendor_id,
                row.sent_at,
                row.final_at,
                i64::from(row.sent_told),
            ])
        })
        .collect();
    sqlx::query(
        "UPDATE messages SET phase = j.value->>1, status = j.value->>2, \
         reason = j.value->>3, vendor_code = j.value->>4, vendor_message_id = j.value->>5, \
         sent_at = j.value->>6, final_at = j.value->>7, sent_told = j.value->>8 \
         FROM json_each(?) j WHERE messages.message_id = j.value->>0",
    )
    .bind(json_rows(&rows))
    .execute(connection)
    .await
    .map_err(from_sqlx)?;
    Ok(())
}

async fn write_webhook(
    connection: &mut SqliteConnection,
    webhook: &NewWebhook,
    me: InstanceId,
    now: Timestamp,
) -> Result<(), LedgerError> {
    sqlx::query(
        "INSERT INTO webhooks (webhook_id, partner_id, owner, attempt, next_attempt_at, \
         results, body, created_at) VALUES (?, ?, ?, 0, ?, ?, ?, ?)",
    )
    .bind(webhook.id.to_column())
    .bind(&webhook.partner_id)
    .bind(me.to_column())
    .bind(now.millis())
    .bind(i64::try_from(webhook.results).unwrap_or(0))
    .bind(&webhook.body)
    .bind(now.millis())
    .execute(connection)
    .await
    .map_err(from_sqlx)?;
    Ok(())
}

async fn count(connection: &mut SqliteConnection, day: &DayCounts) -> Result<(), LedgerError> {
    sqlx::query(
        "INSERT INTO partner_daily_stats \
         (partner_id, stat_date, message_type, total, success, failed, expired) \
         VALUES (?, ?, ?, ?, ?, ?, ?) \
         ON CONFLICT (partner_id, stat_date, message_type) DO UPDATE SET \
         total = total + excluded.total, success = success + excluded.success, \
         failed = failed + excluded.failed, expired = expired + excluded.expired",
    )
    .bind(&day.partner_id)
    .bind(day.day)
    .bind(day.kind)
    .bind(day.total)
    .bind(day.success)
    .bind(day.failed)
    .bind(day.expired)
    .execute(connection)
    .await
    .map_err(from_sqlx)?;
    Ok(())
}

/// Adds events to messages.
pub(super) async fn add_events(
    connection: &mut SqliteConnection,
    events: &[NewEvent],
    now: Timestamp,
) -> Result<(), LedgerError> {
    if events.is_empty() {
        return Ok(());
    }
    let rows: Vec<Value> = events
        .iter()
        .map(|event| json!([event.message.to_column(), event.kind.name(), event.note]))
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
