//! Who is alive: one row a process, renewed every second.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::LedgerError;
use crate::broker::{FrameVersion, QueueName};
use crate::clock::{Clock, Timestamp};
use crate::domain::id::{Ids, InstanceId, NODES};
use crate::domain::kind::MessageType;

/// What a process gets when it joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joined {
    /// Its id, new at every start.
    pub instance: InstanceId,
    /// The node id leased to it, 0–1023.
    pub node: u16,
    /// The ledger counter at joining.
    pub counter: u64,
}

/// How far a queue has been taken: the `queued_at` of the frame this process took last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueTaken {
    /// The queue.
    pub queue: QueueName,
    /// When the frame taken last was queued.
    pub queued_at: Timestamp,
}

/// A route's health as one process sees it, for the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedHealth {
    /// The route.
    pub route: String,
    /// OK, OVERLOAD, FAIL, or why the vendor closed the account.
    pub health: String,
    /// The rate it may be used with now, messages a second. Of a type: the longest text that any of
    /// its routes carries, 0 where nobody said.
    pub rate: u32,
    /// Since when.
    pub since: Timestamp,
}

impl SharedHealth {
    /// Whether a type has a usable route at all, told beside the routes themselves: messages whose
    /// validity ends while it has none fail for that reason, and none is accepted whose text is
    /// longer than `limit`.
    pub fn of_type(kind: MessageType, usable: bool, limit: Option<usize>, now: Timestamp) -> Self {
        let limit = limit.and_then(|limit| u32::try_from(limit).ok());
        Self {
            route: Self::type_name(kind),
            health: if usable { "OK" } else { "FAIL" }.to_owned(),
            rate: limit.unwrap_or(0),
            since: now,
        }
    }

    /// Under which name a type is told; no route can have it.
    pub fn type_name(kind: MessageType) -> String {
        format!("type {kind}")
    }
}

/// Another process with a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveInstance {
    /// Its id.
    pub instance: InstanceId,
    /// Its services, comma separated.
    pub role: String,
    /// The newest frame version it reads.
    pub frame_version: u32,
}

/// The answer to a heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// Whether this process's row was still there with its lease. If not, it was taken for dead:
    /// it must stop and join anew.
    pub held: bool,
    /// The ledger counter after this heartbeat. It only grows, unless the ledger went back.
    pub counter: u64,
    /// Every process with a lease, this one included.
    pub live: Vec<LiveInstance>,
    /// Routes' health as told by others that have a lease, newest per route.
    pub health: Vec<SharedHealth>,
}

/// The lease room.
#[async_trait]
pub trait Instances: Send + Sync {
    /// Joins with `role` (services, comma separated) and gets an id and a free node id; the lease
    /// is valid for `lease` by the ledger's own clock. Embedded, one process holds the data folder,
    /// so every earlier instance is lapsed at once.
    /// Whoever lapsed may renew until a newcomer clears its row away: of many processes only after
    /// ten minutes, because after an outage of the ledger all of them have lapsed at once; where
    /// every node id is held, after a second lease, who lapsed first first.
    ///
    /// # Errors
    /// [`LedgerError`]; also when all 1,024 node ids are held.
    async fn join(&self, role: &str, lease: Duration) -> Result<Joined, LedgerError>;

    /// Renews the lease, raises the ledger counter, records how far queues were taken, shares and
    /// learns routes' health. What is told of a time that has not come by the ledger's clock is taken
    /// as of now.
    ///
    /// # Errors
    /// [`LedgerError`]; any part of it may have been done.
    async fn heartbeat(
        &self,
        me: InstanceId,
        lease: Duration,
        taken: &[QueueTaken],
        health: &[SharedHealth],
    ) -> Result<Heartbeat, LedgerError>;

    /// From now on the frames of this process are written in `version`: everybody who lives reads it.
    fn set_frame_version(&self, version: FrameVersion);

    /// Leaves: what it still owns is free for others at once.
    ///
    /// # Errors
    /// [`LedgerError`]; the lease then lapses by itself.
    async fn leave(&self, me: InstanceId) -> Result<(), LedgerError>;

    /// The oldest `queued_at` that every queue has been taken to: per queue, the newest frame any
    /// process took.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn taken(&self) -> Result<Vec<QueueTaken>, LedgerError>;

    /// Which of these instances have no lease (an instance without a row has none).
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn lapsed(&self, owners: &[InstanceId]) -> Result<Vec<InstanceId>, LedgerError>;
}

/// Who joins at this counter, given the node ids that are `held`.
pub(super) fn newcomer(
    clock: Arc<dyn Clock>,
    counter: u64,
    held: &[i64],
) -> Result<Joined, LedgerError> {
    // Starting at the counter spreads restarts over the node ids, so that a process that was
    // killed and its successor do not share one within the same millisecond.
    let node = (0..NODES)
        .map(|step| ((counter + u64::from(step)) % u64::from(NODES)) as u16)
        .find(|node| !held.contains(&i64::from(*node)))
        .ok_or_else(|| LedgerError::Unavailable("every node id is held".into()))?;
    // The counter makes the id new even if the clock went back over a restart.
    let stamp = Ids::new(clock, node).next().number();
    Ok(Joined {
        instance: InstanceId::from_number(stamp.max(1) ^ (counter & 0xfff)),
        node,
        counter,
    })
}
