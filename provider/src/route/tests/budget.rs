use std::time::Duration;

use pabal_common::clock::Timestamp;
use pabal_common::domain::kind::Lane;
use proptest::prelude::*;

use crate::route::Budget;

const START: Timestamp = Timestamp::from_millis(1_000_000);

fn after(millis: u64) -> Timestamp {
    START.plus(Duration::from_millis(millis))
}

/// Takes all a lane gets at a moment.
fn drain(budget: &mut Budget, lane: Lane, now: Timestamp) -> usize {
    std::iter::repeat_with(|| budget.take(lane, 1_000, now))
        .take_while(|granted| *granted > 0)
        .sum()
}

fn lane() -> impl Strategy<Value = Lane> {
    proptest::sample::select(Lane::ALL.to_vec())
}

#[test]
fn a_whole_batch_fits_into_the_bucket_of_a_slow_route() {
    let mut budget = Budget::new(1, 100, START);
    assert_eq!(budget.take(Lane::Ordinary, 100, START), 100);
    assert_eq!(budget.take(Lane::Ordinary, 100, START), 0);
    assert_eq!(budget.take(Lane::Ordinary, 100, after(10_000)), 10);
}

#[test]
fn senders_share_the_rate() {
    let mut budget = Budget::new(100, 1, START);
    budget.set_share(4, START);
    drain(&mut budget, Lane::Express, START);
    let granted: usize = (1..=1_000)
        .map(|tick| drain(&mut budget, Lane::Express, after(tick * 10)))
        .sum();
    assert_eq!(granted, 250);
}

#[test]
fn express_finds_a_token_while_ordinary_traffic_takes_all_it_can_get() {
    let mut budget = Budget::new(50, 1, START);
    for tick in 0..500 {
        let now = after(tick * 20);
        drain(&mut budget, Lane::Ordinary, now);
        // Two a second: what the reserve of such a route is for.
        if tick % 25 == 0 {
            assert_eq!(budget.take(Lane::Express, 1, now), 1, "at {tick}");
        }
    }
}

#[test]
fn bulk_leaves_the_express_reserve_as_ordinary_traffic_does() {
    let both = [Lane::Ordinary, Lane::Bulk];
    let [ordinary, bulk] = both.map(|lane| drain(&mut Budget::new(1_000, 10, START), lane, START));
    let all = drain(&mut Budget::new(1_000, 10, START), Lane::Express, START);
    assert_eq!((bulk, all), (ordinary, ordinary + 10));
}

#[test]
fn without_express_traffic_ordinary_traffic_has_the_whole_rate() {
    let mut budget = Budget::new(1_000, 10, START);
    drain(&mut budget, Lane::Ordinary, START);
    let granted: usize = (1..=100)
        .map(|tick| drain(&mut budget, Lane::Ordinary, after(tick * 100)))
        .sum();
    assert_eq!(granted, 10_000);
}

#[test]
fn a_busy_route_gives_calls_of_ten_milliseconds_rather_than_crumbs() {
    let mut budget = Budget::new(1_000, 100, START);
    drain(&mut budget, Lane::Ordinary, START);
    assert_eq!(
        budget.wait(Lane::Ordinary, 100, START),
        Some(Duration::from_millis(10))
    );
    assert_eq!(budget.take(Lane::Ordinary, 100, after(9)), 0);
    assert_eq!(budget.take(Lane::Ordinary, 100, after(10)), 10);
    assert_eq!(budget.take(Lane::Ordinary, 1, after(11)), 1);
}

#[test]
fn nothing_is_granted_at_rate_zero_nor_saved_up_for_later() {
    let mut budget = Budget::new(1_000, 10, START);
    budget.set_rate(0, START);
    assert_eq!(budget.take(Lane::Express, 1, after(60_000)), 0);
    assert_eq!(budget.wait(Lane::Express, 1, after(60_000)), None);
    budget.set_rate(1_000, after(60_000));
    assert_eq!(budget.take(Lane::Express, 1, after(60_000)), 0);
    assert_eq!(budget.take(Lane::Express, 1, after(60_001)), 1);
}

#[test]
fn tokens_brought_back_can_be_taken_again_but_never_overfill_the_bucket() {
    let mut budget = Budget::new(10, 5, START);
    let all = drain(&mut budget, Lane::Express, START);
    budget.give_back(2);
    assert_eq!(drain(&mut budget, Lane::Express, START), 2);
    budget.give_back(1_000_000);
    assert_eq!(drain(&mut budget, Lane::Express, START), all);
}

proptest! {
    #[test]
    fn no_window_sees_more_than_its_rate_and_one_burst(
        rate in 1..=100_000_u32,
        batch in 1..=500_usize,
        senders in 1..=8_u32,
        takes in proptest::collection::vec((0..400_u64, lane(), 1..1_000_usize, 0..=100_u32), 1..120),
    ) {
        let mut budget = Budget::new(rate, batch, START);
        budget.set_share(senders, START);
        let burst = u128::from(budget.burst());
        let mut now = START;
        let mut granted = Vec::new();
        for (later, lane, up_to, percent) in takes {
            now = now.plus(Duration::from_millis(later));
            let taken = budget.take(lane, up_to, now);
            prop_assert!(taken <= up_to);
            if taken == 0 {
                let wait = budget.wait(lane, up_to, now);
                prop_assert_ne!(wait, Some(Duration::ZERO), "a wait of nothing would spin");
            }
            granted.push((now, taken as u128));
            // The rate moves below the configured one, as health moves it.
            let lowered = u32::try_from(u64::from(rate) * u64::from(percent) / 100).unwrap();
            budget.set_rate(lowered, now);
        }
        for (first, (from, _)) in granted.iter().enumerate() {
            let mut sum = 0;
            for (to, taken) in &granted[first..] {
                sum += taken;
                let millis = to.since(*from).as_millis();
                // sum <= rate x window / senders + burst, in thousandths and without division.
                prop_assert!(
                    sum * 1_000 * u128::from(senders)
                        <= u128::from(rate) * millis + burst * 1_000 * u128::from(senders)
                );
            }
        }
    }

    #[test]
    fn after_the_wait_there_is_something_to_take(
        rate in 1..=100_000_u32,
        batch in 1..=500_usize,
        senders in 1..=8_u32,
        lane in lane(),
        up_to in 1..1_000_usize,
    ) {
        let mut budget = Budget::new(rate, batch, START);
        budget.set_share(senders, START);
        budget.empty(START);
        let wait = budget.wait(lane, up_to, START).unwrap();
        let mut early = budget.clone();
        prop_assert_eq!(early.take(lane, up_to, START.plus(wait - Duration::from_millis(1))), 0);
        prop_assert!(budget.take(lane, up_to, START.plus(wait)) > 0);
    }
}
