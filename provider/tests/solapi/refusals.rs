//! What is surely not taken: by the vendor's word for one message or for a whole call, and before the
//! vendor is asked at all.

use pabal_common::domain::id::MessageId;
use pabal_common::domain::kind::MessageType::{self, Mms, Rcs, Sms};
use pabal_common::domain::message::{Button, Template};
use pabal_common::domain::reason::Reason;
use pabal_provider::{Answer, Call, Closed, Lost, Outcome, Outgoing};
use serde_json::json;

use crate::scripted::Scripted;
use crate::world::{World, answers};

async fn world_call(kind: MessageType) -> (World, Call) {
    let world = World::new().await;
    let call = world.call(kind, &[0]);
    (world, call)
}

#[tokio::test]
async fn every_definitive_code_refuses_its_message() {
    let (world, call) = world_call(Sms).await;
    for (code, reason) in world.provider.capabilities().definitive {
        let failed = json!([{
            "messageId": "M4V20211116140944VNOQH1HURYHEWL8",
            "statusCode": code,
            "customFields": {"message": call.messages[0].id},
        }]);
        let body = json!({"failedMessageList": failed, "groupInfo": {}});
        let vendor = Scripted::answering(200, body.to_string()).await;
        let outcome = vendor.provider.submit(&call).await;
        let refused = Answer::Refused {
            code: (*code).to_owned(),
            reason: *reason,
        };
        assert_eq!(answers(&outcome), [refused]);
    }
}

#[tokio::test]
async fn an_error_of_the_whole_call_is_believed_only_where_it_says_that_nothing_was_taken() {
    let (_, call) = world_call(Sms).await;
    let closed = |code: &str, why| Outcome::Closed {
        code: code.to_owned(),
        why,
    };
    let refused = |code: &str, reason| Outcome::Refused {
        code: code.to_owned(),
        reason,
    };
    let unknown = |status| Outcome::Unknown(Lost::Status(status));
    for (status, code, expected) in [
        (
            403,
            "InvalidAPIKey",
            closed("InvalidAPIKey", Closed::Credentials),
        ),
        (
            403,
            "SignatureDoesNotMatch",
            closed("SignatureDoesNotMatch", Closed::Credentials),
        ),
        (
            403,
            "RequestTimeTooSkewed",
            closed("RequestTimeTooSkewed", Closed::Credentials),
        ),
        (
            402,
            "NotEnoughBalance",
            closed("NotEnoughBalance", Closed::Balance),
        ),
        (
            400,
            "ValidationError",
            refused("ValidationError", Reason::ContentRejected),
        ),
        (403, "DuplicatedSignature", unknown(403)),
        (400, "SomethingNew", unknown(400)),
        (500, "ValidationError", unknown(500)),
        (503, "NotEnoughBalance", unknown(503)),
        (404, "2000", unknown(404)),
        (429, "TooMany", Outcome::Throttled { retry_after: None }),
    ] {
        let body = json!({"errorCode": code, "errorMessage": "…"});
        let vendor = Scripted::answering(status, body.to_string()).await;
        assert_eq!(
            vendor.provider.submit(&call).await,
            expected,
            "{status} {code}"
        );
    }
}

fn change(call: &mut Call, change: impl FnOnce(&mut Outgoing)) {
    change(&mut call.messages[0]);
}

#[tokio::test]
async fn what_the_vendor_could_only_refuse_is_never_sent() {
    let button = |kind: &str, url: Option<&str>| Button {
        kind: kind.to_owned(),
        name: "전화".to_owned(),
        url: url.map(str::to_owned),
    };
    let world = World::new().await;
    let call = |kind| world.call(kind, &[0]);
    let mut refused = Vec::new();

    refused.push((call(Mms), "1034", Reason::ContentRejected));

    let mut media = call(Rcs);
    change(&mut media, |m| {
        m.content.channel.messagebase_id = Some("SMwThT00".to_owned());
    });
    refused.push((media, "1034", Reason::ContentRejected));

    let mut dialled = call(Rcs);
    change(&mut dialled, |m| {
        m.content.buttons = vec![button("DL", Some("tel:0212345678"))];
    });
    refused.push((dialled, "1044", Reason::ContentRejected));

    let mut leads_nowhere = call(MessageType::KakaoAlimtalk);
    change(&mut leads_nowhere, |m| {
        m.content.buttons = vec![button("WL", None)];
    });
    refused.push((leads_nowhere, "1044", Reason::ContentRejected));

    let mut both = call(MessageType::KakaoBrandMessage);
    change(&mut both, |m| {
        m.content.template = Some(Template::default());
        m.content.buttons = vec![button("AC", None)];
    });
    refused.push((both, "1044", Reason::ContentRejected));

    let mut dotted = call(MessageType::KakaoAlimtalk);
    change(&mut dotted, |m| {
        let template = m.content.template.as_mut().unwrap();
        template.variables = [("주문.번호".to_owned(), "1".to_owned())].into();
    });
    refused.push((dotted, "1043", Reason::ContentRejected));

    let mut no_template = call(MessageType::NaverTalk);
    change(&mut no_template, |m| m.content.template = None);
    refused.push((no_template, "1042", Reason::ContentRejected));

    let mut a_user_id = call(MessageType::NaverTalk);
    change(&mut a_user_id, |m| {
        m.content.to = "al-2eGuGr5WQOnco1".to_owned()
    });
    refused.push((a_user_id, "3010", Reason::InvalidRecipient));

    for (call, code, reason) in refused {
        let vendor = Scripted::answering(500, "").await;
        let outcome = vendor.provider.submit(&call).await;
        let answer = Answer::Refused {
            code: code.to_owned(),
            reason,
        };
        assert_eq!(answers(&outcome), [answer], "{code}");
        assert!(vendor.asked().is_empty(), "{code}");
    }
}

/// Three messages, of which the first and the last cannot be sent.
fn mixed(world: &World) -> Call {
    let mut call = world.call(Sms, &[0, 0, 0]);
    for place in [0, 2] {
        call.messages[place].kind = Mms;
    }
    call
}

#[tokio::test]
async fn a_message_that_cannot_be_sent_does_not_hold_up_the_others() {
    let world = World::new().await;
    let call = mixed(&world);
    let outcome = world.provider.submit(&call).await;
    assert!(matches!(
        answers(&outcome),
        [
            Answer::Refused { .. },
            Answer::Taken { .. },
            Answer::Refused { .. }
        ]
    ));
    let times = |id: MessageId| world.times_taken(id);
    let taken: Vec<_> = call.messages.iter().map(|m| times(m.id)).collect();
    assert_eq!(taken, [0, 1, 0]);
}

#[tokio::test]
async fn a_lost_answer_leaves_only_what_was_sent_unknown() {
    let world = World::new().await;
    let call = mixed(&world);
    let vendor = Scripted::answering(500, "").await;
    let outcome = vendor.provider.submit(&call).await;
    let [first, second, third] = answers(&outcome) else {
        panic!("{outcome:?}");
    };
    let refused = |answer: &Answer| matches!(answer, Answer::Refused { .. });
    assert!(refused(first) && refused(third));
    let unknown = Answer::Unknown {
        code: "HTTP status 500".to_owned(),
    };
    assert_eq!(*second, unknown);
}
