//! Who is alive, and what the living tell each other.

use std::collections::HashSet;
use std::time::Duration;

use pabal_common::broker::QueueName;
use pabal_common::clock::Timestamp;
use pabal_common::domain::id::{InstanceId, MessageId, NODES};
use pabal_common::domain::kind::{Lane, MessageType};
use pabal_common::ledger::{QueueTaken, SharedHealth};

use crate::stack::{Fixture, LEASE, each, seconds};

/// Longer than a row of a process that lapsed is kept.
const GONE: Duration = Duration::from_secs(600);

#[tokio::test]
async fn every_process_gets_an_id_and_a_node_id_of_its_own() {
    each(|it| async move {
        let joins = (0..20).map(|_| it.ledger.join("sender", LEASE));
        let joined: Vec<_> = futures::future::join_all(joins).await;
        let joined: Vec<_> = joined.into_iter().map(Result::unwrap).collect();
        let instances: HashSet<_> = joined.iter().map(|one| one.instance).collect();
        let nodes: HashSet<_> = joined.iter().map(|one| one.node).collect();
        assert_eq!((instances.len(), nodes.len()), (20, 20));
        assert!(!instances.contains(&it.me));
        assert!(nodes.iter().all(|node| *node < NODES));
        // The clock stands still: a successor is still somebody else.
        it.ledger.leave(joined[0].instance).await.unwrap();
        assert!(!instances.contains(&it.join().await));
    })
    .await;
}

#[tokio::test]
async fn a_process_beyond_the_last_node_id_is_refused_until_one_is_free() {
    each(|it| async move {
        hold_every_free_node(&it).await;
        assert!(it.ledger.join("sender", LEASE).await.is_err());
        it.ledger.leave(it.me).await.unwrap();
        it.ledger.join("sender", LEASE).await.unwrap();
        assert!(it.ledger.join("sender", LEASE).await.is_err());
        // Whoever stopped renewing gives its node id back too, here after a second lease.
        it.clock.advance(LEASE * 2);
        it.ledger.join("sender", LEASE).await.unwrap();
    })
    .await;
}

/// Processes for all node ids that are free: joining a thousand times takes a commit each.
async fn hold_every_free_node(it: &Fixture) {
    let until = it.now().plus(LEASE).millis();
    let nodes: Vec<u64> = (0..u64::from(NODES)).collect();
    for some in nodes.chunks(400) {
        let id = |node: &u64| it.back.id(MessageId::from_number(node + 1));
        let rows = some
            .iter()
            .map(|node| format!("SELECT {} AS i, {node} AS n", id(node)));
        let rows = rows.collect::<Vec<_>>().join(" UNION ALL ");
        it.back
            .run(&format!(
                "INSERT INTO instances \
                 (instance_id, node, role, frame_version, joined_at, lease_until) \
                 SELECT v.i, v.n, 'sender', 1, 0, {until} FROM ({rows}) v \
                 WHERE v.n NOT IN (SELECT node FROM instances)"
            ))
            .await;
    }
}

#[tokio::test]
async fn every_heartbeat_raises_the_counter_and_tells_who_is_alive() {
    each(|it| async move {
        let other = it.ledger.join("sender,reporter", LEASE).await.unwrap();
        let first = it.ledger.heartbeat(it.me, LEASE, &[], &[]).await.unwrap();
        let second = it
            .ledger
            .heartbeat(other.instance, LEASE, &[], &[])
            .await
            .unwrap();
        assert!(first.held && second.held);
        assert!(other.counter < first.counter && first.counter < second.counter);
        let mut live: Vec<_> = second
            .live
            .into_iter()
            .map(|one| (one.instance, one.role))
            .collect();
        live.sort();
        let mut expected = [
            (it.me, "test".to_owned()),
            (other.instance, "sender,reporter".to_owned()),
        ];
        expected.sort();
        assert_eq!(live, expected);

        it.ledger.leave(other.instance).await.unwrap();
        let gone = it
            .ledger
            .heartbeat(other.instance, LEASE, &[], &[])
            .await
            .unwrap();
        assert!(!gone.held);
        let third = it.ledger.heartbeat(it.me, LEASE, &[], &[]).await.unwrap();
        assert_eq!(
            third
                .live
                .iter()
                .map(|one| one.instance)
                .collect::<Vec<_>>(),
            [it.me]
        );
    })
    .await;
}

#[tokio::test]
async fn a_lease_lapses_by_the_clock_and_a_stranger_has_none() {
    each(|it| async move {
        let other = it.join().await;
        let stranger = InstanceId::from_number(5);
        let all = [it.me, other, stranger];
        assert_eq!(it.ledger.lapsed(&all).await.unwrap(), [stranger]);
        it.clock.advance(LEASE - Duration::from_millis(1));
        assert_eq!(it.ledger.lapsed(&all).await.unwrap(), [stranger]);
        it.ledger.heartbeat(it.me, LEASE, &[], &[]).await.unwrap();
        it.clock.advance(Duration::from_millis(1));
        assert_eq!(it.ledger.lapsed(&all).await.unwrap(), [other, stranger]);
        let beat = it.ledger.heartbeat(it.me, LEASE, &[], &[]).await.unwrap();
        assert_eq!(beat.live.len(), 1);
        it.ledger.leave(it.me).await.unwrap();
        assert_eq!(it.ledger.lapsed(&[it.me]).await.unwrap(), [it.me]);
    })
    .await;
}

#[tokio::test]
async fn after_an_outage_everybody_renews_unless_it_was_taken_for_dead() {
    each(|it| async move {
        it.clock.advance(LEASE * 2);
        assert_eq!(it.ledger.lapsed(&[it.me]).await.unwrap(), [it.me]);
        assert!(
            it.ledger
                .heartbeat(it.me, LEASE, &[], &[])
                .await
                .unwrap()
                .held
        );
        assert_eq!(it.ledger.lapsed(&[it.me]).await.unwrap(), []);
        it.clock.advance(LEASE + GONE);
        // Whoever joins clears away who has lapsed for so long.
        it.join().await;
        assert!(
            !it.ledger
                .heartbeat(it.me, LEASE, &[], &[])
                .await
                .unwrap()
                .held
        );
        assert_eq!(it.ledger.lapsed(&[it.me]).await.unwrap(), [it.me]);
    })
    .await;
}

#[tokio::test]
async fn a_queue_is_taken_as_far_as_the_newest_frame_anybody_took() {
    each(|it| async move {
        let other = it.join().await;
        let sms = QueueName::of(MessageType::Sms, Lane::Ordinary);
        let taken = |queue, at| QueueTaken {
            queue,
            queued_at: Timestamp::from_millis(at),
        };
        let beat = async |who, told: &[QueueTaken]| {
            it.ledger.heartbeat(who, LEASE, told, &[]).await.unwrap();
        };
        beat(it.me, &[taken(sms, 500), taken(QueueName::Report, 70)]).await;
        beat(other, &[taken(sms, 400)]).await;
        let mut found = it.ledger.taken().await.unwrap();
        found.sort_by_key(|one| one.queue);
        assert_eq!(found, [taken(sms, 500), taken(QueueName::Report, 70)]);
        beat(other, &[taken(sms, 600)]).await;
        assert!(it.ledger.taken().await.unwrap().contains(&taken(sms, 600)));
    })
    .await;
}

#[tokio::test]
async fn a_queue_is_never_taken_further_than_now() {
    each(|it| async move {
        let (now, hour) = (it.now(), seconds(3600));
        let taken = async |at| {
            let told = QueueTaken {
                queue: QueueName::Report,
                queued_at: at,
            };
            it.ledger
                .heartbeat(it.me, LEASE, &[told], &[])
                .await
                .unwrap();
            it.ledger.taken().await.unwrap()[0].queued_at
        };
        // Twice: there is no row yet, and there is one.
        assert_eq!(taken(now.plus(hour)).await, now);
        assert_eq!(taken(now.plus(hour)).await, now);
        // What was told before the clock was set back.
        let later = now.plus(hour).millis();
        let sql = format!("UPDATE queue_taken SET queued_at = {later}");
        it.back.run(&sql).await;
        assert_eq!(taken(now).await, now);
    })
    .await;
}

#[tokio::test]
async fn a_routes_health_is_told_to_the_others_and_the_newest_word_counts() {
    each(|it| async move {
        let (other, begun) = (it.join().await, it.now());
        it.clock.advance(seconds(7));
        let word = |health: &str, since| health_since(health, begun.plus(seconds(since)));
        let beat = async |who, told: &[SharedHealth]| health_told(&it, who, told).await;
        assert_eq!(beat(it.me, &[word("OVERLOAD", 5)]).await, []);
        assert_eq!(beat(other, &[]).await, [word("OVERLOAD", 5)]);
        // An older word changes nothing, a newer one does.
        beat(other, &[word("OK", 4)]).await;
        assert_eq!(beat(other, &[]).await, [word("OVERLOAD", 5)]);
        beat(other, &[word("FAIL", 6)]).await;
        assert_eq!(beat(other, &[]).await, []);
        assert_eq!(beat(it.me, &[]).await, [word("FAIL", 6)]);
    })
    .await;
}

#[tokio::test]
async fn a_routes_health_is_not_learned_from_one_without_a_lease() {
    each(|it| async move {
        let (left, lapsed) = (it.join().await, it.join().await);
        let told = health_since("FAIL", it.now());
        health_told(&it, left, std::slice::from_ref(&told)).await;
        assert_eq!(
            health_told(&it, it.me, &[]).await,
            std::slice::from_ref(&told)
        );
        it.ledger.leave(left).await.unwrap();
        assert_eq!(health_told(&it, it.me, &[]).await, []);
        health_told(&it, lapsed, std::slice::from_ref(&told)).await;
        it.clock.advance(LEASE);
        assert_eq!(health_told(&it, it.me, &[]).await, []);
    })
    .await;
}

#[tokio::test]
async fn a_word_of_a_clock_that_is_ahead_is_the_newest_only_until_another_is_told() {
    each(|it| async move {
        let other = it.join().await;
        let ahead = health_since("FAIL", it.now().plus(seconds(3600)));
        health_told(&it, other, &[ahead]).await;
        let bounded = health_since("FAIL", it.now());
        assert_eq!(health_told(&it, it.me, &[]).await, [bounded]);
        it.clock.advance(seconds(1));
        health_told(&it, it.me, &[health_since("OK", it.now())]).await;
        assert_eq!(
            health_told(&it, other, &[]).await,
            [health_since("OK", it.now())]
        );
    })
    .await;
}

fn health_since(health: &str, since: Timestamp) -> SharedHealth {
    SharedHealth {
        route: "sms-a".into(),
        health: health.into(),
        rate: 50,
        since,
    }
}

/// What a process learns while it tells.
async fn health_told(it: &Fixture, who: InstanceId, told: &[SharedHealth]) -> Vec<SharedHealth> {
    let beat = it.ledger.heartbeat(who, LEASE, &[], told).await;
    beat.unwrap().health
}
