use std::time::Duration;

use async_trait::async_trait;
use sqlx::{MySqlConnection, query, query_as, query_scalar};

use super::instances::living_ids;
use super::{Fault, LeaseClock, MysqlLedger, frames, json_ids, lease_now};
use crate::broker::{Publication, ReportFrame};
use crate::clock::Timestamp;
use crate::domain::id::{InstanceId, OutboxId};
use crate::domain::report::Report;
use crate::ledger::{Dispatch, LedgerError, Outbox};

/// A row this much younger than now is from before the clock went back. The clock is the database's,
/// which may differ a little from that of the process that wrote the row.
const AHEAD: Duration = Duration::from_secs(60);
/// How many rows one transaction releases.
const RELEASED: i64 = 5_000;

#[async_trait]
impl Outbox for MysqlLedger {
    async fn retire(&self, rows: &[OutboxId]) -> Result<(), LedgerError> {
        self.transact(&rows, |tx, rows| Box::pin(delete(tx, rows)))
            .await
    }

    async fn outbox_of(
        &self,
        me: InstanceId,
        after: Option<OutboxId>,
        before: Timestamp,
        limit: u32,
    ) -> Result<Vec<Dispatch>, LedgerError> {
        let after = after.unwrap_or(OutboxId::from_number(0));
        let given = (me, after, before, limit, self.lease_clock.given());
        self.read(&given, |connection, (me, after, before, limit, now)| {
            Box::pin(async move {
                // By idx_outbox_owner. A row from the future was made before the clock went back:
                // it is old, too.
                let rows = query_as(concat!(
                    "SELECT outbox_id, frames FROM outbox FORCE INDEX (idx_outbox_owner) \
                     WHERE owner = ? AND outbox_id > ? AND (created_at < ? OR created_at > ",
                    lease_now!(),
                    " + ?) ORDER BY outbox_id LIMIT ?"
                ))
                .bind(me)
                .bind(after)
                .bind(before.millis())
                .bind(now)
                .bind(millis(AHEAD))
                .bind(limit)
                .fetch_all(connection)
                .await?;
                dispatches(rows)
            })
        })
        .await
    }

    async fn adopt_outbox(&self, me: InstanceId, limit: u32) -> Result<Vec<Dispatch>, LedgerError> {
        // Looked at first without a transaction: most of the time there is nothing to adopt.
        let owners = self.read(&self.lease_clock, |connection, clock| {
            Box::pin(dead_owners(connection, clock))
        });
        if owners.await?.is_empty() {
            return Ok(Vec::new());
        }
        let given = (me, limit, &self.lease_clock);
        self.transact(&given, |tx, (me, limit, clock)| {
            Box::pin(adopt(tx, *me, *limit, clock))
        })
        .await
    }

    async fn release_outbox(&self, me: InstanceId) -> Result<u64, LedgerError> {
        let mut released = 0;
        loop {
            let some = self
                .transact(&me, |tx, me| Box::pin(release(tx, *me)))
                .await?;
            released += some;
            if some < RELEASED.unsigned_abs() {
                return Ok(released);
            }
        }
    }

    async fn outbox_size(&self) -> Result<u64, LedgerError> {
        self.read(&(), |connection, ()| {
            Box::pin(async move {
                let rows: i64 = query_scalar("SELECT count(*) FROM outbox")
                    .fetch_one(connection)
                    .await?;
                Ok(rows.unsigned_abs())
            })
        })
        .await
    }

    async fn keep_reports(
        &self,
        me: InstanceId,
        outbox: OutboxId,
        reports: &[Report],
        cursor: Option<(&str, &str)>,
        now: Timestamp,
    ) -> Result<Option<Dispatch>, LedgerError> {
        let polled = Polled {
            cursor,
            publications: ReportFrame::publications(reports, self.frame_version.get()),
        };
        let given = (me, outbox, polled, now);
        self.transact(&given, |tx, (me, outbox, polled, now)| {
            Box::pin(keep_polled(tx, *me, *outbox, polled, *now))
        })
        .await
    }

    async fn poll_cursor(&self, source: &str) -> Result<Option<String>, LedgerError> {
        self.read(&source, |connection, source| {
            Box::pin(async move {
                let row: Option<Option<String>> =
                    query_scalar("SELECT cursor_at FROM poll_cursors WHERE source = ?")
                        .bind(source)
                        .fetch_optional(connection)
                        .await?;
                Ok(row.flatten())
            })
        })
        .await
    }

    async fn lease_poll(
        &self,
        me: InstanceId,
        source: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<bool, LedgerError> {
        // How long is the caller's to say, until when the database's: no two processes agree on now.
        let long = millis(until.since(now));
        let given = (me, source, long, &self.lease_clock);
        self.transact(&given, |tx, (me, source, long, clock)| {
            Box::pin(async move {
                let held = lock_poll(tx, source, clock).await?;
                if !may_poll(tx, *me, held, clock).await? {
                    return Ok(false);
                }
                query(concat!(
                    "UPDATE poll_cursors SET leased_by = ?, leased_until = ",
                    lease_now!(),
                    " + ? WHERE source = ?"
                ))
                .bind(me)
                .bind(clock.given())
                .bind(long)
                .bind(source)
                .execute(tx)
                .await?;
                Ok(true)
            })
        })
        .await
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn dispatches(rows: Vec<(OutboxId, Vec<u8>)>) -> Result<Vec<Dispatch>, Fault> {
    rows.iter()
        .map(|(id, stored)| Ok(frames::read(*id, stored)?))
        .collect()
}

/// Deletes retired rows.
pub(super) async fn delete(tx: &mut MySqlConnection, rows: &[OutboxId]) -> Result<(), Fault> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut rows = rows.to_vec();
    rows.sort_unstable();
    query(
        "DELETE o \
         FROM JSON_TABLE(?, '$[*]' COLUMNS (id CHAR(13) CHARACTER SET ascii PATH '$')) j \
         STRAIGHT_JOIN outbox o ON o.outbox_id = j.id",
    )
    .bind(json_ids(rows))
    .execute(tx)
    .await?;
    Ok(())
}

/// Owners of rows that have no lease; `None` are rows that were given to anybody.
async fn dead_owners(
    connection: &mut MySqlConnection,
    clock: &LeaseClock,
) -> Result<Vec<Option<InstanceId>>, Fault> {
    // A step per owner along idx_outbox_owner, however many rows each has.
    let mut owners: Vec<Option<InstanceId>> =
        query_scalar("SELECT owner FROM outbox FORCE INDEX (idx_outbox_owner) GROUP BY owner")
            .fetch_all(&mut *connection)
            .await?;
    if !owners.is_empty() {
        let living = living_ids(connection, clock).await?;
        owners.retain(|owner| owner.is_none_or(|owner| !living.contains(&owner)));
    }
    Ok(owners)
}

/// Takes over the oldest rows of dead owners. Rows that another has in hand are left to it.
async fn adopt(
    tx: &mut MySqlConnection,
    me: InstanceId,
    limit: u32,
    clock: &LeaseClock,
) -> Result<Vec<Dispatch>, Fault> {
    let dead = dead_owners(tx, clock).await?;
    let mut oldest: Vec<OutboxId> = Vec::new();
    for owner in &dead {
        // By idx_outbox_owner.
        let rows: Vec<OutboxId> = query_scalar(
            "SELECT outbox_id FROM outbox FORCE INDEX (idx_outbox_owner) WHERE owner <=> ? \
             ORDER BY outbox_id LIMIT ?",
        )
        .bind(owner)
        .bind(limit)
        .fetch_all(&mut *tx)
        .await?;
        oldest.extend(rows);
    }
    oldest.sort_unstable();
    oldest.truncate(limit as usize);
    let rows: Vec<(OutboxId, Option<InstanceId>, Vec<u8>)> = query_as(
        "SELECT o.outbox_id, o.owner, o.frames FROM (SELECT * FROM JSON_TABLE(?, '$[*]' \
         COLUMNS (id CHAR(13) CHARACTER SET ascii PATH '$')) list) j STRAIGHT_JOIN outbox o \
         ON o.outbox_id = j.id FOR UPDATE SKIP LOCKED",
    )
    .bind(json_ids(oldest))
    .fetch_all(&mut *tx)
    .await?;
    let mut taken: Vec<(OutboxId, Vec<u8>)> = rows
        .into_iter()
        .filter(|(_, owner, _)| dead.contains(owner))
        .map(|(id, _, stored)| (id, stored))
        .collect();
    if taken.is_empty() {
        return Ok(Vec::new());
    }
    taken.sort_unstable_by_key(|(id, _)| *id);
    query(
        "UPDATE JSON_TABLE(?, '$[*]' COLUMNS (id CHAR(13) CHARACTER SET ascii PATH '$')) j \
         STRAIGHT_JOIN outbox o ON o.outbox_id = j.id SET o.owner = ?",
    )
    .bind(json_ids(taken.iter().map(|(id, _)| *id)))
    .bind(me)
    .execute(tx)
    .await?;
    dispatches(taken)
}

async fn release(tx: &mut MySqlConnection, me: InstanceId) -> Result<u64, Fault> {
    // By idx_outbox_owner.
    let rows: Vec<OutboxId> = query_scalar(
        "SELECT outbox_id FROM outbox FORCE INDEX (idx_outbox_owner) WHERE owner = ? \
         ORDER BY outbox_id LIMIT ? FOR UPDATE",
    )
    .bind(me)
    .bind(RELEASED)
    .fetch_all(&mut *tx)
    .await?;
    if rows.is_empty() {
        return Ok(0);
    }
    let released = rows.len() as u64;
    query(
        "UPDATE JSON_TABLE(?, '$[*]' COLUMNS (id CHAR(13) CHARACTER SET ascii PATH '$')) j \
         STRAIGHT_JOIN outbox o ON o.outbox_id = j.id SET o.owner = NULL",
    )
    .bind(json_ids(rows))
    .execute(tx)
    .await?;
    Ok(released)
}

/// What a poll brought, and how far it came.
struct Polled<'a> {
    cursor: Option<(&'a str, &'a str)>,
    publications: Vec<Publication>,
}

async fn keep_polled(
    tx: &mut MySqlConnection,
    me: InstanceId,
    outbox: OutboxId,
    polled: &Polled<'_>,
    now: Timestamp,
) -> Result<Option<Dispatch>, Fault> {
    if let Some((source, at)) = polled.cursor {
        query(
            "INSERT INTO poll_cursors (source, cursor_at) VALUES (?, ?) \
             ON DUPLICATE KEY UPDATE cursor_at = VALUES(cursor_at)",
        )
        .bind(source)
        .bind(at)
        .execute(&mut *tx)
        .await?;
    }
    frames::keep(tx, me, outbox, polled.publications.clone(), now).await
}

/// Who polls a source, and whether its turn is not over.
type Held = (Option<InstanceId>, bool);

/// Locks the row of a source, made if there is none, and tells who has the right to poll it.
async fn lock_poll(
    tx: &mut MySqlConnection,
    source: &str,
    clock: &LeaseClock,
) -> Result<Held, Fault> {
    query("INSERT INTO poll_cursors (source) VALUES (?) ON DUPLICATE KEY UPDATE source = VALUES(source)")
        .bind(source)
        .execute(&mut *tx)
        .await?;
    let held = query_as(concat!(
        "SELECT leased_by, coalesce(leased_until, 0) > ",
        lease_now!(),
        " FROM poll_cursors WHERE source = ? FOR UPDATE"
    ))
    .bind(clock.given())
    .bind(source)
    .fetch_one(tx)
    .await?;
    Ok(held)
}

async fn may_poll(
    tx: &mut MySqlConnection,
    me: InstanceId,
    (leased_by, lasts): Held,
    clock: &LeaseClock,
) -> Result<bool, Fault> {
    let Some(other) = leased_by.filter(|by| *by != me) else {
        return Ok(true);
    };
    Ok(!lasts || !living_ids(tx, clock).await?.contains(&other))
}
