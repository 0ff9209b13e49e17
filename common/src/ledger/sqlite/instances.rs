use std::time::Duration;

use async_trait::async_trait;

use super::{SqliteLedger, from_sqlx, json_list, known};
use crate::broker::{FRAME_VERSION, FrameVersion, QueueName};
use crate::clock::Timestamp;
use crate::domain::id::InstanceId;
use crate::ledger::instances::newcomer;
use crate::ledger::{
    Heartbeat, Instances, Joined, LedgerError, LiveInstance, QueueTaken, SharedHealth,
};

#[async_trait]
impl Instances for SqliteLedger {
    async fn join(&self, role: &str, lease: Duration) -> Result<Joined, LedgerError> {
        let now = self.clock.now();
        let clock = std::sync::Arc::clone(&self.clock);
        let role = role.to_owned();
        self.writer
            .run(move |connection| {
                Box::pin(async move {
                    sqlx::query("DELETE FROM instances WHERE lease_until <= ?")
                        .bind(now.millis())
                        .execute(&mut *connection)
                        .await
                        .map_err(from_sqlx)?;
                    let held: Vec<i64> = sqlx::query_scalar("SELECT node FROM instances")
                        .fetch_all(&mut *connection)
                        .await
                        .map_err(from_sqlx)?;
                    let counter: i64 = sqlx::query_scalar(
                        "UPDATE ledger_counter SET counter = counter + 1 RETURNING counter",
                    )
                    .fetch_one(&mut *connection)
                    .await
                    .map_err(from_sqlx)?;
                    let joined = newcomer(clock, counter.cast_unsigned(), &held)?;
                    sqlx::query(
                        "INSERT INTO instances \
                         (instance_id, node, role, frame_version, joined_at, lease_until) \
                         VALUES (?, ?, ?, ?, ?, ?)",
                    )
                    .bind(joined.instance.to_column())
                    .bind(i64::from(joined.node))
                    .bind(role)
                    .bind(i64::from(FRAME_VERSION))
                    .bind(now.millis())
                    .bind(now.plus(lease).millis())
                    .execute(connection)
                    .await
                    .map_err(from_sqlx)?;
                    Ok(joined)
                })
            })
            .await
    }

    async fn heartbeat(
        &self,
        me: InstanceId,
        lease: Duration,
        taken: &[QueueTaken],
        health: &[SharedHealth],
    ) -> Result<Heartbeat, LedgerError> {
        let now = self.clock.now();
        let (taken, health) = (taken.to_vec(), health.to_vec());
        self.writer
            .run(move |connection| {
                Box::pin(async move {
                    let held = sqlx::query("UPDATE instances SET lease_until = ? WHERE instance_id = ?")
                        .bind(now.plus(lease).millis())
                        .bind(me.to_column())
                        .execute(&mut *connection)
                        .await
                        .map_err(from_sqlx)?
                        .rows_affected()
                        == 1;
                    let counter: i64 = sqlx::query_scalar(
                        "UPDATE ledger_counter SET counter = counter + 1 RETURNING counter",
                    )
                    .fetch_one(&mut *connection)
                    .await
                    .map_err(from_sqlx)?;
                    for one in taken {
                        sqlx::query(
                            "INSERT INTO queue_taken (queue, queued_at) VALUES (?, ?) \
                             ON CONFLICT (queue) DO UPDATE \
                             SET queued_at = min(max(queued_at, excluded.queued_at), ?)",
                        )
                        .bind(i64::from(one.queue.number()))
                        .bind(one.queued_at.min(now).millis())
                        .bind(now.millis())
                        .execute(&mut *connection)
                        .await
                        .map_err(from_sqlx)?;
                    }
                    for one in health {
                        sqlx::query(
                            "INSERT INTO route_health (route, health, rate, since, told_by) \
                             VALUES (?, ?, ?, ?, ?) ON CONFLICT (route) DO UPDATE SET \
                             health = excluded.health, rate = excluded.rate, \
                             since = excluded.since, told_by = excluded.told_by \
                             WHERE excluded.since >= since",
                        )
                        .bind(one.route)
                        .bind(one.health)
                        .bind(i64::from(one.rate))
                        .bind(one.since.min(now).millis())
                        .bind(me.to_column())
                        .execute(&mut *connection)
                        .await
                        .map_err(from_sqlx)?;
                    }
                    let live: Vec<(i64, String, i64)> = sqlx::query_as(
                        "SELECT instance_id, role, frame_version FROM instances WHERE lease_until > ?",
                    )
                    .bind(now.millis())
                    .fetch_all(&mut *connection)
                    .await
                    .map_err(from_sqlx)?;
                    let told: Vec<(String, String, i64, i64)> = sqlx::query_as(
                        "SELECT h.route, h.health, h.rate, h.since FROM route_health h \
                         JOIN instances i ON i.instance_id = h.told_by \
                         WHERE h.told_by <> ? AND i.lease_until > ?",
                    )
                    .bind(me.to_column())
                    .bind(now.millis())
                    .fetch_all(connection)
                    .await
                    .map_err(from_sqlx)?;
                    Ok(Heartbeat {
                        held,
                        counter: counter.cast_unsigned(),
                        live: live
                            .into_iter()
                            .map(|(instance, role, version)| LiveInstance {
                                instance: InstanceId::from_column(instance),
                                role,
                                frame_version: u32::try_from(version).unwrap_or(0),
                            })
                            .collect(),
                        health: told
                            .into_iter()
                            .map(|(route, health, rate, since)| SharedHealth {
                                route,
                                health,
                                rate: u32::try_from(rate).unwrap_or(0),
                                since: Timestamp::from_millis(since),
                            })
                            .collect(),
                    })
                })
            })
            .await
    }

    fn set_frame_version(&self, version: FrameVersion) {
        self.frame_version.set(version);
    }

    async fn leave(&self, me: InstanceId) -> Result<(), LedgerError> {
        self.writer
            .run(move |connection| {
                Box::pin(async move {
                    sqlx::query("DELETE FROM instances WHERE instance_id = ?")
                        .bind(me.to_column())
                        .execute(connection)
                        .await
                        .map_err(from_sqlx)?;
                    Ok(())
                })
            })
            .await
    }

    async fn taken(&self) -> Result<Vec<QueueTaken>, LedgerError> {
        let rows: Vec<(i64, i64)> = sqlx::query_as("SELECT queue, queued_at FROM queue_taken")
            .fetch_all(self.readers())
            .await
            .map_err(from_sqlx)?;
        rows.into_iter()
            .map(|(queue, queued_at)| {
                Ok(QueueTaken {
                    queue: known("queue", queue, QueueName::from_number)?,
                    queued_at: Timestamp::from_millis(queued_at),
                })
            })
            .collect()
    }

    async fn lapsed(&self, owners: &[InstanceId]) -> Result<Vec<InstanceId>, LedgerError> {
        let rows: Vec<i64> = sqlx::query_scalar(
            "SELECT j.value FROM json_each(?) j WHERE j.value NOT IN \
             (SELECT instance_id FROM instances WHERE lease_until > ?)",
        )
        .bind(json_list(owners.iter().map(|owner| owner.to_column())))
        .bind(self.clock.now().millis())
        .fetch_all(self.readers())
        .await
        .map_err(from_sqlx)?;
        Ok(rows.into_iter().map(InstanceId::from_column).collect())
    }
}
