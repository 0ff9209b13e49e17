//! Routes as operators set them, sender numbers that vendors refuse, and looking at messages.

use pabal_common::domain::kind::MessageType;
use pabal_common::ledger::{Blocked, KeptRoute, RegisteredSender, SharedHealth};

use crate::stack::{Fixture, LEASE, each, name, seconds};

const SMS_A: &str = r#"{"name":"sms-a"}"#;

async fn kept(it: &Fixture) -> Vec<(String, Option<String>, bool)> {
    let routes = it.ledger.routes().await.unwrap().into_iter();
    routes
        .map(|one| (one.name, one.definition, one.paused))
        .collect()
}

fn row(name: &str, definition: Option<&str>, paused: bool) -> (String, Option<String>, bool) {
    (name.to_owned(), definition.map(str::to_owned), paused)
}

#[tokio::test]
async fn a_route_that_is_set_again_keeps_its_pause_and_a_pause_keeps_what_was_set() {
    each(|it| async move {
        it.ledger
            .pause_route("sms-b", true, it.now())
            .await
            .unwrap();
        it.ledger.set_route("sms-a", SMS_A, it.now()).await.unwrap();
        assert_eq!(
            kept(&it).await,
            [row("sms-a", Some(SMS_A), false), row("sms-b", None, true)]
        );
        it.ledger
            .pause_route("sms-a", true, it.now())
            .await
            .unwrap();
        it.ledger.set_route("sms-a", "{}", it.now()).await.unwrap();
        it.ledger
            .pause_route("sms-b", false, it.now())
            .await
            .unwrap();
        assert_eq!(
            kept(&it).await,
            [row("sms-a", Some("{}"), true), row("sms-b", None, false)]
        );
    })
    .await;
}

#[tokio::test]
async fn every_change_of_a_route_shows_when_it_was() {
    each(|it| async move {
        it.ledger.set_route("sms-a", SMS_A, it.now()).await.unwrap();
        it.clock.advance(seconds(3));
        it.ledger
            .pause_route("sms-a", true, it.now())
            .await
            .unwrap();
        let told: Vec<KeptRoute> = it.ledger.routes().await.unwrap();
        assert_eq!(told[0].updated_at, it.now());
    })
    .await;
}

#[tokio::test]
async fn a_forgotten_route_is_gone_with_its_pause_and_forgetting_nothing_is_told() {
    each(|it| async move {
        it.ledger.set_route("sms-a", SMS_A, it.now()).await.unwrap();
        it.ledger
            .pause_route("sms-a", true, it.now())
            .await
            .unwrap();
        assert!(it.ledger.forget_route("sms-a").await.unwrap());
        assert!(!it.ledger.forget_route("sms-a").await.unwrap());
        assert_eq!(kept(&it).await, []);
    })
    .await;
}

#[tokio::test]
async fn how_routes_are_is_told_by_those_alone_who_live() {
    each(|it| async move {
        let closed = SharedHealth {
            route: "sms-a".to_owned(),
            health: "SUSPENDED".to_owned(),
            rate: 0,
            since: it.now(),
        };
        let told = std::slice::from_ref(&closed);
        it.ledger.heartbeat(it.me, LEASE, &[], told).await.unwrap();
        assert_eq!(it.ledger.told_health().await.unwrap(), [closed]);
        it.clock.advance(LEASE + seconds(1));
        assert_eq!(it.ledger.told_health().await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn a_blocked_number_is_not_one_to_send_from_until_it_is_allowed_again() {
    each(|it| async move {
        let (shop, number) = (name("shop"), "0212345678");
        let blocked = Blocked {
            since: it.now(),
            why: "refused by the vendor of route sms-a".to_owned(),
        };
        let block = || it.ledger.block_sender(&shop, number, &blocked);
        assert!(block().await.unwrap());
        assert!(!block().await.unwrap(), "it is blocked already");
        assert!(it.ledger.senders(&shop).await.unwrap().is_empty());
        let registered = |blocked| RegisteredSender {
            number: number.to_owned(),
            blocked,
        };
        let shown = it.ledger.registered_senders(&shop).await.unwrap();
        assert_eq!(shown, [registered(Some(blocked.clone()))]);

        it.ledger
            .allow_sender(&shop, number, it.now())
            .await
            .unwrap();
        assert_eq!(it.ledger.senders(&shop).await.unwrap(), [number]);
        let shown = it.ledger.registered_senders(&shop).await.unwrap();
        assert_eq!(shown, [registered(None)]);
    })
    .await;
}

#[tokio::test]
async fn a_number_that_is_not_registered_cannot_be_blocked() {
    each(|it| async move {
        let blocked = Blocked {
            since: it.now(),
            why: String::new(),
        };
        let (shop, bank) = (name("shop"), name("bank"));
        for (partner, number) in [(&shop, "15771234"), (&bank, "0212345678")] {
            let blocked = it.ledger.block_sender(partner, number, &blocked).await;
            assert!(!blocked.unwrap());
        }
        assert_eq!(it.ledger.senders(&shop).await.unwrap(), ["0212345678"]);
    })
    .await;
}

#[tokio::test]
async fn looking_at_messages_shows_whose_they_are_and_moves_none() {
    each(|it| async move {
        let ids = it.queued(MessageType::Lms, 3).await;
        let gone = it.ids.message();
        let looked = it.ledger.look(&[ids[2], gone, ids[0]]).await.unwrap();
        let mut found: Vec<_> = looked.iter().map(|one| one.id).collect();
        found.sort_unstable();
        assert_eq!(found, [ids[0], ids[2]]);
        for one in looked {
            let seen = (one.partner, one.accepted_at, one.sealed);
            assert_eq!(seen, (name("shop"), it.now(), vec![1, 2, 3]));
        }
        let claimed = it.claim(&it.wish(&ids)).await.messages;
        assert_eq!(claimed.len(), 3);
        assert!(claimed.iter().all(|one| one.partner == name("shop")));
    })
    .await;
}
