//! Routes that are changed while they are used, and routes that do not carry every message.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::FutureExt;
use pabal_common::clock::{ManualClock, Timestamp};
use pabal_common::domain::id::PartnerId;
use pabal_common::domain::kind::{Lane, MessageType};
use proptest::prelude::*;

use super::vendor::{SMS, Vendor, book, close, wide};
use crate::Provider;
use crate::config::Lead;
use crate::route::{
    BookError, Carries, Fit, Health, NoRoute, Observation, Permit, RouteBook, RouteSettings,
    RouteSpec, Traits,
};

const NOBODY: &str = "01012345678";

fn leads(routes: impl IntoIterator<Item = RouteSettings>) -> Vec<Lead> {
    let lead = |settings| {
        let vendor: Arc<dyn Provider> = Arc::new(Vendor::with_batch(100));
        (RouteSpec::new(settings).unwrap(), vendor)
    };
    routes.into_iter().map(lead).collect()
}

fn set(book: &RouteBook, routes: impl IntoIterator<Item = RouteSettings>) {
    book.set_routes(leads(routes), &BTreeSet::new()).unwrap();
}

/// A route for the messages of one partner alone.
fn only(name: &str, partner: &str) -> RouteSettings {
    RouteSettings {
        carries: Carries {
            partners: BTreeSet::from([partner.parse().unwrap()]),
            ..Carries::default()
        },
        ..wide(name)
    }
}

/// An SMS of a partner, 10 bytes.
fn fit(book: &RouteBook, partner: &str) -> Fit {
    let partner: PartnerId = partner.parse().unwrap();
    book.fit(&Traits {
        kind: SMS,
        partner: &partner,
        recipient: NOBODY,
        length: 10,
    })
}

/// What a call that fits gets at once; `None` if it has to wait.
fn now(book: &RouteBook, fit: Fit) -> Option<Result<Permit, NoRoute>> {
    book.permit(SMS, fit, Lane::Ordinary, 1).now_or_never()
}

fn name(permit: Option<Result<Permit, NoRoute>>) -> String {
    permit.unwrap().unwrap().route().name().to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_route_keeps_its_health_and_the_calls_on_their_way_when_its_settings_change() {
    let narrow = |concurrency| RouteSettings {
        concurrency,
        ..wide("a")
    };
    let book = book(vec![narrow(2), wide("b")]);
    close(&book, 1);
    let held = now(&book, Fit::any()).unwrap().unwrap();
    set(&book, [narrow(1), wide("b")]);
    assert!(now(&book, Fit::any()).is_none(), "the one slot is taken");
    drop(held);
    assert_eq!(name(now(&book, Fit::any())), "a");
    assert_eq!(book.health(&book.routes()[1]), Health::Fail);
}

#[tokio::test(start_paused = true)]
async fn a_route_that_leads_elsewhere_now_begins_in_good_health() {
    let book = book(vec![wide("a")]);
    close(&book, 0);
    let elsewhere: Arc<dyn Provider> = Arc::new(Vendor::of_account("other"));
    let spec = RouteSpec::new(wide("a")).unwrap();
    let none = BTreeSet::new();
    book.set_routes(vec![(spec, elsewhere)], &none).unwrap();
    assert_eq!(book.health(&book.routes()[0]), Health::Ok);
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_gets_a_route_that_is_added_and_none_that_is_gone() {
    let narrow = RouteSettings {
        concurrency: 1,
        ..wide("a")
    };
    let book = book(vec![narrow.clone()]);
    let held = now(&book, Fit::any()).unwrap().unwrap();
    let waiting = book.permit(SMS, Fit::any(), Lane::Ordinary, 1);
    tokio::pin!(waiting);
    assert!(waiting.as_mut().now_or_never().is_none());
    set(&book, [narrow, wide("b")]);
    assert_eq!(waiting.await.unwrap().route().name(), "b");

    set(&book, []);
    let gone = now(&book, Fit::any());
    assert!(matches!(gone, Some(Err(NoRoute(SMS)))));
    // Its call is still on its way, and what it shows is of a route that is gone.
    book.observe(held.route(), Observation::Answered);
    drop(held);
    assert_eq!(book.states(), []);
}

#[tokio::test(start_paused = true)]
async fn a_paused_route_that_is_added_is_not_used_for_a_moment() {
    let book = book(vec![]);
    let paused = BTreeSet::from(["a".to_owned()]);
    book.set_routes(leads([wide("a")]), &paused).unwrap();
    assert!(matches!(now(&book, Fit::any()), Some(Err(NoRoute(SMS)))));
    assert!(book.states()[0].paused);
    set(&book, [wide("a")]);
    assert_eq!(name(now(&book, Fit::any())), "a");
}

#[tokio::test(start_paused = true)]
async fn two_routes_of_one_name_change_nothing() {
    let book = book(vec![wide("a")]);
    let twice = book.set_routes(leads([wide("b"), wide("b")]), &BTreeSet::new());
    assert_eq!(twice, Err(BookError::Duplicate("b".to_owned())));
    assert_eq!(name(now(&book, Fit::any())), "a");
}

#[tokio::test(start_paused = true)]
async fn a_message_takes_only_routes_that_carry_it() {
    let all = RouteSettings {
        priority: 1,
        ..wide("all")
    };
    let book = book(vec![only("banks", "bank"), all]);
    assert!(book.is_selective(SMS) && !book.is_selective(MessageType::Lms));
    assert_eq!(name(now(&book, fit(&book, "bank"))), "banks");
    assert_eq!(name(now(&book, fit(&book, "shop"))), "all");
    book.pause("banks").unwrap();
    assert_eq!(name(now(&book, fit(&book, "bank"))), "all");
    book.pause("all").unwrap();
    book.resume("banks").unwrap();
    let none = now(&book, fit(&book, "shop"));
    assert!(matches!(none, Some(Err(NoRoute(SMS)))), "no loop, no wait");
    assert!(book.usable(SMS), "others go on");
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_busy_route_of_its_own_does_not_hold_up_the_others() {
    let narrow = RouteSettings {
        concurrency: 1,
        ..only("banks", "bank")
    };
    let book = book(vec![narrow, only("shops", "shop")]);
    let _held = now(&book, fit(&book, "bank")).unwrap().unwrap();
    let waiting = book.permit(SMS, fit(&book, "bank"), Lane::Ordinary, 1);
    tokio::pin!(waiting);
    assert!(waiting.as_mut().now_or_never().is_none());
    assert_eq!(name(now(&book, fit(&book, "shop"))), "shops");
}

#[tokio::test(start_paused = true)]
async fn whoever_was_told_which_routes_fit_asks_again_after_they_were_changed() {
    let book = book(vec![only("banks", "bank"), only("shops", "shop")]);
    let before = fit(&book, "bank");
    set(&book, [only("banks", "shop"), only("shops", "shop")]);
    assert!(matches!(now(&book, before), Some(Err(NoRoute(SMS)))));
    // Where nothing was asked, because every route carried everything, it is the same.
    assert!(matches!(now(&book, Fit::any()), Some(Err(NoRoute(SMS)))));
    set(&book, [wide("banks")]);
    assert_eq!(name(now(&book, Fit::any())), "banks");
}

#[tokio::test(start_paused = true)]
async fn the_longest_text_of_a_type_is_that_of_its_most_generous_route() {
    let short = |name: &str, most| RouteSettings {
        carries: Carries {
            limits: BTreeMap::from([(SMS, most)]),
            ..Carries::default()
        },
        ..wide(name)
    };
    let book = book(vec![short("a", 60), short("b", 80)]);
    assert_eq!(book.text_limit(SMS), Some(80));
    assert_eq!(book.text_limit(MessageType::Rcs), None);
    set(&book, [short("a", 60), wide("b")]);
    assert_eq!(book.text_limit(SMS), Some(90));
}

proptest! {
    /// Whatever is set in between, a permit is of a route that is in use, carries the message and is
    /// not paused, and no route has more calls than slots.
    #[test]
    fn a_permit_is_always_of_a_route_that_may_be_used(
        steps in proptest::collection::vec((0..4_usize, 0..8_usize, any::<bool>()), 1..80),
    ) {
        let clock = ManualClock::new(Timestamp::from_millis(1_790_000_000_000));
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_time().start_paused(true).build().unwrap();
        let _entered = runtime.enter();
        let book = RouteBook::new(Vec::new(), Arc::new(clock)).unwrap();
        let mut held: Vec<Permit> = Vec::new();
        let mut paused = BTreeSet::new();
        for (step, which, flag) in steps {
            match step {
                0 => {
                    let routes = (0..3).filter(|route| which & (1 << route) != 0);
                    let routes = routes.map(|route| {
                        let name = format!("r{route}");
                        let settings = match flag ^ (route == 1) {
                            true => only(&name, "bank"),
                            false => wide(&name),
                        };
                        RouteSettings { concurrency: 2, ..settings }
                    });
                    paused = BTreeSet::from([format!("r{}", which % 4)]);
                    book.set_routes(leads(routes), &paused).unwrap();
                }
                1 => drop(held.pop()),
                _ => {
                    let partner = if flag { "bank" } else { "shop" };
                    let fit = fit(&book, partner);
                    if let Some(Ok(permit)) = now(&book, fit) {
                        let route = permit.route();
                        let routes = book.routes();
                        let in_use = routes.iter().any(|one| one.name() == route.name());
                        prop_assert!(in_use && !paused.contains(route.name()));
                        let carries = &route.spec().carries().partners;
                        prop_assert!(carries.is_empty() || partner == "bank");
                        held.push(permit);
                    }
                }
            }
            for route in book.routes().iter() {
                let calls = held.iter().filter(|one| one.route().name() == route.name()).count();
                prop_assert!(calls <= 2, "more calls than slots");
            }
        }
    }
}
