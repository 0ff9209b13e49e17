//! A lease room and a broker in memory whose answers a test can change.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{Instance, LeaseConfig};
use crate::broker::{
    Broker, BrokerError, Delivery, FRAME_VERSION, FrameVersion, Publication, QueueName,
    Subscription,
};
use crate::clock::{ManualClock, Timestamp};
use crate::domain::id::InstanceId;
use crate::http::health::Readiness;
use crate::ledger::{
    Heartbeat, Instances, Joined, LedgerError, LiveInstance, QueueTaken, SharedHealth,
};
use crate::telemetry::trace::traceparent;

/// The id the fake ledger gives.
pub(crate) const ME: InstanceId = InstanceId::from_number(7);

/// The time in tests.
pub(crate) fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(Timestamp::from_millis(1_795_000_000_000)))
}

/// Joins the fakes.
pub(crate) async fn join(
    ledger: &Arc<FakeLedger>,
    broker: &Arc<FakeBroker>,
    config: LeaseConfig,
) -> Result<Arc<Instance>, super::JoinError> {
    let readiness = Readiness::new(CancellationToken::new());
    join_telling(ledger, broker, config, &readiness).await
}

/// Joins the fakes, and tells `readiness` how it goes.
pub(crate) async fn join_telling(
    ledger: &Arc<FakeLedger>,
    broker: &Arc<FakeBroker>,
    config: LeaseConfig,
    readiness: &Readiness,
) -> Result<Arc<Instance>, super::JoinError> {
    Instance::join(
        ledger.clone(),
        broker.clone(),
        clock(),
        "receiver,sender",
        config,
        readiness.part("lease renewals"),
    )
    .await
}

#[derive(Default)]
pub(crate) struct FakeLedger {
    pub(crate) away: AtomicBool,
    pub(crate) taken_for_dead: AtomicBool,
    pub(crate) counter: AtomicU64,
    pub(crate) beats: AtomicU64,
    pub(crate) left: AtomicBool,
    pub(crate) others: Mutex<Vec<LiveInstance>>,
    pub(crate) health: Mutex<Vec<SharedHealth>>,
    pub(crate) told: Mutex<(Vec<QueueTaken>, Vec<SharedHealth>)>,
    pub(crate) frame_version: Mutex<Option<FrameVersion>>,
}

impl FakeLedger {
    fn answer(&self) -> Result<(), LedgerError> {
        match self.away.load(SeqCst) {
            true => Err(LedgerError::Unavailable("away".into())),
            false => Ok(()),
        }
    }
}

pub(crate) fn other(number: u64, role: &str, frame_version: u32) -> LiveInstance {
    LiveInstance {
        instance: InstanceId::from_number(number),
        role: role.into(),
        frame_version,
    }
}

#[async_trait]
impl Instances for FakeLedger {
    async fn join(&self, _role: &str, _lease: Duration) -> Result<Joined, LedgerError> {
        self.answer()?;
        Ok(Joined {
            instance: ME,
            node: 3,
            counter: self.counter.load(SeqCst),
        })
    }

    async fn heartbeat(
        &self,
        me: InstanceId,
        _lease: Duration,
        taken: &[QueueTaken],
        health: &[SharedHealth],
    ) -> Result<Heartbeat, LedgerError> {
        self.answer()?;
        assert_eq!(me, ME);
        self.beats.fetch_add(1, SeqCst);
        *self.told.lock().unwrap() = (taken.to_vec(), health.to_vec());
        let held = !self.taken_for_dead.load(SeqCst);
        let counter = self.counter.fetch_add(u64::from(held), SeqCst) + u64::from(held);
        let mut live = self.others.lock().unwrap().clone();
        live.push(LiveInstance {
            instance: ME,
            role: "receiver,sender".into(),
            frame_version: FRAME_VERSION,
        });
        Ok(Heartbeat {
            held,
            counter,
            live,
            health: self.health.lock().unwrap().clone(),
        })
    }

    fn set_frame_version(&self, version: FrameVersion) {
        *self.frame_version.lock().unwrap() = Some(version);
    }

    async fn leave(&self, _me: InstanceId) -> Result<(), LedgerError> {
        self.left.store(true, SeqCst);
        self.answer()
    }

    async fn taken(&self) -> Result<Vec<QueueTaken>, LedgerError> {
        unreachable!("not asked by an instance")
    }

    async fn lapsed(&self, _owners: &[InstanceId]) -> Result<Vec<InstanceId>, LedgerError> {
        unreachable!("not asked by an instance")
    }
}

pub(crate) struct FakeBroker {
    pub(crate) away: AtomicBool,
    pub(crate) mark: AtomicU64,
    /// Publishing takes a permit; without one it waits.
    pub(crate) gate: Semaphore,
    /// How many calls of publish have begun.
    pub(crate) begun: AtomicU64,
    pub(crate) published: Mutex<Vec<Publication>>,
    /// The trace each call of publish belonged to.
    pub(crate) traces: Mutex<Vec<Option<Arc<str>>>>,
    /// A queue that takes no frames.
    pub(crate) refusing: Mutex<Option<QueueName>>,
}

impl Default for FakeBroker {
    fn default() -> Self {
        Self {
            away: AtomicBool::new(false),
            mark: AtomicU64::new(0),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
            begun: AtomicU64::new(0),
            published: Mutex::default(),
            traces: Mutex::default(),
            refusing: Mutex::default(),
        }
    }
}

impl FakeBroker {
    fn answer(&self) -> Result<(), BrokerError> {
        match self.away.load(SeqCst) {
            true => Err(BrokerError::Unavailable("away".into())),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl Broker for FakeBroker {
    async fn publish(&self, frames: Vec<Publication>) -> Result<(), BrokerError> {
        self.begun.fetch_add(1, SeqCst);
        self.traces.lock().unwrap().push(traceparent());
        self.gate.acquire().await.unwrap().forget();
        self.answer()?;
        let refusing = *self.refusing.lock().unwrap();
        if let Some(frame) = frames.iter().find(|frame| Some(frame.queue) == refusing) {
            return Err(BrokerError::Refused(frame.queue));
        }
        self.published.lock().unwrap().extend(frames);
        Ok(())
    }

    async fn remember_mark(&self, counter: u64) -> Result<(), BrokerError> {
        self.answer()?;
        self.mark.store(counter, SeqCst);
        Ok(())
    }

    async fn recall_mark(&self) -> Result<u64, BrokerError> {
        self.answer()?;
        Ok(self.mark.load(SeqCst))
    }

    async fn subscribe(
        &self,
        _queue: QueueName,
        _prefetch: u16,
    ) -> Result<Box<dyn Subscription>, BrokerError> {
        unreachable!("no one consumes")
    }

    async fn ready(&self, _queue: QueueName) -> Result<u64, BrokerError> {
        Ok(0)
    }

    async fn dead_frames(&self, _limit: usize) -> Result<Vec<Box<dyn Delivery>>, BrokerError> {
        unreachable!("no one asks")
    }
}
