//! Bad input gets a clear error, and nothing is kept of it.

use std::time::Duration;

use pabal_common::domain::kind::MessageType;
use pabal_common::domain::text::{Unit, limit};
use pabal_common::quota::Room;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::house::{Answer, House, sms};

fn changed(field: &str, value: Value) -> Value {
    let mut request = sms("m-1");
    request[field] = value;
    request
}

/// Nothing was kept, and the client id is as good as new.
async fn nothing_was_kept(house: &House, token: &str) {
    assert_eq!(house.messages().await, 0);
    assert_eq!(house.node.ledger.outbox_size().await.unwrap(), 0);
    let answer = house.post("/v1/messages", token, &sms("m-1")).await;
    assert_eq!(answer.status, 202, "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_told_by_code_reason_and_field() {
    let house = House::new().await;
    let token = house.token(&house.partner("shop").await);
    for (field, value, code, reason) in [
        ("to", Value::Null, "E001", "MISSING_FIELD"),
        ("to", json!(""), "E001", "INVALID_RECIPIENT"),
        ("to", json!("02-123-4567"), "E001", "INVALID_RECIPIENT"),
        (
            "to",
            json!("+1 415 555 2671"),
            "E001",
            "INTERNATIONAL_NOT_SUPPORTED",
        ),
        ("to", json!(1_012_345_678), "E001", "INVALID_VALUE"),
        ("from", Value::Null, "E001", "MISSING_FIELD"),
        ("from", json!("02-999-9999"), "E001", "SENDER_NOT_ALLOWED"),
        ("from", json!("112"), "E001", "INVALID_VALUE"),
        ("text", json!(""), "E001", "INVALID_VALUE"),
        ("text", json!("밥 😀"), "E001", "UNENCODABLE_CHARACTER"),
        ("text", json!("가".repeat(46)), "E006", "TEXT_TOO_LONG"),
        ("type", json!("FAX"), "E005", "UNKNOWN_MESSAGE_TYPE"),
        ("type", json!(1), "E001", "INVALID_VALUE"),
        ("purpose", json!("OTP"), "E001", "INVALID_VALUE"),
        ("clientMsgId", json!("a b"), "E001", "INVALID_VALUE"),
        ("validitySeconds", json!(9), "E001", "INVALID_VALUE"),
        ("metadata", json!("x"), "E001", "INVALID_VALUE"),
        (
            "metadata",
            json!({"k": "x".repeat(2048)}),
            "E001",
            "INVALID_VALUE",
        ),
        ("subject", json!("제목"), "E001", "FIELD_NOT_ALLOWED"),
        (
            "template",
            json!({"code": "T"}),
            "E001",
            "FIELD_NOT_ALLOWED",
        ),
        ("receiver", json!("x"), "E001", "UNKNOWN_FIELD"),
    ] {
        let answer = house
            .post("/v1/messages", &token, &changed(field, value))
            .await;
        answer.is_refused(400, code, reason);
        answer.names(field);
        assert!(answer.header("x-request-id").is_some());
    }
    nothing_was_kept(&house, &token).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_one_too_long_is_told_limit_length_and_unit_of_its_type() {
    let house = House::new().await;
    let token = house.token(&house.partner("shop").await);
    for kind in MessageType::ALL {
        let longest = limit(kind);
        let length = match longest.unit {
            Unit::Byte => longest.max / 2,
            Unit::Character => longest.max,
        };
        let mut request = json!({"clientMsgId": "m-1", "type": kind.name(), "to": "01012345678"});
        let needs = match kind {
            MessageType::Sms | MessageType::Lms | MessageType::Mms => json!({"from": "021234567"}),
            MessageType::KakaoAlimtalk => {
                json!({"template": {"code": "T"}, "channel": {"senderKey": "k"}})
            }
            MessageType::KakaoBrandMessage => json!({"channel": {"senderKey": "k"}}),
            MessageType::NaverTalk => json!({"channel": {"talkId": "t"}}),
            MessageType::Rcs => json!({"from": "021234567",
                "channel": {"brandId": "b", "chatbotId": "c", "messagebaseId": "m"}}),
            MessageType::Email => json!({"to": "kim@mail.example", "from": "shop@shop.example",
                "subject": "s"}),
        };
        request
            .as_object_mut()
            .unwrap()
            .extend(needs.as_object().unwrap().clone());
        request["text"] = json!("가".repeat(length) + ".");
        let answer = house.post("/v1/messages", &token, &request).await;
        answer.is_refused(400, "E006", "TEXT_TOO_LONG");
        assert_eq!(
            answer.body["details"],
            json!([{"field": "text", "rule": "maxLength", "limit": longest.max,
                "actual": longest.max + 1, "unit": longest.unit.name()}])
        );
    }
    nothing_was_kept(&house, &token).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_cannot_be_read_are_refused() {
    let house = House::with(|config| config.body_bytes = 16 * 1024).await;
    let token = house.token(&house.partner("shop").await);
    for body in [
        "",
        "{",
        "{\"clientMsgId\": \"m-1\",}",
        "{} {}",
        "\u{feff}{}",
    ] {
        let answer = house
            .post_text("/v1/messages", &token, body.to_owned())
            .await;
        answer.is_refused(400, "E001", "INVALID_JSON");
        assert!(answer.body["details"][0]["position"].is_u64(), "{answer:?}");
    }
    let large = changed("text", json!("x".repeat(16 * 1024)));
    let answer = house.post("/v1/messages", &token, &large).await;
    answer.is_refused(413, "E001", "BODY_TOO_LARGE");
    let request = house.client.post(format!("{}/v1/messages", house.base));
    let answer = Answer::to(request.bearer_auth(&token).body(sms("m-1").to_string())).await;
    answer.is_refused(415, "E001", "UNSUPPORTED_MEDIA_TYPE");
    nothing_was_kept(&house, &token).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_arrive_in_time_is_given_up() {
    let house = House::with(|config| config.body_deadline = Duration::from_millis(200)).await;
    let token = house.token(&house.partner("shop").await);
    let address = house.base.strip_prefix("http://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /v1/messages HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: 100\r\n\r\n{{"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let reading = stream.read_to_string(&mut answer);
    tokio::time::timeout(Duration::from_secs(10), reading)
        .await
        .unwrap()
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("BODY_TOO_SLOW"), "{answer}");
    nothing_was_kept(&house, &token).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_told_in_the_callers_language() {
    let house = House::new().await;
    let token = house.token(&house.partner("shop").await);
    for (language, word) in [
        ("ko-KR,ko;q=0.9", "발신"),
        ("en", "sender"),
        ("fr", "sender"),
    ] {
        let request = house.client.post(format!("{}/v1/messages", house.base));
        let request = request
            .bearer_auth(&token)
            .header("accept-language", language);
        let answer = Answer::to(request.json(&changed("from", json!("02-999-9999")))).await;
        answer.is_refused(400, "E001", "SENDER_NOT_ALLOWED");
        assert!(
            answer.text("message").contains(word),
            "{language}: {answer:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_the_rate_is_told_when_to_come_back() {
    let house = House::new().await;
    let token = house.token(&house.partner("shop").await);
    house.quota.say(Room::Wait(Duration::from_millis(1500)));
    let answer = house.post("/v1/messages", &token, &sms("m-1")).await;
    answer.is_refused(429, "E003", "RATE_LIMITED");
    assert_eq!(answer.retry_after(), Some(2));
    let answer = house
        .post(
            "/v1/messages/batch",
            &token,
            &json!({"messages": [sms("m-1")]}),
        )
        .await;
    answer.is_refused(429, "E003", "RATE_LIMITED");
    house.quota.say(Room::Granted);
    nothing_was_kept(&house, &token).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_beyond_a_whole_seconds_rate_is_told_that_it_is_too_large() {
    let house = House::new().await;
    let partner = house
        .partner_with("shop", |partner| partner.per_second = 2)
        .await;
    let batch = json!({"messages": [sms("a"), sms("b"), sms("c")]});
    let answer = house
        .post("/v1/messages/batch", &house.token(&partner), &batch)
        .await;
    // No waiting makes room for it, so nothing says when to come again.
    answer.is_refused(400, "E001", "BATCH_TOO_LARGE");
    assert_eq!(answer.retry_after(), None);
    let detail = &answer.body["details"][0];
    assert_eq!(
        (&detail["limit"], &detail["actual"]),
        (&json!(2), &json!(3))
    );
    assert_eq!(house.messages().await, 0);
}
