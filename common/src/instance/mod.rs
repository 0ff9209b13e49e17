//! This process in the ledger: its id, its lease, its node id, and what it knows of the others.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::broker::{
    BrokerError, FRAME_VERSION, FrameVersion, QueueName, ReadersTooOld, SharedBroker,
};
use crate::clock::{Clock, Timestamp, boot_time};
use crate::deadline::in_time;
use crate::domain::id::{Ids, InstanceId};
use crate::domain::kind::MessageType;
use crate::http::health::Part;
use crate::ledger::{Heartbeat, Instances, LedgerError, LiveInstance, QueueTaken, SharedHealth};
use crate::telemetry::metric;

#[cfg(test)]
pub(crate) mod fake;
mod lease;
#[cfg(test)]
mod tests;

use lease::Lease;
pub use lease::LeaseConfig;

/// How often the ledger counter is copied to the broker. A ledger that goes back by less is noticed
/// by every process that lives, though not by one that starts.
const MARK_EVERY: Duration = Duration::from_secs(5);

/// Why a process could not join.
#[derive(Clone, Debug, thiserror::Error)]
pub enum JoinError {
    /// The ledger did not let it.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The broker did not tell the highest ledger counter seen, without which no one can say
    /// whether the ledger went back. Join again later.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The ledger is older than one seen before; see [`LeaseLost::WentBack`].
    #[error("{}", LeaseLost::WentBack { seen: *seen, found: *found })]
    LedgerWentBack {
        /// The highest counter seen.
        seen: u64,
        /// The counter found.
        found: u64,
    },
    /// A live process reads no frame that this one writes. Join again when it has stopped.
    #[error("a process that is alive is too old to run beside this one: {0}")]
    Frames(#[from] ReadersTooOld),
    /// The lease was lost before it could be used.
    #[error("{}", LeaseLost::TakenForDead)]
    TakenForDead,
}

impl From<LeaseLost> for JoinError {
    fn from(lost: LeaseLost) -> Self {
        match lost {
            LeaseLost::WentBack { seen, found } => Self::LedgerWentBack { seen, found },
            LeaseLost::TakenForDead => Self::TakenForDead,
        }
    }
}

/// Why a process must stop at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaseLost {
    /// The ledger is older than one seen before: a restored backup or a promoted stale replica.
    /// Everything that was sent since would be sent again.
    #[error(
        "the ledger went back in time: its counter is {found}, but {seen} was seen before; \
         stop every process, run `pabal ledger restored`, then start again"
    )]
    WentBack {
        /// The highest counter seen.
        seen: u64,
        /// The counter found.
        found: u64,
    },
    /// The others took this process for dead and may have taken over what it owned.
    #[error("this process was taken for dead: its lease is gone from the ledger")]
    TakenForDead,
}

/// This process in the ledger. It is alive as long as [`keep`](Self::keep) runs and the ledger
/// answers.
pub struct Instance {
    ledger: Arc<dyn Instances>,
    broker: SharedBroker,
    config: LeaseConfig,
    id: InstanceId,
    ids: Ids,
    known: Mutex<Known>,
    taken: Mutex<BTreeMap<QueueName, Timestamp>>,
    health: Mutex<Vec<SharedHealth>>,
    renewals: Part,
}

/// What the last heartbeat told.
struct Known {
    lease: Lease,
    counter: u64,
    live: Vec<LiveInstance>,
    frame_version: FrameVersion,
    health: Vec<SharedHealth>,
    text_limits: BTreeMap<MessageType, usize>,
}

impl Instance {
    /// Joins with `role` (services, comma separated), and learns who else lives. `clock` gives the
    /// time for ids. `renewals` is ready while heartbeats go through: long before the lease has run
    /// out it tells that nothing can be written.
    ///
    /// # Errors
    /// [`JoinError`]. After [`JoinError::LedgerWentBack`] nothing may run before the operator has spoken;
    /// the others may pass.
    pub async fn join(
        ledger: Arc<dyn Instances>,
        broker: SharedBroker,
        clock: Arc<dyn Clock>,
        role: &str,
        config: LeaseConfig,
        renewals: Part,
    ) -> Result<Arc<Self>, JoinError> {
        let limit = config.call_limit();
        // Recalled before joining: another process may raise and remember the counter in between,
        // and its mark would then be higher than ours without any fault.
        let seen = in_time(limit, broker.recall_mark()).await?;
        let sent = boot_time();
        let joined = in_time(limit, ledger.join(role, config.lease)).await?;
        let myself = LiveInstance {
            instance: joined.instance,
            role: role.to_owned(),
            frame_version: FRAME_VERSION,
        };
        let instance = Arc::new(Self {
            ledger,
            broker,
            config,
            id: joined.instance,
            ids: Ids::new(clock, joined.node),
            known: Mutex::new(Known {
                lease: Lease::new(config, sent),
                counter: joined.counter,
                live: vec![myself],
                frame_version: FrameVersion::default(),
                health: Vec::new(),
                text_limits: BTreeMap::new(),
            }),
            taken: Mutex::default(),
            health: Mutex::default(),
            renewals,
        });
        if seen > joined.counter {
            instance.give_up_lease().await;
            let found = joined.counter;
            return Err(LeaseLost::WentBack { seen, found }.into());
        }
        instance.beat().await?;
        let readable = instance.known().newest_read_by_all();
        if let Err(error) = readable {
            instance.give_up_lease().await;
            return Err(error.into());
        }
        tracing::info!(instance = %instance.id, node = joined.node, role, "joined the ledger");
        Ok(instance)
    }

    /// Its id, new at every start.
    pub const fn id(&self) -> InstanceId {
        self.id
    }

    /// Makes ids with the node id leased to this process.
    pub const fn ids(&self) -> &Ids {
        &self.ids
    }

    /// Whether the process may act: claim, write a first byte, publish again.
    pub fn alive(&self) -> bool {
        !self.remaining().is_zero()
    }

    /// How long the process may still act if no further renewal succeeds. A call to a vendor is
    /// begun only if what remains exceeds the time it takes to connect and write.
    pub fn remaining(&self) -> Duration {
        self.known().lease.remaining(boot_time())
    }

    /// Whether the process has been alive for a whole lease without a gap. Only then may it take
    /// over what others own: after a stall of the ledger everybody renews first.
    pub fn unbroken(&self) -> bool {
        self.known().lease.unbroken(boot_time())
    }

    /// How many processes live, this one included.
    pub fn live(&self) -> usize {
        self.known().live.len()
    }

    /// How many processes that run the service `role` live.
    pub fn live_with_role(&self, role: &str) -> usize {
        let runs = |live: &&LiveInstance| live.role.split(',').any(|one| one.trim() == role);
        self.known().live.iter().filter(runs).count()
    }

    /// The version in which frames are written: the newest that every live process reads.
    pub fn frame_version(&self) -> FrameVersion {
        self.known().frame_version
    }

    /// Notes that a frame queued at `queued_at` was taken from a queue; the next heartbeat tells
    /// the newest.
    pub fn note_taken(&self, queue: QueueName, queued_at: Timestamp) {
        let mut taken = lock(&self.taken);
        let newest = taken.entry(queue).or_insert(queued_at);
        *newest = queued_at.max(*newest);
    }

    /// Sets the routes' health that the next heartbeats tell the others.
    pub fn set_health(&self, health: Vec<SharedHealth>) {
        *lock(&self.health) = health;
    }

    /// The routes' health as the others told it last.
    pub fn learned_health(&self) -> Vec<SharedHealth> {
        self.known().health.clone()
    }

    /// The longest text that any route of a type carries, as senders told it with their last
    /// heartbeats; `None` where none said.
    pub fn text_limit(&self, kind: MessageType) -> Option<usize> {
        self.known().text_limits.get(&kind).copied()
    }

    /// Renews the lease until `shutdown`, and copies the ledger counter to the broker. Run it until
    /// everything else has stopped: without it the process is dead within seconds. A ledger that
    /// does not answer only lets the lease age.
    ///
    /// # Errors
    /// [`LeaseLost`]: the process must stop. It already acts as dead.
    pub async fn keep(self: Arc<Self>, shutdown: CancellationToken) -> Result<(), LeaseLost> {
        tokio::select! {
            () = shutdown.cancelled() => Ok(()),
            lost = self.beat_until_lost() => {
                tracing::error!(instance = %self.id, error = %lost, "the lease is lost");
                Err(lost)
            }
            never = self.keep_mark() => match never {},
        }
    }

    /// Leaves: acts as dead from now on, and what it still owns is free for others at once.
    pub async fn leave(&self) {
        let mark = async {
            if let Err(error) = self.remember_mark().await {
                tracing::warn!(%error, "the ledger counter could not be kept at the broker");
            }
        };
        // Others may be busy with the mark; the lease is not held for that.
        tokio::join!(mark, self.give_up_lease());
    }

    /// Copies the highest ledger counter seen to the broker.
    ///
    /// # Errors
    /// [`BrokerError`]; also when the broker does not answer in time.
    pub(crate) async fn remember_mark(&self) -> Result<(), BrokerError> {
        let counter = self.known().counter;
        let limit = self.config.call_limit();
        in_time(limit, self.broker.remember_mark(counter)).await
    }

    async fn beat_until_lost(&self) -> LeaseLost {
        let mut beats = every(self.config.beat);
        loop {
            beats.tick().await;
            if let Err(lost) = self.beat().await {
                return lost;
            }
        }
    }

    async fn keep_mark(&self) -> Infallible {
        let mut marks = every(MARK_EVERY);
        loop {
            marks.tick().await;
            if let Err(error) = self.remember_mark().await {
                tracing::debug!(%error, "the ledger counter could not be kept at the broker");
            }
        }
    }

    /// One heartbeat. A ledger that fails is not the end; what it says may be.
    async fn beat(&self) -> Result<(), LeaseLost> {
        let taken = self.taken_so_far();
        let health = lock(&self.health).clone();
        let sent = boot_time();
        let heartbeat = self
            .ledger
            .heartbeat(self.id, self.config.lease, &taken, &health);
        let heartbeat = in_time::<_, LedgerError>(self.config.call_limit(), heartbeat).await;
        if let Some(age) = self.known().lease.age(boot_time()) {
            metric::lease_age(age);
        }
        match heartbeat {
            Ok(heartbeat) => {
                self.renewals.ready();
                self.known().learn(heartbeat, sent, boot_time())?;
                self.known().learn_text_limits(&health);
                self.agree_on_frames();
                Ok(())
            }
            Err(error) => {
                self.renewals.not_ready(error.to_string());
                let remaining_ms = self.remaining().as_millis();
                tracing::warn!(%error, remaining_ms, "the lease was not renewed");
                Ok(())
            }
        }
    }

    /// From now on frames are written as everybody who lives reads them. If there is no such
    /// version, what was agreed last stays: whoever cannot read a frame leaves it to others.
    fn agree_on_frames(&self) {
        let mut known = self.known();
        match known.newest_read_by_all() {
            Ok(version) => {
                known.frame_version = version;
                self.ledger.set_frame_version(version);
            }
            Err(error) => tracing::error!(%error, "a process that is alive has to be stopped"),
        }
    }

    fn taken_so_far(&self) -> Vec<QueueTaken> {
        let taken = lock(&self.taken);
        let one = |(&queue, &queued_at)| QueueTaken { queue, queued_at };
        taken.iter().map(one).collect()
    }

    async fn give_up_lease(&self) {
        self.known().lease.end();
        let left = in_time::<_, LedgerError>(self.config.call_limit(), self.ledger.leave(self.id));
        if let Err(error) = left.await {
            tracing::warn!(%error, "could not leave the ledger; the lease lapses by itself");
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        lock(&self.known)
    }
}

impl Known {
    fn newest_read_by_all(&self) -> Result<FrameVersion, ReadersTooOld> {
        let versions = self.live.iter().map(|live| live.frame_version);
        FrameVersion::read_with(versions.fold(FRAME_VERSION, u32::min))
    }

    /// Takes in an answered heartbeat, and ends the lease if it says so.
    fn learn(
        &mut self,
        heartbeat: Heartbeat,
        sent: Duration,
        answered: Duration,
    ) -> Result<(), LeaseLost> {
        let (seen, found) = (self.counter, heartbeat.counter);
        // A heartbeat that holds raises the counter, so it must be above every one seen before.
        let lost = match heartbeat.held {
            true if found <= seen => Some(LeaseLost::WentBack { seen, found }),
            false if found < seen => Some(LeaseLost::WentBack { seen, found }),
            false => Some(LeaseLost::TakenForDead),
            true => None,
        };
        if let Some(lost) = lost {
            self.lease.end();
            return Err(lost);
        }
        self.lease.renewed(sent, answered);
        self.counter = found;
        self.live = heartbeat.live;
        self.health = heartbeat.health;
        Ok(())
    }

    /// Others do not tell a process what it told itself.
    fn learn_text_limits(&mut self, own: &[SharedHealth]) {
        let limit_of = |kind: MessageType| {
            let name = SharedHealth::type_name(kind);
            let mut told = own.iter().chain(&self.health);
            let told = told.find(|one| one.route == name && one.rate > 0)?;
            Some((kind, usize::try_from(told.rate).ok()?))
        };
        self.text_limits = MessageType::ALL.into_iter().filter_map(limit_of).collect();
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

fn every(period: Duration) -> tokio::time::Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
