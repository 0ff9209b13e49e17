//! Which lane an accepted message takes.

use pabal_common::broker::QueueName;
use pabal_common::domain::kind::{Lane, MessageType};
use pabal_common::quota::Meter;
use serde_json::{Value, json};

use crate::house::{House, START, eventually, sms};

/// A house in which so many messages a second of each partner take the ordinary lane.
async fn fair(per_second: u32) -> House {
    House::with(|config| config.fair_per_second = per_second).await
}

fn auth(client: &str) -> Value {
    let mut request = sms(client);
    request["purpose"] = json!("AUTH");
    request
}

/// Sends one message; its lane.
async fn send(house: &House, token: &str, client: &str) -> Lane {
    let answer = house.post("/v1/messages", token, &sms(client)).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    lane_of(house, answer.text("messageId")).await
}

/// Sends a batch, of which all are accepted; their lanes.
async fn send_all(house: &House, token: &str, messages: &[Value]) -> Vec<Lane> {
    let batch = json!({"messages": messages});
    let answer = house.post("/v1/messages/batch", token, &batch).await;
    assert_eq!(answer.body["accepted"], messages.len(), "{answer:?}");
    let mut lanes = Vec::new();
    for result in answer.body["results"].as_array().unwrap() {
        lanes.push(lane_of(house, result["messageId"].as_str().unwrap()).await);
    }
    lanes
}

async fn lane_of(house: &House, id: &str) -> Lane {
    let kept = house.node.ledger.message(id.parse().unwrap()).await;
    kept.unwrap().unwrap().lane
}

fn many(prefix: &str, count: usize) -> Vec<Value> {
    (0..count)
        .map(|number| sms(&format!("{prefix}-{number}")))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_its_fair_share_a_partner_takes_the_bulk_lane_and_another_does_not() {
    let house = fair(1).await;
    let busy = house.token(&house.partner("busy").await);
    let quiet = house.token(&house.partner("quiet").await);
    assert_eq!(send(&house, &busy, "m-0").await, Lane::Ordinary);
    // One of them may find that a second has passed.
    let mut bulk = 0;
    for number in 1..=20 {
        let lane = send(&house, &busy, &format!("m-{number}")).await;
        bulk += u64::from(lane == Lane::Bulk);
    }
    assert!(bulk > 0);
    assert_eq!(send(&house, &quiet, "m-0").await, Lane::Ordinary);
    let queue = QueueName::of(MessageType::Sms, Lane::Bulk);
    eventually(async || house.ready(queue).await == bulk).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_fits_into_the_share_is_ordinary_and_one_that_does_not_is_bulk() {
    let house = fair(100).await;
    for (name, count, lane) in [("fits", 100, Lane::Ordinary), ("large", 101, Lane::Bulk)] {
        let token = house.token(&house.partner(name).await);
        let lanes = send_all(&house, &token, &many("m", count)).await;
        assert_eq!(lanes, vec![lane; count]);
    }
    // One question each, however large.
    let asked = [
        (Meter::Messages, 100),
        (Meter::Fair, 100),
        (Meter::Messages, 101),
        (Meter::Fair, 101),
    ];
    assert_eq!(house.quota.taken(), asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_bulk_leaves_the_share_to_what_comes_after_it() {
    let house = fair(1).await;
    let token = house.token(&house.partner("shop").await);
    let lanes = send_all(&house, &token, &many("m", 500)).await;
    assert_eq!(lanes, [Lane::Bulk; 500]);
    assert_eq!(send(&house, &token, "after").await, Lane::Ordinary);
}

#[tokio::test(flavor = "multi_thread")]
async fn auth_takes_the_express_lane_until_the_partners_share_of_it_is_used_up() {
    let house = House::new().await;
    let partner = house
        .partner_with("shop", |partner| partner.express_per_second = 1)
        .await;
    let token = house.token(&partner);
    let batch = json!({"messages": [auth("a"), auth("b"), sms("c")]});
    let answer = house.post("/v1/messages/batch", &token, &batch).await;
    assert_eq!(answer.body["accepted"], 3, "{answer:?}");
    let mut lanes = Vec::new();
    for result in answer.body["results"].as_array().unwrap() {
        let id = result["messageId"].as_str().unwrap().parse().unwrap();
        let kept = house.node.ledger.message(id).await.unwrap().unwrap();
        lanes.push((kept.lane, kept.valid_until.since(START).as_secs()));
    }
    assert_eq!(
        lanes,
        [
            (Lane::Express, 180),
            (Lane::Ordinary, 180),
            (Lane::Ordinary, 86_400)
        ]
    );
    let express = QueueName::of(MessageType::Sms, Lane::Express);
    eventually(async || house.ready(express).await == 1).await;
    let asked = [
        (Meter::Messages, 3),
        (Meter::Express, 1),
        (Meter::Express, 1),
        (Meter::Fair, 2),
    ];
    assert_eq!(house.quota.taken(), asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn auth_beyond_the_express_share_counts_as_any_message_does() {
    let house = fair(2).await;
    let partner = house
        .partner_with("bank", |partner| partner.express_per_second = 1)
        .await;
    let token = house.token(&partner);
    let codes = [auth("a"), auth("b"), auth("c"), auth("d")];
    let lanes = send_all(&house, &token, &codes).await;
    assert_eq!(lanes, [Lane::Express, Lane::Bulk, Lane::Bulk, Lane::Bulk]);
}
