//! One process polls an account, and the cursor moves together with the reports.

use std::sync::Arc;
use std::time::Duration;

use pabal_common::instance::LeaseConfig;
use pabal_common::relay::RelayConfig;
use pabal_webhook_receiver::{Config, Vendors};

use crate::house::{House, until};
use crate::vendor::{Scripted, Temper};

const SOURCE: &str = "scripted/main";

fn vendors(vendor: &Arc<Scripted>) -> Vendors {
    Vendors::new([Arc::clone(vendor) as _])
}

fn quick() -> Config {
    Config {
        poll_interval: Duration::from_millis(1),
        poll_longest_pause: Duration::from_millis(4),
        poll_timeout: Duration::from_millis(50),
        ..Config::default()
    }
}

/// Polls once, and again only if there is more at once.
fn lazy() -> Config {
    Config {
        poll_interval: Duration::from_secs(600),
        ..Config::default()
    }
}

fn asked(cursors: &[Option<&str>]) -> Vec<Option<String>> {
    cursors.iter().map(|at| at.map(str::to_owned)).collect()
}

#[tokio::test]
async fn while_a_vendor_has_more_it_is_asked_again_at_once() {
    let house = House::open().await;
    let process = house.process().await;
    let vendor = Scripted::new("main");
    vendor.reports(&["1", "2", "3", "4", "5"]);
    process.poll(&vendors(&vendor), lazy());
    assert_eq!(house.report_ids(5).await, ["1", "2", "3", "4", "5"]);
    assert_eq!(vendor.asked(), asked(&[None, Some("2"), Some("4")]));
    assert_eq!(house.cursor(SOURCE).await.unwrap().as_deref(), Some("5"));
}

#[tokio::test]
async fn after_a_restart_polling_goes_on_from_the_stored_cursor() {
    let house = House::open().await;
    let vendor = Scripted::new("main");
    vendor.reports(&["1", "2"]);
    let first = house.process().await;
    let polling = first.poll(&vendors(&vendor), lazy());
    assert_eq!(house.report_ids(2).await, ["1", "2"]);
    first.stop.cancel();
    polling.await.unwrap();
    first.node.instance.leave().await;

    vendor.reports(&["3"]);
    let second = house.process().await;
    second.poll(&vendors(&vendor), lazy());
    assert_eq!(house.report_ids(1).await, ["3"]);
    assert_eq!(vendor.asked(), asked(&[None, Some("2")]));
}

#[tokio::test]
async fn a_process_that_ends_while_the_vendor_answers_moves_nothing() {
    let house = House::open().await;
    let vendor = Scripted::new("main");
    vendor.reports(&["1"]);
    vendor.set(Temper::Hangs);
    let first = house.process().await;
    let polling = first.poll(&vendors(&vendor), lazy());
    until("the vendor is asked", async || vendor.polls() == 1).await;
    polling.abort();
    first.node.instance.leave().await;
    assert_eq!(house.cursor(SOURCE).await.unwrap(), None);

    vendor.set(Temper::Answers);
    let second = house.process().await;
    second.poll(&vendors(&vendor), lazy());
    assert_eq!(house.report_ids(1).await, ["1"]);
    assert_eq!(vendor.asked(), asked(&[None, None]));
}

#[tokio::test]
async fn the_cursor_stays_when_the_reports_cannot_be_kept() {
    let house = House::open().await;
    let process = house.process().await;
    let vendor = Scripted::new("main");
    vendor.reports(&["1"]);
    house.fill_the_outbox().await;
    process.poll(&vendors(&vendor), quick());
    until("it is tried again", async || vendor.polls() >= 3).await;
    assert!(vendor.asked().iter().all(Option::is_none));
    assert_eq!(house.cursor(SOURCE).await.unwrap(), None);
    house.mend_the_outbox().await;
    assert_eq!(house.report_ids(1).await, ["1"]);
    until("it goes on from there", async || {
        vendor.asked().last() == Some(&Some("1".to_owned()))
    })
    .await;
    assert_eq!(house.frames().await, 0);
}

#[tokio::test]
async fn the_reports_are_not_kept_when_the_cursor_cannot_move() {
    let house = House::open().await;
    let process = house.process().await;
    let vendor = Scripted::new("main");
    vendor.reports(&["1"]);
    house
        .execute(
            "CREATE TRIGGER stuck BEFORE UPDATE ON poll_cursors \
             WHEN NEW.cursor IS NOT OLD.cursor BEGIN SELECT RAISE(ABORT, 'stuck'); END",
        )
        .await;
    process.poll(&vendors(&vendor), quick());
    until("it is tried again", async || vendor.polls() >= 3).await;
    assert_eq!((house.outbox().await, house.frames().await), (0, 0));
    house.execute("DROP TRIGGER stuck").await;
    assert_eq!(house.report_ids(1).await, ["1"]);
}

#[tokio::test]
async fn a_poll_that_brings_nothing_writes_nothing() {
    let house = House::open().await;
    let process = house.process().await;
    let vendor = Scripted::new("main");
    vendor.reports(&["1"]);
    process.poll(&vendors(&vendor), quick());
    until("the report is behind it", async || vendor.polls() >= 3).await;
    let mut observer = house.connection().await;
    let mut version = async || -> i64 {
        sqlx::query_scalar("PRAGMA data_version")
            .fetch_one(&mut observer)
            .await
            .unwrap()
    };
    let before = version().await;
    let polls = vendor.polls();
    until("some polls later", async || vendor.polls() >= polls + 20).await;
    assert_eq!(version().await, before);
}

#[tokio::test]
async fn of_two_processes_one_polls_and_the_other_takes_over_when_it_leaves() {
    let house = House::open().await;
    let lease = LeaseConfig::default();
    let relay = RelayConfig::default();
    let processes = [
        house.process_with(lease, relay).await,
        house.process_with(lease, relay).await,
    ];
    let seen_by = [Scripted::new("main"), Scripted::new("main")];
    for (process, vendor) in processes.iter().zip(&seen_by) {
        vendor.reports(&["1", "2", "3"]);
        process.live();
        process.poll(&vendors(vendor), quick());
    }
    let polls = || [seen_by[0].polls(), seen_by[1].polls()];
    until("polled many times", async || {
        polls().iter().any(|&polls| polls >= 20)
    })
    .await;
    let first = usize::from(polls()[1] > 0);
    let other = 1 - first;
    assert_eq!(seen_by[other].polls(), 0);
    assert_eq!(house.report_ids(3).await, ["1", "2", "3"]);

    processes[first].stop.cancel();
    processes[first].node.instance.leave().await;
    until("the other polls", async || seen_by[other].polls() > 0).await;
    assert_eq!(seen_by[other].asked()[0].as_deref(), Some("3"));
    assert_eq!(house.frames().await, 0);
}

#[tokio::test]
async fn whatever_goes_wrong_with_a_poll_it_is_polled_again() {
    let house = House::open().await;
    let process = house.process().await;
    let vendor = Scripted::new("main");
    process.poll(&vendors(&vendor), quick());
    for (id, temper) in [
        ("1", Temper::Fails),
        ("2", Temper::Panics),
        ("3", Temper::Hangs),
    ] {
        vendor.set(temper);
        let before = vendor.polls();
        until("it goes wrong repeatedly", async || {
            vendor.polls() >= before + 3
        })
        .await;
        vendor.reports(&[id]);
        vendor.set(Temper::Answers);
        assert_eq!(house.report_ids(1).await, [id]);
    }
}

#[tokio::test]
async fn one_vendor_that_hangs_does_not_stop_the_others() {
    let house = House::open().await;
    let process = house.process().await;
    let (hanging, well) = (Scripted::new("hanging"), Scripted::new("main"));
    hanging.set(Temper::Hangs);
    well.reports(&["1", "2", "3"]);
    let both = Vendors::new([Arc::clone(&hanging) as _, Arc::clone(&well) as _]);
    process.poll(&both, lazy());
    assert_eq!(house.report_ids(3).await, ["1", "2", "3"]);
}

#[tokio::test]
async fn a_process_that_must_act_as_dead_does_not_poll() {
    let house = House::open().await;
    let (dead, alive) = (house.process().await, house.process().await);
    dead.node.instance.leave().await;
    let (unseen, seen) = (Scripted::new("main"), Scripted::new("other"));
    dead.poll(&vendors(&unseen), quick());
    alive.poll(&vendors(&seen), quick());
    until("the other polls many times", async || seen.polls() >= 20).await;
    assert_eq!(unseen.polls(), 0);
}

#[tokio::test]
async fn without_a_vendor_to_poll_it_waits_for_the_shutdown() {
    let house = House::open().await;
    let process = house.process().await;
    let mut polling = process.poll(&Vendors::default(), quick());
    let ended = tokio::time::timeout(Duration::from_millis(20), &mut polling).await;
    assert!(ended.is_err());
    process.stop.cancel();
    polling.await.unwrap();
}
