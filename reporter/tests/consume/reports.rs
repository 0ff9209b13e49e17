use std::time::Duration;

use pabal_common::broker::{Broker as _, QueueName};
use pabal_common::domain::phase::Settled;
use pabal_common::domain::reason::Reason;
use pabal_common::domain::report::{Report, Verdict};
use pabal_common::domain::status::Status;
use pabal_common::ledger::DeadLetterKind;
use pabal_reporter::config::Config;

use crate::world::{World, account, until, vendor_id};

#[tokio::test]
async fn a_report_ends_its_message_once_however_often_it_comes() {
    let world = World::new().await;
    let id = world.sent("v1").await;
    let report = world.report("v1", Verdict::Delivered);
    let repeated = [report.clone(), report.clone()];
    world.publish(&repeated).await;
    world.publish(&[report]).await;
    let consumer = world.consume();
    until("every frame is taken", || queue_is_empty(&world)).await;
    world.stop();
    consumer.await.unwrap();
    assert_eq!(world.message(id).await.status, Status::Delivered);
    assert_eq!(world.day().await, [1, 1, 0, 0]);
    assert_eq!(world.webhooks().await, 1);
    world.books_agree().await;
    world.broker.flush().await;
    assert_eq!(world.frames(QueueName::Report).await.len(), 0);
}

#[tokio::test]
async fn a_final_report_before_the_answer_ends_the_message_and_the_answer_changes_nothing() {
    let world = World::new().await;
    let id = world.accept_one().await;
    let call = world.claim(id).await;
    let by_our_id = Report {
        message: Some(id),
        ..world.report("v1", Verdict::Delivered)
    };
    world.publish(&[by_our_id]).await;
    world.consume();
    until("the message ends", || ended(&world, id)).await;
    world
        .settle(id, call, Settled::Taken(Some(vendor_id("v1"))))
        .await;
    assert_eq!(world.message(id).await.status, Status::Delivered);
    assert_eq!(world.day().await, [1, 1, 0, 0]);
    world.books_agree().await;
}

#[tokio::test]
async fn reports_in_the_wrong_order_do_not_move_a_message_back() {
    let world = World::new().await;
    let id = world.sent("v1").await;
    let failed = Verdict::Failed(Reason::Spam);
    let reports = [
        world.report("v1", failed),
        world.report("v1", Verdict::Taken),
        world.report("v1", Verdict::Delivered),
    ];
    world.publish(&reports).await;
    world.consume();
    until("the message ends", || ended(&world, id)).await;
    let message = world.message(id).await;
    assert_eq!(message.status, Status::Failed);
    assert_eq!(message.reason, Some(Reason::Spam));
    assert_eq!(world.day().await, [1, 0, 1, 0]);
    assert_eq!(world.webhooks().await, 1);
    world.books_agree().await;
}

#[tokio::test]
async fn many_frames_are_applied_and_counted_once_each() {
    let world = World::new().await;
    let ids = world.accept(300).await;
    let mut reports = Vec::new();
    for (place, id) in ids.iter().enumerate() {
        let call = world.claim(*id).await;
        let vendor = vendor_id(&format!("v{place}"));
        world.settle(*id, call, Settled::Taken(Some(vendor))).await;
        reports.push(world.report(&format!("v{place}"), Verdict::Delivered));
    }
    for some in reports.chunks(7) {
        world.publish(some).await;
        world.publish(some).await;
    }
    world.consume();
    until("every message ends", || async {
        world.day().await == [300, 300, 0, 0]
    })
    .await;
    until("every frame is taken", || queue_is_empty(&world)).await;
    assert_eq!(world.webhooks().await, 300);
    world.books_agree().await;
}

#[tokio::test]
async fn a_report_for_no_message_is_parked_and_its_frame_is_done() {
    let world = World::new().await;
    let id = world.sent("v1").await;
    let reports = [
        world.report("nobody", Verdict::Delivered),
        world.report("v1", Verdict::Delivered),
    ];
    world.publish(&reports).await;
    let consumer = world.consume();
    until("the known message ends", || ended(&world, id)).await;
    until("the frame is done", || queue_is_empty(&world)).await;
    world.stop();
    consumer.await.unwrap();
    assert_eq!(world.parked_reports().await, 1);
    assert_eq!(world.frames(QueueName::Report).await.len(), 0);
    assert_eq!(world.day().await, [1, 1, 0, 0]);
}

#[tokio::test]
async fn a_frame_that_cannot_be_read_becomes_a_dead_letter() {
    let world = World::new().await;
    let id = world.sent("v1").await;
    world
        .publish_bytes(QueueName::Report, b"\xff\xff\xff")
        .await;
    world
        .publish(&[world.report("v1", Verdict::Delivered)])
        .await;
    world.consume();
    until("the frame behind it is taken", || ended(&world, id)).await;
    let patrol = world.patrol();
    until("the frame is collected", || async {
        patrol.collect_frames().await == 1
    })
    .await;
    let letters = world.dead_letters().await;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].letter.kind, DeadLetterKind::Frame);
    assert_eq!(letters[0].letter.subject, "report.queue");
    assert_eq!(letters[0].letter.payload, b"\xff\xff\xff");
    assert_eq!(patrol.collect_frames().await, 0);
}

#[tokio::test]
async fn a_failure_of_an_earlier_call_is_kept_as_an_event_only() {
    let world = World::new().await;
    let id = world.accept_one().await;
    let first = world.claim(id).await;
    world
        .settle(id, first, Settled::NotTaken { charged: false })
        .await;
    let stray = Report {
        account: account(),
        message: Some(id),
        ..world.report("v1", Verdict::Failed(Reason::Spam))
    };
    world.publish(&[stray]).await;
    world.consume();
    until("it is noted", || async {
        world.events(id).await.contains(&"STRAY_REPORT".to_owned())
    })
    .await;
    assert!(!world.message(id).await.status.is_final());
    assert_eq!(world.day().await, [0; 4]);
}

#[tokio::test]
async fn reports_wait_while_the_ledger_is_away_and_none_is_lost() {
    let world = World::new().await;
    let ids = [world.sent("v1").await, world.sent("v2").await];
    world
        .meddle("ALTER TABLE partner_daily_stats RENAME TO away")
        .await;
    world
        .publish(&[world.report("v1", Verdict::Delivered)])
        .await;
    world
        .publish(&[world.report("v2", Verdict::Delivered)])
        .await;
    world.consume();
    until("both frames are in hand", || queue_is_empty(&world)).await;
    assert!(!ended(&world, ids[0]).await);
    world
        .meddle("ALTER TABLE away RENAME TO partner_daily_stats")
        .await;
    for id in ids {
        until("the message ends", || ended(&world, id)).await;
    }
    assert_eq!(world.day().await, [2, 2, 0, 0]);
    assert_eq!(world.dead_letters().await, []);
    world.books_agree().await;
}

#[tokio::test]
async fn frames_in_hand_go_back_when_the_consumer_stops_while_the_ledger_is_away() {
    let world = World::new().await;
    let id = world.sent("v1").await;
    world
        .meddle("ALTER TABLE partner_daily_stats RENAME TO away")
        .await;
    world
        .publish(&[world.report("v1", Verdict::Delivered)])
        .await;
    let consumer = world.consume();
    until("the frame is in hand", || queue_is_empty(&world)).await;
    world.stop();
    consumer.await.unwrap();
    assert!(!ended(&world, id).await);
    assert_eq!(world.frames(QueueName::Report).await.len(), 1);
}

#[tokio::test]
async fn a_report_the_ledger_refuses_is_given_up_alone() {
    let world = World::new().await;
    let bad = world.sent("bad").await;
    let good = world.sent("good").await;
    world
        .meddle("UPDATE messages SET client_msg_id = '' WHERE vendor_message_id = 'bad'")
        .await;
    let reports = [
        world.report("bad", Verdict::Delivered),
        world.report("good", Verdict::Delivered),
    ];
    world.publish(&reports).await;
    let consumer = world.consume();
    until("the good one ends", || ended(&world, good)).await;
    until("the bad one is given up", || async {
        world.dead_letters().await.len() == 1
    })
    .await;
    world.stop();
    consumer.await.unwrap();
    let letters = world.dead_letters().await;
    assert_eq!(letters[0].letter.subject, "carrier/main bad");
    assert_eq!(world.day().await, [1, 1, 0, 0]);
    world.broker.flush().await;
    assert_eq!(world.frames(QueueName::Report).await.len(), 0);
    world
        .meddle("UPDATE messages SET client_msg_id = 'c' WHERE vendor_message_id = 'bad'")
        .await;
    assert!(!ended(&world, bad).await);
}

#[tokio::test]
async fn a_process_that_acts_as_dead_applies_nothing() {
    let lease = Duration::from_millis(1_500);
    let world = World::with_lease(Config::default(), lease).await;
    let id = world.sent("v1").await;
    world
        .publish(&[world.report("v1", Verdict::Delivered)])
        .await;
    until("its lease is too old", || async {
        !world.node.instance.alive()
    })
    .await;
    let consumer = world.consume();
    until("the frame is in hand", || queue_is_empty(&world)).await;
    world.stop();
    consumer.await.unwrap();
    assert!(!ended(&world, id).await);
    assert_eq!(world.frames(QueueName::Report).await.len(), 1);
}

#[tokio::test]
async fn a_stopped_consumer_leaves_frames_in_their_queue() {
    let world = World::new().await;
    let consumer = world.consume();
    world.stop();
    consumer.await.unwrap();
    world
        .publish(&[world.report("v1", Verdict::Delivered)])
        .await;
    assert_eq!(world.frames(QueueName::Report).await.len(), 1);
}

async fn ended(world: &World, id: pabal_common::domain::id::MessageId) -> bool {
    world.message(id).await.status.is_final()
}

/// No frame is ready.
async fn queue_is_empty(world: &World) -> bool {
    world.broker.ready(QueueName::Report).await.unwrap() == 0
}
