//! A message of every type goes all the way.

use pabal_common::domain::kind::Lane;
use pabal_common::domain::phase::Phase;
use pabal_gateway::partners::Application;
use serde_json::{Value, json};

use crate::api::{batch, message, sms, with};
use crate::endpoint::{Endpoint, Seen};
use crate::house::House;
use crate::partner::Partner;

/// Sends one, and follows it to the signed webhook, the query and the daily numbers.
async fn goes_all_the_way(kind: &str) {
    let house = House::open(&[]).await;
    let partner = house.partner("shop").await;
    let sent = with(
        message(kind, "order-1", 0),
        "metadata",
        json!({"campaign": "spring"}),
    );
    let id = house.accept(&partner, &sent).await;

    let result = house.result(&partner, &id).await;
    assert_eq!(
        (&result["status"], &result["reason"]),
        (&json!("DELIVERED"), &json!(null)),
        "{result}"
    );
    assert_eq!(
        (
            &result["clientMsgId"],
            &result["messageType"],
            &result["metadata"]
        ),
        (
            &json!("order-1"),
            &json!(kind),
            &json!({"campaign": "spring"})
        ),
        "{result}"
    );
    assert!(
        result["acceptedAt"].is_string() && result["finalAt"].is_string(),
        "{result}"
    );
    assert!(
        !result.to_string().contains("2345"),
        "the recipient is told: {result}"
    );
    assert_eq!(house.times_taken(&id), 1);

    let answer = house.get(&partner, &format!("/v1/messages/{id}")).await;
    assert_eq!(answer.text("status"), "DELIVERED");
    let steps = answer.body["timeline"].as_array().unwrap();
    assert_eq!(steps.first().unwrap()["status"], "RECEIVED");
    assert_eq!(steps.last().unwrap()["status"], "DELIVERED");
    assert_eq!(house.daily(&partner).await[kind].ended(), [1, 0, 0]);
    assert_eq!(house.view(&id).await.phase, Phase::Done);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_sms_is_delivered_told_and_counted() {
    goes_all_the_way("SMS").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_lms_is_delivered_told_and_counted() {
    goes_all_the_way("LMS").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_mms_is_delivered_told_and_counted() {
    goes_all_the_way("MMS").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kakao_alimtalk_is_delivered_told_and_counted() {
    goes_all_the_way("KAKAO_ALIMTALK").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kakao_brand_message_is_delivered_told_and_counted() {
    goes_all_the_way("KAKAO_BRAND_MESSAGE").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_naver_talk_is_delivered_told_and_counted() {
    goes_all_the_way("NAVER_TALK").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_rcs_is_delivered_told_and_counted() {
    goes_all_the_way("RCS").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn authentication_takes_the_express_lane_up_to_the_partners_share() {
    let house = House::open(&[]).await;
    let express_share = |application: &mut Application| application.express_per_second = 2;
    let partner = house
        .partner_with("bank", Endpoint::start(), express_share)
        .await;
    let codes = (0..3).map(|n| with(sms(&format!("otp-{n}")), "purpose", json!("AUTH")));
    let ids = house.accept_batch(&partner, &batch(codes)).await;
    let ordinary = house.accept(&partner, &sms("order-1")).await;
    let mut lanes = Vec::new();
    for id in ids.iter().chain([&ordinary]) {
        assert_eq!(house.result(&partner, id).await["status"], "DELIVERED");
        lanes.push(house.view(id).await.lane);
    }
    let [express, slow] = [Lane::Express, Lane::Ordinary];
    // Beyond its share a partner's codes go with everything else, and arrive as well.
    assert_eq!(lanes, [express, express, slow, slow]);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sent_is_told_before_the_end_to_a_partner_that_asks_for_it() {
    let house = House::open(&[("reporter.sms_deadline", "1500ms")]).await;
    let asks = |application: &mut Application| application.webhook_sent = true;
    let asks = house.partner_with("asks", Endpoint::start(), asks).await;
    let does_not = house.partner("does-not").await;
    // Taken, and never reported: taken and ended are two moments.
    let id = house.accept(&asks, &message("SMS", "order-1", 73)).await;
    let other = house
        .accept(&does_not, &message("SMS", "order-1", 73))
        .await;
    for (partner, id) in [(&asks, &id), (&does_not, &other)] {
        assert_eq!(house.result(partner, id).await["status"], "EXPIRED");
    }
    let told = |partner: &Partner| -> Vec<Value> {
        let seen = partner.endpoint.taken();
        seen.iter().flat_map(Seen::events).cloned().collect()
    };
    let statuses = |events: &[Value]| -> Vec<Value> {
        events.iter().map(|event| event["status"].clone()).collect()
    };
    assert_eq!(statuses(&told(&does_not)), ["EXPIRED"]);
    let told = told(&asks);
    assert_eq!(statuses(&told), ["SENT", "EXPIRED"]);
    let sent = &told[0];
    assert!(
        sent["sentAt"].is_string() && sent["finalAt"].is_null(),
        "{sent}"
    );
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partner_that_wants_batches_gets_many_results_in_one_webhook() {
    let house = House::open(&[]).await;
    let in_batches = |application: &mut Application| application.webhook_batch = 100;
    let many = house
        .partner_with("many", Endpoint::start(), in_batches)
        .await;
    let single = house.partner("single").await;
    for partner in [&many, &single] {
        let messages = batch((0..100).map(|n| sms(&format!("order-{n}"))));
        house.accept_batch(partner, &messages).await;
    }
    house.all_ended().await;
    house.all_told().await;
    let sizes = |partner: &Partner| -> Vec<usize> {
        let seen = partner.endpoint.seen();
        seen.iter()
            .map(|webhook| webhook.events().count())
            .collect()
    };
    let (many, single) = (sizes(&many), sizes(&single));
    assert_eq!(single, [1; 100]);
    assert_eq!(many.iter().sum::<usize>(), 100);
    // What was reported together is told together; how much that is, time decides.
    assert!(many.len() <= 10, "{many:?}");
    house.close().await;
}
