use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::vendor::{SMS, Vendor, book_of, close, ordinary, timed, wide};
use crate::route::{Health, Observation, RouteBook};

fn book_with(vendor: Vendor) -> (RouteBook, Arc<Vendor>) {
    let vendor = Arc::new(vendor);
    (book_of(vec![(wide("a"), Arc::clone(&vendor))]), vendor)
}

fn start_probes(book: &RouteBook) -> CancellationToken {
    let shutdown = CancellationToken::new();
    tokio::spawn({
        let (book, shutdown) = (book.clone(), shutdown.clone());
        async move { book.run_probes(shutdown).await }
    });
    shutdown
}

#[tokio::test(start_paused = true)]
async fn a_closed_route_opens_with_the_first_good_probe_and_says_so() {
    let (book, vendor) = book_with(Vendor::with_batch(1));
    let _shutdown = start_probes(&book).drop_guard();
    vendor.alive.store(false, Ordering::SeqCst);
    close(&book, 0);
    let mut changed = book.changed();
    sleep(Duration::from_secs(10)).await;
    // After 0.5 s, 1 s, 2 s and 4 s; the next is due at 15.5 s.
    assert_eq!(vendor.probes.load(Ordering::SeqCst), 4);
    assert_eq!(book.health(&book.routes()[0]), Health::Fail);
    vendor.alive.store(true, Ordering::SeqCst);
    let (told, took) = timed(timeout(Duration::from_secs(60), changed.changed())).await;
    told.unwrap().unwrap();
    assert!(took <= Duration::from_millis(5_600));
    assert!(book.usable(SMS));
    drop(ordinary(&book, 1).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_slow_probe_is_the_only_one_and_one_that_hangs_is_a_bad_one() {
    let (book, vendor) =
        book_with(Vendor::with_batch(1).with_slow_probes(Duration::from_secs(3_600)));
    let _shutdown = start_probes(&book).drop_guard();
    close(&book, 0);
    sleep(Duration::from_secs(60)).await;
    assert!(vendor.probes.load(Ordering::SeqCst) >= 2);
    assert_eq!(
        vendor.most_probing.load(Ordering::SeqCst),
        vendor.probes.load(Ordering::SeqCst)
    );
    assert!(!book.usable(SMS));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_vendors_pause_is_told() {
    let (book, _) = book_with(Vendor::with_batch(1));
    let _shutdown = start_probes(&book).drop_guard();
    let retry_after = Some(Duration::from_secs(7));
    book.observe(&book.routes()[0], Observation::Throttled { retry_after });
    let mut changed = book.changed();
    let (told, took) = timed(timeout(Duration::from_secs(60), changed.changed())).await;
    told.unwrap().unwrap();
    assert!(book.usable(SMS));
    assert!((Duration::from_secs(7)..Duration::from_millis(7_010)).contains(&took));
}

#[tokio::test(start_paused = true)]
async fn a_route_an_operator_paused_is_not_probed_until_it_is_resumed() {
    let (book, vendor) = book_with(Vendor::with_batch(1));
    book.pause("a").unwrap();
    close(&book, 0);
    sleep(Duration::from_secs(60)).await;
    let _shutdown = start_probes(&book).drop_guard();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(vendor.probes.load(Ordering::SeqCst), 0);
    book.resume("a").unwrap();
    sleep(Duration::from_millis(10)).await;
    assert!(book.usable(SMS));
}

#[tokio::test(start_paused = true)]
async fn probing_goes_on_after_it_was_stopped_in_the_middle_of_a_probe() {
    let (book, vendor) = book_with(Vendor::with_batch(1).with_slow_probes(Duration::from_secs(2)));
    let shutdown = start_probes(&book);
    close(&book, 0);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(vendor.probes.load(Ordering::SeqCst), 1);
    shutdown.cancel();
    sleep(Duration::from_secs(5)).await;
    assert!(!book.usable(SMS), "the probe was given up with its driver");
    let _shutdown = start_probes(&book).drop_guard();
    sleep(Duration::from_secs(3)).await;
    assert!(book.usable(SMS));
}
