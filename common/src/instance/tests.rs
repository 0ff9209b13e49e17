use std::sync::atomic::Ordering::SeqCst;

use tokio::time::timeout;

use super::fake::{FakeBroker, FakeLedger, ME, join, join_telling, other};
use super::*;
use crate::domain::kind::Lane;
use crate::http::health::Readiness;

const LIMIT: Duration = Duration::from_secs(20);

/// Beats fast enough for a test; lasts long enough for a slow machine.
fn quick() -> LeaseConfig {
    LeaseConfig {
        beat: Duration::from_millis(2),
        ..LeaseConfig::default()
    }
}

fn fakes() -> (Arc<FakeLedger>, Arc<FakeBroker>) {
    (Arc::default(), Arc::default())
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
async fn who_joins_is_alive_and_knows_the_others() {
    let (ledger, broker) = fakes();
    *ledger.others.lock().unwrap() = vec![other(1, "receiver", 1), other(2, "reporter, sender", 1)];
    let instance = join(&ledger, &broker, quick()).await.unwrap();
    assert_eq!(instance.id(), ME);
    assert!(instance.alive());
    assert!(!instance.unbroken(), "not before a whole lease");
    assert_eq!(instance.live(), 3);
    assert_eq!(instance.live_with_role("receiver"), 2);
    assert_eq!(instance.live_with_role("sender"), 2);
    assert_eq!(instance.live_with_role("send"), 0);
    assert!(instance.ids().next() < instance.ids().next());
}

#[tokio::test]
async fn frames_are_written_so_that_the_oldest_reader_can_read_them() {
    let (ledger, broker) = fakes();
    *ledger.others.lock().unwrap() = vec![other(1, "sender", 9)];
    let instance = join(&ledger, &broker, quick()).await.unwrap();
    let agreed = || {
        (
            instance.frame_version(),
            *ledger.frame_version.lock().unwrap(),
        )
    };
    assert_eq!(agreed(), (FrameVersion::NEWEST, Some(FrameVersion::NEWEST)));
    // As if it had been agreed with processes that are newer.
    instance.known().frame_version = FrameVersion::pretended(7);
    *ledger.others.lock().unwrap() = vec![other(1, "sender", 9), other(2, "sender", 1)];
    assert_eq!(instance.beat().await, Ok(()));
    assert_eq!(agreed(), (FrameVersion::OLDEST, Some(FrameVersion::OLDEST)));
}

#[tokio::test]
async fn beside_a_process_that_reads_no_frame_of_ours_nobody_joins() {
    let (ledger, broker) = fakes();
    *ledger.others.lock().unwrap() = vec![other(1, "sender", 0)];
    let error = join(&ledger, &broker, quick()).await.unwrap_err();
    assert!(matches!(
        error,
        JoinError::Frames(ReadersTooOld { newest_read: 0 })
    ));
    assert!(ledger.left.load(SeqCst), "and no lease is left behind");
    assert_eq!(*ledger.frame_version.lock().unwrap(), None);
}

#[tokio::test]
async fn a_ledger_older_than_the_mark_is_not_joined() {
    let (ledger, broker) = fakes();
    ledger.counter.store(40, SeqCst);
    broker.mark.store(41, SeqCst);
    let error = join(&ledger, &broker, quick()).await.unwrap_err();
    assert!(matches!(
        error,
        JoinError::LedgerWentBack {
            seen: 41,
            found: 40
        }
    ));
    assert!(error.to_string().contains("`pabal ledger restored`"));
    assert!(ledger.left.load(SeqCst), "and no lease is left behind");
    assert_eq!(broker.mark.load(SeqCst), 41);
}

#[tokio::test]
async fn a_ledger_as_old_as_the_mark_is_joined() {
    let (ledger, broker) = fakes();
    ledger.counter.store(41, SeqCst);
    broker.mark.store(41, SeqCst);
    assert!(join(&ledger, &broker, quick()).await.is_ok());
}

#[tokio::test]
async fn without_the_mark_no_one_joins() {
    let (ledger, broker) = fakes();
    broker.away.store(true, SeqCst);
    let error = join(&ledger, &broker, quick()).await.unwrap_err();
    assert!(matches!(error, JoinError::Broker(_)));
    assert_eq!(ledger.beats.load(SeqCst), 0);
}

#[tokio::test]
async fn heartbeats_tell_and_learn() {
    let (ledger, broker) = fakes();
    let instance = join(&ledger, &broker, quick()).await.unwrap();
    let (retry, report) = (QueueName::Retry(Lane::Ordinary), QueueName::Report);
    let taken = |queue, millis| QueueTaken {
        queue,
        queued_at: Timestamp::from_millis(millis),
    };
    for (queue, millis) in [(retry, 5), (retry, 9), (retry, 7), (report, 3)] {
        instance.note_taken(queue, Timestamp::from_millis(millis));
    }
    let health = |route: &str| SharedHealth {
        route: route.into(),
        health: "OK".into(),
        rate: 100,
        since: Timestamp::default(),
    };
    instance.set_health(vec![health("mine")]);
    *ledger.health.lock().unwrap() = vec![health("theirs")];
    assert_eq!(instance.beat().await, Ok(()));
    let told = ledger.told.lock().unwrap().clone();
    assert_eq!(told.0, [taken(retry, 9), taken(report, 3)]);
    assert_eq!(told.1, [health("mine")]);
    assert_eq!(instance.learned_health(), [health("theirs")]);
}

#[tokio::test]
async fn a_heartbeat_that_fails_is_told_long_before_the_lease_runs_out() {
    let (ledger, broker) = fakes();
    let readiness = Readiness::new(CancellationToken::new());
    let joined = join_telling(&ledger, &broker, quick(), &readiness).await;
    let instance = joined.unwrap();
    assert!(readiness.report().ready);
    ledger.away.store(true, SeqCst);
    assert_eq!(instance.beat().await, Ok(()));
    let told = readiness.report().not_ready;
    assert_eq!(told["lease renewals"], "ledger unavailable: away");
    assert!(instance.alive());
    ledger.away.store(false, SeqCst);
    assert_eq!(instance.beat().await, Ok(()));
    assert!(readiness.report().ready);
}

#[tokio::test]
async fn a_ledger_that_is_away_for_a_moment_costs_nothing() {
    let (ledger, broker) = fakes();
    let instance = join(&ledger, &broker, quick()).await.unwrap();
    let shutdown = CancellationToken::new();
    let keep = tokio::spawn(Arc::clone(&instance).keep(shutdown.clone()));
    ledger.away.store(true, SeqCst);
    assert_eq!(instance.beat().await, Ok(()));
    assert!(instance.alive());
    ledger.away.store(false, SeqCst);
    let beats = ledger.beats.load(SeqCst);
    until(|| ledger.beats.load(SeqCst) > beats + 2).await;
    shutdown.cancel();
    assert_eq!(timeout(LIMIT, keep).await.unwrap().unwrap(), Ok(()));
}

#[tokio::test]
async fn without_renewals_it_acts_as_dead() {
    let (ledger, broker) = fakes();
    let config = LeaseConfig {
        dead_after: Duration::from_millis(200),
        ..LeaseConfig::exclusive()
    };
    let instance = join(&ledger, &broker, config).await.unwrap();
    until(|| !instance.alive()).await;
    assert!(!instance.unbroken());
    assert_eq!(instance.beat().await, Ok(()));
    assert!(instance.alive(), "until it is renewed");
}

#[tokio::test]
async fn when_the_ledger_goes_back_it_stops() {
    let (ledger, broker) = fakes();
    ledger.counter.store(100, SeqCst);
    let instance = join(&ledger, &broker, quick()).await.unwrap();
    ledger.counter.store(100, SeqCst);
    let kept = Arc::clone(&instance).keep(CancellationToken::new());
    let lost = timeout(LIMIT, kept).await.unwrap().unwrap_err();
    assert!(matches!(lost, LeaseLost::WentBack { seen, found } if found <= seen));
    assert!(!instance.alive());
}

#[tokio::test]
async fn when_it_was_taken_for_dead_it_stops() {
    let (ledger, broker) = fakes();
    let instance = join(&ledger, &broker, quick()).await.unwrap();
    ledger.taken_for_dead.store(true, SeqCst);
    let kept = Arc::clone(&instance).keep(CancellationToken::new());
    let lost = timeout(LIMIT, kept).await.unwrap();
    assert_eq!(lost, Err(LeaseLost::TakenForDead));
    assert!(!instance.alive());
}

#[tokio::test]
async fn a_restored_ledger_without_our_row_went_back() {
    let (ledger, broker) = fakes();
    ledger.counter.store(100, SeqCst);
    let instance = join(&ledger, &broker, quick()).await.unwrap();
    ledger.taken_for_dead.store(true, SeqCst);
    ledger.counter.store(60, SeqCst);
    let (seen, found) = (101, 60);
    let lost = instance.beat().await;
    assert_eq!(lost, Err(LeaseLost::WentBack { seen, found }));
}

#[tokio::test]
async fn who_leaves_remembers_the_counter_and_is_dead() {
    let (ledger, broker) = fakes();
    ledger.counter.store(70, SeqCst);
    let instance = join(&ledger, &broker, quick()).await.unwrap();
    assert_eq!(instance.beat().await, Ok(()));
    instance.leave().await;
    assert_eq!(broker.mark.load(SeqCst), 72);
    assert!(ledger.left.load(SeqCst));
    assert!(!instance.alive());
}

#[tokio::test]
async fn the_counter_is_copied_to_the_broker_while_it_lives() {
    let (ledger, broker) = fakes();
    ledger.counter.store(70, SeqCst);
    let instance = join(&ledger, &broker, quick()).await.unwrap();
    let keep = tokio::spawn(instance.keep(CancellationToken::new()));
    until(|| broker.mark.load(SeqCst) >= 71).await;
    keep.abort();
}
