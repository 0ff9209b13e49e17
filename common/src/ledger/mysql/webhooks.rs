use std::collections::BTreeMap;

use async_trait::async_trait;
use serde_json::{Value, json};
use sqlx::MySqlConnection;

use super::ending::add_events;
use super::{Fault, MysqlLedger, deadletters, json_ids, json_rows, lease_now};
use crate::clock::Timestamp;
use crate::domain::event::EventKind;
use crate::domain::id::{InstanceId, PartnerId, WebhookId};
use crate::ledger::rows::partner_id;
use crate::ledger::webhooks::WebhookRow;
use crate::ledger::{DeliveryResult, DueWebhook, Endpoint, LedgerError, Webhooks};

#[async_trait]
impl Webhooks for MysqlLedger {
    async fn endpoints_due(
        &self,
        me: InstanceId,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<Endpoint>, LedgerError> {
        self.read(&(me, now, limit), |connection, (me, now, limit)| {
            Box::pin(endpoints_due(connection, *me, *now, *limit))
        })
        .await
    }

    async fn next_webhook(&self, me: InstanceId) -> Result<Option<Timestamp>, LedgerError> {
        let first = self
            .read(&me, |connection, me| {
                let ever = Timestamp::from_millis(i64::MAX);
                Box::pin(endpoints_due(connection, *me, ever, 1))
            })
            .await?;
        Ok(first.first().map(|endpoint| endpoint.due))
    }

    async fn due_webhooks(
        &self,
        me: InstanceId,
        partner: &PartnerId,
        now: Timestamp,
        in_hand: &[WebhookId],
        limit: u32,
    ) -> Result<Vec<DueWebhook>, LedgerError> {
        self.read(
            &(me, partner, now, in_hand, limit),
            |connection, (me, partner, now, in_hand, limit)| {
                Box::pin(due_webhooks(
                    connection, *me, partner, *now, in_hand, *limit,
                ))
            },
        )
        .await
    }

    async fn record_deliveries(
        &self,
        me: InstanceId,
        results: &[(DueWebhook, DeliveryResult)],
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        self.transact(&(me, results, now), |tx, (me, results, now)| {
            Box::pin(record(tx, *me, results, *now))
        })
        .await
    }

    async fn adopt_webhooks(&self, me: InstanceId, limit: u32) -> Result<u64, LedgerError> {
        let lease_now = self.lease_clock.given();
        // Looked at first without a transaction: most of the time there is nothing to adopt.
        let orphaned = self
            .read(&lease_now, |connection, lease_now| {
                Box::pin(dead_owners(connection, *lease_now))
            })
            .await?;
        if orphaned.is_empty() {
            return Ok(0);
        }
        self.transact(
            &(me, orphaned, limit, lease_now),
            |tx, (me, orphaned, limit, lease_now)| {
                Box::pin(adopt(tx, *me, orphaned, *limit, *lease_now))
            },
        )
        .await
    }

    async fn webhooks_size(&self) -> Result<u64, LedgerError> {
        super::count(self, "SELECT count(*) FROM webhooks").await
    }
}

/// When the oldest row of `me` is due, per partner whose endpoint is not disabled.
async fn endpoints_due(
    connection: &mut MySqlConnection,
    me: InstanceId,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<Endpoint>, Fault> {
    // idx_webhook_endpoint, one look-up a partner, however many rows wait: MySQL sees that nothing
    // has to be sorted only if every column of it is named.
    let rows: Vec<(String, i64)> = sqlx::query_as(
        "SELECT oldest.partner_id, oldest.due FROM (SELECT p.partner_id, \
         (SELECT w.next_attempt_at FROM webhooks w FORCE INDEX (idx_webhook_endpoint) \
         WHERE w.owner = ? AND w.partner_id = p.partner_id \
         ORDER BY w.owner, w.partner_id, w.next_attempt_at LIMIT 1) AS due FROM partners p \
         WHERE p.webhook_url IS NOT NULL AND p.webhook_disabled IS NULL) oldest \
         WHERE oldest.due <= ? ORDER BY oldest.due LIMIT ?",
    )
    .bind(me)
    .bind(now.millis())
    .bind(limit)
    .fetch_all(connection)
    .await?;
    rows.into_iter()
        .map(|(partner, due)| {
            Ok(Endpoint {
                partner: partner_id(&partner)?,
                due: Timestamp::from_millis(due),
            })
        })
        .collect()
}

async fn due_webhooks(
    connection: &mut MySqlConnection,
    me: InstanceId,
    partner: &PartnerId,
    now: Timestamp,
    in_hand: &[WebhookId],
    limit: u32,
) -> Result<Vec<DueWebhook>, Fault> {
    // idx_webhook_endpoint, in its order.
    let rows: Vec<WebhookRow> = sqlx::query_as(
        "SELECT w.webhook_id, w.attempt, w.results, w.body, w.created_at \
         FROM webhooks w FORCE INDEX (idx_webhook_endpoint) \
         WHERE w.owner = ? AND w.partner_id = ? AND w.next_attempt_at <= ? \
         AND w.webhook_id NOT IN (SELECT j.id FROM JSON_TABLE(?, '$[*]' COLUMNS (\
         id CHAR(13) CHARACTER SET ascii PATH '$')) j) \
         ORDER BY w.next_attempt_at LIMIT ?",
    )
    .bind(me)
    .bind(partner.as_str())
    .bind(now.millis())
    .bind(json_ids(in_hand))
    .bind(limit)
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| row.into_due(partner)).collect())
}

/// Records what came of the attempts at rows that `me` still owns at that attempt.
async fn record(
    tx: &mut MySqlConnection,
    me: InstanceId,
    results: &[(DueWebhook, DeliveryResult)],
    now: Timestamp,
) -> Result<(), Fault> {
    // Of several results of one attempt the first counts.
    let mut by_row: BTreeMap<(WebhookId, u16), &(DueWebhook, DeliveryResult)> = BTreeMap::new();
    for one in results {
        by_row.entry((one.0.id, one.0.attempt)).or_insert(one);
    }
    let owned = owned(&mut *tx, me, by_row.keys()).await?;
    let (mut over, mut again) = (Vec::new(), Vec::new());
    let (mut letters, mut events, mut gone) = (Vec::new(), Vec::new(), BTreeMap::new());
    for (webhook, result) in owned.iter().filter_map(|key| by_row.get(key)) {
        match result {
            DeliveryResult::Delivered => over.push(webhook.id),
            DeliveryResult::Retry { next_at, why } => {
                again.push((webhook.id, *next_at));
                events.extend(webhook.events(EventKind::WebhookFailed, why));
            }
            DeliveryResult::Dead(letter) => {
                over.push(webhook.id);
                events.extend(webhook.events(EventKind::WebhookDead, &letter.reason));
                letters.push(letter.clone());
            }
            DeliveryResult::EndpointGone { why } => {
                again.push((webhook.id, now));
                events.extend(webhook.events(EventKind::WebhookDisabled, why));
                gone.entry(&webhook.partner).or_insert(why.as_str());
            }
        }
    }
    delete(&mut *tx, &over).await?;
    try_again(&mut *tx, &again).await?;
    add_events(&mut *tx, &events, now).await?;
    deadletters::bury(&mut *tx, &letters, now).await?;
    for (partner, why) in gone {
        disable(&mut *tx, partner, why, now).await?;
    }
    Ok(())
}

/// Locks those of the rows that `me` owns at their attempt, in key order.
async fn owned(
    tx: &mut MySqlConnection,
    me: InstanceId,
    rows: impl Iterator<Item = &(WebhookId, u16)>,
) -> Result<Vec<(WebhookId, u16)>, Fault> {
    let rows: Vec<Value> = rows.map(|(id, attempt)| json!([id, attempt])).collect();
    let owned: Vec<(WebhookId, i64)> = sqlx::query_as(
        "SELECT w.webhook_id, w.attempt FROM (SELECT * FROM JSON_TABLE(?, '$[*]' \
         COLUMNS (id CHAR(13) CHARACTER SET ascii PATH '$[0]', attempt INT PATH '$[1]')) list) j \
         STRAIGHT_JOIN webhooks w FORCE INDEX (PRIMARY) ON w.webhook_id = j.id WHERE w.owner = ? \
         AND w.attempt = j.attempt FOR UPDATE",
    )
    .bind(json_rows(&rows))
    .bind(me)
    .fetch_all(tx)
    .await?;
    Ok(owned
        .into_iter()
        .filter_map(|(id, attempt)| Some((id, u16::try_from(attempt).ok()?)))
        .collect())
}

async fn delete(tx: &mut MySqlConnection, over: &[WebhookId]) -> Result<(), Fault> {
    if over.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "DELETE w FROM JSON_TABLE(?, '$[*]' COLUMNS (id CHAR(13) CHARACTER SET ascii PATH '$')) j \
         STRAIGHT_JOIN webhooks w FORCE INDEX (PRIMARY) ON w.webhook_id = j.id",
    )
    .bind(json_ids(over))
    .execute(tx)
    .await?;
    Ok(())
}

async fn try_again(
    tx: &mut MySqlConnection,
    again: &[(WebhookId, Timestamp)],
) -> Result<(), Fault> {
    if again.is_empty() {
        return Ok(());
    }
    let rows: Vec<Value> = again
        .iter()
        .map(|(id, next_at)| json!([id, next_at.millis()]))
        .collect();
    sqlx::query(
        "UPDATE JSON_TABLE(?, '$[*]' COLUMNS (id CHAR(13) CHARACTER SET ascii PATH '$[0]', \
         next_at BIGINT PATH '$[1]')) j \
         STRAIGHT_JOIN webhooks w FORCE INDEX (PRIMARY) ON w.webhook_id = j.id \
         SET w.attempt = w.attempt + 1, w.next_attempt_at = j.next_at",
    )
    .bind(json_rows(&rows))
    .execute(tx)
    .await?;
    Ok(())
}

async fn disable(
    tx: &mut MySqlConnection,
    partner: &PartnerId,
    why: &str,
    now: Timestamp,
) -> Result<(), Fault> {
    sqlx::query(
        "UPDATE partners SET webhook_disabled = ?, updated_at = ? \
         WHERE partner_id = ? AND webhook_disabled IS NULL",
    )
    .bind(why)
    .bind(now.millis())
    .bind(partner.as_str())
    .execute(tx)
    .await?;
    Ok(())
}

/// Owners of webhooks without a lease. Many rows may wait for an endpoint, but they have few owners:
/// each step is one look-up in idx_webhook_endpoint.
async fn dead_owners(
    connection: &mut MySqlConnection,
    lease_now: Option<i64>,
) -> Result<Vec<InstanceId>, Fault> {
    let mut dead = Vec::new();
    let mut after = String::new();
    loop {
        let (owner, lives): (Option<InstanceId>, bool) = sqlx::query_as(concat!(
            "SELECT o.owner, EXISTS (SELECT 1 FROM instances i WHERE i.instance_id = o.owner \
             AND i.lease_until > ",
            lease_now!(),
            ") FROM (SELECT min(owner) AS owner FROM webhooks WHERE owner > ?) o"
        ))
        .bind(lease_now)
        .bind(&after)
        .fetch_one(&mut *connection)
        .await?;
        let Some(owner) = owner else {
            return Ok(dead);
        };
        if !lives {
            dead.push(owner);
        }
        after = owner.to_string();
    }
}

/// Takes rows of owners that still have no lease, and that nobody else is just taking.
async fn adopt(
    tx: &mut MySqlConnection,
    me: InstanceId,
    orphaned: &[InstanceId],
    limit: u32,
    lease_now: Option<i64>,
) -> Result<u64, Fault> {
    let mut rows: Vec<WebhookId> = Vec::new();
    for owner in orphaned {
        let rest = (limit as usize).saturating_sub(rows.len());
        let some: Vec<WebhookId> = sqlx::query_scalar(concat!(
            "SELECT w.webhook_id FROM webhooks w FORCE INDEX (idx_webhook_endpoint) \
             WHERE w.owner = ? AND NOT EXISTS (SELECT 1 FROM instances i \
             WHERE i.instance_id = w.owner AND i.lease_until > ",
            lease_now!(),
            ") LIMIT ? FOR UPDATE SKIP LOCKED"
        ))
        .bind(owner)
        .bind(lease_now)
        .bind(i64::try_from(rest).unwrap_or(i64::MAX))
        .fetch_all(&mut *tx)
        .await?;
        rows.extend(some);
    }
    rows.sort_unstable();
    if !rows.is_empty() {
        sqlx::query(
            "UPDATE JSON_TABLE(?, '$[*]' COLUMNS (id CHAR(13) CHARACTER SET ascii PATH '$')) j \
             STRAIGHT_JOIN webhooks w FORCE INDEX (PRIMARY) ON w.webhook_id = j.id \
             SET w.owner = ?",
        )
        .bind(json_ids(&rows))
        .bind(me)
        .execute(tx)
        .await?;
    }
    Ok(rows.len() as u64)
}
