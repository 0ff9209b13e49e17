use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use sqlx::{MySqlConnection, query, query_as, query_scalar};

use super::{Fault, LeaseClock, MysqlLedger, json_rows, lease_now};
use crate::broker::{FRAME_VERSION, FrameVersion, QueueName};
use crate::clock::{SystemClock, Timestamp};
use crate::domain::id::InstanceId;
use crate::ledger::instances::newcomer;
use crate::ledger::rows::known;
use crate::ledger::{
    Heartbeat, Instances, Joined, LedgerError, LiveInstance, QueueTaken, SharedHealth,
};

/// Whoever lapsed longer ago than this is gone for good. Until then it may renew: after an outage of
/// the database all have lapsed at once, and it may be a long one.
const GONE: Duration = Duration::from_secs(600);

/// Nothing here is a transaction of more than one statement: a process that froze within one would
/// hold rows that everybody's next heartbeat waits for.
#[async_trait]
impl Instances for MysqlLedger {
    async fn join(&self, role: &str, lease: Duration) -> Result<Joined, LedgerError> {
        let given = (role, millis(lease), &self.lease_clock);
        self.singly(&given, |connection, (role, lease, clock)| {
            Box::pin(join(connection, role, *lease, clock))
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
        let beat = Beat {
            me,
            lease: millis(lease),
            now: self.lease_clock.given(),
            taken: taken_rows(taken),
            health: health_rows(me, health),
        };
        self.singly(&beat, |connection, beat| {
            Box::pin(heartbeat(connection, beat))
        })
        .await
    }

    fn set_frame_version(&self, version: FrameVersion) {
        self.frame_version.set(version);
    }

    async fn leave(&self, me: InstanceId) -> Result<(), LedgerError> {
        self.singly(&me, |connection, me| {
            Box::pin(async move {
                query("DELETE FROM instances WHERE instance_id = ?")
                    .bind(me)
                    .execute(connection)
                    .await?;
                Ok(())
            })
        })
        .await
    }

    async fn taken(&self) -> Result<Vec<QueueTaken>, LedgerError> {
        let rows = self.read(&(), |connection, ()| {
            Box::pin(async move {
                let rows: Vec<(i64, i64)> = query_as("SELECT queue, queued_at FROM queue_taken")
                    .fetch_all(connection)
                    .await?;
                Ok(rows)
            })
        });
        let read = |(queue, queued_at)| {
            Ok(QueueTaken {
                queue: known("queue", queue, QueueName::from_number)?,
                queued_at: Timestamp::from_millis(queued_at),
            })
        };
        rows.await?.into_iter().map(read).collect()
    }

    async fn lapsed(&self, owners: &[InstanceId]) -> Result<Vec<InstanceId>, LedgerError> {
        let living = self.read(&self.lease_clock, |connection, clock| {
            Box::pin(living_ids(connection, clock))
        });
        let living = living.await?;
        let mut lapsed = owners.to_vec();
        lapsed.retain(|owner| !living.contains(owner));
        Ok(lapsed)
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Every instance with a lease.
pub(super) async fn living_ids(
    connection: &mut MySqlConnection,
    clock: &LeaseClock,
) -> Result<HashSet<InstanceId>, Fault> {
    let living: Vec<InstanceId> = query_scalar(concat!(
        "SELECT instance_id FROM instances WHERE lease_until > ",
        lease_now!()
    ))
    .bind(clock.given())
    .fetch_all(connection)
    .await?;
    Ok(living.into_iter().collect())
}

async fn join(
    connection: &mut MySqlConnection,
    role: &str,
    lease: i64,
    clock: &LeaseClock,
) -> Result<Joined, Fault> {
    forget_the_gone(connection, clock).await?;
    let counter = raise_counter(connection).await?;
    loop {
        let held: Vec<i64> = query_scalar("SELECT node FROM instances")
            .fetch_all(&mut *connection)
            .await?;
        let joined = match newcomer(Arc::new(SystemClock), counter, &held) {
            Ok(joined) => joined,
            Err(_) if make_room(connection, lease, clock).await? => continue,
            Err(full) => return Err(full.into()),
        };
        match enter(connection, &joined, role, lease, clock).await {
            // Who joined at the same time was given this node id.
            Err(fault) if fault.is_duplicate() => {}
            entered => return entered.map(|()| joined),
        }
    }
}

async fn forget_the_gone(
    connection: &mut MySqlConnection,
    clock: &LeaseClock,
) -> Result<(), Fault> {
    query(concat!(
        "DELETE FROM instances WHERE lease_until <= ",
        lease_now!(),
        " - ?"
    ))
    .bind(clock.given())
    .bind(millis(GONE))
    .execute(connection)
    .await?;
    Ok(())
}

/// Forgets whoever lapsed first, if it has not renewed for a second lease; false if nobody has.
async fn make_room(
    connection: &mut MySqlConnection,
    lease: i64,
    clock: &LeaseClock,
) -> Result<bool, Fault> {
    let forgotten = query(concat!(
        "DELETE FROM instances WHERE lease_until <= ",
        lease_now!(),
        " - ? ORDER BY lease_until LIMIT 1"
    ))
    .bind(clock.given())
    .bind(lease)
    .execute(connection)
    .await?;
    Ok(forgotten.rows_affected() == 1)
}

/// Keeps a newcomer's row; uk_instance_node refuses a node id that is held.
async fn enter(
    connection: &mut MySqlConnection,
    joined: &Joined,
    role: &str,
    lease: i64,
    clock: &LeaseClock,
) -> Result<(), Fault> {
    query(concat!(
        "INSERT INTO instances (instance_id, node, role, frame_version, joined_at, lease_until) \
         VALUES (?, ?, ?, ?, ",
        lease_now!(),
        ", ",
        lease_now!(),
        " + ?)"
    ))
    .bind(joined.instance)
    .bind(joined.node)
    .bind(role)
    .bind(FRAME_VERSION)
    .bind(clock.given())
    .bind(clock.given())
    .bind(lease)
    .execute(connection)
    .await?;
    Ok(())
}

/// Raises the ledger counter, and tells to what.
async fn raise_counter(connection: &mut MySqlConnection) -> Result<u64, Fault> {
    // The server gives the number back with the answer to the update.
    let raised = query("UPDATE ledger_counter SET counter = last_insert_id(counter + 1)")
        .execute(connection)
        .await?;
    Ok(raised.last_insert_id())
}

struct Beat {
    me: InstanceId,
    lease: i64,
    now: Option<i64>,
    taken: Option<String>,
    health: Option<String>,
}

/// In the order of the key, in which every process locks them.
fn taken_rows(taken: &[QueueTaken]) -> Option<String> {
    let mut rows: Vec<(u8, i64)> = taken
        .iter()
        .map(|one| (one.queue.number(), one.queued_at.millis()))
        .collect();
    rows.sort_unstable();
    let rows: Vec<_> = rows.iter().map(|row| json!(row)).collect();
    (!rows.is_empty()).then(|| json_rows(&rows))
}

fn health_rows(me: InstanceId, health: &[SharedHealth]) -> Option<String> {
    let mut health: Vec<&SharedHealth> = health.iter().collect();
    health.sort_by(|a, b| a.route.cmp(&b.route));
    let me = me.to_string();
    let rows: Vec<_> = health
        .iter()
        .map(|one| json!([one.route, one.health, one.rate, one.since.millis(), me]))
        .collect();
    (!rows.is_empty()).then(|| json_rows(&rows))
}

async fn heartbeat(connection: &mut MySqlConnection, beat: &Beat) -> Result<Heartbeat, Fault> {
    query(concat!(
        "UPDATE instances SET lease_until = ",
        lease_now!(),
        " + ? WHERE instance_id = ?"
    ))
    .bind(beat.now)
    .bind(beat.lease)
    .bind(beat.me)
    .execute(&mut *connection)
    .await?;
    let live = live(connection, beat.now).await?;
    if let Some(taken) = &beat.taken {
        tell_taken(connection, taken, beat.now).await?;
    }
    if let Some(health) = &beat.health {
        tell_health(connection, health, beat.now).await?;
    }
    let health = learn_health(connection, beat).await?;
    // Last, so that it tells of everything before.
    let counter = raise_counter(connection).await?;
    Ok(Heartbeat {
        held: live.iter().any(|one| one.instance == beat.me),
        counter,
        live,
        health,
    })
}

async fn live(
    connection: &mut MySqlConnection,
    now: Option<i64>,
) -> Result<Vec<LiveInstance>, Fault> {
    let rows: Vec<(InstanceId, String, i64)> = query_as(concat!(
        "SELECT instance_id, role, frame_version FROM instances WHERE lease_until > ",
        lease_now!()
    ))
    .bind(now)
    .fetch_all(connection)
    .await?;
    let read = |(instance, role, version)| LiveInstance {
        instance,
        role,
        frame_version: u32::try_from(version).unwrap_or(0),
    };
    Ok(rows.into_iter().map(read).collect())
}

async fn tell_taken(
    connection: &mut MySqlConnection,
    taken: &str,
    now: Option<i64>,
) -> Result<(), Fault> {
    // Never later than now: a frame queued by a clock that was ahead would make those that come after
    // it look lost.
    query(concat!(
        "INSERT INTO queue_taken (queue, queued_at) SELECT j.queue, least(j.at, ",
        lease_now!(),
        ") FROM JSON_TABLE(?, '$[*]' COLUMNS (queue INT PATH '$[0]', at BIGINT PATH '$[1]')) j \
         ON DUPLICATE KEY UPDATE \
         queued_at = least(greatest(queue_taken.queued_at, VALUES(queued_at)), ",
        lease_now!(),
        ")"
    ))
    .bind(now)
    .bind(taken)
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}

async fn tell_health(
    connection: &mut MySqlConnection,
    health: &str,
    now: Option<i64>,
) -> Result<(), Fault> {
    // Not since later than now: else the word of a clock that is ahead would be the newest for as
    // long. Assigned from left to right: `since` decides on the others, so it comes last.
    query(concat!(
        "INSERT INTO route_health (route, health, rate, since, told_by) \
         SELECT j.name, j.word, j.most, least(j.at, ",
        lease_now!(),
        "), j.teller FROM JSON_TABLE(?, '$[*]' COLUMNS ( \
         name VARCHAR(64) CHARACTER SET ascii PATH '$[0]', \
         word VARCHAR(16) CHARACTER SET ascii PATH '$[1]', most BIGINT PATH '$[2]', \
         at BIGINT PATH '$[3]', teller CHAR(13) CHARACTER SET ascii PATH '$[4]')) j \
         ON DUPLICATE KEY UPDATE \
         health = IF(VALUES(since) >= route_health.since, VALUES(health), route_health.health), \
         rate = IF(VALUES(since) >= route_health.since, VALUES(rate), route_health.rate), \
         told_by = IF(VALUES(since) >= route_health.since, VALUES(told_by), route_health.told_by), \
         since = greatest(route_health.since, VALUES(since))",
    ))
    .bind(now)
    .bind(health)
    .execute(connection)
    .await?;
    Ok(())
}

/// What the others told that are alive: nobody takes back what a dead one said last.
async fn learn_health(
    connection: &mut MySqlConnection,
    beat: &Beat,
) -> Result<Vec<SharedHealth>, Fault> {
    let rows: Vec<(String, String, i64, i64)> = query_as(concat!(
        "SELECT h.route, h.health, h.rate, h.since FROM route_health h \
         JOIN instances i ON i.instance_id = h.told_by \
         WHERE h.told_by <> ? AND i.lease_until > ",
        lease_now!()
    ))
    .bind(beat.me)
    .bind(beat.now)
    .fetch_all(connection)
    .await?;
    let read = |(route, health, rate, since)| SharedHealth {
        route,
        health,
        rate: u32::try_from(rate).unwrap_or(0),
        since: Timestamp::from_millis(since),
    };
    Ok(rows.into_iter().map(read).collect())
}
