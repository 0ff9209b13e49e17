use std::time::Duration;

use pabal_common::domain::report::Verdict;
use pabal_common::ledger::Queries as _;
use pabal_reporter::retention::Retention;

use crate::world::World;

const DAY: Duration = Duration::from_secs(86_400);

#[tokio::test]
async fn ended_messages_go_after_the_retention_and_the_day_totals_stay() {
    let world = World::new().await;
    let ended = world.sent("v1").await;
    let open = world.sent("v2").await;
    let report = world.report("v1", Verdict::Delivered);
    let ids = [world.node.instance.ids().webhook()];
    let (me, now) = (world.node.instance.id(), report.occurred_at);
    let ledger = &world.node.ledger;
    ledger.apply(me, &[report], &ids, now).await.unwrap();
    let retention = Retention::new(&world.node, &world.config);
    world.clock.advance(DAY * 90);
    assert_eq!(retention.round().await.unwrap(), 0);
    world.clock.advance(Duration::from_millis(1));
    assert_eq!(retention.round().await.unwrap(), 1);
    assert_eq!(world.ledger.message(ended).await.unwrap(), None);
    assert!(
        world.ledger.message(open).await.unwrap().is_some(),
        "it has not ended"
    );
    assert_eq!(world.webhooks().await, 0, "what nobody took goes too");
    assert_eq!(world.day().await, [1, 1, 0, 0]);
    world.books_agree().await;
}

#[tokio::test]
async fn a_round_goes_on_until_nothing_old_is_left() {
    let world = World::new().await;
    world.accept(1_100).await;
    world.clock.advance(DAY * 2);
    let mut expired = 0;
    let mut patrol = world.patrol();
    while expired < 1_100 {
        let found = patrol.look().await.unwrap();
        assert!(found.expired > 0);
        expired += found.expired;
    }
    world.clock.advance(DAY * 90);
    let retention = Retention::new(&world.node, &world.config);
    assert_eq!(retention.round().await.unwrap(), 1_100);
    assert_eq!(world.day().await, [1_100, 0, 1_100, 1_100]);
    world.books_agree().await;
}
