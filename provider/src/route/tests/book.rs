use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use pabal_common::clock::{ManualClock, Timestamp};
use pabal_common::domain::kind::{Lane, MessageType};
use tokio::time::sleep;

use super::vendor::{SMS, Vendor, book, book_of, close, ordinary, timed, wide};
use crate::Provider;
use crate::route::{
    BookError, Fit, Health, NoRoute, Observation, RouteBook, RouteSettings, RouteSpec,
};

#[tokio::test(start_paused = true)]
async fn weights_are_honoured_over_a_thousand_picks() {
    let book = book(vec![
        RouteSettings {
            weight: 6,
            ..wide("a")
        },
        RouteSettings {
            weight: 3,
            ..wide("b")
        },
        RouteSettings {
            weight: 1,
            ..wide("c")
        },
    ]);
    let mut picks = BTreeMap::new();
    for _ in 0..1_000 {
        let permit = ordinary(&book, 1).await.unwrap();
        *picks.entry(permit.route().name().to_owned()).or_insert(0) += 1;
    }
    let expected = [("a", 600), ("b", 300), ("c", 100)];
    assert_eq!(picks, expected.map(|(n, c)| (n.to_owned(), c)).into());
}

#[tokio::test(start_paused = true)]
async fn weights_count_messages_whatever_the_size_of_a_vendors_calls() {
    let book = book_of(vec![
        (wide("large"), Arc::new(Vendor::with_batch(100))),
        (wide("small"), Arc::new(Vendor::with_batch(5))),
    ]);
    let mut messages = BTreeMap::from([("large".to_owned(), 0), ("small".to_owned(), 0)]);
    for _ in 0..210 {
        let permit = ordinary(&book, 100).await.unwrap();
        *messages.get_mut(permit.route().name()).unwrap() += permit.size();
    }
    let (large, small) = (messages["large"], messages["small"]);
    assert!(large.abs_diff(small) <= 100, "{large} and {small}");
}

#[tokio::test(start_paused = true)]
async fn the_next_priority_is_used_only_while_no_route_of_the_first_is_usable() {
    let book = book(vec![
        RouteSettings {
            priority: 1,
            ..wide("main")
        },
        RouteSettings {
            priority: 2,
            ..wide("spare")
        },
    ]);
    assert_eq!(ordinary(&book, 1).await.unwrap().route().name(), "main");
    close(&book, 0);
    assert_eq!(ordinary(&book, 1).await.unwrap().route().name(), "spare");
    book.pause("spare").unwrap();
    assert_eq!(ordinary(&book, 1).await.unwrap_err(), NoRoute(SMS));
    book.resume("spare").unwrap();
    assert_eq!(ordinary(&book, 1).await.unwrap().route().name(), "spare");
}

#[tokio::test(start_paused = true)]
async fn without_a_usable_route_the_answer_is_no_at_once() {
    let book = book(vec![wide("a")]);
    let none = book.permit(MessageType::Rcs, Fit::any(), Lane::Express, 1);
    assert_eq!(
        none.now_or_never().unwrap().unwrap_err(),
        NoRoute(MessageType::Rcs)
    );
    close(&book, 0);
    assert_eq!(
        ordinary(&book, 1).now_or_never().unwrap().unwrap_err(),
        NoRoute(SMS)
    );
    assert!(!book.usable(SMS));
    assert!(!book.any_usable(MessageType::ALL));
    assert_eq!(book.release_rate(SMS), 0);
}

#[tokio::test(start_paused = true)]
async fn a_permit_is_as_large_as_wish_batch_and_budget_allow() {
    let book = book_of(vec![(
        RouteSettings {
            tps: 10,
            ..wide("a")
        },
        Arc::new(Vendor::with_batch(20)),
    )]);
    assert_eq!(ordinary(&book, 3).await.unwrap().size(), 3);
    assert_eq!(ordinary(&book, 100).await.unwrap().size(), 17);
    let (permit, took) = timed(ordinary(&book, 100)).await;
    assert_eq!(
        (permit.unwrap().size(), took),
        (1, Duration::from_millis(100))
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_not_sent_can_be_sent_by_another() {
    let book = book_of(vec![(
        RouteSettings {
            tps: 1,
            ..wide("a")
        },
        Arc::new(Vendor::with_batch(10)),
    )]);
    let mut permit = ordinary(&book, 10).await.unwrap();
    let waiting = ordinary(&book, 10);
    tokio::pin!(waiting);
    assert!(waiting.as_mut().now_or_never().is_none());
    permit.return_unused(4);
    permit.return_unused(100);
    assert_eq!(permit.size(), 0);
    // The first return serves the waiter at once; the second is there for whoever comes next.
    assert_eq!(waiting.await.unwrap().size(), 4);
    assert_eq!(ordinary(&book, 10).await.unwrap().size(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_throttled_route_goes_on_at_half_its_rate_after_the_pause() {
    let book = book(vec![RouteSettings {
        tps: 1_000,
        ..wide("a")
    }]);
    let route = &book.routes()[0];
    let pause = Observation::Throttled {
        retry_after: Some(Duration::from_secs(3)),
    };
    assert_eq!(book.observe(route, pause), Health::Ok);
    assert_eq!(book.health(route), Health::Overload);
    assert!(!book.usable(SMS));
    sleep(Duration::from_secs(3)).await;
    assert!(book.usable(SMS));
    assert_eq!(book.release_rate(SMS), 500);
    sleep(Duration::from_secs(10)).await;
    assert_eq!(book.release_rate(SMS), 1_000);
}

#[tokio::test(start_paused = true)]
async fn an_observation_returns_the_health_it_found() {
    let book = book(vec![wide("a")]);
    let route = Arc::clone(&book.routes()[0]);
    let found: Vec<_> = (0..4)
        .map(|_| book.observe(&route, Observation::NotConnected))
        .collect();
    assert_eq!(found, [Health::Ok, Health::Ok, Health::Ok, Health::Fail]);
}

#[tokio::test(start_paused = true)]
async fn the_release_rate_is_that_of_the_routes_that_carry_the_type_now() {
    let book = book(vec![
        RouteSettings {
            tps: 100,
            ..wide("a")
        },
        RouteSettings {
            tps: 30,
            ..wide("b")
        },
        RouteSettings {
            tps: 7,
            priority: 5,
            ..wide("spare")
        },
    ]);
    book.set_live_senders(4);
    assert_eq!(book.release_rate(SMS), 130);
    close(&book, 0);
    assert_eq!(book.release_rate(SMS), 30);
    book.pause("b").unwrap();
    assert_eq!(book.release_rate(SMS), 7);
}

#[tokio::test(start_paused = true)]
async fn what_one_sender_learns_another_knows_whatever_its_clock_shows() {
    let here = book(vec![wide("a"), wide("b")]);
    sleep(Duration::from_secs(100)).await;
    close(&here, 0);
    let pause = Observation::Throttled { retry_after: None };
    here.observe(&here.routes()[1], pause);
    let told: Vec<_> = here
        .states()
        .into_iter()
        .filter_map(|state| Some((state.route, state.shared?)))
        .collect();

    let there = book(vec![wide("b"), wide("a")]);
    let mut changed = there.changed();
    there.learn(told);
    assert!(changed.has_changed().unwrap());
    changed.mark_unchanged();
    let health: BTreeMap<_, _> = there
        .states()
        .into_iter()
        .map(|state| (state.route, (state.health, state.allowed_rate)))
        .collect();
    assert_eq!(health["a"], (Health::Fail, 0));
    assert_eq!(health["b"], (Health::Overload, 50_000));
}

#[tokio::test(start_paused = true)]
async fn two_routes_of_one_name_and_an_unknown_name_are_refused() {
    let routes = [wide("a"), wide("a")].map(|settings| {
        let provider: Arc<dyn Provider> = Arc::new(Vendor::with_batch(1));
        (RouteSpec::new(settings).unwrap(), provider)
    });
    let clock = Arc::new(ManualClock::new(Timestamp::default()));
    let refused = RouteBook::new(routes.into(), clock).unwrap_err();
    assert_eq!(refused, BookError::Duplicate("a".to_owned()));
    let book = book(vec![wide("a")]);
    assert_eq!(book.pause("z"), Err(BookError::Unknown("z".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn what_was_saved_up_is_not_sent_to_a_vendor_that_has_had_too_much() {
    let book = book(vec![RouteSettings {
        tps: 1_000,
        ..wide("a")
    }]);
    book.observe(
        &book.routes()[0],
        Observation::Throttled { retry_after: None },
    );
    let (permit, took) = timed(ordinary(&book, 100)).await;
    // At 500 a second: the express reserve of 5 is filled first, then a call of 5 goes.
    assert_eq!(permit.unwrap().size(), 5);
    assert_eq!(took, Duration::from_millis(20));
}
