//! Who is alive, and what the living tell each other.

use std::collections::HashSet;
use std::time::Duration;

use pabal_common::broker::QueueName;
use pabal_common::clock::Timestamp;
use pabal_common::domain::id::{InstanceId, NODES};
use pabal_common::domain::kind::{Lane, MessageType};
use pabal_common::ledger::{QueueTaken, SharedHealth};

use crate::stack::{LEASE, each, seconds};

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
        let joins = (1..NODES).map(|_| it.ledger.join("sender", LEASE));
        let joined = futures::future::join_all(joins).await;
        assert!(joined.iter().all(Result::is_ok));
        assert!(it.ledger.join("sender", LEASE).await.is_err());
        it.ledger.leave(it.me).await.unwrap();
        it.ledger.join("sender", LEASE).await.unwrap();
        assert!(it.ledger.join("sender", LEASE).await.is_err());
        // Whoever stopped renewing gives its node id back too.
        it.clock.advance(LEASE);
        it.ledger.join("sender", LEASE).await.unwrap();
    })
    .await;
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
async fn after_a_stall_everybody_renews_unless_it_was_taken_for_dead() {
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
        it.clock.advance(LEASE * 2);
        // Whoever joins clears the lapsed away.
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
async fn a_routes_health_is_told_to_the_others_and_the_newest_word_counts() {
    each(|it| async move {
        let other = it.join().await;
        let word = |health: &str, since| SharedHealth {
            route: "sms-a".into(),
            health: health.into(),
            rate: 50,
            since: it.now().plus(seconds(since)),
        };
        let beat = async |who, told: &[SharedHealth]| {
            it.ledger
                .heartbeat(who, LEASE, &[], told)
                .await
                .unwrap()
                .health
        };
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
