use async_trait::async_trait;

use super::{SqliteLedger, from_sqlx};
use crate::clock::Timestamp;
use crate::ledger::routes::{HealthRow, RouteRow};
use crate::ledger::{KeptRoute, LedgerError, Routes, SharedHealth};

#[async_trait]
impl Routes for SqliteLedger {
    async fn routes(&self) -> Result<Vec<KeptRoute>, LedgerError> {
        let rows: Vec<RouteRow> =
            sqlx::query_as("SELECT name, definition, paused, updated_at FROM routes ORDER BY name")
                .fetch_all(self.readers())
                .await
                .map_err(from_sqlx)?;
        Ok(rows.into_iter().map(RouteRow::read).collect())
    }

    async fn set_route(
        &self,
        name: &str,
        definition: &str,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let (name, definition) = (name.to_owned(), definition.to_owned());
        self.writer
            .run(move |connection| {
                Box::pin(async move {
                    sqlx::query(
                        "INSERT INTO routes (name, definition, paused, updated_at) \
                         VALUES (?, ?, 0, ?) ON CONFLICT (name) DO UPDATE SET \
                         definition = excluded.definition, updated_at = excluded.updated_at",
                    )
                    .bind(name)
                    .bind(definition)
                    .bind(now.millis())
                    .execute(connection)
                    .await
                    .map_err(from_sqlx)?;
                    Ok(())
                })
            })
            .await
    }

    async fn pause_route(
        &self,
        name: &str,
        paused: bool,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let name = name.to_owned();
        self.writer
            .run(move |connection| {
                Box::pin(async move {
                    sqlx::query(
                        "INSERT INTO routes (name, paused, updated_at) VALUES (?, ?, ?) \
                         ON CONFLICT (name) DO UPDATE SET \
                         paused = excluded.paused, updated_at = excluded.updated_at",
                    )
                    .bind(name)
                    .bind(paused)
                    .bind(now.millis())
                    .execute(connection)
                    .await
                    .map_err(from_sqlx)?;
                    Ok(())
                })
            })
            .await
    }

    async fn forget_route(&self, name: &str) -> Result<bool, LedgerError> {
        let name = name.to_owned();
        self.writer
            .run(move |connection| {
                Box::pin(async move {
                    let forgotten = sqlx::query("DELETE FROM routes WHERE name = ?")
                        .bind(name)
                        .execute(connection)
                        .await
                        .map_err(from_sqlx)?;
                    Ok(forgotten.rows_affected() == 1)
                })
            })
            .await
    }

    async fn told_health(&self) -> Result<Vec<SharedHealth>, LedgerError> {
        let rows: Vec<HealthRow> = sqlx::query_as(
            "SELECT h.route, h.health, h.rate, h.since FROM route_health h \
             JOIN instances i ON i.instance_id = h.told_by WHERE i.lease_until > ? \
             ORDER BY h.route",
        )
        .bind(self.clock.now().millis())
        .fetch_all(self.readers())
        .await
        .map_err(from_sqlx)?;
        Ok(rows.into_iter().map(HealthRow::read).collect())
    }
}
