//! A vendor is told "taken" only for what the broker or the ledger has.

use std::time::Duration;

use pabal_common::breaker::BreakerRules;
use pabal_common::instance::LeaseConfig;
use pabal_common::relay::RelayConfig;
use pabal_webhook_receiver::{Config, Vendors};
use sqlx::Executor as _;

use crate::house::{House, Mood, until};
use crate::vendor::{Callback, carrier};

const PATH: &str = "/callbacks/carrier/main";

fn carriers() -> Vendors {
    Vendors::new([carrier("main")])
}

/// Short waits, so that what hangs is given up soon.
fn impatient() -> Config {
    Config {
        publish_wait: Duration::from_millis(50),
        ledger_wait: Duration::from_millis(300),
        ..Config::default()
    }
}

fn relay(breaker: BreakerRules) -> RelayConfig {
    RelayConfig {
        deadline: Duration::from_millis(50),
        period: Duration::from_millis(5),
        grace: Duration::ZERO,
        breaker,
        ..RelayConfig::default()
    }
}

#[tokio::test]
async fn while_the_broker_fails_reports_wait_in_the_outbox_and_reach_the_queue_later() {
    let house = House::open().await;
    let rules = BreakerRules {
        pause: Duration::from_millis(5),
        longest_pause: Duration::from_millis(5),
        ..BreakerRules::default()
    };
    for (id, trouble) in [("1", Mood::Failing), ("2", Mood::Hanging)] {
        let process = house
            .process_with(LeaseConfig::exclusive(), relay(rules))
            .await;
        let base = process.serve(&carriers(), impatient()).await;
        house.broker.set(trouble);
        let before = house.broker.publishes();
        let answer = Callback::delivered(&[id]).post(&base, PATH).await;
        assert_eq!(answer.status(), 200);
        assert_eq!((house.outbox().await, house.frames().await), (1, 0));

        // For the vendor, and once more behind its back.
        until("the broker was asked twice", async || {
            house.broker.publishes() == before + 2
        })
        .await;
        house.broker.set(Mood::Well);
        // The row is dated by a clock that stands still, so only another process finds it old.
        process.node.instance.leave().await;
        let next = house
            .process_with(LeaseConfig::exclusive(), relay(rules))
            .await;
        next.relay();
        assert_eq!(house.report_ids(1).await, [id]);
        until("the row is retired", async || house.outbox().await == 0).await;
    }
}

#[tokio::test]
async fn a_broker_whose_breaker_is_open_is_not_asked() {
    let house = House::open().await;
    let rules = BreakerRules {
        failures: 1,
        pause: Duration::from_secs(600),
        longest_pause: Duration::from_secs(600),
        ..BreakerRules::default()
    };
    let process = house
        .process_with(LeaseConfig::exclusive(), relay(rules))
        .await;
    let base = process.serve(&carriers(), Config::default()).await;
    house.broker.set(Mood::Failing);
    assert_eq!(
        Callback::delivered(&["1"]).post(&base, PATH).await.status(),
        200
    );
    until("the breaker is open", async || {
        process.node.relay.admit().is_err()
    })
    .await;

    let before = house.broker.publishes();
    assert_eq!(
        Callback::delivered(&["2"]).post(&base, PATH).await.status(),
        200
    );
    assert_eq!(house.outbox().await, 2);
    assert_eq!(house.broker.publishes(), before);
}

#[tokio::test]
async fn with_broker_and_ledger_away_the_vendor_is_asked_to_repeat() {
    let house = House::open().await;
    let process = house.process().await;
    let base = process.serve(&carriers(), impatient()).await;
    let callback = Callback::delivered(&["1"]);
    house.broker.set(Mood::Failing);
    house.fill_the_outbox().await;
    let answer = callback.post(&base, PATH).await;
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["retry-after"], "5");

    house.broker.set(Mood::Well);
    assert_eq!(callback.post(&base, PATH).await.status(), 200);
    assert_eq!(house.report_ids(1).await, ["1"]);
    assert_eq!(house.outbox().await, 0);
}

#[tokio::test]
async fn a_ledger_that_does_not_answer_is_given_up_in_time() {
    let house = House::open().await;
    let process = house.process().await;
    let base = process.serve(&carriers(), impatient()).await;
    house.broker.set(Mood::Hanging);
    let mut other = house.connection().await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let answer = Callback::delivered(&["1"]).post(&base, PATH).await;
    assert_eq!(answer.status(), 503);
    other.execute("ROLLBACK").await.unwrap();
}

#[tokio::test]
async fn a_process_that_must_act_as_dead_writes_no_outbox_row() {
    let house = House::open().await;
    let process = house.process().await;
    let base = process.serve(&carriers(), Config::default()).await;
    process.node.instance.leave().await;
    house.broker.set(Mood::Failing);
    assert_eq!(
        Callback::delivered(&["1"]).post(&base, PATH).await.status(),
        503
    );
    assert_eq!(house.outbox().await, 0);
    house.broker.set(Mood::Well);
    assert_eq!(
        Callback::delivered(&["1"]).post(&base, PATH).await.status(),
        200
    );
}
