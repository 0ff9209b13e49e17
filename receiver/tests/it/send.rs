//! `POST /v1/messages`, where all is well.

use futures::future::join_all;
use pabal_common::broker::QueueName;
use pabal_common::domain::id::MessageId;
use pabal_common::domain::kind::{Channel, Lane, MessageType};
use pabal_common::domain::status::Status;
use serde_json::{Value, json};

use crate::house::{House, START, eventually, sms};

#[tokio::test(flavor = "multi_thread")]
async fn an_accepted_message_is_kept_and_brought_to_its_queue() {
    let house = House::new().await;
    let partner = house.partner("shop").await;
    let token = house.token(&partner);
    let mut request = sms("m-1");
    request["metadata"] = json!({"campaign": "spring"});
    let answer = house.post("/v1/messages", &token, &request).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let id: MessageId = answer.text("messageId").parse().unwrap();
    assert_eq!(
        answer.body,
        json!({
            "code": "0000",
            "messageId": id.to_string(),
            "clientMsgId": "m-1",
            "status": "RECEIVED",
            "acceptedAt": START.to_rfc3339(),
        })
    );
    let kept = house.node.ledger.message(id).await.unwrap().unwrap();
    assert_eq!((kept.partner, kept.status), (partner.id, Status::Received));
    assert_eq!((kept.kind, kept.lane), (MessageType::Sms, Lane::Ordinary));
    assert_eq!(kept.accepted_at, START);
    assert_eq!(kept.valid_until.since(START).as_secs(), 86_400);
    assert_eq!(kept.metadata.as_deref(), Some(r#"{"campaign":"spring"}"#));
    let queue = QueueName::of(MessageType::Sms, Lane::Ordinary);
    eventually(async || house.ready(queue).await == 1).await;
    house.outbox_is_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_content_lies_sealed_in_the_ledger_with_the_number_as_vendors_write_it() {
    let house = House::new().await;
    let token = house.token(&house.partner("shop").await);
    let mut request = sms("m-1");
    request["to"] = json!("+82 10-1234-5678");
    request["text"] = json!("매우 비밀\r\n입니다");
    let answer = house.post("/v1/messages", &token, &request).await;
    let id: MessageId = answer.text("messageId").parse().unwrap();

    let content = house.content(id).await;
    assert_eq!(content.to, "01012345678");
    assert_eq!(content.from.as_deref(), Some("021234567"));
    assert_eq!(content.text, "매우 비밀\n입니다");
    house.outbox_is_empty().await;
    for file in std::fs::read_dir(house.file.parent().unwrap()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        for secret in ["01012345678", "10-1234-5678", "매우 비밀"] {
            let found = bytes
                .windows(secret.len())
                .any(|part| part == secret.as_bytes());
            assert!(!found, "{secret} can be read");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_goes_to_its_queue() {
    let house = House::new().await;
    let token = house.token(&house.partner("shop").await);
    let requests = [
        json!({"type": "SMS", "from": "021234567"}),
        json!({"type": "LMS", "from": "021234567", "subject": "제목"}),
        json!({"type": "MMS", "from": "021234567"}),
        json!({"type": "KAKAO_ALIMTALK", "template": {"code": "T", "variables": {"a": "b"}},
            "channel": {"senderKey": "k"},
            "buttons": [{"type": "WL", "name": "열기", "url": "https://a.example"}]}),
        json!({"type": "KAKAO_BRAND_MESSAGE", "purpose": "AD", "channel": {"senderKey": "k"}}),
        json!({"type": "NAVER_TALK", "to": "u-1", "channel": {"talkId": "t"}}),
        json!({"type": "RCS", "from": "021234567", "subject": "제목",
            "channel": {"brandId": "b", "chatbotId": "c", "messagebaseId": "m"}}),
        json!({"type": "EMAIL", "to": "kim@mail.example", "from": "shop@shop.example", "subject": "제목"}),
    ];
    for (n, mut request) in requests.into_iter().enumerate() {
        request["clientMsgId"] = json!(format!("m-{n}"));
        request["text"] = json!("안녕하세요");
        if request["to"].is_null() {
            request["to"] = json!("01012345678");
        }
        let answer = house.post("/v1/messages", &token, &request).await;
        assert_eq!(answer.status, 202, "{request}: {answer:?}");
    }
    for channel in Channel::ALL {
        let queue = QueueName::Send(channel, Lane::Ordinary);
        let expected = channel.kinds().count() as u64;
        eventually(async || house.ready(queue).await == expected).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_comes_from_a_domain_on_its_partners_list_and_from_none_below_it() {
    let house = House::new().await;
    let token = house.token(&house.partner("shop").await);
    let from = |n: usize, from: &str| {
        json!({"clientMsgId": format!("m-{n}"), "type": "EMAIL", "to": "kim@mail.example",
            "from": from, "subject": "제목", "text": "안녕하세요"})
    };
    let taken = house
        .post("/v1/messages", &token, &from(0, "Shop <a@Shop.Example>"))
        .await;
    assert_eq!(taken.status, 202, "{taken:?}");
    for (n, foreign) in [
        "a@other.example",
        "a@news.shop.example",
        "a@notshop.example",
    ]
    .iter()
    .enumerate()
    {
        let answer = house
            .post("/v1/messages", &token, &from(n + 1, foreign))
            .await;
        answer.is_refused(400, "E001", "SENDER_NOT_ALLOWED");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_twenty_requests_at_once_under_one_client_id_one_is_accepted() {
    let house = House::new().await;
    let partner = house.partner("shop").await;
    let token = house.token(&partner);
    let request = sms("m-1");
    let answers = join_all((0..20).map(|_| house.post("/v1/messages", &token, &request))).await;
    let (accepted, repeated): (Vec<_>, Vec<_>) = answers.iter().partition(|a| a.status == 202);
    assert_eq!(accepted.len(), 1);
    for answer in repeated {
        answer.is_refused(409, "E004", "SAME");
        assert_eq!(answer.text("messageId"), accepted[0].text("messageId"));
    }
    assert_eq!(house.messages().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_is_the_same_however_it_is_written_and_a_conflict_if_it_says_something_else() {
    let house = House::new().await;
    let token = house.token(&house.partner("shop").await);
    let original = house.post("/v1/messages", &token, &sms("m-1")).await;
    let same = r#"{ "text":"안녕하세요", "purpose":"INFO", "from":"021234567",
        "to":"+821012345678", "type":"SMS", "clientMsgId":"m-1" }"#;
    let mut other = sms("m-1");
    other["text"] = json!("안녕히 가세요");
    // First with the client id remembered, then by the ledger alone.
    for _ in 0..2 {
        let answer = house
            .post_text("/v1/messages", &token, same.to_owned())
            .await;
        answer.is_refused(409, "E004", "SAME");
        assert_eq!(answer.text("messageId"), original.text("messageId"));
        let answer = house.post("/v1/messages", &token, &other).await;
        answer.is_refused(409, "E004", "CONFLICT");
        assert_eq!(answer.text("messageId"), original.text("messageId"));
        house.quota.forget();
    }
    assert_eq!(house.messages().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_id_is_its_partners_own_and_compared_to_the_letter() {
    let house = House::new().await;
    let one = house.token(&house.partner("one").await);
    let two = house.token(&house.partner("two").await);
    for (token, client) in [(&one, "m-a"), (&two, "m-a"), (&one, "m-A")] {
        let answer = house.post("/v1/messages", token, &sms(client)).await;
        assert_eq!(answer.status, 202, "{client}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partner_that_chose_so_has_characters_replaced() {
    let house = House::new().await;
    let policy = "replace:?".parse().unwrap();
    let partner = house
        .partner_with("shop", |partner| partner.unencodable = policy)
        .await;
    let mut request = sms("m-1");
    request["text"] = json!("밥 먹자 😀");
    let answer = house
        .post("/v1/messages", &house.token(&partner), &request)
        .await;
    assert_eq!(answer.status, 202, "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_waits_for_what_was_taken_and_takes_no_more() {
    let house = House::new().await;
    let token = house.token(&house.partner("shop").await);
    let answer = house.post("/v1/messages", &token, &sms("m-1")).await;
    assert_eq!(answer.status, 202);
    let shutdown = tokio_util::sync::CancellationToken::new();
    shutdown.cancel();
    house.receiver.run(shutdown).await;
    let queue = QueueName::of(MessageType::Sms, Lane::Ordinary);
    assert_eq!(house.ready(queue).await, 1);
    let answer = house.post("/v1/messages", &token, &sms("m-2")).await;
    answer.is_refused(503, "E100", "OVERLOADED");
    assert!(answer.retry_after().is_some());
    assert_ne!(answer.body["details"], Value::Null);
}
