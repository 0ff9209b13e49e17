use std::time::Duration;

use pabal_common::broker::{QueueName, ReportFrame};
use pabal_common::domain::phase::Settled;
use pabal_common::domain::report::Verdict;
use pabal_common::domain::status::Status;
use pabal_common::ledger::{DeadLetterFilter, DeadLetterKind};
use pabal_reporter::parked::Matched;

use crate::world::{World, vendor_id};

const MISSED: Matched = Matched {
    matched: 0,
    missed: 1,
    given_up: 0,
};

#[tokio::test]
async fn a_parked_report_is_matched_when_the_answer_has_come() {
    let world = World::new().await;
    let id = world.accept_one().await;
    let call = world.claim(id).await;
    park(&world, "v1").await;
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(world.parked().round().await.unwrap(), MISSED);
    world
        .settle(id, call, Settled::Taken(Some(vendor_id("v1"))))
        .await;
    world.clock.advance(Duration::from_secs(2));
    let matched = world.parked().round().await.unwrap();
    assert_eq!(matched.matched, 1);
    assert_eq!(world.message(id).await.status, Status::Delivered);
    assert_eq!(world.parked_reports().await, 0);
    world.books_agree().await;
}

#[tokio::test]
async fn a_parked_report_waits_twice_as_long_after_each_miss() {
    let world = World::new().await;
    park(&world, "nobody").await;
    for wait in [1, 2, 4, 8] {
        world.clock.advance(Duration::from_millis(wait * 1_000 - 1));
        assert_eq!(world.parked().round().await.unwrap(), Matched::default());
        world.clock.advance(Duration::from_millis(1));
        assert_eq!(world.parked().round().await.unwrap(), MISSED);
    }
}

#[tokio::test]
async fn a_report_nobody_matches_until_the_carriers_deadline_is_a_dead_letter() {
    let world = World::new().await;
    let report = park(&world, "nobody").await;
    world.clock.advance(Duration::from_secs(80 * 3_600 - 1));
    assert_eq!(world.parked().round().await.unwrap(), MISSED);
    world.clock.advance(Duration::from_secs(600));
    assert_eq!(world.parked().round().await.unwrap().given_up, 1);
    assert_eq!(world.parked_reports().await, 0);
    let letters = world.dead_letters().await;
    assert_eq!(letters.len(), 1);
    let letter = &letters[0].letter;
    assert_eq!(letter.kind, DeadLetterKind::Report);
    assert_eq!(letter.subject, "carrier/main nobody");
    assert_eq!(letter.attempts, 2);
    let kept = ReportFrame::decode(&letter.payload.clone().into()).unwrap();
    assert_eq!(kept.reports, [report]);
}

#[tokio::test]
async fn a_dead_report_that_is_replayed_goes_through_the_queue_again() {
    let world = World::new().await;
    park(&world, "v1").await;
    world.clock.advance(Duration::from_secs(81 * 3_600));
    assert_eq!(world.parked().round().await.unwrap().given_up, 1);
    let instance = &world.node.instance;
    let filter = DeadLetterFilter {
        limit: 10,
        ..DeadLetterFilter::default()
    };
    let now = pabal_common::clock::Clock::now(world.clock.as_ref());
    let replayed = world
        .node
        .ledger
        .replay(instance.id(), instance.ids().outbox(), &filter, now)
        .await;
    let (count, dispatch) = replayed.unwrap();
    assert_eq!(count, 1);
    assert!(world.node.relay.publish(dispatch.unwrap()).await);
    assert_eq!(world.frames(QueueName::Report).await.len(), 1);
}

/// Parks a DELIVERED report as the consumer does, due in a second.
async fn park(world: &World, vendor: &str) -> pabal_common::domain::report::Report {
    let report = world.report(vendor, Verdict::Delivered);
    let now = report.occurred_at;
    let due = now.plus(Duration::from_secs(1));
    let parked = world
        .node
        .ledger
        .park(std::slice::from_ref(&report), now, due);
    parked.await.unwrap();
    report
}
