//! The wire: requests as the vendor's documents have them, answers of their shape.

use pabal_common::domain::id::{MessageId, SubmissionId};
use pabal_common::domain::kind::{MessageType, Purpose};
use pabal_common::domain::message::{Button, Content, Template};
use pabal_common::domain::report::{VendorMessageId, Verdict};
use pabal_provider::{Answer, Asked, Call, Closed, Found, Outcome, Outgoing};
use serde_json::{Value, json};

use crate::scripted::Scripted;
use crate::world::{answers, content};

/// A call with the messages 1, 2, 3…, made as number 9.
fn call(messages: Vec<(MessageType, Content)>) -> Call {
    let numbered = messages.into_iter().zip(1..);
    Call {
        submission: SubmissionId::from_number(9),
        messages: numbered
            .map(|((kind, content), number)| Outgoing {
                id: MessageId::from_number(number),
                kind,
                purpose: Purpose::Info,
                content,
                attachments: Vec::new(),
            })
            .collect(),
    }
}

fn button(kind: &str, name: &str, url: Option<&str>) -> Button {
    Button {
        kind: kind.to_owned(),
        name: name.to_owned(),
        url: url.map(str::to_owned),
    }
}

/// What goes out for one message, which has to be written as `expected` beside what all have.
async fn written(settings: &str, kind: MessageType, content: Content, expected: Value) {
    let vendor = Scripted::with(settings, 200, "{}").await;
    vendor.provider.submit(&call(vec![(kind, content)])).await;
    let asked = vendor.asked();
    let [request] = asked.as_slice() else {
        panic!("{kind}: {} requests", asked.len());
    };
    let mut message = json!({
        "to": "01000000001",
        "country": "82",
        "text": "내용",
        "autoTypeDetect": false,
        "customFields": {"message": "0000000000001", "call": "0000000000009"},
    });
    let message_fields = message.as_object_mut().unwrap();
    message_fields.extend(expected.as_object().unwrap().clone());
    assert_eq!(
        request.body,
        json!({"messages": [message], "allowDuplicates": true, "showMessageList": true}),
        "{kind}"
    );
}

fn with_text(kind: MessageType) -> Content {
    Content {
        text: "내용".to_owned(),
        ..content(kind, "01000000001")
    }
}

const KEY: &str = "key_id = 'NCSAYU7YDBXYORXC'";

#[tokio::test]
async fn a_call_is_posted_as_signed_json() {
    let vendor = Scripted::answering(200, "{}").await;
    let sent = call(vec![(MessageType::Sms, with_text(MessageType::Sms))]);
    vendor.provider.submit(&sent).await;
    let request = &vendor.asked()[0];
    assert_eq!(request.method, "POST");
    assert_eq!(request.uri, "/messages/v4/send-many/detail");
    assert_eq!(request.headers["content-type"], "application/json");
    let authorization = request.headers["authorization"].to_str().unwrap();
    let (scheme, fields) = authorization.split_once(' ').unwrap();
    assert_eq!(scheme, "HMAC-SHA256");
    let names: Vec<_> = fields
        .split(", ")
        .map(|field| field.split_once('=').unwrap().0)
        .collect();
    assert_eq!(names, ["apiKey", "date", "salt", "signature"]);
    assert!(fields.starts_with("apiKey=NCSAYU7YDBXYORXC, "));
    assert!(!authorization.contains("simulator-key"), "the secret stays");
}

#[tokio::test]
async fn every_type_has_its_own_words() {
    use MessageType as T;
    let sms = json!({"type": "SMS", "from": "0212345678"});
    written(KEY, T::Sms, with_text(T::Sms), sms).await;

    let lms = Content {
        subject: Some("제목".to_owned()),
        ..with_text(T::Lms)
    };
    let expected = json!({"type": "LMS", "from": "0212345678", "subject": "제목"});
    written(KEY, T::Lms, lms, expected).await;

    let alimtalk = Content {
        buttons: vec![
            button("WL", "보기", Some("https://shop.example/a")),
            button("AL", "앱", Some("shop://a")),
            button("DS", "배송", None),
        ],
        ..with_text(T::KakaoAlimtalk)
    };
    let expected = json!({
        "type": "ATA",
        "kakaoOptions": {
            "pfId": "PF01",
            "templateId": "ORDER",
            "variables": {"#{이름}": "홍길동"},
            "disableSms": true,
            "buttons": [
                {"buttonName": "보기", "buttonType": "WL", "linkMo": "https://shop.example/a"},
                {"buttonName": "앱", "buttonType": "AL", "linkAnd": "shop://a", "linkIos": "shop://a"},
                {"buttonName": "배송", "buttonType": "DS"},
            ],
        },
    });
    written(KEY, T::KakaoAlimtalk, alimtalk, expected).await;

    let free = Content {
        buttons: vec![
            button("WL", "보기", Some("https://shop.example/a")),
            button("AL", "앱", Some("shop://a")),
            button("AC", "채널 추가", None),
        ],
        ..with_text(T::KakaoBrandMessage)
    };
    let expected = json!({
        "type": "BMS_FREE",
        "kakaoOptions": {
            "pfId": "PF01",
            "disableSms": true,
            "bms": {
                "targeting": "I",
                "chatBubbleType": "TEXT",
                "buttons": [
                    {"name": "보기", "linkType": "WL", "linkMobile": "https://shop.example/a"},
                    {"name": "앱", "linkType": "AL", "linkAndroid": "shop://a", "linkIos": "shop://a"},
                    {"name": "채널 추가", "linkType": "AC"},
                ],
            },
        },
    });
    written(KEY, T::KakaoBrandMessage, free, expected).await;

    let expected = json!({
        "type": "NSA",
        "naverOptions": {
            "talkId": "w1a2b3",
            "templateId": "ORDER",
            "variables": {"#{이름}": "홍길동"},
            "disableSms": true,
        },
    });
    written(KEY, T::NaverTalk, with_text(T::NaverTalk), expected).await;

    let rcs = Content {
        buttons: vec![button("WL", "보기", Some("https://shop.example/a"))],
        ..with_text(T::Rcs)
    };
    let expected = json!({
        "type": "RCS_SMS",
        "from": "0212345678",
        "rcsOptions": {
            "brandId": "BR.01",
            "disableSms": true,
            "buttons": [
                {"buttonName": "보기", "buttonType": "WL", "link": "https://shop.example/a"},
            ],
        },
    });
    written(KEY, T::Rcs, rcs, expected).await;
}

#[tokio::test]
async fn an_rcs_message_base_is_a_type_of_its_own_or_a_template() {
    for (base, kind, template) in [
        ("SS000000", "RCS_SMS", None),
        ("SL000000", "RCS_LMS", None),
        (
            "UBR.abcdEFGH-GG000F",
            "RCS_TPL",
            Some("UBR.abcdEFGH-GG000F"),
        ),
    ] {
        let mut content = with_text(MessageType::Rcs);
        content.channel.messagebase_id = Some(base.to_owned());
        let mut options = json!({"brandId": "BR.01", "disableSms": true});
        if let Some(template) = template {
            options["templateId"] = template.into();
        }
        let expected = json!({"type": kind, "from": "0212345678", "rcsOptions": options});
        written(KEY, MessageType::Rcs, content, expected).await;
    }
}

#[tokio::test]
async fn the_settings_fill_in_what_a_message_does_not_say() {
    let settings = "key_id = 'NCSAYU7YDBXYORXC'\nsender = '029302266'\n\
                    brand_targeting = 'M'\nbrand_template = 'BMS_IMAGE'";
    let content = Content {
        template: Some(Template {
            code: "SALE".to_owned(),
            ..Template::default()
        }),
        ..with_text(MessageType::KakaoBrandMessage)
    };
    let expected = json!({
        "type": "BMS_IMAGE",
        "from": "029302266",
        "kakaoOptions": {
            "pfId": "PF01",
            "templateId": "SALE",
            "disableSms": true,
            "bms": {"targeting": "M"},
        },
    });
    written(settings, MessageType::KakaoBrandMessage, content, expected).await;
    let own = json!({"type": "SMS", "from": "0212345678"});
    written(settings, MessageType::Sms, with_text(MessageType::Sms), own).await;
}

/// An answer of the documented shape.
fn answer(failed: Value, taken: Value) -> String {
    json!({
        "failedMessageList": failed,
        "messageList": taken,
        "groupInfo": {
            "count": {"total": 3, "registeredFailed": 2, "registeredSuccess": 1},
            "status": "SENDING",
            "groupId": "G4V20211116140950FNBDVHMD64V2SO0",
            "scheduledDate": null,
        },
    })
    .to_string()
}

fn failed(message: u64, code: &str) -> Value {
    json!({
        "to": "01000000001",
        "from": "029302266",
        "type": "SMS",
        "country": "82",
        "messageId": format!("M4V20211116140944VNOQH1HURYHEW{message:02}"),
        "statusCode": code,
        "statusMessage": "…",
        "accountId": "12925149",
        "customFields": {
            "message": MessageId::from_number(message),
            "call": SubmissionId::from_number(9),
        },
    })
}

fn three() -> Call {
    call(vec![(MessageType::Sms, with_text(MessageType::Sms)); 3])
}

#[tokio::test]
async fn an_answer_in_part_gives_every_message_its_own() {
    let taken = json!([failed(2, "2000")]);
    let refused = json!([failed(3, "1030"), failed(1, "1062")]);
    let vendor = Scripted::answering(200, answer(refused, taken)).await;
    let outcome = vendor.provider.submit(&three()).await;
    let [first, second, third] = answers(&outcome) else {
        panic!("{outcome:?}");
    };
    assert!(matches!(first, Answer::Refused { code, .. } if code == "1062"));
    let vendor_id = VendorMessageId::new("M4V20211116140944VNOQH1HURYHEW02");
    assert_eq!(*second, Answer::Taken { vendor_id });
    let no_balance = Answer::Closed {
        code: "1030".to_owned(),
        why: Closed::Balance,
    };
    assert_eq!(*third, no_balance);
}

#[tokio::test]
async fn a_message_that_no_list_speaks_of_is_unknown_alone() {
    let vendor = Scripted::answering(200, answer(json!([]), json!([failed(2, "2000")]))).await;
    let outcome = vendor.provider.submit(&three()).await;
    assert!(matches!(
        answers(&outcome),
        [
            Answer::Unknown { .. },
            Answer::Taken { .. },
            Answer::Unknown { .. }
        ]
    ));
}

#[tokio::test]
async fn asking_reads_a_list_as_the_documents_have_it() {
    let list = json!({
        "startKey": null,
        "nextKey": null,
        "limit": 20,
        "messageList": {
            "M4V20180307110044DTYYJBBYLPQZIB1": {
                "_id": "M4V20180307110044DTYYJBBYLPQZIB1",
                "kakaoOptions": {"pfId": null, "disableSms": false, "buttons": []},
                "type": null,
                "dateReported": null,
                "dateReceived": null,
                "statusCode": "3000",
                "replacement": 0,
                "messageId": "M4V20180307110044DTYYJBBYLPQZIB1",
                "to": "01000000000",
                "customFields": {"message": "0000000000001", "call": "0000000000009"},
            },
            "M4V20180307110044DTYYJBBYLPQZIB2": {
                "messageId": "M4V20180307110044DTYYJBBYLPQZIB2",
                "statusCode": "TEST1000",
                "customFields": {},
            },
        },
    });
    let vendor = Scripted::answering(200, list.to_string()).await;
    let asked = |number| Asked {
        id: MessageId::from_number(number),
        submission: SubmissionId::from_number(9),
        vendor_id: None,
    };
    let found = vendor.provider.ask(&[asked(1), asked(2)]).await.unwrap();
    let [Found::Known(report), Found::NotFound] = found.as_slice() else {
        panic!("{found:?}");
    };
    assert_eq!(report.verdict, Verdict::Taken);
    let vendor_id = VendorMessageId::new("M4V20180307110044DTYYJBBYLPQZIB1");
    assert_eq!(report.vendor_id, vendor_id);
    let requests = vendor.asked();
    assert_eq!(requests.len(), 1, "one call, one look");
    assert_eq!(requests[0].method, "GET");
    assert_eq!(requests[0].uri.path(), "/messages/v4/list");
    let query = requests[0].uri.query().unwrap();
    assert!(
        query.starts_with("dateType=CREATED&startDate=2019-12-31T23%3A59%3A00.000Z&endDate="),
        "{query}"
    );

    let named = Asked {
        vendor_id,
        ..asked(1)
    };
    let found = vendor.provider.ask(&[named]).await.unwrap();
    assert!(matches!(found.as_slice(), [Found::Known(_)]));
    let query = vendor.asked()[1].uri.query().unwrap().to_owned();
    assert_eq!(
        query,
        "messageIds=M4V20180307110044DTYYJBBYLPQZIB1&limit=500"
    );
}

#[tokio::test]
async fn a_list_that_cannot_be_read_leaves_asking_for_later() {
    for (status, body) in [
        (200, "[]"),
        (200, "<html>"),
        (400, r#"{"errorCode":"ValidationError","errorMessage":"…"}"#),
        (500, ""),
    ] {
        let vendor = Scripted::answering(status, body).await;
        let asked = Asked {
            id: MessageId::from_number(1),
            submission: SubmissionId::from_number(9),
            vendor_id: None,
        };
        assert!(vendor.provider.ask(&[asked]).await.is_err(), "{body}");
    }
}

#[tokio::test]
async fn a_list_without_an_end_is_not_read_for_ever() {
    let list = json!({"nextKey": "more", "limit": 500, "messageList": {}});
    let vendor = Scripted::answering(200, list.to_string()).await;
    let asked = Asked {
        id: MessageId::from_number(1),
        submission: SubmissionId::from_number(9),
        vendor_id: None,
    };
    let found = vendor.provider.ask(&[asked]).await.unwrap();
    assert_eq!(found, [Found::NotFound]);
    let requests = vendor.asked();
    assert_eq!(requests.len(), 10);
    let query = requests[1].uri.query().unwrap();
    assert!(query.ends_with("&limit=500&startKey=more"), "{query}");
}

#[tokio::test]
async fn an_answer_of_nothing_is_unknown() {
    let vendor = Scripted::answering(200, answer(json!([]), json!([]))).await;
    let outcome = vendor.provider.submit(&three()).await;
    assert!(matches!(outcome, Outcome::Unknown(_)), "{outcome:?}");
}
