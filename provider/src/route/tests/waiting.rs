use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::join_all;
use pabal_common::domain::kind::{Lane, MessageType};
use tokio::time::{Instant, sleep, timeout};

use super::vendor::{SMS, Vendor, book, book_of, close, ordinary, timed, wide};
use crate::route::{Fit, NoRoute, Observation, RouteSettings};

#[tokio::test(start_paused = true)]
async fn whoever_waits_is_told_when_the_last_route_closes() {
    let book = book(vec![RouteSettings {
        concurrency: 1,
        ..wide("a")
    }]);
    let held = ordinary(&book, 1).await.unwrap();
    let waiting = tokio::spawn({
        let book = book.clone();
        async move { ordinary(&book, 1).await.map(|_| ()) }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    close(&book, 0);
    let told = timeout(Duration::from_millis(1), waiting).await;
    assert_eq!(told.unwrap().unwrap(), Err(NoRoute(SMS)));
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_moves_to_another_route_when_the_first_closes() {
    let book = book(vec![
        RouteSettings {
            priority: 1,
            concurrency: 1,
            ..wide("main")
        },
        RouteSettings {
            priority: 2,
            ..wide("spare")
        },
    ]);
    let _held = ordinary(&book, 1).await.unwrap();
    let waiting = ordinary(&book, 1);
    tokio::pin!(waiting);
    assert!(waiting.as_mut().now_or_never().is_none());
    close(&book, 0);
    assert_eq!(waiting.await.unwrap().route().name(), "spare");
}

#[tokio::test(start_paused = true)]
async fn the_rate_holds_for_many_waiters_and_none_is_late() {
    let book = book_of(vec![(
        RouteSettings {
            tps: 100,
            ..wide("a")
        },
        Arc::new(Vendor::with_batch(1)),
    )]);
    let calls = (0..210).map(|_| ordinary(&book, 1));
    let (permits, took) = timed(join_all(calls)).await;
    assert!(permits.iter().all(Result::is_ok));
    // Ten at once, the others one each 10 ms.
    assert_eq!(took, Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn waiters_are_served_in_the_order_of_coming_and_express_before_them() {
    let book = book(vec![RouteSettings {
        concurrency: 1,
        ..wide("a")
    }]);
    let held = ordinary(&book, 1).await.unwrap();
    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    let tasks: Vec<_> = [
        ("first", Lane::Ordinary, 100),
        ("second", Lane::Ordinary, 1),
        ("urgent", Lane::Express, 1),
    ]
    .into_iter()
    .map(|(name, lane, wanted)| {
        let waiting = book.permit(SMS, Fit::any(), lane, wanted);
        let order = Arc::clone(&order);
        async move {
            let _permit = waiting.await.unwrap();
            order.lock().unwrap().push(name);
        }
    })
    .collect();
    let release = async { drop(held) };
    tokio::join!(join_all(tasks), async {
        tokio::task::yield_now().await;
        release.await;
    });
    assert_eq!(*order.lock().unwrap(), ["urgent", "first", "second"]);
}

#[tokio::test(start_paused = true)]
async fn a_large_wish_is_not_starved_by_small_ones_of_another_type() {
    let both = RouteSettings {
        kinds: vec![SMS, MessageType::Lms],
        tps: 1_000,
        ..wide("a")
    };
    let book = book(vec![both]);
    while let Some(permit) = ordinary(&book, 100).now_or_never() {
        drop(permit.unwrap());
    }
    let large = ordinary(&book, 100);
    tokio::pin!(large);
    assert!(large.as_mut().now_or_never().is_none());
    let small = async {
        loop {
            let _ = book
                .permit(MessageType::Lms, Fit::any(), Lane::Ordinary, 1)
                .await;
        }
    };
    let first = tokio::select! {
        () = sleep(Duration::from_secs(10)) => panic!("starved"),
        permit = large => permit,
        () = small => unreachable!("it goes on for ever"),
    };
    assert_eq!(first.unwrap().size(), 10);
}

#[tokio::test(start_paused = true)]
async fn express_does_not_wait_for_tokens_while_ordinary_traffic_does() {
    let book = book(vec![RouteSettings {
        tps: 50,
        ..wide("a")
    }]);
    let ordinary_load = join_all((0..20).map(|_| async {
        for _ in 0..50 {
            drop(ordinary(&book, 10).await.unwrap());
        }
    }));
    let express = async {
        for _ in 0..20 {
            sleep(Duration::from_millis(500)).await;
            let (permit, took) = timed(book.permit(SMS, Fit::any(), Lane::Express, 1)).await;
            assert_eq!((permit.unwrap().size(), took), (1, Duration::ZERO));
        }
    };
    tokio::select! {
        () = express => {}
        _ = ordinary_load => panic!("the load was to outlast the test"),
    }
}

#[tokio::test(start_paused = true)]
async fn cancelled_waiters_lose_neither_slots_nor_tokens() {
    let one = RouteSettings {
        tps: 1_000,
        concurrency: 1,
        ..wide("a")
    };
    let book = book_of(vec![(one, Arc::new(Vendor::with_batch(1)))]);
    for round in 0..200_u64 {
        let held = timeout(Duration::from_secs(1), ordinary(&book, 1)).await;
        let held = held.unwrap().unwrap();
        let mut waiting = Box::pin(ordinary(&book, 1));
        assert!(waiting.as_mut().now_or_never().is_none());
        if round % 2 == 0 {
            drop(waiting); // while it waits
            drop(held);
        } else {
            drop(held); // it is granted, and dropped before it knows
            drop(waiting);
        }
        sleep(Duration::from_millis(1)).await;
    }
    // Each round took one token and a millisecond brought one back: the bucket is still full.
    let mut left = 0;
    while let Some(permit) = ordinary(&book, 1).now_or_never() {
        drop(permit.unwrap());
        left += 1;
    }
    assert_eq!(left, 100);
}

#[tokio::test(start_paused = true)]
async fn when_the_waiter_that_keeps_the_time_is_cancelled_another_does() {
    let book = book_of(vec![(
        RouteSettings {
            tps: 10,
            ..wide("a")
        },
        Arc::new(Vendor::with_batch(1)),
    )]);
    while ordinary(&book, 1).now_or_never().is_some() {}
    let mut first = Box::pin(ordinary(&book, 1));
    let mut second = Box::pin(ordinary(&book, 1));
    assert!(first.as_mut().now_or_never().is_none());
    assert!(second.as_mut().now_or_never().is_none());
    drop(first);
    let (permit, took) = timed(timeout(Duration::from_secs(5), second)).await;
    assert!(permit.unwrap().is_ok());
    assert_eq!(took, Duration::from_millis(100));
}

#[tokio::test(start_paused = true)]
async fn whoever_waited_for_a_slot_then_waits_for_a_token() {
    let one = RouteSettings {
        tps: 10,
        concurrency: 1,
        ..wide("a")
    };
    let book = book_of(vec![(one, Arc::new(Vendor::with_batch(1)))]);
    let held = ordinary(&book, 1).await.unwrap();
    let waiting = timeout(Duration::from_secs(5), ordinary(&book, 1));
    let (permit, took) = timed(async { tokio::join!(waiting, async { drop(held) }).0 }).await;
    assert!(permit.unwrap().is_ok());
    assert_eq!(took, Duration::from_millis(100));
}

#[tokio::test(start_paused = true)]
async fn no_more_calls_are_in_flight_than_the_routes_concurrency() {
    let book = book(vec![
        RouteSettings {
            concurrency: 3,
            ..wide("a")
        },
        RouteSettings {
            concurrency: 5,
            ..wide("b")
        },
    ]);
    let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let calls = (0..800_u64).map(|call| {
        let (book, now, most) = (&book, &now, &most);
        async move {
            let _permit = ordinary(book, 1).await.unwrap();
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            sleep(Duration::from_millis(1 + call % 7)).await;
            now.fetch_sub(1, Ordering::SeqCst);
        }
    });
    let started = Instant::now();
    join_all(calls).await;
    assert_eq!(
        most.load(Ordering::SeqCst),
        8,
        "bounded, and all of it used"
    );
    assert!(started.elapsed() < Duration::from_millis(450));
}

#[tokio::test(start_paused = true)]
async fn a_waiter_goes_to_the_better_route_when_its_pause_ends() {
    let book = book(vec![
        RouteSettings {
            priority: 1,
            ..wide("main")
        },
        RouteSettings {
            priority: 2,
            concurrency: 1,
            ..wide("spare")
        },
    ]);
    let pause = Observation::Throttled {
        retry_after: Some(Duration::from_secs(1)),
    };
    book.observe(&book.routes()[0], pause);
    let _held = ordinary(&book, 1).await.unwrap();
    let (permit, took) = timed(timeout(Duration::from_secs(5), ordinary(&book, 1))).await;
    assert_eq!(permit.unwrap().unwrap().route().name(), "main");
    assert!(took < Duration::from_millis(1_100));
}
