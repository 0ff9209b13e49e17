//! What is posted, field by field as the documentation of SMS v3.0, Alimtalk v2.3 and Brand Message
//! v1.0 names it.

use axum::http::Method;
use pabal_common::domain::kind::{MessageType, Purpose};
use pabal_common::domain::message::{Button, Template};
use pabal_provider::{Outcome, Outgoing};
use serde_json::{Value, json};

use crate::canned::{Canned, Seen};
use crate::world::{Line, SENDER_KEY, answers, call, message, provider};

/// How `message` is posted by an account of `product`.
async fn posted(product: &str, more: &str, message: Outgoing) -> Seen {
    let vendor = Canned::saying("no answer that matters here").await;
    let call = call(message);
    let outcome = provider(&vendor.base_url, product, more)
        .submit(&call)
        .await;
    assert!(matches!(outcome, Outcome::Unknown(_)), "{outcome:?}");
    let [seen] = vendor.seen().try_into().unwrap();
    let seen: Seen = seen;
    assert_eq!(seen.method, Method::POST);
    assert_eq!(seen.header("x-secret-key"), Some("simulator-key"));
    assert_eq!(seen.header("content-type"), Some("application/json"));
    let key = call.submission.to_string();
    let key = (product == "kakao").then_some(key.as_str());
    assert_eq!(seen.header("x-nc-api-idempotency-key"), key);
    seen
}

fn sms(kind: MessageType, purpose: Purpose, text: &str) -> Outgoing {
    let mut message = message(Line::Sms, 0);
    message.kind = kind;
    message.purpose = purpose;
    message.content.text = text.to_owned();
    message
}

#[tokio::test]
async fn a_short_message() {
    let message = sms(MessageType::Sms, Purpose::Info, "본문");
    let id = message.id;
    let seen = posted("sms", "origin_code = \"123456789\"", message).await;
    assert_eq!(seen.path, "/sms/v3.0/appKeys/simulator-app-key/sender/sms");
    let expected = json!({
        "body": "본문",
        "sendNo": "15446859",
        "recipientList": [{
            "recipientNo": "01012345600",
            "recipientGroupingKey": id.to_string(),
        }],
        "originCode": "123456789",
    });
    assert_eq!(seen.body, expected);
}

#[tokio::test]
async fn a_long_message_bears_its_subject_or_its_first_line_as_title() {
    for (subject, text, title) in [
        (Some("제목"), "본문", "제목"),
        (None, "\n  첫 줄  \n둘째 줄", "첫 줄"),
        (None, "0123456789012345678901234", "01234567890123456789"),
    ] {
        let mut message = sms(MessageType::Lms, Purpose::Info, text);
        message.content.subject = subject.map(str::to_owned);
        let seen = posted("sms", "", message).await;
        assert_eq!(seen.path, "/sms/v3.0/appKeys/simulator-app-key/sender/mms");
        assert_eq!(seen.body["title"], json!(title));
        assert_eq!(seen.body["body"], json!(text));
    }
}

#[tokio::test]
async fn the_purpose_chooses_the_service() {
    use MessageType::{Lms, Mms, Sms};
    let ad = "(광고) 할인\n무료수신거부 0801234567";
    for (kind, purpose, text, service) in [
        (Sms, Purpose::Info, "인증번호 1234", "sms"),
        (Sms, Purpose::Auth, "인증번호 1234", "auth/sms"),
        (Sms, Purpose::Auth, "Your PassWord is 1234", "auth/sms"),
        // Without a word that says so, NHN would refuse it there.
        (Sms, Purpose::Auth, "1234", "sms"),
        (Lms, Purpose::Auth, "인증번호 1234", "mms"),
        (Sms, Purpose::Ad, ad, "ad-sms"),
        (Lms, Purpose::Ad, ad, "ad-mms"),
        (Mms, Purpose::Info, "본문", "mms"),
    ] {
        let seen = posted("sms", "", sms(kind, purpose, text)).await;
        let service = format!("/sms/v3.0/appKeys/simulator-app-key/sender/{service}");
        assert_eq!(seen.path, service, "{kind} {purpose:?}");
    }
}

fn kakao(
    line: Line,
    template: Option<Template>,
    buttons: &[(&str, &str, Option<&str>)],
) -> Outgoing {
    let mut message = message(line, 0);
    message.content.text = "홍길동님의 인증번호 1234".to_owned();
    message.content.template = template;
    let button = |(kind, name, url): &(&str, &str, Option<&str>)| Button {
        kind: (*kind).to_owned(),
        name: (*name).to_owned(),
        url: url.map(str::to_owned),
    };
    message.content.buttons = buttons.iter().map(button).collect();
    message
}

fn template(variables: &[(&str, &str)]) -> Template {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Template {
        code: "ORDER".to_owned(),
        variables: variables.iter().map(own).collect(),
    }
}

#[tokio::test]
async fn an_alimtalk_with_variables_is_filled_in_by_the_vendor() {
    let template = template(&[("이름", "홍길동")]);
    let message = kakao(
        Line::Alimtalk,
        Some(template),
        &[("WL", "보기", Some("https://a.example"))],
    );
    let id = message.id;
    let seen = posted("kakao", "", message).await;
    assert_eq!(
        seen.path,
        "/alimtalk/v2.3/appkeys/simulator-app-key/messages"
    );
    let expected = json!({
        "senderKey": SENDER_KEY,
        "templateCode": "ORDER",
        "recipientList": [{
            "recipientNo": "01012345600",
            "templateParameter": {"이름": "홍길동"},
            "resendParameter": {"isResend": false},
            "recipientGroupingKey": id.to_string(),
        }],
    });
    assert_eq!(seen.body, expected);
}

#[tokio::test]
async fn an_alimtalk_without_variables_goes_as_it_is() {
    let buttons = [
        ("WL", "보기", Some("https://a.example")),
        ("AL", "앱", Some("shop://a")),
        ("TN", "전화 연결", Some("tel:0212345678")),
        ("BK", "키워드", None),
    ];
    let message = kakao(Line::Alimtalk, Some(template(&[])), &buttons);
    let id = message.id;
    let seen = posted("kakao", "", message).await;
    assert_eq!(
        seen.path,
        "/alimtalk/v2.3/appkeys/simulator-app-key/raw-messages"
    );
    let expected = json!({
        "senderKey": SENDER_KEY,
        "templateCode": "ORDER",
        "recipientList": [{
            "recipientNo": "01012345600",
            "content": "홍길동님의 인증번호 1234",
            "buttons": [
                {"ordering": 1, "type": "WL", "name": "보기", "linkMo": "https://a.example"},
                {"ordering": 2, "type": "AL", "name": "앱", "schemeIos": "shop://a",
                    "schemeAndroid": "shop://a"},
                {"ordering": 3, "type": "TN", "name": "전화 연결", "telNumber": "0212345678"},
                {"ordering": 4, "type": "BK", "name": "키워드"},
            ],
            "resendParameter": {"isResend": false},
            "recipientGroupingKey": id.to_string(),
        }],
    });
    assert_eq!(seen.body, expected);
}

#[tokio::test]
async fn an_authentication_alimtalk_takes_the_vendors_own_way() {
    for (variables, service) in [
        (&[("번호", "1234")][..], "auth/messages"),
        (&[], "auth/raw-messages"),
    ] {
        let mut message = kakao(Line::Alimtalk, Some(template(variables)), &[]);
        message.purpose = Purpose::Auth;
        let seen = posted("kakao", "", message).await;
        let service = format!("/alimtalk/v2.3/appkeys/simulator-app-key/{service}");
        assert_eq!(seen.path, service);
    }
}

#[tokio::test]
async fn a_brand_message_of_its_own_text() {
    let message = kakao(
        Line::Brand,
        None,
        &[("WL", "보기", Some("https://a.example"))],
    );
    let id = message.id;
    let seen = posted("kakao", "reseller_code = \"R1\"", message).await;
    let path = "/brand-message/v1.0/appkeys/simulator-app-key/freestyle-messages";
    assert_eq!(seen.path, path);
    let expected = json!({
        "senderKey": SENDER_KEY,
        "chatBubbleType": "TEXT",
        "content": "홍길동님의 인증번호 1234",
        "buttons": [{"type": "WL", "name": "보기", "linkMo": "https://a.example"}],
        "recipientList": [{
            "recipientNo": "01012345600",
            "targeting": "I",
            "resendParameter": {"isResend": false},
            "recipientGroupingKey": id.to_string(),
        }],
        "resellerCode": "R1",
    });
    assert_eq!(seen.body, expected);
}

#[tokio::test]
async fn a_brand_message_from_a_template() {
    let message = kakao(Line::Brand, Some(template(&[("이름", "홍길동")])), &[]);
    let seen = posted("kakao", "targeting = \"M\"", message).await;
    let path = "/brand-message/v1.0/appkeys/simulator-app-key/basic-messages";
    assert_eq!(seen.path, path);
    assert_eq!(seen.body["templateCode"], json!("ORDER"));
    let recipient = &seen.body["recipientList"][0];
    assert_eq!(recipient["targeting"], json!("M"));
    assert_eq!(recipient["templateParameter"], json!({"이름": "홍길동"}));
    assert_eq!(seen.body.get("content"), None::<&Value>);
}

#[tokio::test]
async fn what_a_product_cannot_carry_is_refused_before_anything_is_sent() {
    let mut no_sender = message(Line::Sms, 0);
    no_sender.content.from = None;
    let mut no_profile = message(Line::Brand, 0);
    no_profile.content.channel.sender_key = None;
    let no_template = kakao(Line::Alimtalk, None, &[]);
    for (product, message, expected) in [
        ("sms", message(Line::Alimtalk, 0), "-1006"),
        ("sms", no_sender, "-2103"),
        ("kakao", message(Line::Sms, 0), "-9998"),
        ("kakao", no_profile, "-2017"),
        ("kakao", no_template, "-3003"),
    ] {
        let vendor = Canned::saying("{}").await;
        let provider = provider(&vendor.base_url, product, "");
        let outcome = provider.submit(&call(message)).await;
        let [pabal_provider::Answer::Refused { code, reason }] = answers(&outcome) else {
            panic!("{outcome:?}");
        };
        assert_eq!(code, expected);
        assert_eq!(provider.capabilities().definitive(code), Some(*reason));
        assert!(vendor.seen().is_empty());
    }
}
