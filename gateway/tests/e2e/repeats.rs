//! A request repeated under the same client id is never sent twice.

use std::collections::HashSet;

use futures::future::join_all;
use serde_json::{Value, json};

use crate::api::{batch, sms, with};
use crate::house::House;
use crate::partner::Partner;

/// One message came of it all: it was delivered once and told once.
async fn one_came_of_it(house: &House, partner: &Partner, id: &str) {
    assert_eq!(house.result(partner, id).await["status"], "DELIVERED");
    house.all_told().await;
    assert_eq!(
        (house.kept().await, house.simulator().taken_count()),
        (1, 1)
    );
    assert_eq!((house.times_taken(id), partner.told().len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_sixteen_requests_at_once_with_one_client_id_one_is_accepted() {
    let house = House::open(&[]).await;
    let partner = house.partner("shop").await;
    let request = sms("order-1");
    let answers = join_all((0..16).map(|_| house.send(&partner, &request))).await;
    let ids: HashSet<&str> = answers
        .iter()
        .map(|answer| answer.text("messageId"))
        .collect();
    assert_eq!(ids.len(), 1, "{answers:?}");
    let (accepted, refused): (Vec<_>, Vec<_>) =
        answers.iter().partition(|answer| answer.status == 202);
    assert_eq!((accepted.len(), refused.len()), (1, 15), "{answers:?}");
    for answer in refused {
        answer.is_refused(409, "E004", "SAME");
    }
    one_came_of_it(&house, &partner, accepted[0].text("messageId")).await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_sixteen_different_requests_at_once_with_one_client_id_one_is_accepted() {
    let house = House::open(&[]).await;
    let partner = house.partner("shop").await;
    let requests: Vec<Value> = (0..16)
        .map(|n| with(sms("order-1"), "text", json!(format!("주문 {n}"))))
        .collect();
    let answers = join_all(requests.iter().map(|request| house.send(&partner, request))).await;
    let (accepted, refused): (Vec<_>, Vec<_>) =
        answers.iter().partition(|answer| answer.status == 202);
    assert_eq!(accepted.len(), 1, "{answers:?}");
    let id = accepted[0].text("messageId");
    for answer in refused {
        answer.is_refused(409, "E004", "CONFLICT");
        assert_eq!(answer.text("messageId"), id);
    }
    one_came_of_it(&house, &partner, id).await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_in_one_batch_the_first_is_accepted() {
    let house = House::open(&[]).await;
    let partner = house.partner("shop").await;
    let other = with(sms("order-1"), "text", json!("다른 내용"));
    let messages = batch([sms("order-1"), sms("order-1"), other]);
    let answer = house.post(&partner, "/v1/messages/batch", &messages).await;
    assert_eq!(
        (&answer.body["accepted"], &answer.body["rejected"]),
        (&json!(1), &json!(2))
    );
    let results = answer.body["results"].as_array().unwrap();
    let words: Vec<_> = results
        .iter()
        .map(|one| (&one["code"], &one["reason"]))
        .collect();
    let (none, same, conflict) = (json!(null), json!("SAME"), json!("CONFLICT"));
    let (kept, twice) = (json!("0000"), json!("E004"));
    assert_eq!(
        words,
        [(&kept, &none), (&twice, &same), (&twice, &conflict)]
    );
    let ids: HashSet<_> = results
        .iter()
        .map(|one| one["messageId"].as_str())
        .collect();
    assert_eq!(ids.len(), 1, "{answer:?}");
    one_came_of_it(&house, &partner, results[0]["messageId"].as_str().unwrap()).await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_after_the_end_is_answered_with_the_first_messages_id() {
    let mut house = House::open(&[]).await;
    let partner = house.partner("shop").await;
    let id = house.accept(&partner, &sms("order-1")).await;
    one_came_of_it(&house, &partner, &id).await;
    for restarted in [false, true] {
        if restarted {
            house.stop().await;
            house.start().await;
        }
        let answer = house.send(&partner, &sms("order-1")).await;
        answer.is_refused(409, "E004", "SAME");
        assert_eq!(answer.text("messageId"), id);
        let answer = house
            .send(&partner, &with(sms("order-1"), "text", json!("다른")))
            .await;
        answer.is_refused(409, "E004", "CONFLICT");
        assert_eq!(answer.text("messageId"), id);
    }
    assert_eq!(
        (house.kept().await, house.simulator().taken_count()),
        (1, 1)
    );
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_partners_may_use_the_same_client_id() {
    let house = House::open(&[]).await;
    let (one, other) = (house.partner("one").await, house.partner("other").await);
    let first = house.accept(&one, &sms("order-1")).await;
    let second = house.accept(&other, &sms("order-1")).await;
    assert_ne!(first, second);
    assert_eq!(house.result(&one, &first).await["status"], "DELIVERED");
    assert_eq!(house.result(&other, &second).await["status"], "DELIVERED");
    house.close().await;
}
