//! Webhook endpoints in trouble: what was to be told is tried again, kept as a dead letter, or waits;
//! and nobody else's webhooks wait with it.

use futures::future::join_all;
use serde_json::{Value, json};

use crate::api::{batch, sms};
use crate::endpoint::{Answer, Endpoint};
use crate::house::House;
use crate::partner::Partner;
use crate::wait::eventually;

/// Waits for so many dead letters of a partner, as the API lists them.
pub(crate) async fn dead_letters(house: &House, partner: &Partner, count: usize) -> Vec<Value> {
    eventually(async || {
        let answer = house.get(partner, "/v1/webhooks/dead-letters").await;
        let items = answer.body["items"].as_array().cloned().unwrap_or_default();
        if items.len() == count {
            Ok(items)
        } else {
            Err(answer)
        }
    })
    .await
}

/// Sends dead letters again; they must arrive under the ids they had.
async fn replay(house: &House, partner: &Partner, letters: &[Value]) {
    let ids: Vec<_> = letters.iter().map(|letter| &letter["id"]).collect();
    let request = json!({"ids": ids});
    let answer = house
        .post(partner, "/v1/webhooks/dead-letters/replay", &request)
        .await;
    assert_eq!(
        answer.body,
        json!({"replayed": letters.len(), "more": false}),
        "{answer:?}"
    );
    for letter in letters {
        let event = &letter["body"]["events"][0];
        let result = house
            .result(partner, event["messageId"].as_str().unwrap())
            .await;
        assert_eq!(&result, event, "told as it was frozen");
        let taken = partner.endpoint.taken();
        assert!(
            taken
                .iter()
                .any(|seen| letter["webhookId"] == seen.id.as_str()),
            "{letter}"
        );
    }
    for letter in dead_letters(house, partner, letters.len()).await {
        assert!(letter["replayedAt"].is_string(), "{letter}");
    }
}

/// Many messages of another partner are told, although one endpoint is in trouble.
pub(crate) async fn others_are_told(house: &House, other: &Partner, name: &str) {
    let messages = batch((0..20).map(|n| sms(&format!("{name}-{n}"))));
    let ids = house.accept_batch(other, &messages).await;
    let results = join_all(ids.iter().map(|id| house.result(other, id))).await;
    assert!(
        results.iter().all(|result| result["status"] == "DELIVERED"),
        "{results:?}"
    );
}

/// What the query says happened to a message.
async fn happened(house: &House, partner: &Partner, id: &str) -> Vec<String> {
    let answer = house.get(partner, &format!("/v1/messages/{id}")).await;
    let steps = answer.body["timeline"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let events = steps.iter().filter_map(|step| step["event"].as_str());
    events.map(ToOwned::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_refuses_connections_is_tried_again_then_replayed_from_dead_letters() {
    let house = House::open(&[]).await;
    let partner = house
        .partner_with("shop", Endpoint::refusing(), |_| {})
        .await;
    let other = house.partner("other").await;
    let first = house.accept(&partner, &sms("order-1")).await;
    others_are_told(&house, &other, "meanwhile").await;

    let letters = dead_letters(&house, &partner, 1).await;
    let letter = &letters[0];
    assert_eq!(
        letter["attempts"], 4,
        "the first and one after each wait: {letter}"
    );
    assert!(
        letter["reason"].is_string() && letter["replayedAt"].is_null(),
        "{letter}"
    );
    // A message's end does not depend on whether its partner could be told.
    let answer = house.get(&partner, &format!("/v1/messages/{first}")).await;
    assert_eq!(answer.text("status"), "DELIVERED");
    let happened = happened(&house, &partner, &first).await;
    assert_eq!(
        happened.last().map(String::as_str),
        Some("WEBHOOK_DEAD"),
        "{happened:?}"
    );
    // Dead letters are their partner's alone.
    dead_letters(&house, &other, 0).await;
    let theirs = json!({"ids": [letter["id"]]});
    let answer = house
        .post(&other, "/v1/webhooks/dead-letters/replay", &theirs)
        .await;
    answer.is_refused(404, "E001", "DEAD_LETTER_NOT_FOUND");

    partner.endpoint.listen();
    replay(&house, &partner, &letters).await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_hangs_holds_up_nobody_and_gets_its_results_when_it_answers() {
    let house = House::open(&[]).await;
    let partner = house.partner("shop").await;
    let other = house.partner("other").await;
    partner.endpoint.answer_next([Answer::Hang, Answer::Hang]);
    let id = house.accept(&partner, &sms("order-1")).await;
    partner.until_seen(1).await;
    others_are_told(&house, &other, "meanwhile").await;

    assert_eq!(house.result(&partner, &id).await["status"], "DELIVERED");
    let seen = partner.until_seen(3).await;
    assert!(seen.iter().all(|one| one.id == seen[0].id), "{seen:?}");
    let happened = happened(&house, &partner, &id).await;
    assert!(
        happened.contains(&"WEBHOOK_FAILED".to_owned()),
        "{happened:?}"
    );
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_never_answers_leaves_a_dead_letter() {
    let house = House::open(&[]).await;
    let partner = house.partner("shop").await;
    let other = house.partner("other").await;
    partner.endpoint.answer(Answer::Hang);
    house.accept(&partner, &sms("order-1")).await;
    others_are_told(&house, &other, "meanwhile").await;
    let letters = dead_letters(&house, &partner, 1).await;
    assert_eq!(partner.endpoint.seen().len(), 4);
    partner.endpoint.answer(Answer::Status(200));
    replay(&house, &partner, &letters).await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_not_followed() {
    let house = House::open(&[]).await;
    let partner = house.partner("shop").await;
    let elsewhere = Endpoint::start();
    partner.endpoint.answer(Answer::Redirect(elsewhere.url()));
    house.accept(&partner, &sms("order-1")).await;
    let letters = dead_letters(&house, &partner, 1).await;
    assert_eq!(letters[0]["attempts"], 1, "{letters:?}");
    assert_eq!(
        (partner.endpoint.seen().len(), elsewhere.seen().len()),
        (1, 0)
    );
    partner.endpoint.answer(Answer::Status(204));
    replay(&house, &partner, &letters).await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_answer_of_gigabytes_hardly_anything_is_read() {
    // What the network's buffers hold is handed out, whoever reads it.
    const BUFFERS: u64 = 64 << 20;

    let house = House::open(&[]).await;
    let partner = house.partner("shop").await;
    let other = house.partner("other").await;
    partner
        .endpoint
        .answer_next([Answer::Endless(500), Answer::Endless(200)]);
    let id = house.accept(&partner, &sms("order-1")).await;
    others_are_told(&house, &other, "meanwhile").await;
    // The status alone counts: 500 is tried again, 200 is done.
    assert_eq!(house.result(&partner, &id).await["status"], "DELIVERED");
    house.all_told().await;
    assert_eq!(partner.endpoint.seen().len(), 2);
    assert!(
        partner.endpoint.streamed() < BUFFERS,
        "{}",
        partner.endpoint.streamed()
    );
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_gone_is_disabled_and_catches_up_when_it_is_enabled() {
    let house = House::open(&[]).await;
    let partner = house.partner("shop").await;
    let other = house.partner("other").await;
    partner.endpoint.answer(Answer::Status(410));
    let first = house.accept(&partner, &sms("order-1")).await;
    eventually(async || {
        let row = house.ledger().partner(&partner.id).await.unwrap().unwrap();
        row.webhook.disabled.ok_or("still enabled")
    })
    .await;
    partner.endpoint.answer(Answer::Status(204));
    let second = house.accept(&partner, &sms("order-2")).await;
    house.all_ended().await;
    others_are_told(&house, &other, "meanwhile").await;
    // It is left alone, and what it is to be told is no dead letter either.
    assert_eq!(partner.endpoint.seen().len(), 1);
    dead_letters(&house, &partner, 0).await;
    eventually(
        async || match house.ledger().webhooks_size().await.unwrap() {
            2 => Ok(()),
            other => Err(other),
        },
    )
    .await;

    house
        .change(&partner, |row| row.webhook.disabled = None)
        .await;
    for id in [&first, &second] {
        assert_eq!(house.result(&partner, id).await["status"], "DELIVERED");
    }
    let happened = happened(&house, &partner, &first).await;
    assert!(
        happened.contains(&"WEBHOOK_DISABLED".to_owned()),
        "{happened:?}"
    );
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_fails_for_a_while_is_told_under_the_same_id() {
    let house = House::open(&[]).await;
    let partner = house.partner("shop").await;
    partner
        .endpoint
        .answer_next([500, 503, 429].map(Answer::Status));
    let id = house.accept(&partner, &sms("order-1")).await;
    assert_eq!(house.result(&partner, &id).await["status"], "DELIVERED");
    let seen = partner.endpoint.seen();
    assert_eq!(seen.len(), 4);
    assert!(
        seen.iter()
            .all(|one| one.id == seen[0].id && one.body == seen[0].body),
        "{seen:?}"
    );
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_endpoint_refuses_for_good_is_not_tried_again() {
    let house = House::open(&[]).await;
    let partner = house.partner("shop").await;
    partner.endpoint.answer(Answer::Status(400));
    house.accept(&partner, &sms("order-1")).await;
    let letters = dead_letters(&house, &partner, 1).await;
    assert_eq!(letters[0]["attempts"], 1, "{letters:?}");
    assert_eq!(partner.endpoint.seen().len(), 1);
    partner.endpoint.answer(Answer::Status(204));
    replay(&house, &partner, &letters).await;
    house.close().await;
}
