//! Requests that cannot be read or make no sense as such.

use serde_json::{Value, json};

use crate::api::{Answer, batch, message, sms, with};
use crate::house::House;

#[tokio::test(flavor = "multi_thread")]
async fn broken_json_is_told_where_it_breaks() {
    let house = House::open(&[]).await;
    let partner = house.partner("shop").await;
    let good = sms("order-1").to_string();
    for text in [
        String::new(),
        "{".to_owned(),
        good[..good.len() - 1].to_owned(),
        good.replace(':', "="),
        format!("{good}{good}"),
        "[]".repeat(3),
    ] {
        let answer = house.post_text(&partner.token, "/v1/messages", text).await;
        answer.is_refused(400, "E001", "INVALID_JSON");
        assert!(answer.body["details"][0]["position"].is_u64(), "{answer:?}");
    }
    let deep = format!(
        "{{\"metadata\":{}1{}}}",
        "[".repeat(10_000),
        "]".repeat(10_000)
    );
    let answer = house.post_text(&partner.token, "/v1/messages", deep).await;
    assert_eq!(
        (answer.status, answer.text("code")),
        (400, "E001"),
        "{answer:?}"
    );
    let request = house.client().post(format!("{}/v1/messages", house.base()));
    let answer = Answer::to(request.bearer_auth(&partner.token).body(good)).await;
    answer.is_refused(415, "E001", "UNSUPPORTED_MEDIA_TYPE");
    house.nothing_was_kept(&partner).await;
    house.close().await;
}

/// A request with this fault is refused so, alone and in a batch, and nothing of it is kept.
async fn is_refused(faults: &[(Value, &str, &str, &str)]) {
    let house = House::open(&[]).await;
    let partner = house.partner("shop").await;
    for (request, code, reason, field) in faults {
        let answer = house.send(&partner, request).await;
        answer.is_refused(400, code, reason);
        answer.names(&json!({"field": field}));
        let answer = house
            .post(&partner, "/v1/messages/batch", &batch([request.clone()]))
            .await;
        let result = &answer.body["results"][0];
        assert_eq!(
            (answer.status, &answer.body["accepted"]),
            (200, &json!(0)),
            "{answer:?}"
        );
        assert_eq!(
            (&result["code"], &result["reason"]),
            (&json!(code), &json!(reason))
        );
        assert_eq!(
            result["details"][0]["field"],
            format!("messages[0].{field}"),
            "{answer:?}"
        );
    }
    house.nothing_was_kept(&partner).await;
    house.close().await;
}

/// `order-1` with another value in one field.
fn changed(field: &str, value: Value) -> Value {
    with(sms("order-1"), field, value)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_of_the_wrong_type_is_named() {
    is_refused(&[
        (
            changed("to", json!(1_023_456_789)),
            "E001",
            "INVALID_VALUE",
            "to",
        ),
        (
            changed("text", json!(["a"])),
            "E001",
            "INVALID_VALUE",
            "text",
        ),
        (changed("type", json!(1)), "E001", "INVALID_VALUE", "type"),
        (
            changed("clientMsgId", json!({})),
            "E001",
            "INVALID_VALUE",
            "clientMsgId",
        ),
        (
            changed("validitySeconds", json!("60")),
            "E001",
            "INVALID_VALUE",
            "validitySeconds",
        ),
        (
            changed("validitySeconds", json!(9)),
            "E001",
            "INVALID_VALUE",
            "validitySeconds",
        ),
        (
            changed("metadata", json!("spring")),
            "E001",
            "INVALID_VALUE",
            "metadata",
        ),
        (
            changed("purpose", json!("OTP")),
            "E001",
            "INVALID_VALUE",
            "purpose",
        ),
        (
            changed("clientMsgId", json!("two words")),
            "E001",
            "INVALID_VALUE",
            "clientMsgId",
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_is_missing_unknown_or_another_types_is_named() {
    is_refused(&[
        (changed("to", json!(null)), "E001", "MISSING_FIELD", "to"),
        (
            changed("text", json!(null)),
            "E001",
            "MISSING_FIELD",
            "text",
        ),
        (
            changed("from", json!(null)),
            "E001",
            "MISSING_FIELD",
            "from",
        ),
        (
            changed("type", json!(null)),
            "E001",
            "MISSING_FIELD",
            "type",
        ),
        (
            changed("clientMsgId", json!(null)),
            "E001",
            "MISSING_FIELD",
            "clientMsgId",
        ),
        (
            changed("receiver", json!("x")),
            "E001",
            "UNKNOWN_FIELD",
            "receiver",
        ),
        (
            changed("subject", json!("제목")),
            "E001",
            "FIELD_NOT_ALLOWED",
            "subject",
        ),
        (
            with(
                message("NAVER_TALK", "order-1", 0),
                "from",
                json!("02-123-4567"),
            ),
            "E001",
            "FIELD_NOT_ALLOWED",
            "from",
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_type_has_a_code_of_its_own() {
    is_refused(&[
        (
            changed("type", json!("FAX")),
            "E005",
            "UNKNOWN_MESSAGE_TYPE",
            "type",
        ),
        (
            changed("type", json!("sms")),
            "E005",
            "UNKNOWN_MESSAGE_TYPE",
            "type",
        ),
        (
            changed("type", json!("")),
            "E005",
            "UNKNOWN_MESSAGE_TYPE",
            "type",
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recipient_that_no_message_can_reach_is_refused() {
    let to = |text: &str, reason| (changed("to", json!(text)), "E001", reason, "to");
    is_refused(&[
        to("", "INVALID_RECIPIENT"),
        to("   ", "INVALID_RECIPIENT"),
        to("010-1234", "INVALID_RECIPIENT"),
        to("010-2345-678a", "INVALID_RECIPIENT"),
        to("+1 415 555 2671", "INTERNATIONAL_NOT_SUPPORTED"),
        to("0081-90-1234-5678", "INTERNATIONAL_NOT_SUPPORTED"),
        // A landline, a representative number, an internet telephone.
        to("02-123-4567", "INVALID_RECIPIENT"),
        to("1588-0000", "INVALID_RECIPIENT"),
        to("070-7123-4567", "INVALID_RECIPIENT"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_usual_notations_of_one_number_are_one_recipient() {
    let house = House::open(&[]).await;
    let partner = house.partner("shop").await;
    // Its last digits make it fail, which shows that the vendor was given the right number.
    for (place, to) in [
        "010-2345-6754",
        "01023456754",
        "+82 10-2345-6754",
        "0082 10 2345 6754",
        "(010) 2345.6754",
    ]
    .into_iter()
    .enumerate()
    {
        let request = with(sms(&format!("order-{place}")), "to", json!(to));
        let id = house.accept(&partner, &request).await;
        assert_eq!(house.result(&partner, &id).await["reason"], "SPAM", "{to}");
    }
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_is_not_the_partners_is_refused() {
    is_refused(&[
        (
            changed("from", json!("02-999-9999")),
            "E001",
            "SENDER_NOT_ALLOWED",
            "from",
        ),
        (
            changed("from", json!("112")),
            "E001",
            "INVALID_VALUE",
            "from",
        ),
        (changed("from", json!("")), "E001", "INVALID_VALUE", "from"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_over_the_limit_is_refused() {
    let house = House::open(&[
        ("receiver.body_limit", "16KiB"),
        ("receiver.batch_body_limit", "64KiB"),
    ])
    .await;
    let partner = house.partner("shop").await;
    let answer = house
        .send(&partner, &changed("text", json!("x".repeat(20_000))))
        .await;
    answer.is_refused(413, "E001", "BODY_TOO_LARGE");
    answer.names(&json!({"limit": 16 * 1024, "unit": "BYTE"}));
    let many = batch((0..1000).map(|n| sms(&format!("order-{n}"))));
    let answer = house.post(&partner, "/v1/messages/batch", &many).await;
    answer.is_refused(413, "E001", "BODY_TOO_LARGE");
    house.nothing_was_kept(&partner).await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_a_thousand_and_one_or_of_none_is_refused_whole() {
    let house = House::open(&[]).await;
    let partner = house.partner("shop").await;
    let many = batch((0..1001).map(|n| sms(&format!("order-{n}"))));
    let answer = house.post(&partner, "/v1/messages/batch", &many).await;
    answer.is_refused(400, "E001", "BATCH_TOO_LARGE");
    answer.names(&json!({"field": "messages", "limit": 1000, "actual": 1001, "unit": "ITEM"}));
    let answer = house.post(&partner, "/v1/messages/batch", &batch([])).await;
    answer.is_refused(400, "E001", "BATCH_EMPTY");
    house.nothing_was_kept(&partner).await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_told_in_korean_to_whoever_asks_for_korean() {
    let house = House::open(&[]).await;
    let partner = house.partner("shop").await;
    let hangul = |text: &str| text.chars().any(|c| ('가'..='힣').contains(&c));
    for (language, korean) in [
        ("ko", true),
        ("ko-KR,ko;q=0.9,en;q=0.8", true),
        ("en,ko;q=0.5", false),
        ("fr", false),
    ] {
        let send = |token: &str, body: &Value| {
            let request = house.client().post(format!("{}/v1/messages", house.base()));
            Answer::to(
                request
                    .bearer_auth(token)
                    .header("accept-language", language)
                    .json(body),
            )
        };
        for answer in [
            send("forged", &sms("order-1")).await,
            send(&partner.token, &changed("from", json!("02-999-9999"))).await,
            send(&partner.token, &changed("type", json!("FAX"))).await,
            send(&partner.token, &changed("text", json!("가".repeat(46)))).await,
            send(&partner.token, &json!([])).await,
        ] {
            assert!(answer.status >= 400);
            assert_eq!(
                hangul(answer.text("message")),
                korean,
                "{language}: {answer:?}"
            );
            let tag = answer.header("content-language");
            assert_eq!(tag, Some(if korean { "ko" } else { "en" }), "{answer:?}");
        }
    }
    house.nothing_was_kept(&partner).await;
    house.close().await;
}
