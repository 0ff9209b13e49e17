use std::time::Duration;

use pabal_common::broker::{Broker as _, QueueName, SendFrame};
use pabal_common::clock::Clock as _;
use pabal_common::domain::kind::{Lane, MessageType};
use pabal_common::domain::phase::{Phase, Settled};
use pabal_common::domain::reason::Reason;
use pabal_common::domain::report::{Report, Verdict};
use pabal_common::domain::status::Status;
use pabal_common::ledger::Instances as _;
use pabal_reporter::config::{Askable, Config};
use pabal_reporter::patrol::Found;

use crate::world::{World, account, partner};

const SMS: QueueName = QueueName::of(MessageType::Sms, Lane::Ordinary);
const MARGIN: Duration = Duration::from_secs(120);
const MOMENT: Duration = Duration::from_millis(1);

fn looked(walked: u32) -> Found {
    Found {
        walked,
        ..Found::default()
    }
}

#[tokio::test]
async fn a_lost_frame_is_queued_again_after_the_margin_and_once() {
    let world = World::new().await;
    let ids = world.accept(3).await;
    world.clock.advance(MARGIN);
    let mut patrol = world.patrol();
    assert_eq!(patrol.look().await.unwrap(), looked(3));
    world.clock.advance(MOMENT);
    assert_eq!(patrol.look().await.unwrap().queued_again, 3);
    assert_eq!(patrol.look().await.unwrap(), looked(3), "not a second time");
    let frames = world.frames(SMS).await;
    assert_eq!(frames.len(), 1);
    let frame = SendFrame::decode(frames[0].body()).unwrap();
    let members: Vec<_> = frame.members.iter().map(|member| member.id).collect();
    assert_eq!(members, ids);
}

#[tokio::test]
async fn a_message_whose_frame_is_in_its_queue_is_left_alone() {
    let world = World::new().await;
    let id = world.accept_one().await;
    let queued_at = world.message(id).await.queued_at;
    let member = pabal_common::broker::Member { id, attempt: 0 };
    let version = world.node.instance.frame_version();
    let frames = SendFrame::publications(SMS, MessageType::Sms, queued_at, &[member], version);
    world.broker.publish(frames).await.unwrap();
    world.clock.advance(MARGIN * 10);
    assert_eq!(world.patrol().look().await.unwrap(), looked(1));
}

#[tokio::test]
async fn a_message_that_others_of_its_queue_overtook_is_queued_again() {
    let world = World::new().await;
    let lost = world.accept_one().await;
    let member = pabal_common::broker::Member {
        id: lost,
        attempt: 0,
    };
    world.clock.advance(MARGIN * 2);
    let later = world.clock.now();
    // Frames of others are ready, and one queued after the margin was taken.
    let version = world.node.instance.frame_version();
    let frames = SendFrame::publications(SMS, MessageType::Sms, later, &[member], version);
    world.broker.publish(frames).await.unwrap();
    let taken = [pabal_common::ledger::QueueTaken {
        queue: SMS,
        queued_at: later,
    }];
    let lease = Duration::from_secs(10);
    world
        .ledger
        .heartbeat(world.sender, lease, &taken, &[])
        .await
        .unwrap();
    assert_eq!(world.patrol().look().await.unwrap().queued_again, 1);
}

#[tokio::test]
async fn a_call_of_a_dead_sender_becomes_unknown_and_its_vendor_is_asked() {
    let config = Config {
        askable: Askable::by(|asked| *asked == account()),
        ..Config::default()
    };
    let world = World::with(config).await;
    let id = world.accept_one().await;
    world.claim(id).await;
    let mut patrol = world.patrol();
    assert_eq!(
        patrol.look().await.unwrap(),
        looked(1),
        "its lease still holds"
    );
    world.clock.advance(Duration::from_secs(10));
    assert_eq!(patrol.look().await.unwrap().taken_over, 1);
    assert_eq!(world.message(id).await.phase, Phase::Unknown);
    assert_eq!(world.events(id).await, ["TAKEN_OVER"]);
    let now = world.clock.now();
    let asks = world
        .node
        .ledger
        .take_asks(now, now.plus(MARGIN), 10)
        .await
        .unwrap();
    assert_eq!(asks.len(), 1);
    assert_eq!(asks[0].id, id);
}

#[tokio::test]
async fn a_claim_older_than_any_call_becomes_unknown_though_its_sender_lives() {
    let world = World::new().await;
    let id = world.accept_one().await;
    world.claim(id).await;
    world.clock.advance(Duration::from_secs(120));
    let lease = Duration::from_secs(10);
    world
        .ledger
        .heartbeat(world.sender, lease, &[], &[])
        .await
        .unwrap();
    let mut patrol = world.patrol();
    assert_eq!(patrol.look().await.unwrap(), looked(1));
    world.clock.advance(MOMENT);
    assert_eq!(patrol.look().await.unwrap().taken_over, 1);
    assert_eq!(world.message(id).await.phase, Phase::Unknown);
}

#[tokio::test]
async fn a_message_that_was_never_sent_expires_by_its_validity() {
    let world = World::new().await;
    let id = world.accept_one().await;
    world.clock.advance(Duration::from_secs(24 * 3_600));
    assert_eq!(world.patrol().look().await.unwrap().expired, 1);
    let message = world.message(id).await;
    assert_eq!(message.status, Status::Expired);
    assert_eq!(message.reason, Some(Reason::ValidityPassed));
    assert_eq!(world.day().await, [1, 0, 1, 1]);
    assert_eq!(world.webhooks().await, 1);
    world.books_agree().await;
}

#[tokio::test]
async fn a_message_without_a_report_expires_by_the_carriers_deadline() {
    let world = World::new().await;
    let id = world.sent("v1").await;
    let mut patrol = world.patrol();
    world.clock.advance(Duration::from_secs(25 * 3_600 - 1));
    assert_eq!(patrol.look().await.unwrap(), looked(1));
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(patrol.look().await.unwrap().expired, 1);
    let message = world.message(id).await;
    assert_eq!(message.status, Status::Expired);
    assert_eq!(message.reason, Some(Reason::NoReport));
    assert_eq!(patrol.look().await.unwrap(), looked(0));
}

#[tokio::test]
async fn a_recorded_final_answer_wins_over_the_deadline() {
    let world = World::new().await;
    let id = world.accept_one().await;
    let call = world.claim(id).await;
    world
        .settle(id, call, Settled::Final(Verdict::Delivered, None))
        .await;
    world.clock.advance(Duration::from_secs(26 * 3_600));
    assert_eq!(world.patrol().look().await.unwrap().expired, 1);
    assert_eq!(world.message(id).await.status, Status::Delivered);
    assert_eq!(world.day().await, [1, 1, 0, 0]);
    world.books_agree().await;
}

#[tokio::test]
async fn a_parked_report_wins_over_the_deadline() {
    let world = World::new().await;
    let id = world.accept_one().await;
    let call = world.claim(id).await;
    world.settle(id, call, Settled::Lost).await;
    let now = world.clock.now();
    let report = Report {
        message: Some(id),
        ..world.report("v1", Verdict::Failed(Reason::Spam))
    };
    let never = now.plus(Duration::from_secs(100 * 3_600));
    world.node.ledger.park(&[report], now, never).await.unwrap();
    world.clock.advance(Duration::from_secs(26 * 3_600));
    assert_eq!(world.patrol().look().await.unwrap().expired, 1);
    let message = world.message(id).await;
    assert_eq!(message.status, Status::Failed);
    assert_eq!(message.reason, Some(Reason::Spam));
    assert_eq!(world.parked_reports().await, 0);
}

#[tokio::test]
async fn a_report_after_expiry_is_an_event_and_counts_nothing() {
    let world = World::new().await;
    let id = world.sent("v1").await;
    world.clock.advance(Duration::from_secs(25 * 3_600));
    assert_eq!(world.patrol().look().await.unwrap().expired, 1);
    world
        .publish(&[world.report("v1", Verdict::Delivered)])
        .await;
    world.consume();
    crate::world::until("the report is noted", || async {
        world.events(id).await.contains(&"STRAY_REPORT".to_owned())
    })
    .await;
    assert_eq!(world.message(id).await.status, Status::Expired);
    assert_eq!(world.day().await, [1, 0, 1, 1]);
    world.books_agree().await;
}

#[tokio::test]
async fn the_lost_report_of_a_recorded_answer_is_published_again() {
    let world = World::new().await;
    let id = world.accept_one().await;
    let call = world.claim(id).await;
    let refused = Verdict::Failed(Reason::Spam);
    world.settle(id, call, Settled::Final(refused, None)).await;
    world.clock.advance(MARGIN);
    let mut patrol = world.patrol();
    assert_eq!(patrol.look().await.unwrap(), looked(1));
    world.clock.advance(MOMENT);
    assert_eq!(patrol.look().await.unwrap().reported_again, 1);
    assert_eq!(patrol.look().await.unwrap(), looked(1), "not a second time");
    world.consume();
    crate::world::until("the message ends", || async {
        world.message(id).await.status == Status::Failed
    })
    .await;
    assert_eq!(world.message(id).await.reason, Some(Reason::Spam));
    world.books_agree().await;
}

#[tokio::test]
async fn a_waiting_message_with_its_delay_is_left_to_it() {
    let world = World::new().await;
    let id = world.accept_one().await;
    let call = world.claim(id).await;
    world
        .settle(id, call, Settled::NotTaken { charged: true })
        .await;
    world.clock.advance(MARGIN * 2);
    assert_eq!(world.patrol().look().await.unwrap(), looked(1));
    assert_eq!(world.node.ledger.delays_size().await.unwrap(), 1);
}

#[tokio::test]
async fn a_waiting_message_that_nothing_would_wake_gets_a_delay_again() {
    let world = World::new().await;
    let id = world.accept_one().await;
    let call = world.claim(id).await;
    world
        .settle(id, call, Settled::NotTaken { charged: true })
        .await;
    world.meddle("DELETE FROM delays").await;
    let mut patrol = world.patrol();
    assert_eq!(patrol.look().await.unwrap(), looked(1));
    world.clock.advance(MARGIN + MOMENT);
    assert_eq!(patrol.look().await.unwrap().delayed_again, 1);
    assert_eq!(patrol.look().await.unwrap(), looked(1), "not a second time");
    assert_eq!(world.node.ledger.delays_size().await.unwrap(), 1);
    world.books_agree().await;
}

#[tokio::test]
async fn a_walk_goes_on_where_it_was_and_starts_over_at_the_end() {
    let config = Config {
        patrol_rows: 10,
        ..Config::default()
    };
    let world = World::with(config).await;
    world.accept(25).await;
    world.clock.advance(MARGIN + MOMENT);
    let mut patrol = world.patrol();
    let mut looks = Vec::new();
    for _ in 0..4 {
        let found = patrol.look().await.unwrap();
        looks.push((found.walked, found.queued_again));
    }
    // The frames of the first look are in the queue already, but nothing was taken from it.
    assert_eq!(looks, [(10, 10), (10, 0), (5, 0), (10, 0)]);
}

#[tokio::test]
async fn several_reporters_share_what_one_alone_may_read() {
    let config = Config {
        patrol_rows: 10,
        ..Config::default()
    };
    let world = World::with(config).await;
    world.accept(25).await;
    let lease = Duration::from_secs(3_600);
    world.ledger.join("reporter", lease).await.unwrap();
    let instance = &world.node.instance;
    let heartbeats = tokio::spawn(instance.clone().keep(world.shutdown.clone()));
    while instance.live_with_role("reporter") < 2 {
        tokio::time::sleep(MOMENT).await;
    }
    heartbeats.abort();
    assert_eq!(world.patrol().look().await.unwrap(), looked(5));
}

#[tokio::test]
async fn webhooks_of_a_dead_reporter_are_taken_over() {
    let world = World::new().await;
    world.sent("v1").await;
    let reports = [world.report("v1", Verdict::Delivered)];
    let webhooks = [world.node.instance.ids().webhook()];
    let (ledger, now) = (&world.node.ledger, world.clock.now());
    let applied = ledger.apply(world.sender, &reports, &webhooks, now).await;
    assert_eq!(applied.unwrap().webhooks, 1);
    let patrol = world.patrol();
    assert_eq!(patrol.adopt_webhooks().await, 0, "its lease still holds");
    world.clock.advance(Duration::from_secs(10));
    assert_eq!(patrol.adopt_webhooks().await, 1);
    let me = world.node.instance.id();
    let due = ledger.due_webhooks(me, &partner(), now, &[], 10).await;
    assert_eq!(due.unwrap().len(), 1);
}
