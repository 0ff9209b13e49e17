use async_trait::async_trait;
use sqlx::{query, query_as};

use super::{MysqlLedger, lease_now};
use crate::clock::Timestamp;
use crate::ledger::routes::{HealthRow, RouteRow};
use crate::ledger::{KeptRoute, LedgerError, Routes, SharedHealth};

#[async_trait]
impl Routes for MysqlLedger {
    async fn routes(&self) -> Result<Vec<KeptRoute>, LedgerError> {
        let rows: Vec<RouteRow> = self
            .read(&(), |connection, ()| {
                Box::pin(async move {
                    let rows = query_as(
                        "SELECT name, definition, paused, updated_at FROM routes ORDER BY name",
                    )
                    .fetch_all(connection)
                    .await?;
                    Ok(rows)
                })
            })
            .await?;
        Ok(rows.into_iter().map(RouteRow::read).collect())
    }

    async fn set_route(
        &self,
        name: &str,
        definition: &str,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        self.transact(&(name, definition, now), |tx, (name, definition, now)| {
            Box::pin(async move {
                query(
                    "INSERT INTO routes (name, definition, paused, updated_at) \
                     VALUES (?, ?, FALSE, ?) ON DUPLICATE KEY UPDATE \
                     definition = VALUES(definition), updated_at = VALUES(updated_at)",
                )
                .bind(name)
                .bind(definition)
                .bind(now.millis())
                .execute(tx)
                .await?;
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
        self.transact(&(name, paused, now), |tx, (name, paused, now)| {
            Box::pin(async move {
                query(
                    "INSERT INTO routes (name, paused, updated_at) VALUES (?, ?, ?) \
                     ON DUPLICATE KEY UPDATE \
                     paused = VALUES(paused), updated_at = VALUES(updated_at)",
                )
                .bind(name)
                .bind(paused)
                .bind(now.millis())
                .execute(tx)
                .await?;
                Ok(())
            })
        })
        .await
    }

    async fn forget_route(&self, name: &str) -> Result<bool, LedgerError> {
        self.transact(&name, |tx, name| {
            Box::pin(async move {
                let forgotten = query("DELETE FROM routes WHERE name = ?")
                    .bind(name)
                    .execute(tx)
                    .await?;
                Ok(forgotten.rows_affected() == 1)
            })
        })
        .await
    }

    async fn told_health(&self) -> Result<Vec<SharedHealth>, LedgerError> {
        let rows: Vec<HealthRow> = self
            .read(&self.lease_clock.given(), |connection, now| {
                Box::pin(async move {
                    let rows = query_as(concat!(
                        "SELECT h.route, h.health, h.rate, h.since FROM route_health h \
                         JOIN instances i ON i.instance_id = h.told_by WHERE i.lease_until > ",
                        lease_now!(),
                        " ORDER BY h.route"
                    ))
                    .bind(now)
                    .fetch_all(connection)
                    .await?;
                    Ok(rows)
                })
            })
            .await?;
        Ok(rows.into_iter().map(HealthRow::read).collect())
    }
}
