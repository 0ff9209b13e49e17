use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use proptest::prelude::*;
use tokio::time::timeout;
use tracing::Instrument as _;

use super::*;

/// What a test commits: a number, and how heavy it is.
type Item = (u32, usize);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Trouble {
    #[error("bad row")]
    BadRow,
    #[error("away")]
    Away,
}

/// A store that remembers what each commit held, and commits only when it is let.
struct Store {
    begun: AtomicUsize,
    commits: Mutex<Vec<Vec<u32>>>,
    /// The trace each commit belonged to.
    traces: Mutex<Vec<Option<Arc<str>>>>,
    gate: Semaphore,
}

impl Store {
    fn open() -> Arc<Self> {
        Self::with(Semaphore::MAX_PERMITS)
    }

    fn closed() -> Arc<Self> {
        Self::with(0)
    }

    fn with(permits: usize) -> Arc<Self> {
        Arc::new(Self {
            begun: AtomicUsize::new(0),
            commits: Mutex::default(),
            traces: Mutex::default(),
            gate: Semaphore::new(permits),
        })
    }

    /// 13 is a bad row, 99 is trouble for everyone, 666 panics; the result is the number doubled.
    async fn commit(&self, items: Arc<[Item]>) -> Result<Vec<u32>, Trouble> {
        self.begun.fetch_add(1, SeqCst);
        self.traces.lock().unwrap().push(trace::traceparent());
        self.gate.acquire().await.unwrap().forget();
        let numbers: Vec<_> = items.iter().map(|item| item.0).collect();
        assert!(!numbers.contains(&666), "a commit that panics");
        if numbers.contains(&99) {
            return Err(Trouble::Away);
        }
        if numbers.contains(&13) {
            return Err(Trouble::BadRow);
        }
        let results = numbers.iter().map(|number| number * 2).collect();
        self.lock().push(numbers);
        Ok(results)
    }

    /// Waits until this many commits have begun.
    async fn began(&self, commits: usize) {
        until(|| self.begun.load(SeqCst) == commits).await;
    }

    fn commits(&self) -> Vec<Vec<u32>> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Vec<u32>>> {
        self.commits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Bench {
    batch: GroupCommit<Item, u32, Trouble>,
    shutdown: CancellationToken,
    tracker: TaskTracker,
}

fn start(store: &Arc<Store>, limits: BatchLimits) -> Bench {
    let (shutdown, tracker) = (CancellationToken::new(), TaskTracker::new());
    let batching = Batching {
        name: "test",
        limits,
        weight: |item: &Item| item.1,
        splits: |error| *error == Trouble::BadRow,
    };
    let store = Arc::clone(store);
    let commit = move |items| {
        let store = Arc::clone(&store);
        async move { store.commit(items).await }
    };
    let batch = GroupCommit::start(batching, commit, shutdown.clone(), &tracker);
    Bench {
        batch,
        shutdown,
        tracker,
    }
}

impl Bench {
    /// Submits a number in a task of its own.
    fn spawn(&self, item: Item) -> tokio::task::JoinHandle<Result<u32, BatchError<Trouble>>> {
        let batch = self.batch.clone();
        tokio::spawn(async move { batch.submit(item).await })
    }

    /// Waits until exactly this many items wait for a commit.
    async fn waiting(&self, items: usize) {
        let room = self.batch.batching.limits.queue;
        until(|| self.batch.room.available_permits() == room - items).await;
    }
}

async fn until(condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(20), wait).await.unwrap();
}

fn items(numbers: impl IntoIterator<Item = u32>) -> Vec<Item> {
    numbers.into_iter().map(|number| (number, 1)).collect()
}

#[tokio::test]
async fn what_waits_while_a_commit_is_under_way_is_committed_at_once() {
    let store = Store::closed();
    let bench = start(&store, BatchLimits::default());
    let first = bench.spawn((1, 1));
    store.began(1).await;
    let mut others = Vec::new();
    for number in 2..=10 {
        others.push(bench.spawn((number, 1)));
        bench.waiting(number as usize - 1).await;
    }
    store.gate.add_permits(2);
    assert_eq!(first.await.unwrap(), Ok(2));
    for (number, other) in (2..).zip(others) {
        assert_eq!(other.await.unwrap(), Ok(number * 2));
    }
    assert_eq!(store.commits(), vec![vec![1], (2..=10).collect()]);
}

#[tokio::test]
async fn a_second_commit_begins_before_the_first_returned_where_that_is_allowed() {
    let store = Store::closed();
    let limits = BatchLimits {
        parallel: 2,
        ..BatchLimits::default()
    };
    let bench = start(&store, limits);
    let first = bench.spawn((1, 1));
    store.began(1).await;
    let second = bench.spawn((2, 1));
    store.began(2).await;
    store.gate.add_permits(2);
    assert_eq!(first.await.unwrap(), Ok(2));
    assert_eq!(second.await.unwrap(), Ok(4));
    assert_eq!(store.commits().len(), 2);
}

#[tokio::test]
async fn a_bad_row_fails_alone() {
    let store = Store::open();
    let bench = start(&store, BatchLimits::default());
    let outcomes = bench.batch.submit_all(items([1, 2, 13, 4, 5])).await;
    let bad = Err(BatchError::Failed(Trouble::BadRow));
    assert_eq!(outcomes, vec![Ok(2), Ok(4), bad, Ok(8), Ok(10)]);
    let committed: Vec<_> = store.commits().into_iter().flatten().collect();
    assert_eq!(committed, [1, 2, 4, 5], "each once, in order");
}

#[tokio::test]
async fn any_other_error_fails_the_whole_batch() {
    let store = Store::open();
    let bench = start(&store, BatchLimits::default());
    let outcomes = bench.batch.submit_all(items([1, 99, 3])).await;
    assert_eq!(outcomes, vec![Err(BatchError::Failed(Trouble::Away)); 3]);
    assert_eq!(store.commits(), Vec::<Vec<u32>>::new());
    assert_eq!(bench.batch.submit((4, 1)).await, Ok(8));
}

#[tokio::test]
async fn an_item_whose_submitter_went_away_is_committed_with_the_others() {
    let store = Store::closed();
    let bench = start(&store, BatchLimits::default());
    let first = bench.spawn((1, 1));
    store.began(1).await;
    let gone = bench.spawn((2, 1));
    bench.waiting(1).await;
    gone.abort();
    assert!(gone.await.unwrap_err().is_cancelled());
    let third = bench.spawn((3, 1));
    bench.waiting(2).await;
    store.gate.add_permits(2);
    assert_eq!(first.await.unwrap(), Ok(2));
    assert_eq!(third.await.unwrap(), Ok(6));
    assert_eq!(store.commits(), vec![vec![1], vec![2, 3]]);
}

#[tokio::test]
async fn submitting_waits_while_the_room_is_full() {
    let store = Store::closed();
    let limits = BatchLimits {
        queue: 2,
        ..BatchLimits::default()
    };
    let bench = start(&store, limits);
    let first = bench.spawn((1, 1));
    store.began(1).await;
    let taken = [bench.spawn((2, 1)), bench.spawn((3, 1))];
    bench.waiting(2).await;
    let fourth = bench.batch.submit((4, 1));
    tokio::pin!(fourth);
    assert!(futures::poll!(&mut fourth).is_pending());
    store.gate.add_permits(3);
    assert_eq!(fourth.await, Ok(8));
    for other in taken.into_iter().chain([first]) {
        assert!(other.await.unwrap().is_ok());
    }
    assert_eq!(store.commits()[0], [1]);
    assert_eq!(store.commits()[1].len(), 2, "the room holds two");
}

#[tokio::test]
async fn on_shutdown_what_was_submitted_is_committed_and_nothing_more_is_taken() {
    let store = Store::closed();
    let limits = BatchLimits {
        items: 2,
        queue: 5,
        ..BatchLimits::default()
    };
    let bench = start(&store, limits);
    let mut submitted = vec![bench.spawn((0, 1))];
    store.began(1).await;
    submitted.extend((1..=5).map(|number| bench.spawn((number, 1))));
    bench.waiting(5).await;
    bench.shutdown.cancel();
    store.gate.add_permits(10);
    for submission in submitted {
        assert!(submission.await.unwrap().is_ok());
    }
    assert_eq!(bench.batch.submit((9, 1)).await, Err(BatchError::Closed));
    let refused = bench.batch.submit_all(items([7, 8])).await;
    assert_eq!(refused, vec![Err(BatchError::Closed); 2]);
    bench.tracker.close();
    timeout(Duration::from_secs(20), bench.tracker.wait())
        .await
        .unwrap();
    assert_eq!(store.commits().iter().flatten().count(), 6);
}

#[tokio::test]
async fn the_task_ends_when_no_one_can_submit_any_more() {
    let store = Store::open();
    let Bench { batch, tracker, .. } = start(&store, BatchLimits::default());
    drop(batch);
    tracker.close();
    timeout(Duration::from_secs(20), tracker.wait())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_commit_that_panics_loses_its_own_batch_only() {
    let store = Store::open();
    let bench = start(&store, BatchLimits::default());
    assert_eq!(bench.batch.submit((666, 1)).await, Err(BatchError::Lost));
    assert_eq!(bench.batch.submit((1, 1)).await, Ok(2));
}

#[tokio::test]
async fn a_missing_result_is_an_unknown_outcome_for_all() {
    let tracker = TaskTracker::new();
    let batching = Batching {
        name: "test",
        limits: BatchLimits::default(),
        weight: |_: &u32| 1,
        splits: |_: &Trouble| true,
    };
    let commit = |_: Arc<[u32]>| async { Ok(vec![1_u32]) };
    let batch = GroupCommit::start(batching, commit, CancellationToken::new(), &tracker);
    let outcomes = batch.submit_all(vec![1, 2]).await;
    assert_eq!(outcomes, vec![Err(BatchError::Lost), Err(BatchError::Lost)]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_item_is_committed_once_in_order_and_no_batch_is_over_a_limit(
        sizes in proptest::collection::vec(proptest::collection::vec(1_usize..60, 1..20), 1..12),
        most_items in 1_usize..12,
        most_bytes in 1_usize..100,
        queue in 1_usize..30,
        bad in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let store = Store::open();
            let limits = BatchLimits { items: most_items, bytes: most_bytes, queue, parallel: 1 };
            let bench = start(&store, limits);
            let mut number = 1_000;
            let mut calls = Vec::new();
            for group in &sizes {
                let mut call: Vec<Item> = group.iter().map(|&bytes| { number += 1; (number, bytes) }).collect();
                if bad { call.push((13, 1)); }
                calls.push(call);
            }
            let submits = calls.iter().map(|call| bench.batch.submit_all(call.clone()));
            for (call, outcomes) in calls.iter().zip(futures::future::join_all(submits).await) {
                prop_assert_eq!(call.len(), outcomes.len());
                for (item, outcome) in call.iter().zip(outcomes) {
                    let expected = if item.0 == 13 { Err(BatchError::Failed(Trouble::BadRow)) } else { Ok(item.0 * 2) };
                    prop_assert_eq!(outcome, expected);
                }
            }
            let weights: std::collections::HashMap<_, _> = calls.iter().flatten().copied().collect();
            for commit in store.commits() {
                let bytes: usize = commit.iter().map(|number| weights[number]).sum();
                prop_assert!(commit.len() <= most_items);
                prop_assert!(bytes <= most_bytes || commit.len() == 1);
            }
            let mut committed: Vec<_> = store.commits().into_iter().flatten().collect();
            for call in &calls {
                let places: Vec<_> = call.iter().filter(|item| item.0 != 13)
                    .map(|item| committed.iter().position(|number| *number == item.0)).collect();
                prop_assert!(places.is_sorted() && !places.contains(&None), "a call's items keep their order");
            }
            committed.sort_unstable();
            let expected: Vec<_> = (1_001..=number).collect();
            prop_assert_eq!(committed, expected);
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn a_commit_belongs_to_the_trace_of_its_only_caller_and_to_none_of_several() {
    let _traced = tracing::subscriber::set_default(trace::traced());
    let store = Store::closed();
    let bench = start(&store, BatchLimits::default());
    let call = |number| {
        let (span, batch) = (tracing::info_span!("request"), bench.batch.clone());
        let trace = span.in_scope(trace::traceparent);
        let submitted = async move { batch.submit((number, 1)).await };
        (trace, tokio::spawn(submitted.instrument(span)))
    };
    let (trace, alone) = call(1);
    store.began(1).await;
    let (_, second) = call(2);
    let (_, third) = call(3);
    bench.waiting(2).await;
    store.gate.add_permits(2);
    for submitted in [alone, second, third] {
        submitted.await.unwrap().unwrap();
    }
    assert!(trace.is_some());
    assert_eq!(*store.traces.lock().unwrap(), [trace, None]);
}
