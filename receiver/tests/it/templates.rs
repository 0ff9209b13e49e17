//! Registered templates.

use pabal_common::clock::Clock as _;
use pabal_common::domain::id::MessageId;
use pabal_common::domain::message::Button;
use pabal_common::domain::template::{
    RegisteredTemplate, TemplateForm, TemplateKey, TemplateState,
};
use pabal_receiver::TemplatePolicy;
use serde_json::{Value, json};

use crate::house::{House, START, eventually};

const SENDER_KEY: &str = "0123456789abcdef0123456789abcdef01234567";

fn key(code: &str) -> TemplateKey {
    TemplateKey {
        sender_key: SENDER_KEY.to_owned(),
        code: code.to_owned(),
    }
}

async fn register(house: &House, partner: &str, code: &str) {
    let template = RegisteredTemplate {
        partner: partner.parse().unwrap(),
        key: key(code),
        form: TemplateForm {
            text: "#{name}님, 발송되었습니다.".to_owned(),
            buttons: vec![Button {
                kind: "WL".to_owned(),
                name: "조회".to_owned(),
                url: Some("https://shop.example/#{no}".to_owned()),
            }],
        },
        state: TemplateState::Approved,
    };
    let (ledger, now) = (&house.node.ledger, house.clock.now());
    ledger.put_templates(&[template], now).await.unwrap();
}

fn alimtalk(client: &str, text: Option<&str>) -> Value {
    json!({
        "clientMsgId": client,
        "type": "KAKAO_ALIMTALK",
        "to": "010-1234-5678",
        "text": text,
        "template": {"code": "ORDER", "variables": {"name": "홍길동", "no": "7"}},
        "channel": {"senderKey": SENDER_KEY},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alimtalk_is_filled_in_from_its_partners_template_and_held_to_it() {
    let house = House::new().await;
    let (shop, mall) = (house.partner("shop").await, house.partner("mall").await);
    register(&house, "shop", "ORDER").await;
    let token = house.token(&shop);
    let answer = house
        .post("/v1/messages", &token, &alimtalk("m-1", None))
        .await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let id: MessageId = answer.text("messageId").parse().unwrap();
    let content = house.content(id).await;
    assert_eq!(content.text, "홍길동님, 발송되었습니다.");
    assert_eq!(
        content.buttons[0].url.as_deref(),
        Some("https://shop.example/7")
    );

    // Written out, it is the same request.
    let whole = alimtalk("m-1", Some("홍길동님, 발송되었습니다."));
    let answer = house.post("/v1/messages", &token, &whole).await;
    answer.is_refused(409, "E004", "SAME");

    let other = alimtalk("m-2", Some("홍길동님, 반송되었습니다."));
    let answer = house.post("/v1/messages", &token, &other).await;
    answer.is_refused(400, "E001", "TEMPLATE_MISMATCH");
    answer.names("text");
    assert_eq!(answer.body["details"][0]["position"], 6);
    // Another partner's template is none.
    let answer = house
        .post("/v1/messages", &house.token(&mall), &other)
        .await;
    assert_eq!(answer.status, 202, "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_that_is_suspended_is_refused_within_seconds_and_taken_when_it_is_resumed() {
    let house = House::new().await;
    let shop = house.partner("shop").await;
    register(&house, "shop", "ORDER").await;
    let token = house.token(&shop);
    let sent = house
        .post("/v1/messages", &token, &alimtalk("m-0", None))
        .await;
    assert_eq!(sent.status, 202);
    for (state, status, round) in [
        (TemplateState::Suspended, 400, "a"),
        (TemplateState::Approved, 202, "b"),
    ] {
        let (key, now) = (key("ORDER"), house.clock.now());
        let ledger = &house.node.ledger;
        assert!(
            ledger
                .set_template_state(&shop.id, &key, state, now)
                .await
                .unwrap()
        );
        let mut number = 0;
        eventually(async || {
            number += 1;
            let request = alimtalk(&format!("m-{round}{number}"), None);
            house.post("/v1/messages", &token, &request).await.status == status
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_templates_are_required_one_that_is_not_registered_is_refused() {
    let house = House::with(|config| config.templates = TemplatePolicy::Required).await;
    let token = house.token(&house.partner("shop").await);
    let request = alimtalk("m-1", Some("무엇이든"));
    let answer = house.post("/v1/messages", &token, &request).await;
    answer.is_refused(400, "E001", "TEMPLATE_NOT_FOUND");
    answer.names("template.code");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partner_sees_its_own_templates_page_by_page() {
    let house = House::new().await;
    let (shop, mall) = (house.partner("shop").await, house.partner("mall").await);
    for code in ["C", "A", "B"] {
        register(&house, "shop", code).await;
    }
    register(&house, "mall", "D").await;
    let token = house.token(&shop);
    let first = house.get("/v1/templates?limit=2", &token).await;
    assert_eq!(first.status, 200, "{first:?}");
    assert_eq!(
        first.body["items"][0],
        json!({
            "senderKey": SENDER_KEY,
            "code": "A",
            "text": "#{name}님, 발송되었습니다.",
            "variables": ["name", "no"],
            "buttons": [{"type": "WL", "name": "조회", "url": "https://shop.example/#{no}"}],
            "state": "APPROVED",
            "updatedAt": START.to_rfc3339(),
        })
    );
    let next = format!("/v1/templates?limit=2&cursor={}", first.text("nextCursor"));
    let second = house.get(&next, &token).await;
    assert_eq!(second.body["items"][0]["code"], "C");
    assert_eq!(second.body["items"].as_array().unwrap().len(), 1);
    assert_eq!(second.body["nextCursor"], Value::Null);
    let others = house.get("/v1/templates", &house.token(&mall)).await;
    assert_eq!(others.body["items"].as_array().unwrap().len(), 1);

    let answer = house.get("/v1/templates?cursor=x", &token).await;
    answer.is_refused(400, "E001", "INVALID_CURSOR");
    let answer = house.get("/v1/templates?limit=101", &token).await;
    answer.is_refused(400, "E001", "INVALID_VALUE");
}
