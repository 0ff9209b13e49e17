//! Writes the outcome of a transaction in which messages move towards their end.

use std::sync::LazyLock;

use serde_json::{Value, json};
use sqlx::MySqlConnection;

use super::{Fault, json_ids, json_rows, message_columns};
use crate::clock::Timestamp;
use crate::domain::id::{InstanceId, MessageId, WebhookId};
use crate::ledger::ending::{Audience, Changed, DayCounts, Ending, NewWebhook, Written};
use crate::ledger::intake::{SIZES, pieces};
use crate::ledger::rows::{MessageRow, NewEvent};

/// Reads messages and locks them until the end of the transaction, in key order.
pub(super) async fn lock(
    tx: &mut MySqlConnection,
    mut ids: Vec<MessageId>,
) -> Result<Vec<MessageRow>, Fault> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    ids.sort_unstable();
    ids.dedup();
    let rows = sqlx::query_as(concat!(
        "SELECT ",
        message_columns!(),
        " FROM (SELECT * FROM JSON_TABLE(?, '$[*]' \
         COLUMNS (id CHAR(13) CHARACTER SET ascii PATH '$')) list) j \
         STRAIGHT_JOIN messages m FORCE INDEX (PRIMARY) ON m.message_id = j.id FOR UPDATE"
    ))
    .bind(json_ids(ids))
    .fetch_all(tx)
    .await?;
    Ok(rows)
}

/// Writes it all: the rows, which are locked already, webhook rows owned by `me`, events, and
/// statistics last. Says what was written.
pub(super) async fn write(
    tx: &mut MySqlConnection,
    ending: Ending,
    me: InstanceId,
    webhook_ids: &[WebhookId],
    now: Timestamp,
) -> Result<Written, Fault> {
    let audience = audience(&mut *tx, &ending).await?;
    let outcome = ending.outcome(&audience, webhook_ids)?;
    write_rows(&mut *tx, &outcome.rows).await?;
    write_webhooks(&mut *tx, &outcome.webhooks, me, now).await?;
    add_events(&mut *tx, &outcome.events, now).await?;
    count(tx, &outcome.days).await?;
    Ok(outcome.written)
}

async fn audience(tx: &mut MySqlConnection, ending: &Ending) -> Result<Vec<Audience>, Fault> {
    let partners: Vec<Value> = ending.partners().into_iter().map(Value::from).collect();
    if partners.is_empty() {
        return Ok(Vec::new());
    }
    let audience = sqlx::query_as(
        "SELECT p.partner_id, p.webhook_batch, p.webhook_sent \
         FROM JSON_TABLE(?, '$[*]' COLUMNS (id VARCHAR(32) CHARACTER SET ascii PATH '$')) j \
         STRAIGHT_JOIN partners p ON p.partner_id = j.id \
         WHERE p.webhook_url IS NOT NULL ORDER BY p.partner_id",
    )
    .bind(json_rows(&partners))
    .fetch_all(tx)
    .await?;
    Ok(audience)
}

async fn write_rows(tx: &mut MySqlConnection, rows: &[Changed]) -> Result<(), Fault> {
    if rows.is_empty() {
        return Ok(());
    }
    let rows: Vec<Value> = rows
        .iter()
        .map(|row| {
            json!([
                row.message,
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
        "UPDATE JSON_TABLE(?, '$[*]' COLUMNS (id CHAR(13) CHARACTER SET ascii PATH '$[0]', \
         phase TINYINT PATH '$[1]', status TINYINT PATH '$[2]', \
         reason VARCHAR(64) CHARACTER SET ascii PATH '$[3]', \
         vendor_code VARCHAR(64) CHARACTER SET utf8mb4 PATH '$[4]', \
         vendor_id VARCHAR(128) CHARACTER SET utf8mb4 PATH '$[5]', \
         sent_at BIGINT PATH '$[6]', final_at BIGINT PATH '$[7]', sent_told TINYINT PATH '$[8]')) j \
         STRAIGHT_JOIN messages m FORCE INDEX (PRIMARY) ON m.message_id = j.id \
         SET m.phase = j.phase, m.status = j.status, m.reason = j.reason, \
         m.vendor_code = j.vendor_code, m.vendor_message_id = j.vendor_id, \
         m.sent_at = j.sent_at, m.final_at = j.final_at, m.sent_told = j.sent_told",
    )
    .bind(json_rows(&rows))
    .execute(tx)
    .await?;
    Ok(())
}

/// The statements that insert webhooks, one for each of [`SIZES`]: a body is bound as it is.
static WEBHOOKS: LazyLock<[String; SIZES.len()]> = LazyLock::new(|| {
    SIZES.map(|size| {
        let rows = ["(?, ?, ?, 0, ?, ?, ?, ?)"].repeat(size).join(", ");
        format!(
            "INSERT INTO webhooks (webhook_id, partner_id, owner, attempt, next_attempt_at, \
             results, body, created_at) VALUES {rows}"
        )
    })
});

async fn write_webhooks(
    tx: &mut MySqlConnection,
    webhooks: &[NewWebhook],
    me: InstanceId,
    now: Timestamp,
) -> Result<(), Fault> {
    for (size, piece) in pieces(webhooks) {
        let mut insert = sqlx::query(WEBHOOKS[size].as_str());
        for webhook in piece {
            insert = insert
                .bind(webhook.id)
                .bind(&webhook.partner_id)
                .bind(me)
                .bind(now.millis())
                .bind(i64::try_from(webhook.results).unwrap_or(0))
                .bind(&webhook.body)
                .bind(now.millis());
        }
        insert.execute(&mut *tx).await?;
    }
    Ok(())
}

/// The days come in key order, so that two transactions never hold a day each that the other wants.
async fn count(tx: &mut MySqlConnection, days: &[DayCounts]) -> Result<(), Fault> {
    if days.is_empty() {
        return Ok(());
    }
    let days: Vec<Value> = days
        .iter()
        .map(|day| {
            json!([
                day.partner_id,
                day.day,
                day.kind,
                day.total,
                day.success,
                day.failed,
                day.expired
            ])
        })
        .collect();
    sqlx::query(
        "INSERT INTO partner_daily_stats \
         (partner_id, stat_date, message_type, total, success, failed, expired) \
         SELECT j.a, j.b, j.c, j.d, j.e, j.f, j.g FROM JSON_TABLE(?, '$[*]' COLUMNS (\
         a VARCHAR(32) CHARACTER SET ascii PATH '$[0]', b INT PATH '$[1]', c TINYINT PATH '$[2]', \
         d BIGINT PATH '$[3]', e BIGINT PATH '$[4]', f BIGINT PATH '$[5]', g BIGINT PATH '$[6]')) j \
         ON DUPLICATE KEY UPDATE total = total + VALUES(total), \
         success = success + VALUES(success), failed = failed + VALUES(failed), \
         expired = expired + VALUES(expired)",
    )
    .bind(json_rows(&days))
    .execute(tx)
    .await?;
    Ok(())
}

/// Adds events to messages.
pub(super) async fn add_events(
    tx: &mut MySqlConnection,
    events: &[NewEvent],
    now: Timestamp,
) -> Result<(), Fault> {
    if events.is_empty() {
        return Ok(());
    }
    let rows: Vec<Value> = events
        .iter()
        .map(|event| json!([event.message, event.kind.name(), event.note]))
        .collect();
    sqlx::query(
        "INSERT INTO message_events (message_id, at, kind, note) \
         SELECT j.id, ?, j.kind, j.note FROM JSON_TABLE(?, '$[*]' COLUMNS (\
         id CHAR(13) CHARACTER SET ascii PATH '$[0]', \
         kind VARCHAR(32) CHARACTER SET ascii PATH '$[1]', \
         note TEXT CHARACTER SET utf8mb4 PATH '$[2]')) j",
    )
    .bind(now.millis())
    .bind(json_rows(&rows))
    .execute(tx)
    .await?;
    Ok(())
}
