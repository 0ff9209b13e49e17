//! Queues or ledger away.

use std::time::Duration;

use pabal_common::broker::QueueName;
use pabal_common::domain::id::{MessageId, OutboxId};
use pabal_common::domain::kind::{Lane, MessageType, Purpose};
use pabal_common::domain::message::NewMessage;
use serde_json::json;
use sqlx::Connection as _;

use crate::house::{House, START, eventually, sms};

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_away_costs_no_accepted_message_and_soon_closes_the_door() {
    let house = House::new().await;
    let partner = house.partner("shop").await;
    let token = house.token(&partner);
    house.broker.set_away(true);
    // The outbox keeps the promise until the failures are too many.
    let mut accepted = 0;
    let refused = loop {
        let client = format!("m-{accepted}");
        let answer = house.post("/v1/messages", &token, &sms(&client)).await;
        if answer.status != 202 {
            break answer;
        }
        accepted += 1;
        assert!(accepted < 10_000, "the door stays open");
    };
    assert!(accepted > 0);
    refused.is_refused(503, "E101", "QUEUE_UNAVAILABLE");
    assert!(refused.retry_after().unwrap() >= 1);
    let batch = json!({"messages": [sms("b-1")]});
    let answer = house.post("/v1/messages/batch", &token, &batch).await;
    answer.is_refused(503, "E101", "QUEUE_UNAVAILABLE");
    assert_eq!(house.messages().await, accepted);

    house.broker.set_away(false);
    eventually(async || {
        let answer = house.post("/v1/messages", &token, &sms("after")).await;
        answer.status == 202 || answer.body["reason"] == "SAME"
    })
    .await;
    house.clock.advance(Duration::from_millis(1));
    house.outbox_is_empty().await;
    assert!(
        house
            .ready(QueueName::of(MessageType::Sms, Lane::Ordinary))
            .await
            > 0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_refuses_closes_the_door_for_its_type_alone() {
    let house = House::new().await;
    let partner = house.partner("shop").await;
    let token = house.token(&partner);
    let lms = |client: &str| {
        let mut message = sms(client);
        message["type"] = json!("LMS");
        message
    };
    let queue = QueueName::of(MessageType::Lms, Lane::Ordinary);
    house.broker.set_refusing(Some(queue));
    let mut tries = 0;
    let refused = loop {
        let message = lms(&format!("l-{tries}"));
        let answer = house.post("/v1/messages", &token, &message).await;
        if answer.status != 202 {
            break answer;
        }
        tries += 1;
        assert!(tries < 10_000, "the door stays open");
    };
    refused.is_refused(503, "E101", "QUEUE_UNAVAILABLE");
    assert!(refused.retry_after().unwrap() >= 1);
    let answer = house.post("/v1/messages", &token, &sms("s-1")).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    // Each message of a batch for itself. Between two trials the door may open for a moment.
    let mut tries = 0;
    eventually(async || {
        tries += 1;
        let (one, other) = (format!("b-{tries}"), format!("c-{tries}"));
        let batch = json!({"messages": [lms(&one), sms(&other)]});
        let answer = house.post("/v1/messages/batch", &token, &batch).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let results = &answer.body["results"];
        assert_eq!(results[1]["code"], "0000", "{answer:?}");
        results[0]["code"] == "E101"
    })
    .await;

    house.broker.set_refusing(None);
    eventually(async || {
        let answer = house.post("/v1/messages", &token, &lms("after")).await;
        answer.status == 202 || answer.body["reason"] == "SAME"
    })
    .await;
    house.clock.advance(Duration::from_millis(1));
    house.outbox_is_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_lease_no_message_is_taken() {
    let house = House::new().await;
    let token = house.token(&house.partner("shop").await);
    house.node.instance.leave().await;
    let answer = house.post("/v1/messages", &token, &sms("m-1")).await;
    answer.is_refused(503, "E102", "LEDGER_UNAVAILABLE");
    assert!(answer.retry_after().unwrap() >= 1);
    let batch = json!({"messages": [sms("m-1")]});
    let answer = house.post("/v1/messages/batch", &token, &batch).await;
    answer.is_refused(503, "E102", "LEDGER_UNAVAILABLE");
    assert_eq!(house.messages().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_does_not_commit_in_time_is_told_also_by_readyz_and_a_repeat_is_kept_once() {
    let house = House::with(|config| config.commit_wait = Duration::from_millis(200)).await;
    let partner = house.partner("shop").await;
    let token = house.token(&partner);
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&house.file);
    let mut other = sqlx::SqliteConnection::connect_with(&options)
        .await
        .unwrap();
    sqlx::query("BEGIN IMMEDIATE")
        .execute(&mut other)
        .await
        .unwrap();

    assert_eq!(house.trouble("message commits"), None);
    let answer = house.post("/v1/messages", &token, &sms("m-1")).await;
    answer.is_refused(503, "E102", "LEDGER_UNAVAILABLE");
    assert!(answer.retry_after().unwrap() >= 1);
    // Reading still works, so nothing else tells it.
    eventually(async || house.trouble("message commits").is_some()).await;
    // Nobody could be accepted, so the whole batch is to be sent again.
    let batch = json!({"messages": [sms("m-2"), {"clientMsgId": "bad"}]});
    let answer = house.post("/v1/messages/batch", &token, &batch).await;
    answer.is_refused(503, "E102", "LEDGER_UNAVAILABLE");

    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    for client in ["m-1", "m-2"] {
        eventually(async || {
            let answer = house.post("/v1/messages", &token, &sms(client)).await;
            answer.status == 202 || answer.body["reason"] == "SAME"
        })
        .await;
        assert!(house.stored_under(&partner, client).await.is_some());
    }
    assert_eq!(house.messages().await, 2);
    assert_eq!(house.trouble("message commits"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_whose_id_is_taken_gets_another() {
    let house = House::new().await;
    let partner = house.partner("shop").await;
    // The clock stands still, so the ids to come are known.
    let last = house.node.instance.ids().message().number();
    let squatters: Vec<_> = (1..=2)
        .map(|n| NewMessage {
            id: MessageId::from_number(last + n),
            partner: partner.id.clone(),
            client_msg_id: format!("squatter-{n}").parse().unwrap(),
            digest: [0; 16],
            kind: MessageType::Sms,
            purpose: Purpose::Info,
            lane: Lane::Ordinary,
            accepted_at: START,
            valid_until: START,
            metadata: None,
            sealed: Vec::new(),
            recipient_hash: [0; 16],
        })
        .collect();
    let (me, outbox) = (house.node.instance.id(), OutboxId::from_number(1));
    let accepted = house.node.ledger.accept(me, outbox, &squatters, &[]).await;
    assert!(accepted.unwrap().dispatch.is_some());

    let answer = house
        .post("/v1/messages", &house.token(&partner), &sms("m-1"))
        .await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let id: MessageId = answer.text("messageId").parse().unwrap();
    assert!(id.number() > last + 2);
    let kept = house.node.ledger.message(id).await.unwrap().unwrap();
    assert_eq!(kept.client_msg_id.as_str(), "m-1");
}
