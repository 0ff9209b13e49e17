//! A process that stands still longer than its lease and wakes.

use pabal_gateway::trial::load::{Load, Manner, Mix};

use crate::wait::{PATIENCE, until};
use crate::world::{Tempo, World};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sender_that_wakes_after_its_lease_sends_nothing_that_was_taken_from_it() {
    let mut world = World::new(Tempo::Quick).await;
    world.reporters(2);
    let mut victim = world.run(&[("sender", 0)]).await.remove(0);
    let me = sender(&world).await;
    let rest = [
        ("receiver", 0),
        ("sender", 1),
        ("reporter", 0),
        ("reporter", 1),
        ("webhook-receiver", 0),
    ];
    let _rest = world.run(&rest).await;
    let partner = world.partner().await;
    let manner = Manner {
        mix: Mix::SLOW,
        rate: 120.0,
        patience: PATIENCE,
    };
    let load = Load::start(&world.site, &partner, "f", manner, fastrand::Rng::new());
    let claims = format!("SELECT count(*) FROM messages WHERE phase = 3 AND owner = '{me}'");

    // Its place in the ledger is still there when it wakes: it goes on.
    until("it has calls under way", async || {
        (world.ground.number(&claims).await > 5).then_some(())
    })
    .await;
    victim.freeze();
    until("its calls were taken from it", async || {
        (world.ground.number(&claims).await == 0).then_some(())
    })
    .await;
    assert!(load.accepts(50).await);
    victim.thaw();
    until("it has calls under way again", async || {
        assert_eq!(victim.end(), None, "it goes on\n{}", victim.said());
        (world.ground.number(&claims).await > 5).then_some(())
    })
    .await;

    // Its place is gone: it was taken for dead, and ends. Whoever joins clears away what lapsed
    // long ago.
    victim.freeze();
    let long_ago = format!("UPDATE instances SET lease_until = 1 WHERE instance_id = '{me}'");
    world.ground.run(&[&long_ago]).await;
    let _newcomer = world.run(&[("sender", 2)]).await;
    let place = format!("SELECT count(*) FROM instances WHERE instance_id = '{me}'");
    assert_eq!(world.ground.number(&place).await, 0);
    victim.thaw();
    assert_eq!(victim.ended().await, Some(1), "{}", victim.said());
    assert!(load.accepts(50).await);
    let outbox = load.finish().await;
    let verdict = world.close(&partner, &outbox).await;
    assert_eq!(verdict.outcome.doubled, 0);
    let takeovers = "SELECT count(*) FROM message_events WHERE kind = 'TAKEN_OVER'";
    assert!(world.ground.number(takeovers).await > 0);
}

/// The one sender in the ledger.
async fn sender(world: &World) -> String {
    let senders = "SELECT instance_id FROM instances WHERE role = 'sender'";
    world.ground.words(senders).await.remove(0)
}
