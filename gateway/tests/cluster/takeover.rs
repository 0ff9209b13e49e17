//! What a dead process owned is somebody else's after its lease, and nobody's twice.

use pabal_gateway::trial::endpoint::Mood;
use pabal_gateway::trial::proxy::{Flow, Proxy};

use crate::ground::Ground;
use crate::partner::{accept, sms};
use crate::wait::until;
use crate::world::{Tempo, World};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_receiver_had_in_its_outbox_is_published_by_another_process() {
    let world = World::new(Tempo::Quick).await;
    let proxy = Proxy::to(Ground::address(&world.ground.broker))
        .await
        .unwrap();
    let way = Ground::by(&world.ground.broker, proxy.address());
    let mut receiver = world.start_with("receiver", 0, &[format!("broker.url={way}")]);
    let rest = [("sender", 0), ("reporter", 0), ("webhook-receiver", 0)];
    let _rest = world.run(&rest).await;
    receiver.ready().await;
    let partner = world.partner().await;
    proxy.set(Flow::Stalled);
    let messages: Vec<_> = (0..40).map(|n| sms(&format!("left-{n}"), 0)).collect();
    let ids = accept(&world, &partner, &receiver.base, &messages).await;
    assert!(world.ground.number("SELECT count(*) FROM outbox").await > 0);
    assert_eq!(world.site.simulator.taken_count(), 0);
    receiver.kill();
    until("the partner was told of every message", async || {
        (partner.endpoint.taken() == ids.len()).then_some(())
    })
    .await;
    assert_eq!(world.site.simulator.taken_count(), ids.len());
    assert_eq!(world.site.simulator.duplicates(), []);
    until("the outbox is empty", async || {
        let rows = world.ground.number("SELECT count(*) FROM outbox").await;
        (rows == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_calls_of_a_killed_sender_become_unknown_once_and_nobody_makes_them_again() {
    let mut world = World::new(Tempo::Quick).await;
    world.reporters(2);
    let rest = [
        ("receiver", 0),
        ("reporter", 0),
        ("reporter", 1),
        ("webhook-receiver", 0),
        ("sender", 0),
    ];
    let mut processes = world.run(&rest).await;
    let mut victim = processes.pop().unwrap();
    let partner = world.partner().await;
    // Taken, and answered when nobody listens any more.
    let messages: Vec<_> = (0..30).map(|n| sms(&format!("lost-{n}"), 81)).collect();
    let ids = accept(&world, &partner, &processes[0].base, &messages).await;
    until("every call is under way", async || {
        (world.site.simulator.taken_count() == ids.len()).then_some(())
    })
    .await;
    let claimed = "SELECT count(*) FROM messages WHERE phase = 3";
    assert_eq!(world.ground.number(claimed).await, 30);
    victim.kill();
    let _other = world.run(&[("sender", 1)]).await;
    until("nobody claims the calls", async || {
        (world.ground.number(claimed).await == 0).then_some(())
    })
    .await;
    let takeovers = "SELECT count(*) FROM message_events WHERE note LIKE '%its sender is gone%'";
    assert_eq!(world.ground.number(takeovers).await, 30);
    until("the partner was told of every message", async || {
        (partner.endpoint.taken() == ids.len()).then_some(())
    })
    .await;
    let told = partner.endpoint.memory();
    assert!(told.faults.is_empty(), "{:?}", told.faults);
    for id in &ids {
        let told = &told.results[id];
        assert_eq!(told.status, "EXPIRED");
        assert_eq!(told.reason.as_deref(), Some("UNKNOWN_OUTCOME"));
    }
    assert_eq!(world.ground.number(takeovers).await, 30);
    assert_eq!(world.site.simulator.taken_count(), ids.len());
    let books = world.pabal(&["reconcile"]);
    assert!(books.status.success(), "{books:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_webhooks_of_a_killed_reporter_are_delivered_by_another_under_their_ids() {
    let world = World::new(Tempo::Quick).await;
    let rest = [
        ("receiver", 0),
        ("sender", 0),
        ("webhook-receiver", 0),
        ("reporter", 0),
    ];
    let mut processes = world.run(&rest).await;
    let mut victim = processes.pop().unwrap();
    let partner = world.partner().await;
    partner.endpoint.set(Mood::Away);
    let messages: Vec<_> = (0..60).map(|n| sms(&format!("told-{n}"), 0)).collect();
    let ids = accept(&world, &partner, &processes[0].base, &messages).await;
    until("every message has ended", async || {
        let open = "SELECT count(*) FROM messages WHERE final_at IS NULL";
        (world.ground.number(open).await == 0).then_some(())
    })
    .await;
    let rows = "SELECT webhook_id FROM webhooks ORDER BY webhook_id";
    let owed = world.ground.words(rows).await;
    victim.kill();
    assert!(!owed.is_empty());
    let _other = world.run(&[("reporter", 1)]).await;
    partner.endpoint.set(Mood::Well);
    until("the partner was told of every message", async || {
        (partner.endpoint.taken() == ids.len()).then_some(())
    })
    .await;
    let memory = partner.endpoint.memory();
    assert!(memory.faults.is_empty(), "{:?}", memory.faults);
    assert!(
        ids.iter()
            .all(|id| memory.results[id].status == "DELIVERED")
    );
    let mut told: Vec<_> = memory.results.values().map(|told| &told.webhook).collect();
    told.sort_unstable();
    told.dedup();
    assert_eq!(told, owed.iter().collect::<Vec<_>>());
    until("no webhook is owed", async || {
        world.ground.words(rows).await.is_empty().then_some(())
    })
    .await;
}
