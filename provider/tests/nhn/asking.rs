//! Asking what became of a message whose answer was lost.

use std::sync::Arc;

use axum::http::Method;
use pabal_common::domain::id::{MessageId, SubmissionId};
use pabal_common::domain::kind::{MessageType, Purpose};
use pabal_common::domain::reason::Reason;
use pabal_common::domain::report::{VendorMessageId, Verdict};
use pabal_provider::{Found, Provider};
use serde_json::{Value, json};

use crate::canned::Canned;
use crate::world::{Line, World, answers, asked, call, message, provider};

async fn ask(provider: &Arc<dyn Provider>, id: MessageId) -> Found {
    let found = provider.ask(&[asked(id, None)]).await.unwrap();
    let [found] = found.try_into().unwrap();
    found
}

#[tokio::test]
async fn asking_finds_what_was_taken_and_does_not_find_what_was_not() {
    for line in Line::ALL {
        let world = World::new(line).await;
        let (unreported, _) = world.send(line, 63).await;
        let (not_taken, _) = world.send(line, 65).await;
        let (never, _) = world.send(line, 73).await;
        let Found::Known(ended) = ask(&world.provider, unreported).await else {
            panic!("{line:?}: not found");
        };
        assert_eq!(ended.verdict, Verdict::Delivered);
        assert_eq!(ended.message, Some(unreported));
        assert_eq!(ended.submission, Some(SubmissionId::from_number(5)));
        assert!(ended.vendor_id.is_some());
        assert_eq!(ask(&world.provider, not_taken).await, Found::NotFound);
        let Found::Known(open) = ask(&world.provider, never).await else {
            panic!("{line:?}: not found");
        };
        assert_eq!(open.verdict, Verdict::Taken);
    }
}

#[tokio::test]
async fn a_message_is_found_in_the_list_of_its_purpose() {
    for line in [Line::Sms, Line::Alimtalk] {
        let world = World::new(line).await;
        let mut auth = message(line, 63);
        auth.purpose = Purpose::Auth;
        auth.content.text = "인증번호 1234".to_owned();
        let call = call(auth);
        world.provider.submit(&call).await;
        let found = ask(&world.provider, call.messages[0].id).await;
        assert!(matches!(found, Found::Known(_)), "{line:?}");
    }
}

#[tokio::test]
async fn a_known_request_is_asked_for_by_its_id() {
    let world = World::new(Line::Sms).await;
    let (id, vendor_id) = world.send_taken(Line::Sms, 73).await;
    let found = world
        .provider
        .ask(&[asked(id, Some(vendor_id.clone()))])
        .await;
    let found = found.unwrap();
    let [Found::Known(report)] = found.as_slice() else {
        panic!("not found");
    };
    assert_eq!(report.vendor_id, Some(vendor_id));

    let vendor = Canned::saying(empty("sms")).await;
    let provider = provider(&vendor.base_url, "sms", "");
    let known = VendorMessageId::new("20180810100630ReZQ6KZzAH0:1");
    provider.ask(&[asked(id, known)]).await.unwrap();
    let seen = vendor.seen();
    assert_eq!(seen.len(), 3);
    for request in seen {
        assert_eq!(
            request.parameter("requestId"),
            Some("20180810100630ReZQ6KZzAH0")
        );
        assert_eq!(request.parameter("startRequestDate"), None);
    }
}

fn empty(product: &str) -> Value {
    let header = json!({"isSuccessful": true, "resultCode": 0, "resultMessage": "SUCCESS"});
    match product {
        "sms" => json!({"header": header, "body": {"totalCount": 0, "data": []}}),
        _ => json!({
            "header": header,
            "messageSearchResultResponse": {"messages": [], "totalCount": 0},
        }),
    }
}

#[tokio::test]
async fn every_list_is_looked_through_by_our_key_and_a_window() {
    for (product, lists, date) in [
        (
            "sms",
            [
                "/sms/v3.0/appKeys/simulator-app-key/sender/sms",
                "/sms/v3.0/appKeys/simulator-app-key/sender/mms",
                "/sms/v3.0/appKeys/simulator-app-key/sender/auth/sms",
            ],
            "yyyy-MM-dd HH:mm:ss",
        ),
        (
            "kakao",
            [
                "/alimtalk/v2.3/appkeys/simulator-app-key/messages",
                "/alimtalk/v2.3/appkeys/simulator-app-key/auth/messages",
                "/brand-message/v1.0/appkeys/simulator-app-key/messages",
            ],
            "yyyy-MM-dd HH:mm",
        ),
    ] {
        let vendor = Canned::saying(empty(product)).await;
        let provider = provider(&vendor.base_url, product, "");
        let id = MessageId::from_number(7);
        assert_eq!(ask(&provider, id).await, Found::NotFound);
        let seen = vendor.seen();
        let paths: Vec<_> = seen.iter().map(|request| request.path.as_str()).collect();
        assert_eq!(paths, lists);
        for request in &seen {
            assert_eq!(request.method, Method::GET);
            let key = id.to_string();
            assert_eq!(
                request.parameter("recipientGroupingKey"),
                Some(key.as_str())
            );
            let start = request.parameter("startRequestDate").unwrap();
            let end = request.parameter("endRequestDate").unwrap();
            assert!(start < end && start.len() == date.len() && end.len() == date.len());
        }
    }
}

#[tokio::test]
async fn of_several_attempts_the_one_that_promises_most_counts() {
    let id = MessageId::from_number(7);
    let row = |request: &str, status: &str, code: Value| {
        json!({
            "requestId": request, "recipientSeq": 1, "msgStatus": status, "resultCode": code,
            "recipientGroupingKey": id.to_string(), "body": "본문", "recipientNo": "01000000000",
        })
    };
    let other = json!({"requestId": "Z", "recipientSeq": 1, "recipientGroupingKey": "other"});
    let (failed, open) = (row("A", "0", json!("3003")), row("B", "2", Value::Null));
    let delivered = row("C", "3", json!("1000"));
    let no_subscriber = Verdict::Failed(Reason::InvalidRecipient);
    for (rows, expected) in [
        (vec![&other], None),
        (vec![&other, &failed], Some(no_subscriber)),
        (vec![&failed, &open], Some(Verdict::Taken)),
        (vec![&open, &delivered, &failed], Some(Verdict::Delivered)),
    ] {
        let mut page = empty("sms");
        page["body"]["data"] = json!(rows);
        let vendor = Canned::saying(page).await;
        let found = ask(&provider(&vendor.base_url, "sms", ""), id).await;
        let verdict = match found {
            Found::Known(report) => Some(report.verdict),
            Found::NotFound => None,
        };
        assert_eq!(verdict, expected);
    }
}

#[tokio::test]
async fn no_such_message_is_not_found_and_any_other_failure_is_asked_again() {
    let said = |code: i32| json!({"header": {"isSuccessful": false, "resultCode": code}});
    let id = MessageId::from_number(7);
    let vendor = Canned::saying(said(-1016)).await;
    let found = ask(&provider(&vendor.base_url, "kakao", ""), id).await;
    assert_eq!(found, Found::NotFound);
    for answer in [said(-1001), said(-9999), json!({}), json!("no")] {
        let vendor = Canned::saying(answer).await;
        let provider = provider(&vendor.base_url, "kakao", "");
        assert!(provider.ask(&[asked(id, None)]).await.is_err());
        assert!(provider.probe().await.is_err());
    }
}

#[tokio::test]
async fn a_vendor_that_cannot_answer_leaves_asking_for_later() {
    let world = World::new(Line::Sms).await;
    let door = world.simulator.door(pabal_simulator::Family::Nhn).unwrap();
    door.shut().await;
    let id = MessageId::from_number(1);
    assert!(world.provider.ask(&[asked(id, None)]).await.is_err());
    door.open().await;
    assert_eq!(ask(&world.provider, id).await, Found::NotFound);
}

#[tokio::test]
async fn a_long_message_is_found_among_the_long_ones() {
    let world = World::new(Line::Lms).await;
    let mut long = message(Line::Lms, 0);
    long.kind = MessageType::Mms;
    let call = call(long);
    assert_eq!(answers(&world.provider.submit(&call).await).len(), 1);
    let found = ask(&world.provider, call.messages[0].id).await;
    assert!(matches!(found, Found::Known(_)));
}
