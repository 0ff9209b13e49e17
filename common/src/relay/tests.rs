use std::collections::BTreeMap;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU64};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::*;
use crate::broker::QueueName;
use crate::clock::{ManualClock, Timestamp};
use crate::domain::id::InstanceId;
use crate::domain::kind::{Lane, MessageType};
use crate::domain::report::Report;
use crate::instance::LeaseConfig;
use crate::instance::fake::{FakeBroker, FakeLedger, ME, clock, join, other};
use crate::telemetry::trace;

const LIMIT: Duration = Duration::from_secs(20);
const DEAD: InstanceId = InstanceId::from_number(1);
const NO_ONE: InstanceId = InstanceId::from_number(0);

/// Outbox rows with their owner and age.
#[derive(Default)]
struct FakeOutbox {
    rows: Mutex<BTreeMap<OutboxId, (InstanceId, Timestamp)>>,
    /// Rows that have other frames than most.
    odd: Mutex<BTreeMap<OutboxId, Dispatch>>,
    away: AtomicBool,
    adoptions: AtomicU64,
}

impl FakeOutbox {
    fn write(&self, number: u64, owner: InstanceId, at: Timestamp) -> Dispatch {
        let row = OutboxId::from_number(number);
        self.rows.lock().unwrap().insert(row, (owner, at));
        dispatch(row)
    }

    fn answer(&self) -> Result<(), LedgerError> {
        match self.away.load(SeqCst) {
            true => Err(LedgerError::Unavailable("away".into())),
            false => Ok(()),
        }
    }

    fn owners(&self) -> Vec<(u64, InstanceId)> {
        let rows = self.rows.lock().unwrap();
        rows.iter().map(|(row, of)| (row.number(), of.0)).collect()
    }

    fn select(&self, limit: u32, wanted: impl Fn(InstanceId, Timestamp) -> bool) -> Vec<Dispatch> {
        let rows = self.rows.lock().unwrap();
        let found = rows.iter().filter(|(_, of)| wanted(of.0, of.1));
        let odd = self.odd.lock().unwrap();
        found
            .take(limit as usize)
            .map(|(row, _)| odd.get(row).cloned().unwrap_or_else(|| dispatch(*row)))
            .collect()
    }
}

const SMS: QueueName = QueueName::of(MessageType::Sms, Lane::Ordinary);
const RCS: QueueName = QueueName::of(MessageType::Rcs, Lane::Ordinary);

/// A row with one frame that names it.
fn dispatch(row: OutboxId) -> Dispatch {
    dispatch_to(row, &[QueueName::Report])
}

/// A row with a frame for each of these queues.
fn dispatch_to(row: OutboxId, queues: &[QueueName]) -> Dispatch {
    let frame = |&queue| Publication {
        queue,
        body: Bytes::from(row.number().to_string()),
    };
    Dispatch {
        outbox: row,
        frames: queues.iter().map(frame).collect(),
    }
}

#[async_trait]
impl Outbox for FakeOutbox {
    async fn retire(&self, rows: &[OutboxId]) -> Result<(), LedgerError> {
        self.answer()?;
        assert!(rows.len() <= 1_000);
        let mut kept = self.rows.lock().unwrap();
        for row in rows {
            kept.remove(row);
        }
        Ok(())
    }

    async fn outbox_of(
        &self,
        me: InstanceId,
        after: Option<OutboxId>,
        before: Timestamp,
        limit: u32,
    ) -> Result<Vec<Dispatch>, LedgerError> {
        self.answer()?;
        let own = self.select(u32::MAX, |owner, at| owner == me && at < before);
        let behind = own.into_iter().filter(|row| Some(row.outbox) > after);
        Ok(behind.take(limit as usize).collect())
    }

    async fn adopt_outbox(&self, me: InstanceId, limit: u32) -> Result<Vec<Dispatch>, LedgerError> {
        self.answer()?;
        self.adoptions.fetch_add(1, SeqCst);
        let adopted = self.select(limit, |owner, _| owner == DEAD || owner == NO_ONE);
        let mut rows = self.rows.lock().unwrap();
        for row in &adopted {
            rows.get_mut(&row.outbox).unwrap().0 = me;
        }
        Ok(adopted)
    }

    async fn release_outbox(&self, me: InstanceId) -> Result<u64, LedgerError> {
        self.answer()?;
        let mut rows = self.rows.lock().unwrap();
        let own = rows.values_mut().filter(|row| row.0 == me);
        Ok(own.map(|row| row.0 = NO_ONE).count() as u64)
    }

    async fn outbox_size(&self) -> Result<u64, LedgerError> {
        unreachable!("not asked by a relay")
    }

    async fn keep_reports(
        &self,
        _me: InstanceId,
        _outbox: OutboxId,
        _reports: &[Report],
        _cursor: Option<(&str, &str)>,
        _now: Timestamp,
    ) -> Result<Option<Dispatch>, LedgerError> {
        unreachable!("not asked by a relay")
    }

    async fn poll_cursor(&self, _source: &str) -> Result<Option<String>, LedgerError> {
        unreachable!("not asked by a relay")
    }

    async fn lease_poll(
        &self,
        _me: InstanceId,
        _source: &str,
        _now: Timestamp,
        _until: Timestamp,
    ) -> Result<bool, LedgerError> {
        unreachable!("not asked by a relay")
    }
}

struct Bench {
    relay: Arc<Relay>,
    outbox: Arc<FakeOutbox>,
    broker: Arc<FakeBroker>,
    clock: Arc<ManualClock>,
}

/// A relay whose lease may take over at once, with short pauses.
async fn bench() -> Bench {
    bench_with(LeaseConfig::exclusive(), quick(), 0).await
}

fn quick() -> RelayConfig {
    RelayConfig {
        period: Duration::from_millis(2),
        release_after: Duration::ZERO,
        breaker: BreakerRules {
            failures: 2,
            pause: Duration::from_millis(1),
            longest_pause: Duration::from_millis(1),
            ..BreakerRules::default()
        },
        ..RelayConfig::default()
    }
}

/// A breaker that stays open for the length of a test.
fn long_pause() -> RelayConfig {
    let mut config = quick();
    config.breaker.pause = Duration::from_secs(600);
    config.breaker.longest_pause = Duration::from_secs(600);
    config
}

async fn bench_with(lease: LeaseConfig, config: RelayConfig, others: u64) -> Bench {
    let (ledger, broker, outbox) = (
        Arc::new(FakeLedger::default()),
        Arc::new(FakeBroker::default()),
        Arc::new(FakeOutbox::default()),
    );
    *ledger.others.lock().unwrap() = (0..others)
        .map(|number| other(100 + number, "sender", 1))
        .collect();
    let instance = join(&ledger, &broker, lease).await.unwrap();
    let clock = clock();
    let relay = Relay::new(
        outbox.clone(),
        broker.clone(),
        instance,
        clock.clone(),
        config,
    );
    Bench {
        relay: Arc::new(relay),
        outbox,
        broker,
        clock,
    }
}

impl Bench {
    /// A row this process wrote just now.
    fn write(&self, number: u64) -> Dispatch {
        self.outbox.write(number, ME, self.clock.now())
    }

    /// The same, for these queues.
    fn write_to(&self, number: u64, queues: &[QueueName]) -> Dispatch {
        self.write(number);
        let row = OutboxId::from_number(number);
        let written = dispatch_to(row, queues);
        self.outbox.odd.lock().unwrap().insert(row, written.clone());
        written
    }

    /// Two rows that their queue refuses: enough to stop asking it.
    async fn be_refused(&self, queue: QueueName) {
        *self.broker.refusing.lock().unwrap() = Some(queue);
        for number in 800..802 {
            assert!(!self.relay.publish(self.write_to(number, &[queue])).await);
        }
    }

    /// The numbers of the rows published so far.
    fn published(&self) -> Vec<u64> {
        let published = self.broker.published.lock().unwrap();
        let number = |frame: &Publication| std::str::from_utf8(&frame.body).unwrap().parse();
        published
            .iter()
            .map(|frame| number(frame).unwrap())
            .collect()
    }

    async fn break_the_broker(&self) {
        self.broker.away.store(true, SeqCst);
        for number in 900..902 {
            assert!(
                !self
                    .relay
                    .publish(dispatch(OutboxId::from_number(number)))
                    .await
            );
        }
        assert!(self.relay.admit().is_err());
    }
}

async fn until(condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(LIMIT, wait).await.unwrap();
}

#[tokio::test]
async fn confirmed_rows_are_offered_to_the_next_commit_when_they_are_many() {
    let bench = bench().await;
    let all: Vec<_> = (1..=32).map(OutboxId::from_number).collect();
    for number in 1..=32 {
        assert_eq!(bench.relay.take_retired(), []);
        assert!(bench.relay.publish(bench.write(number)).await);
    }
    assert_eq!(bench.relay.take_retired(), all);
    assert_eq!(bench.relay.take_retired(), []);
    bench.relay.retire_failed(all);
    assert!(bench.relay.retire().await);
    assert_eq!(bench.outbox.owners(), []);
}

#[tokio::test]
async fn a_row_whose_retirement_failed_is_retired_later() {
    let bench = bench().await;
    assert!(bench.relay.publish(bench.write(1)).await);
    bench.outbox.away.store(true, SeqCst);
    assert!(!bench.relay.retire().await);
    bench.outbox.away.store(false, SeqCst);
    assert!(bench.relay.retire().await);
    assert_eq!(bench.outbox.owners(), []);
}

#[tokio::test]
async fn more_rows_than_one_commit_takes_are_retired_in_several() {
    let bench = bench().await;
    for number in 1..=2_500 {
        assert!(bench.relay.publish(bench.write(number)).await);
    }
    assert!(bench.relay.retire().await);
    assert_eq!(bench.outbox.owners(), []);
}

#[tokio::test]
async fn the_sweep_takes_own_rows_only_after_their_grace() {
    let bench = bench().await;
    bench.write(1);
    bench.clock.advance(Duration::from_millis(1_500));
    bench.write(2);
    bench.relay.sweep().await;
    assert!(bench.published().is_empty());
    bench.clock.advance(Duration::from_millis(501));
    bench.relay.sweep().await;
    assert_eq!(bench.published(), [1]);
    bench.relay.sweep().await;
    assert_eq!(bench.published(), [1], "once is enough");
}

#[tokio::test]
async fn the_sweep_leaves_a_row_that_is_being_published() {
    let bench = bench().await;
    bench.broker.gate.forget_permits(Semaphore::MAX_PERMITS);
    let (relay, row) = (Arc::clone(&bench.relay), bench.write(1));
    let publishing = tokio::spawn(async move { relay.publish(row).await });
    until(|| bench.broker.begun.load(SeqCst) == 1).await;
    bench.clock.advance(Duration::from_secs(60));
    bench.relay.sweep().await;
    assert_eq!(bench.broker.begun.load(SeqCst), 1);
    bench.broker.gate.add_permits(1);
    assert!(publishing.await.unwrap());
}

#[tokio::test]
async fn a_row_whose_publisher_went_away_is_swept() {
    let bench = bench().await;
    bench.broker.gate.forget_permits(Semaphore::MAX_PERMITS);
    let (relay, row) = (Arc::clone(&bench.relay), bench.write(1));
    let publishing = tokio::spawn(async move { relay.publish(row).await });
    until(|| bench.broker.begun.load(SeqCst) == 1).await;
    publishing.abort();
    assert!(publishing.await.unwrap_err().is_cancelled());
    bench.clock.advance(Duration::from_secs(60));
    bench.broker.gate.add_permits(10);
    bench.relay.sweep().await;
    assert_eq!(bench.published(), [1]);
}

#[tokio::test]
async fn a_broker_that_does_not_confirm_in_time_leaves_the_row_to_the_sweep() {
    let config = RelayConfig {
        deadline: Duration::from_millis(5),
        ..quick()
    };
    let bench = bench_with(LeaseConfig::exclusive(), config, 0).await;
    bench.broker.gate.forget_permits(Semaphore::MAX_PERMITS);
    assert!(!bench.relay.publish(bench.write(1)).await);
    assert!(bench.relay.admit().is_ok(), "one is not enough to open");
    assert!(!bench.relay.publish(bench.write(2)).await);
    assert!(bench.relay.admit().is_err());
    assert_eq!(bench.relay.hand().take_confirmed(9), []);
}

#[tokio::test]
async fn while_the_breaker_is_open_the_broker_is_not_asked() {
    let bench = bench_with(LeaseConfig::exclusive(), long_pause(), 0).await;
    bench.break_the_broker().await;
    let begun = bench.broker.begun.load(SeqCst);
    assert!(!bench.relay.publish(bench.write(1)).await);
    bench.clock.advance(Duration::from_secs(60));
    bench.relay.sweep().await;
    assert_eq!(bench.broker.begun.load(SeqCst), begun);
    assert_eq!(bench.outbox.adoptions.load(SeqCst), 0);
}

#[tokio::test]
async fn when_the_broker_is_back_the_sweep_finds_out_and_brings_what_waited() {
    let bench = bench().await;
    bench.break_the_broker().await;
    for number in 1..=1_000 {
        bench.write(number);
    }
    bench.clock.advance(Duration::from_secs(60));
    let shutdown = CancellationToken::new();
    let run = tokio::spawn(Arc::clone(&bench.relay).run(shutdown.clone()));
    bench.broker.away.store(false, SeqCst);
    until(|| bench.relay.admit().is_ok() && bench.outbox.owners().is_empty()).await;
    let mut published = bench.published();
    published.sort_unstable();
    assert_eq!(published, (1..=1_000).collect::<Vec<_>>());
    shutdown.cancel();
    timeout(LIMIT, run).await.unwrap().unwrap();
}

#[tokio::test]
async fn an_idle_process_finds_out_too_that_the_broker_is_back() {
    let bench = bench().await;
    bench.break_the_broker().await;
    bench.broker.away.store(false, SeqCst);
    let run = tokio::spawn(Arc::clone(&bench.relay).run(CancellationToken::new()));
    until(|| bench.relay.admit().is_ok()).await;
    assert!(bench.published().is_empty());
    run.abort();
}

#[tokio::test]
async fn rows_of_the_dead_are_adopted_and_published() {
    let bench = bench().await;
    bench.outbox.write(1, DEAD, bench.clock.now());
    bench
        .outbox
        .write(2, InstanceId::from_number(55), bench.clock.now());
    bench.relay.sweep().await;
    assert_eq!(bench.published(), [1]);
}

#[tokio::test]
async fn no_one_adopts_before_its_own_lease_was_unbroken_for_a_period() {
    let bench = bench_with(LeaseConfig::default(), quick(), 0).await;
    bench.outbox.write(1, DEAD, bench.clock.now());
    bench.write(2);
    bench.clock.advance(Duration::from_secs(60));
    bench.relay.sweep().await;
    assert_eq!(bench.published(), [2]);
    assert_eq!(bench.outbox.adoptions.load(SeqCst), 0);
}

#[tokio::test]
async fn a_process_that_acts_as_dead_sweeps_nothing() {
    let bench = bench().await;
    bench.write(1);
    bench.clock.advance(Duration::from_secs(60));
    bench.relay.instance.leave().await;
    bench.relay.sweep().await;
    assert!(bench.published().is_empty());
}

#[tokio::test]
async fn a_process_cut_off_from_the_broker_gives_its_rows_to_others() {
    let bench = bench_with(LeaseConfig::exclusive(), long_pause(), 1).await;
    bench.write(1);
    bench.break_the_broker().await;
    until(|| bench.relay.breakers().broken_for(boot_time()) > Some(Duration::ZERO)).await;
    bench.relay.sweep().await;
    assert_eq!(bench.outbox.owners(), [(1, NO_ONE)]);
}

#[tokio::test]
async fn a_process_that_is_alone_keeps_its_rows() {
    let bench = bench_with(LeaseConfig::exclusive(), long_pause(), 0).await;
    bench.write(1);
    bench.break_the_broker().await;
    until(|| bench.relay.breakers().broken_for(boot_time()) > Some(Duration::ZERO)).await;
    bench.relay.sweep().await;
    assert_eq!(bench.outbox.owners(), [(1, ME)]);
}

#[tokio::test]
async fn the_last_thing_before_the_end_is_to_retire() {
    let bench = bench().await;
    assert!(bench.relay.publish(bench.write(1)).await);
    let shutdown = CancellationToken::new();
    shutdown.cancel();
    Arc::clone(&bench.relay).run(shutdown).await;
    assert_eq!(bench.outbox.owners(), []);
}

#[tokio::test]
async fn beside_the_work_only_so_much_is_published_at_once_and_the_rest_is_swept() {
    let bench = bench().await;
    bench.broker.gate.forget_permits(Semaphore::MAX_PERMITS);
    let tracker = TaskTracker::new();
    let publisher = Publisher::new(Arc::clone(&bench.relay), 2, tracker.clone());
    let done = Arc::new(AtomicU64::new(0));
    publisher.publish(None);
    for number in 1..=3 {
        let done = Arc::clone(&done);
        publisher.publish_and(bench.write(number), async move {
            done.fetch_add(1, SeqCst);
        });
    }
    bench.broker.gate.add_permits(100);
    tracker.close();
    timeout(LIMIT, tracker.wait()).await.unwrap();
    let mut published = bench.published();
    published.sort_unstable();
    assert_eq!((published, done.load(SeqCst)), (vec![1, 2], 2));
    bench.clock.advance(Duration::from_secs(60));
    bench.relay.sweep().await;
    assert_eq!(bench.published().last(), Some(&3));
    let room_again = bench.write(4);
    tracker.reopen();
    publisher.publish(Some(room_again));
    until(|| bench.published().last() == Some(&4)).await;
}

#[tokio::test]
async fn a_queue_that_refuses_closes_its_own_door_and_no_other() {
    let bench = bench_with(LeaseConfig::exclusive(), long_pause(), 1).await;
    bench.be_refused(RCS).await;
    assert!(bench.relay.admit_to(RCS).is_err());
    assert!(bench.relay.admit().is_ok() && bench.relay.admit_to(SMS).is_ok());
    assert!(bench.relay.publish(bench.write_to(1, &[SMS])).await);
    let begun = bench.broker.begun.load(SeqCst);
    assert!(!bench.relay.publish(bench.write_to(2, &[RCS])).await);
    assert_eq!(bench.broker.begun.load(SeqCst), begun, "it is not asked");
    // The way to the broker is not cut off, so nothing is given away.
    bench.relay.sweep().await;
    assert!(bench.outbox.owners().iter().all(|(_, owner)| *owner == ME));
}

#[tokio::test]
async fn of_a_row_whose_one_queue_refuses_the_others_frames_go_once() {
    let bench = bench().await;
    *bench.broker.refusing.lock().unwrap() = Some(RCS);
    assert!(!bench.relay.publish(bench.write_to(1, &[RCS, SMS])).await);
    bench.clock.advance(Duration::from_secs(60));
    for _ in 0..20 {
        bench.relay.sweep().await;
    }
    assert_eq!(bench.published(), [1]);
    assert_eq!(bench.relay.hand().take_confirmed(9), []);
    *bench.broker.refusing.lock().unwrap() = None;
    let run = tokio::spawn(Arc::clone(&bench.relay).run(CancellationToken::new()));
    until(|| bench.outbox.owners().is_empty()).await;
    run.abort();
    let published = bench.broker.published.lock().unwrap();
    let queues: Vec<_> = published.iter().map(|frame| frame.queue).collect();
    assert_eq!(queues, [SMS, RCS]);
    assert!(bench.relay.admit_to(RCS).is_ok());
}

#[tokio::test]
async fn rows_behind_many_of_a_queue_that_refuses_are_swept() {
    let bench = bench_with(LeaseConfig::exclusive(), long_pause(), 0).await;
    *bench.broker.refusing.lock().unwrap() = Some(RCS);
    for number in 1..=600 {
        bench.write_to(number, &[RCS]);
    }
    bench.write_to(601, &[SMS]);
    bench.clock.advance(Duration::from_secs(60));
    for _ in 0..3 {
        bench.relay.sweep().await;
    }
    assert_eq!(bench.published(), [601]);
    assert!(bench.relay.admit().is_ok());
}

#[tokio::test]
async fn whether_the_broker_is_back_does_not_depend_on_the_queue_of_the_oldest_row() {
    let bench = bench().await;
    bench.break_the_broker().await;
    *bench.broker.refusing.lock().unwrap() = Some(RCS);
    bench.write_to(1, &[RCS]);
    bench.write_to(2, &[SMS]);
    bench.clock.advance(Duration::from_secs(60));
    bench.broker.away.store(false, SeqCst);
    let run = tokio::spawn(Arc::clone(&bench.relay).run(CancellationToken::new()));
    until(|| bench.published() == [2]).await;
    assert!(bench.relay.admit().is_ok());
    run.abort();
}

#[tokio::test]
async fn what_is_published_beside_the_work_goes_on_with_its_trace_and_what_is_swept_with_none() {
    let _traced = tracing::subscriber::set_default(trace::traced());
    let bench = bench().await;
    let publisher = Publisher::new(Arc::clone(&bench.relay), 2, TaskTracker::new());
    let (row, _left) = (bench.write(1), bench.write(2));
    let request = tracing::info_span!("request");
    let trace = request.in_scope(|| {
        publisher.publish(Some(row));
        trace::traceparent()
    });
    until(|| bench.published() == [1]).await;
    bench.clock.advance(Duration::from_secs(60));
    let relay = Arc::clone(&bench.relay);
    let run = request.in_scope(|| tokio::spawn(relay.run(CancellationToken::new())));
    until(|| bench.published() == [1, 2]).await;
    run.abort();
    assert!(trace.is_some());
    assert_eq!(*bench.broker.traces.lock().unwrap(), [trace, None]);
}
