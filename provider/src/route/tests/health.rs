use std::time::Duration;

use pabal_common::clock::Timestamp;
use proptest::prelude::*;

use crate::provider::Closed;
use crate::route::{Condition, Health, Observation, RouteHealth, SharedState};

const START: Timestamp = Timestamp::from_millis(1_000_000);

fn at(millis: u64) -> Timestamp {
    START.plus(Duration::from_millis(millis))
}

fn throttled(retry_after_millis: Option<u64>) -> Observation {
    Observation::Throttled {
        retry_after: retry_after_millis.map(Duration::from_millis),
    }
}

fn closed_at_start() -> RouteHealth {
    let mut route = RouteHealth::new(100, START);
    for _ in 0..3 {
        route.observe(Observation::NotConnected, START);
    }
    route
}

#[test]
fn throttling_halves_the_rate_at_once_and_it_comes_back_by_a_twentieth_a_second() {
    let mut route = RouteHealth::new(1_000, START);
    assert!(route.observe(throttled(None), at(0)));
    assert_eq!(route.health(at(0)), Health::Overload);
    assert_eq!(route.allowed_rate(at(0)), 500);
    assert_eq!(route.allowed_rate(at(1_000)), 550);
    assert_eq!(route.allowed_rate(at(9_999)), 999);
    assert_eq!(route.health(at(9_999)), Health::Overload);
    assert_eq!(route.health(at(10_000)), Health::Ok);
    assert_eq!(route.next_change(at(5)), Some(at(10_000)));
    assert_eq!(route.since(at(20_000)), at(10_000));
}

#[test]
fn refusals_of_calls_that_left_together_halve_the_rate_once() {
    let mut route = RouteHealth::new(1_000, START);
    for millis in [0, 1, 500, 999] {
        route.observe(throttled(None), at(millis));
    }
    assert_eq!(route.allowed_rate(at(1_000)), 550);
    route.observe(throttled(None), at(1_000));
    assert_eq!(route.allowed_rate(at(1_000)), 275);
}

#[test]
fn a_vendor_that_asks_for_a_pause_gets_it_up_to_a_minute() {
    let mut route = RouteHealth::new(100, START);
    route.observe(throttled(Some(2_000)), at(0));
    assert_eq!(route.allowed_rate(at(1_999)), 0);
    assert_eq!(route.paused_until(at(0)), Some(at(2_000)));
    assert_eq!(route.allowed_rate(at(2_000)), 50);
    route.observe(throttled(Some(3_600_000)), at(5_000));
    assert_eq!(route.allowed_rate(at(64_999)), 0);
    assert!(route.allowed_rate(at(65_000)) > 0);
}

#[test]
fn three_failed_connects_close_a_route_unless_an_answer_comes_between() {
    let mut route = RouteHealth::new(100, START);
    for seen in [
        Observation::NotConnected,
        Observation::NotConnected,
        Observation::Answered,
        Observation::NotConnected,
        Observation::NotConnected,
    ] {
        route.observe(seen, START);
        assert_eq!(route.health(START), Health::Ok);
    }
    route.observe(Observation::NotConnected, START);
    assert_eq!(route.health(START), Health::Fail);
    assert_eq!(route.allowed_rate(START), 0);
}

#[test]
fn ten_lost_answers_in_a_row_close_a_route_and_nine_do_not() {
    let mut route = RouteHealth::new(100, START);
    for _ in 0..9 {
        route.observe(Observation::Lost, START);
    }
    route.observe(Observation::Answered, START);
    for _ in 0..9 {
        route.observe(Observation::Lost, START);
    }
    assert_eq!(route.health(START), Health::Ok);
    route.observe(Observation::Lost, START);
    assert_eq!(route.health(START), Health::Fail);
}

#[test]
fn probes_wait_half_a_second_and_then_twice_as_long_each_time_up_to_thirty_seconds() {
    let mut route = closed_at_start();
    let mut now = 0;
    for wait in [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000] {
        assert_eq!(route.probe_due(), Some(at(now + wait)));
        assert!(!route.take_probe(at(now + wait - 1)));
        now += wait;
        assert!(route.take_probe(at(now)));
        assert!(!route.take_probe(at(now)), "one probe at a time");
        route.probe_ended(false, at(now));
    }
    now += 30_000;
    assert!(route.take_probe(at(now)));
    route.probe_ended(true, at(now));
    assert_eq!(route.health(at(now)), Health::Ok);
    assert_eq!(route.allowed_rate(at(now)), 100);
}

#[test]
fn a_probe_that_was_given_up_stays_due() {
    let mut route = closed_at_start();
    assert!(route.take_probe(at(500)));
    route.probe_abandoned();
    assert!(route.take_probe(at(500)));
}

#[test]
fn a_route_that_closes_again_before_a_message_got_through_waits_longer() {
    let mut route = closed_at_start();
    assert!(route.take_probe(at(500)));
    route.probe_ended(true, at(500));
    for _ in 0..10 {
        route.observe(Observation::Lost, at(500));
    }
    assert_eq!(route.probe_due(), Some(at(1_500)));
    assert!(route.take_probe(at(1_500)));
    route.probe_ended(true, at(1_500));
    route.observe(Observation::Answered, at(1_500));
    for _ in 0..3 {
        route.observe(Observation::NotConnected, at(1_500));
    }
    assert_eq!(route.probe_due(), Some(at(2_000)));
}

#[test]
fn calls_that_were_on_their_way_do_not_open_a_closed_route() {
    let mut route = closed_at_start();
    route.observe(Observation::Answered, at(1));
    route.observe(throttled(None), at(2));
    assert_eq!(route.health(at(3)), Health::Fail);
    assert_eq!(route.probe_due(), Some(at(500)));
}

#[test]
fn the_newest_of_two_senders_states_wins() {
    let mut route = closed_at_start();
    let opened = |millis| SharedState {
        since: at(millis),
        condition: Condition::Open,
    };
    let mut older = route.clone();
    older.learn(
        SharedState {
            since: START.minus(Duration::from_secs(1)),
            condition: Condition::Open,
        },
        at(50),
    );
    assert_eq!(older.health(at(50)), Health::Fail);
    route.learn(opened(40), at(50));
    assert_eq!(route.health(at(50)), Health::Ok);
    assert_eq!(route.shared(), Some(opened(40)));
}

#[test]
fn a_throttled_state_means_the_same_rate_for_whoever_learns_it() {
    let mut first = RouteHealth::new(1_000, START);
    first.observe(throttled(Some(700)), at(100));
    let mut second = RouteHealth::new(1_000, START);
    second.learn(first.shared().unwrap(), at(300));
    for millis in [300, 800, 3_000, 20_000] {
        assert_eq!(
            first.allowed_rate(at(millis)),
            second.allowed_rate(at(millis))
        );
    }
}

#[test]
fn a_process_that_has_just_started_tells_nothing_and_believes_what_it_hears() {
    let mut started = RouteHealth::new(100, at(10_000));
    assert_eq!(started.shared(), None);
    started.learn(closed_at_start().shared().unwrap(), at(10_000));
    assert_eq!(started.health(at(10_000)), Health::Fail);
    assert_eq!(started.probe_due(), Some(at(10_500)));
}

#[test]
fn a_state_from_a_clock_that_is_ahead_does_not_overrule_what_happens_next() {
    let mut route = RouteHealth::new(100, START);
    let ahead = SharedState {
        since: at(3_600_000),
        condition: Condition::Open,
    };
    route.learn(ahead, at(0));
    for _ in 0..3 {
        route.observe(Observation::NotConnected, at(100));
    }
    let told = route.shared().unwrap();
    assert_eq!(
        (told.since, told.condition),
        (at(100), Condition::Closed(None))
    );
}

#[test]
fn hearing_the_own_state_again_does_not_begin_the_count_of_failures_anew() {
    let mut route = closed_at_start();
    assert!(route.take_probe(at(500)));
    route.probe_ended(true, at(500));
    route.observe(Observation::NotConnected, at(600));
    route.observe(Observation::NotConnected, at(600));
    route.learn(
        SharedState {
            since: at(700),
            condition: Condition::Open,
        },
        at(700),
    );
    route.observe(Observation::NotConnected, at(800));
    assert_eq!(route.health(at(800)), Health::Fail);
}

#[test]
fn a_route_that_the_vendor_closed_is_probed_gently_until_a_message_gets_through() {
    let mut route = RouteHealth::new(100, START);
    let closed = Observation::Closed(Closed::Balance);
    let mut now = 0;
    for wait in [30_000, 60_000, 120_000, 240_000, 300_000, 300_000] {
        assert!(route.observe(closed, at(now)));
        assert_eq!(route.closed_by_vendor(), Some(Closed::Balance));
        assert_eq!(route.allowed_rate(at(now)), 0);
        assert_eq!(route.probe_due(), Some(at(now + wait)));
        now += wait;
        // The vendor answers, and tells the next message again that there is no balance.
        assert!(route.take_probe(at(now)));
        route.probe_ended(true, at(now));
        assert_eq!(route.closed_by_vendor(), None);
    }
    route.observe(Observation::Answered, at(now));
    route.observe(closed, at(now));
    assert_eq!(route.probe_due(), Some(at(now + 30_000)));
}

#[test]
fn why_a_vendor_closed_the_account_is_told_and_learned() {
    let mut route = RouteHealth::new(100, START);
    route.observe(Observation::Closed(Closed::Suspended), at(0));
    let told = route.shared().unwrap();
    let mut other = RouteHealth::new(100, START);
    other.learn(told, at(50));
    assert_eq!(other.closed_by_vendor(), Some(Closed::Suspended));
    // One that only failed to connect hears why, and one that knows why does not forget it.
    let mut failed = closed_at_start();
    let later = SharedState {
        since: at(100),
        ..told
    };
    failed.learn(later, at(100));
    assert_eq!(failed.closed_by_vendor(), Some(Closed::Suspended));
    let unaware = SharedState {
        since: at(200),
        condition: Condition::Closed(None),
    };
    failed.learn(unaware, at(200));
    assert_eq!(failed.closed_by_vendor(), Some(Closed::Suspended));
}

#[derive(Clone, Debug)]
enum Step {
    See(Observation),
    Probe(bool),
    TakeProbe,
    Learn(SharedState),
}

fn steps() -> impl Strategy<Value = Vec<(u64, Step)>> {
    let seen = prop_oneof![
        Just(Observation::Answered),
        proptest::option::of(0..120_000_u64).prop_map(throttled),
        Just(Observation::NotConnected),
        Just(Observation::Lost),
        Just(Observation::Closed(Closed::Quota)),
    ];
    let condition = prop_oneof![
        Just(Condition::Open),
        Just(Condition::Closed(None)),
        Just(Condition::Closed(Some(Closed::Balance))),
        (any::<u32>(), 0..10_000_000_u64).prop_map(|(rate, from)| Condition::Limited {
            rate,
            from: at(from),
        }),
    ];
    let step = prop_oneof![
        8 => seen.prop_map(Step::See),
        2 => any::<bool>().prop_map(Step::Probe),
        4 => Just(Step::TakeProbe),
        1 => (0..1_000_000_u64, condition).prop_map(|(since, condition)| Step::Learn(SharedState {
            since: at(since),
            condition,
        })),
    ];
    proptest::collection::vec((0..3_000_u64, step), 1..200)
}

proptest! {
    #[test]
    fn a_closed_route_sends_nothing_and_an_open_one_stays_within_its_rate(
        configured in 1..=100_000_u32,
        steps in steps(),
    ) {
        let mut route = RouteHealth::new(configured, START);
        let mut now = START;
        let mut probing = false;
        for (later, step) in steps {
            now = now.plus(Duration::from_millis(later));
            match step {
                Step::See(seen) => { route.observe(seen, now); }
                Step::TakeProbe => {
                    let closed = route.health(now) == Health::Fail;
                    let taken = route.take_probe(now);
                    prop_assert!(!taken || (closed && !probing), "a probe only while closed, one at a time");
                    probing |= taken;
                }
                Step::Probe(good) if probing => {
                    route.probe_ended(good, now);
                    probing = false;
                }
                Step::Probe(_) => {}
                Step::Learn(heard) => {
                    route.learn(heard, now);
                }
            }
            if route.health(now) != Health::Fail {
                // A probe of an earlier closing has nothing more to say.
                probing = false;
            }
            let rate = route.allowed_rate(now);
            match route.health(now) {
                Health::Fail => prop_assert_eq!(rate, 0),
                Health::Ok => prop_assert_eq!(rate, configured),
                Health::Overload if route.paused_until(now).is_some() => prop_assert_eq!(rate, 0),
                Health::Overload => prop_assert!((1..configured).contains(&rate)),
            }
        }
    }

    #[test]
    fn a_route_has_its_whole_rate_again_some_time_after_the_throttling_stops(
        configured in 1..=100_000_u32,
        refusals in proptest::collection::vec((0..5_000_u64, proptest::option::of(0..90_000_u64)), 1..50),
    ) {
        let mut route = RouteHealth::new(configured, START);
        let mut now = START;
        for (later, pause) in refusals {
            now = now.plus(Duration::from_millis(later));
            route.observe(throttled(pause), now);
        }
        let mut rate = route.allowed_rate(now);
        for _ in 0..80 {
            now = now.plus(Duration::from_secs(1));
            let next = route.allowed_rate(now);
            prop_assert!(next >= rate, "the rate only grows while nobody complains");
            rate = next;
        }
        prop_assert_eq!(route.health(now), Health::Ok);
        prop_assert_eq!(rate, configured);
        prop_assert_eq!(route.next_change(now), None);
    }
}
