use async_trait::async_trait;
use sqlx::SqliteConnection;

use super::ending::add_events;
use super::{SqliteLedger, deadletters, from_sqlx, json_list, partner_id};
use crate::clock::Timestamp;
use crate::domain::event::EventKind;
use crate::domain::id::{InstanceId, PartnerId, WebhookId};
use crate::ledger::webhooks::WebhookRow;
use crate::ledger::{DeliveryResult, DueWebhook, Endpoint, LedgerError, Webhooks};

/// When the oldest row of `me` is due, per partner whose endpoint is not disabled: one look-up in
/// idx_webhook_endpoint a partner, however many rows wait.
const OLDEST: &str = "SELECT p.partner_id, (SELECT w.next_attempt_at FROM webhooks w \
                      WHERE w.owner = ?1 AND w.partner_id = p.partner_id \
                      ORDER BY w.next_attempt_at LIMIT 1) AS due \
                      FROM partners p WHERE p.webhook_url IS NOT NULL \
                      AND p.webhook_disabled IS NULL AND due <= ?2 ORDER BY due LIMIT ?3";

/// Owners without a lease, from one owner to the next in idx_webhook_endpoint: many rows may wait
/// for an endpoint, but they have few owners.
const ORPHANS: &str = "WITH RECURSIVE owners (owner) AS (SELECT min(owner) FROM webhooks \
                       UNION ALL SELECT (SELECT min(w.owner) FROM webhooks w \
                       WHERE w.owner > owners.owner) FROM owners WHERE owners.owner IS NOT NULL) \
                       SELECT owner FROM owners WHERE owner IS NOT NULL AND owner NOT IN \
                       (SELECT instance_id FROM instances WHERE lease_until > ?)";

#[async_trait]
impl Webhooks for SqliteLedger {
    async fn endpoints_due(
        &self,
        me: InstanceId,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<Endpoint>, LedgerError> {
        let rows: Vec<(String, i64)> = sqlx::query_as(OLDEST)
            .bind(me.to_column())
            .bind(now.millis())
            .bind(i64::from(limit))
            .fetch_all(self.readers())
            .await
            .map_err(from_sqlx)?;
        rows.into_iter()
            .map(|(partner, due)| {
                Ok(Endpoint {
                    partner: partner_id(&partner)?,
                    due: Timestamp::from_millis(due),
                })
            })
            .collect()
    }

    async fn next_webhook(&self, me: InstanceId) -> Result<Option<Timestamp>, LedgerError> {
        let row: Option<(String, i64)> = sqlx::query_as(OLDEST)
            .bind(me.to_column())
            .bind(i64::MAX)
            .bind(1_i64)
            .fetch_optional(self.readers())
            .await
            .map_err(from_sqlx)?;
        Ok(row.map(|(_, due)| Timestamp::from_millis(due)))
    }

    async fn due_webhooks(
        &self,
        me: InstanceId,
        partner: &PartnerId,
        now: Timestamp,
        in_hand: &[WebhookId],
        limit: u32,
    ) -> Result<Vec<DueWebhook>, LedgerError> {
        // idx_webhook_endpoint, in its order.
        let rows: Vec<WebhookRow> = sqlx::query_as(
            "SELECT webhook_id, attempt, results, body, created_at FROM webhooks \
             WHERE owner = ? AND partner_id = ? AND next_attempt_at <= ? \
             AND webhook_id NOT IN (SELECT value FROM json_each(?)) \
             ORDER BY next_attempt_at LIMIT ?",
        )
        .bind(me.to_column())
        .bind(partner.as_str())
        .bind(now.millis())
        .bind(json_list(in_hand.iter().map(|id| id.to_column())))
        .bind(i64::from(limit))
        .fetch_all(self.readers())
        .await
        .map_err(from_sqlx)?;
        Ok(rows.into_iter().map(|row| row.into_due(partner)).collect())
    }

    async fn record_deliveries(
        &self,
        me: InstanceId,
        results: &[(DueWebhook, DeliveryResult)],
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let results = results.to_vec();
        self.writer
            .run(move |connection| {
                Box::pin(async move {
                    for (webhook, result) in &results {
                        record(&mut *connection, me, webhook, result, now).await?;
                    }
                    Ok(())
                })
            })
            .await
    }

    async fn adopt_webhooks(&self, me: InstanceId, limit: u32) -> Result<u64, LedgerError> {
        let now = self.clock.now();
        // Looked at first with a reader, as most of the time there is nothing to adopt.
        let orphans: Vec<i64> = sqlx::query_scalar(ORPHANS)
            .bind(now.millis())
            .fetch_all(self.readers())
            .await
            .map_err(from_sqlx)?;
        if orphans.is_empty() {
            return Ok(0);
        }
        self.writer
            .run(move |connection| {
                Box::pin(async move {
                    let adopted = sqlx::query(
                        "UPDATE webhooks SET owner = ?1 WHERE webhook_id IN \
                         (SELECT webhook_id FROM webhooks \
                          WHERE owner IN (SELECT value FROM json_each(?2)) LIMIT ?3) \
                         AND owner NOT IN \
                         (SELECT instance_id FROM instances WHERE lease_until > ?4)",
                    )
                    .bind(me.to_column())
                    .bind(json_list(orphans))
                    .bind(i64::from(limit))
                    .bind(now.millis())
                    .execute(connection)
                    .await
                    .map_err(from_sqlx)?;
                    Ok(adopted.rows_affected())
                })
            })
            .await
    }

    async fn webhooks_size(&self) -> Result<u64, LedgerError> {
        super::count(self, "SELECT count(*) FROM webhooks").await
    }
}

async fn record(
    connection: &mut SqliteConnection,
    me: InstanceId,
    webhook: &DueWebhook,
    result: &DeliveryResult,
    now: Timestamp,
) -> Result<(), LedgerError> {
    let delete = "DELETE FROM webhooks WHERE webhook_id = ? AND owner = ? AND attempt = ?";
    let update = "UPDATE webhooks SET attempt = attempt + 1, next_attempt_at = ? \
                  WHERE webhook_id = ? AND owner = ? AND attempt = ?";
    let of_row =
        |query: sqlx::query::Query<'static, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>| {
            query
                .bind(webhook.id.to_column())
                .bind(me.to_column())
                .bind(i64::from(webhook.attempt))
        };
    match result {
        DeliveryResult::Delivered => {
            of_row(sqlx::query(delete))
                .execute(connection)
                .await
                .map_err(from_sqlx)?;
        }
        DeliveryResult::Retry { next_at, why } => {
            let moved = of_row(sqlx::query(update).bind(next_at.millis()))
                .execute(&mut *connection)
                .await
                .map_err(from_sqlx)?;
            if moved.rows_affected() == 1 {
                add_events(
                    connection,
                    &webhook.events(EventKind::WebhookFailed, why),
                    now,
                )
                .await?;
            }
        }
        DeliveryResult::Dead(letter) => {
            let gone = of_row(sqlx::query(delete))
                .execute(&mut *connection)
                .await
                .map_err(from_sqlx)?;
            if gone.rows_affected() == 1 {
                deadletters::insert(&mut *connection, letter, now).await?;
                add_events(
                    connection,
                    &webhook.events(EventKind::WebhookDead, &letter.reason),
                    now,
                )
                .await?;
            }
        }
        DeliveryResult::EndpointGone { why } => {
            let moved = of_row(sqlx::query(update).bind(now.millis()))
                .execute(&mut *connection)
                .await
                .map_err(from_sqlx)?;
            if moved.rows_affected() == 1 {
                sqlx::query(
                    "UPDATE partners SET webhook_disabled = ?, updated_at = ? \
                     WHERE partner_id = ? AND webhook_disabled IS NULL",
                )
                .bind(why)
                .bind(now.millis())
                .bind(webhook.partner.as_str())
                .execute(&mut *connection)
                .await
                .map_err(from_sqlx)?;
                add_events(
                    connection,
                    &webhook.events(EventKind::WebhookDisabled, why),
                    now,
                )
                .await?;
            }
        }
    }
    Ok(())
}
