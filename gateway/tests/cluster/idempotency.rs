//! One `clientMsgId`, many receivers: one message.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::join_all;
use pabal_gateway::trial::site::Partner;
use serde_json::Value;

use crate::partner::{Said, ask, sms};
use crate::process::Process;
use crate::wait::until;
use crate::world::{Tempo, World};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_receivers_asked_at_once_accept_one_and_the_others_know_it() {
    let mut world = World::new(Tempo::Calm).await;
    world.receivers(3);
    let all = [("receiver", 0), ("receiver", 1), ("receiver", 2)];
    let _processes = world.run(&all).await;
    let partner = world.partner().await;
    let messages: Vec<_> = (0..150).map(|n| sms(&format!("once-{n}"), 0)).collect();

    let rounds = futures::stream::iter(&messages)
        .map(|message| ask_everywhere(&world, &partner, message))
        .buffered(8);
    let ids: Vec<String> = rounds
        .map(|said| {
            let accepted: Vec<_> = said.iter().filter(|one| one.is_accepted()).collect();
            assert_eq!(accepted.len(), 1, "{said:?}");
            let id = accepted[0].message();
            for other in said.iter().filter(|one| !one.is_accepted()) {
                assert!(other.is_known("SAME"), "{other:?}");
                assert_eq!(other.message(), id);
            }
            id
        })
        .collect()
        .await;
    let different: BTreeSet<_> = ids.iter().collect();
    assert_eq!(different.len(), messages.len());
    let count = "SELECT count(*) FROM messages";
    assert_eq!(world.ground.number(count).await, 150);

    until("accepted ids are remembered", async || {
        (world.ground.forget_keys() >= 150).then_some(())
    })
    .await;
    for (message, id) in messages.iter().zip(&ids) {
        for said in ask_everywhere(&world, &partner, message).await {
            assert!(said.is_known("SAME"), "{said:?}");
            assert_eq!(said.message(), *id);
        }
    }
    for (n, id) in ids.iter().enumerate() {
        let mut other = sms(&format!("once-{n}"), 0);
        other["text"] = "something else".into();
        for said in ask_everywhere(&world, &partner, &other).await {
            assert!(said.is_known("CONFLICT"), "{said:?}");
            assert_eq!(said.message(), *id);
        }
    }
    assert_eq!(world.ground.number(count).await, 150);
}

async fn ask_everywhere(world: &World, partner: &Partner, message: &Value) -> Vec<Said> {
    let bases = &world.site.receivers;
    let asked = bases.iter().map(|base| ask(world, partner, base, message));
    join_all(asked)
        .await
        .into_iter()
        .map(Option::unwrap)
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_receiver_was_asked_another_takes_or_knows_and_it_is_sent_once() {
    const ROUNDS: usize = 4;
    let seed = fastrand::u64(..1_000_000);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let world = World::new(Tempo::Quick).await;
    let rest = [
        ("receiver", 1),
        ("sender", 0),
        ("reporter", 0),
        ("webhook-receiver", 0),
    ];
    let _rest = world.run(&rest).await;
    let mut victim = world.run(&[("receiver", 0)]).await.remove(0);
    let partner = world.partner().await;
    let other = world.base("receiver", 1);
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    let mut unanswered = 0;
    for round in 0..ROUNDS {
        let moment = Duration::from_micros(random.u64(500..150_000));
        let messages: Vec<_> = (0..200)
            .map(|n| sms(&format!("k-{round}-{n}"), 0))
            .collect();
        let said = ask_and_kill(&world, &partner, &mut victim, &messages, moment).await;
        unanswered += said.iter().filter(|one| one.is_none()).count();
        for (message, first) in messages.iter().zip(said) {
            let again = ask(&world, &partner, &other, message).await.unwrap();
            let id = again.message();
            if let Some(first) = first {
                assert!(first.is_accepted() || first.status >= 500, "{first:?}");
                if first.is_accepted() {
                    assert!(again.is_known("SAME"), "{first:?} {again:?}");
                    assert_eq!(first.message(), id);
                }
            }
            assert!(again.is_accepted() || again.is_known("SAME"), "{again:?}");
            let client = message["clientMsgId"].as_str().unwrap().to_owned();
            assert_eq!(known.insert(client, id), None);
        }
        victim = world.run(&[("receiver", 0)]).await.remove(0);
    }
    assert!(unanswered > 0, "no kill fell into the load; seed {seed}");
    let all = ROUNDS * 200;
    until("every message is sent", async || {
        (world.site.simulator.taken_count() >= all).then_some(())
    })
    .await;
    until("every message has ended", async || {
        let open = "SELECT count(*) FROM messages WHERE final_at IS NULL";
        (world.ground.number(open).await == 0).then_some(())
    })
    .await;
    assert_eq!(world.site.simulator.duplicates(), []);
    let taken = world.site.simulator.taken();
    let taken: BTreeSet<_> = taken.iter().map(|one| one.message.to_string()).collect();
    let promised: BTreeSet<_> = known.into_values().collect();
    assert_eq!(taken, promised);
}

/// Asks the victim for all of them, a few at a time, and kills it after `moment`.
async fn ask_and_kill(
    world: &World,
    partner: &Partner,
    victim: &mut Process,
    messages: &[Value],
    moment: Duration,
) -> Vec<Option<Said>> {
    let base = victim.base.clone();
    let asking = futures::stream::iter(messages)
        .map(|message| ask(world, partner, &base, message))
        .buffered(16)
        .collect();
    let killing = async {
        tokio::time::sleep(moment).await;
        victim.kill();
    };
    tokio::join!(asking, killing).0
}
