//! Which lane is served when.

use std::sync::Mutex;
use std::time::Duration;

use futures::FutureExt;
use futures::future::join_all;
use pabal_common::clock::Timestamp;
use pabal_common::domain::kind::{Lane, MessageType};
use proptest::prelude::*;
use tokio::sync::oneshot::Receiver;

use super::vendor::{SMS, book, timed, wide};
use crate::route::line::{Group, Reply};
use crate::route::state::{Seat, State};
use crate::route::{Fit, RouteSettings, RouteSpec};

const LMS: MessageType = MessageType::Lms;
const NOW: Timestamp = Timestamp::from_millis(1_000_000);

/// A route with one slot, and tokens for everything.
fn narrow(name: &str, kinds: &[MessageType]) -> RouteSettings {
    RouteSettings {
        kinds: kinds.to_vec(),
        concurrency: 1,
        ..wide(name)
    }
}

/// Routes whose slots alone are scarce, and who waits for one.
struct Crowd {
    state: State,
    waiting: Vec<Waiting>,
}

struct Waiting {
    lane: Lane,
    told: Receiver<Reply>,
}

/// A call that was begun: what it is, whether it was the oldest of its lane, and where it goes.
struct Begun {
    lane: Lane,
    oldest: bool,
    route: usize,
}

impl Crowd {
    fn at(routes: &[RouteSettings]) -> Self {
        let specs = routes.iter().cloned().map(RouteSpec::new);
        let specs: Vec<_> = specs.map(Result::unwrap).collect();
        let seats = specs.into_iter().enumerate().map(|(at, spec)| Seat {
            at,
            spec,
            batch: 100,
            anew: true,
            paused: false,
        });
        let mut state = State::default();
        state.set_routes(seats, NOW);
        Self {
            state,
            waiting: Vec::new(),
        }
    }

    fn join(&mut self, lane: Lane, kind: MessageType) -> Option<Begun> {
        let fit = Fit::any();
        let (_, told) = self.state.lines.join(Group { kind, fit }, lane, 1);
        self.waiting.push(Waiting { lane, told });
        self.serve()
    }

    /// A call ends, and whoever is next begins one.
    fn end(&mut self, route: usize) -> Option<Begun> {
        self.state.call_ended(route);
        self.serve()
    }

    /// One slot at most is free, so one call at most begins.
    fn serve(&mut self) -> Option<Begun> {
        self.state.serve(NOW);
        let told = |waiting: &mut Waiting| Some(waiting.told.try_recv().ok()?.unwrap().route);
        let mut begun = self.waiting.iter_mut().enumerate();
        let (place, route) = begun.find_map(|(place, one)| Some((place, told(one)?)))?;
        let Waiting { lane, .. } = self.waiting.remove(place);
        let oldest = self.waiting[..place].iter().all(|one| one.lane != lane);
        assert!(self.waiting.iter_mut().all(|one| told(one).is_none()));
        Some(Begun {
            lane,
            oldest,
            route,
        })
    }

    fn waits(&self, lane: Lane) -> bool {
        self.waiting.iter().any(|one| one.lane == lane)
    }
}

proptest! {
    #[test]
    fn express_goes_first_and_of_five_others_at_least_one_is_bulk(
        steps in proptest::collection::vec((0..6_usize, any::<bool>()), 1..400),
    ) {
        let mut crowd = Crowd::at(&[narrow("a", &[SMS, LMS])]);
        // Ordinary calls since the last bulk call, and those of them that passed one by.
        let (mut busy, mut ordinary, mut passed) = (false, 0, 0);
        for (step, long) in steps {
            let kind = if long { LMS } else { SMS };
            let begun = match Lane::ALL.get(step) {
                Some(lane) => crowd.join(*lane, kind),
                None if busy => crowd.end(0),
                None => None,
            };
            match begun {
                Some(begun) => {
                    prop_assert!(begun.oldest);
                    let is_express = begun.lane == Lane::Express;
                    prop_assert!(is_express || !crowd.waits(Lane::Express));
                    match begun.lane {
                        Lane::Express => {}
                        Lane::Ordinary => {
                            ordinary += 1;
                            passed += u32::from(crowd.waits(Lane::Bulk));
                            prop_assert!(passed <= 4, "bulk starves");
                        }
                        Lane::Bulk => {
                            prop_assert!(ordinary >= 4 || !crowd.waits(Lane::Ordinary));
                            (ordinary, passed) = (0, 0);
                        }
                    }
                    busy = true;
                }
                None if Lane::ALL.get(step).is_none() => {
                    prop_assert!(crowd.waiting.is_empty(), "a slot is free and somebody waits");
                    busy = false;
                }
                None => prop_assert!(busy),
            }
        }
    }
}

#[test]
fn bulk_of_one_route_is_not_starved_by_bulk_that_flows_at_another() {
    let mut crowd = Crowd::at(&[narrow("a", &[SMS]), narrow("b", &[LMS])]);
    for _ in 0..60 {
        crowd.join(Lane::Bulk, LMS);
        crowd.join(Lane::Ordinary, SMS);
        crowd.join(Lane::Bulk, SMS);
    }
    let mut bulk = 0;
    for _ in 0..50 {
        assert!(crowd.end(1).is_some_and(|begun| begun.route == 1));
        bulk += u32::from(crowd.end(0).unwrap().lane == Lane::Bulk);
    }
    assert_eq!(bulk, 10);
}

#[test]
fn types_that_share_a_route_share_its_turns() {
    let mut crowd = Crowd::at(&[narrow("a", &[SMS, LMS])]);
    for _ in 0..50 {
        crowd.join(Lane::Ordinary, SMS);
        crowd.join(Lane::Bulk, LMS);
    }
    let ended = (0..50).map(|_| crowd.end(0).unwrap().lane);
    let bulk = ended.filter(|lane| *lane == Lane::Bulk).count();
    assert_eq!(bulk, 10);
}

#[tokio::test(start_paused = true)]
async fn four_ordinary_calls_then_one_of_bulk() {
    let book = book(vec![narrow("a", &[SMS])]);
    let held = book
        .permit(SMS, Fit::any(), Lane::Express, 1)
        .await
        .unwrap();
    let order = Mutex::new(String::new());
    let lanes = [
        [Lane::Bulk; 3].as_slice(),
        &[Lane::Ordinary; 10],
        &[Lane::Express],
    ];
    let all = lanes.concat().into_iter().map(|lane| {
        let waiting = book.permit(SMS, Fit::any(), lane, 1);
        let order = &order;
        async move {
            let _permit = waiting.await.unwrap();
            order.lock().unwrap().push(match lane {
                Lane::Express => 'e',
                Lane::Ordinary => 'o',
                Lane::Bulk => 'b',
            });
        }
    });
    tokio::join!(join_all(all), async {
        tokio::task::yield_now().await;
        drop(held);
    });
    assert_eq!(order.into_inner().unwrap(), "eoooobooooboob");
}

#[tokio::test(start_paused = true)]
async fn where_it_is_bulks_turn_small_ordinary_wishes_do_not_take_its_tokens() {
    let book = book(vec![RouteSettings {
        tps: 1_000,
        ..wide("a")
    }]);
    for _ in 0..4 {
        drop(
            book.permit(SMS, Fit::any(), Lane::Ordinary, 25)
                .await
                .unwrap(),
        );
    }
    let bulk = book.permit(SMS, Fit::any(), Lane::Bulk, 100);
    tokio::pin!(bulk);
    assert!(
        bulk.as_mut().now_or_never().is_none(),
        "the bucket is empty"
    );
    let small = book.permit(SMS, Fit::any(), Lane::Ordinary, 1);
    tokio::pin!(small);
    assert!(small.as_mut().now_or_never().is_none());
    let (permit, took) = timed(async {
        tokio::select! {
            biased;
            _ = &mut small => panic!("it was bulk's turn"),
            permit = &mut bulk => permit.unwrap(),
        }
    })
    .await;
    assert_eq!((permit.size(), took), (10, Duration::from_millis(10)));
    assert!(small.await.is_ok());
}
