//! `POST /v1/messages/batch`.

use std::fmt::Write as _;

use pabal_common::quota::Meter;
use serde_json::{Value, json};

use crate::house::{Answer, House, sms};

async fn send(house: &House, token: &str, messages: &[Value]) -> Answer {
    house
        .post("/v1/messages/batch", token, &json!({"messages": messages}))
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_message_is_judged_by_itself_and_results_keep_the_order() {
    let house = House::new().await;
    let token = house.token(&house.partner("shop").await);
    let before = house.post("/v1/messages", &token, &sms("known")).await;
    let changed = |client: &str, field: &str, value: Value| {
        let mut request = sms(client);
        request[field] = value;
        request
    };
    let messages = [
        sms("a"),
        changed("b", "to", json!("112")),
        changed("c", "type", json!("FAX")),
        sms("known"),
        changed("known", "text", json!("다른 내용")),
        changed("d", "nonsense", json!(1)),
        changed("e", "to", json!(["x"])),
        json!("not a message"),
        changed("나", "to", json!("112")),
        changed("f", "text", json!("가".repeat(46))),
        sms("g"),
    ];
    let answer = send(&house, &token, &messages).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.text("code"), "0000");
    assert_eq!(
        (&answer.body["accepted"], &answer.body["rejected"]),
        (&json!(2), &json!(9))
    );
    let known = before.text("messageId");
    let results = answer.body["results"].as_array().unwrap();
    for (index, (client, code, reason, field)) in [
        (Some("a"), "0000", None, None),
        (
            Some("b"),
            "E001",
            Some("INVALID_RECIPIENT"),
            Some("messages[1].to"),
        ),
        (
            Some("c"),
            "E005",
            Some("UNKNOWN_MESSAGE_TYPE"),
            Some("messages[2].type"),
        ),
        (Some("known"), "E004", Some("SAME"), None),
        (Some("known"), "E004", Some("CONFLICT"), None),
        (
            Some("d"),
            "E001",
            Some("UNKNOWN_FIELD"),
            Some("messages[5].nonsense"),
        ),
        (
            Some("e"),
            "E001",
            Some("INVALID_VALUE"),
            Some("messages[6].to"),
        ),
        (None, "E001", Some("INVALID_VALUE"), Some("messages[7]")),
        (
            None,
            "E001",
            Some("INVALID_VALUE"),
            Some("messages[8].clientMsgId"),
        ),
        (
            Some("f"),
            "E006",
            Some("TEXT_TOO_LONG"),
            Some("messages[9].text"),
        ),
        (Some("g"), "0000", None, None),
    ]
    .into_iter()
    .enumerate()
    {
        let result = &results[index];
        assert_eq!(result["index"], index, "{result}");
        assert_eq!(result["clientMsgId"].as_str(), client, "{result}");
        assert_eq!(result["code"].as_str(), Some(code), "{result}");
        assert_eq!(result["reason"].as_str(), reason, "{result}");
        assert_eq!(result["details"][0]["field"].as_str(), field, "{result}");
        let id = result["messageId"].as_str();
        match code {
            "0000" => assert_eq!(id.unwrap().len(), 13),
            "E004" => assert_eq!(id, Some(known)),
            _ => assert_eq!(id, None),
        }
    }
    assert_eq!(results.len(), 11);
    assert_eq!(house.messages().await, 3);
    assert_eq!(
        house.quota.taken(),
        [
            (Meter::Messages, 1),
            (Meter::Fair, 1),
            (Meter::Messages, 11),
            // Of those that were good, at once.
            (Meter::Fair, 4),
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_with_one_client_id_in_a_batch_the_first_is_accepted() {
    let house = House::new().await;
    let partner = house.partner("shop").await;
    let token = house.token(&partner);
    let mut other = sms("m-1");
    other["text"] = json!("다른 내용");
    let mut refused = sms("m-2");
    refused["to"] = json!("");
    let messages = [sms("m-1"), other, sms("m-1"), refused, sms("m-2")];
    let answer = send(&house, &token, &messages).await;
    let results = &answer.body["results"];
    let codes: Vec<_> = (0..5)
        .map(|n| results[n]["code"].as_str().unwrap())
        .collect();
    // What was refused used up no client id.
    assert_eq!(codes, ["0000", "E004", "E004", "E001", "0000"]);
    assert_eq!(
        (&results[1]["reason"], &results[2]["reason"]),
        (&json!("CONFLICT"), &json!("SAME"))
    );
    let first = house
        .stored_under(&partner, "m-1")
        .await
        .unwrap()
        .to_string();
    for n in 0..3 {
        assert_eq!(results[n]["messageId"], first.as_str());
    }
    assert_eq!(house.messages().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_messages_are_accepted_and_a_repeat_finds_them_all() {
    let house = House::new().await;
    let token = house.token(&house.partner("shop").await);
    let messages: Vec<_> = (0..1000).map(|n| sms(&format!("m-{n}"))).collect();
    let answer = send(&house, &token, &messages).await;
    assert_eq!(
        (answer.status, &answer.body["accepted"]),
        (200, &json!(1000))
    );
    assert_eq!(house.messages().await, 1000);

    house.quota.say(pabal_common::quota::Room::Granted);
    let again = send(&house, &token, &messages).await;
    assert_eq!(again.body["rejected"], 1000);
    for n in 0..1000 {
        let (first, second) = (&answer.body["results"][n], &again.body["results"][n]);
        assert_eq!(second["reason"], "SAME");
        assert_eq!(second["messageId"], first["messageId"]);
    }
    house.outbox_is_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_and_one_are_too_many_and_none_too_few() {
    let house = House::new().await;
    let token = house.token(&house.partner("shop").await);
    let messages: Vec<_> = (0..1001).map(|n| sms(&format!("m-{n}"))).collect();
    let answer = send(&house, &token, &messages).await;
    answer.is_refused(400, "E001", "BATCH_TOO_LARGE");
    assert_eq!(
        answer.body["details"],
        json!([{"field": "messages", "rule": "maxItems", "limit": 1000, "actual": 1001,
            "unit": "ITEM"}])
    );
    send(&house, &token, &[])
        .await
        .is_refused(400, "E001", "BATCH_EMPTY");
    assert_eq!(house.messages().await, 0);
    assert!(house.quota.taken().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_countless_tiny_items_is_counted_and_refused() {
    let house = House::new().await;
    let token = house.token(&house.partner("shop").await);
    let mut body = String::from("{\"messages\":[0");
    for _ in 1..1_000_000 {
        write!(body, ",0").unwrap();
    }
    body.push_str("]}");
    let answer = house.post_text("/v1/messages/batch", &token, body).await;
    answer.is_refused(400, "E001", "BATCH_TOO_LARGE");
    assert_eq!(answer.body["details"][0]["actual"], 1_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_batch_is_refused_whole() {
    let house = House::new().await;
    let token = house.token(&house.partner("shop").await);
    for (body, reason, field) in [
        ("[]", "INVALID_VALUE", "body"),
        ("{}", "MISSING_FIELD", "messages"),
        (r#"{"messages": {}}"#, "INVALID_VALUE", "messages"),
        (r#"{"messages": [], "x": 1}"#, "UNKNOWN_FIELD", "x"),
        (r#"{"messages": [{]}"#, "INVALID_JSON", "body"),
    ] {
        let answer = house
            .post_text("/v1/messages/batch", &token, body.to_owned())
            .await;
        answer.is_refused(400, "E001", reason);
        answer.names(field);
    }
    let large = format!(r#"{{"messages": ["{}"]}}"#, "x".repeat(8 << 20));
    let answer = house.post_text("/v1/messages/batch", &token, large).await;
    answer.is_refused(413, "E001", "BODY_TOO_LARGE");
}
