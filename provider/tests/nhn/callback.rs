//! Webhooks: whose they are, what they say, and what is passed over.

use std::sync::Arc;

use pabal_common::clock::{Clock as _, SystemClock, Timestamp};
use pabal_common::domain::id::MessageId;
use pabal_common::domain::reason::Reason;
use pabal_common::domain::report::{Report, VendorMessageId, Verdict};
use pabal_provider::adapter::{self, BuildError};
use pabal_provider::{CallbackError, PollError, Provider, ReportPath};
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::world::{APP_KEY, Line, SIGNATURE, World, account, provider};

const NOWHERE: &str = "http://127.0.0.1:9";

fn read(
    provider: &Arc<dyn Provider>,
    signature: Option<&str>,
    body: &Value,
    now: Timestamp,
) -> Result<Vec<Report>, CallbackError> {
    let header = |name: &str| {
        let shown = signature.filter(|_| name == "x-toast-webhook-signature");
        shown.map(str::to_owned)
    };
    provider.read_callback(&header, body.to_string().as_bytes(), now)
}

fn hooks(product: &str, event: &str, hooks: &Value) -> Value {
    json!({
        "hooksId": "202007271010101010sadasdavas",
        "webhookConfigId": "String",
        "productName": product,
        "appKey": APP_KEY,
        "event": event,
        "hooks": hooks,
    })
}

#[tokio::test]
async fn only_the_configured_signature_is_believed() {
    let mut world = World::new(Line::Sms).await;
    world.send_taken(Line::Sms, 0).await;
    let received = world.next_callback().await;
    assert_eq!(received.path, "nhn/main");
    let shown = received.header("x-toast-webhook-signature");
    assert_eq!(shown.as_deref(), Some(SIGNATURE));
    let body: Value = serde_json::from_slice(&received.body).unwrap();
    let now = SystemClock.now();
    let longer = format!("{SIGNATURE}x");
    for wrong in [
        None,
        Some(""),
        Some("simulator-secreT"),
        Some(&SIGNATURE[1..]),
        Some(&longer),
    ] {
        let refused = read(&world.provider, wrong, &body, now);
        assert!(
            matches!(refused, Err(CallbackError::NotAuthentic(_))),
            "{wrong:?}"
        );
    }
    assert_eq!(
        read(&world.provider, Some(SIGNATURE), &body, now)
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn a_callback_about_another_app_key_is_not_believed() {
    let provider = provider(NOWHERE, "sms", "");
    let mut body = hooks("SMS", "MESSAGE_RESULT_UPDATE", &json!([]));
    body["appKey"] = json!("another");
    let refused = read(&provider, Some(SIGNATURE), &body, SystemClock.now());
    assert!(matches!(refused, Err(CallbackError::NotAuthentic(_))));
}

#[tokio::test]
async fn the_documented_result_of_an_sms_is_read_with_its_misspellings() {
    let id = MessageId::from_number(7);
    let hook = json!({
        "hookId": "20240429205809GcSUXthVA00",
        "senderType": "NORMAL_SMS",
        "requestId": "20240429205802y0Tl7Gbz0e0",
        "recipientSeq": 1,
        "requestDate": "2024-04-29T20:58:02",
        "receiveDate": "2024-04-29T20:58:04",
        "sendNo": "15446859",
        "recipientNo": "01012341234",
        "messageStatus": "COMPLETED",
        "recipientGropuingKey": id.to_string(),
        "senderGroupingKey": "SenderGroupingKey",
        "resultCode": "1000",
        "messageCount": 1,
        "_link": {"self": {"href": "https://sms.api.nhncloudservice.com/…"}},
    });
    let body = hooks("SMS", "MESSAGE_RESULT_UPDATE", &json!([hook]));
    let received_at = Timestamp::parse_rfc3339("2024-04-29T11:58:04.000Z").unwrap();
    let now = Timestamp::parse_rfc3339("2024-04-29T11:58:09.000Z").unwrap();
    let provider = provider(NOWHERE, "sms", "");
    let reports = read(&provider, Some(SIGNATURE), &body, now).unwrap();
    let expected = Report {
        account: provider.account().clone(),
        vendor_id: VendorMessageId::new("20240429205802y0Tl7Gbz0e0:1"),
        message: Some(id),
        submission: None,
        verdict: Verdict::Delivered,
        vendor_code: Some("1000".to_owned()),
        occurred_at: received_at,
    };
    assert_eq!(reports, [expected]);
}

#[tokio::test]
async fn every_status_of_a_result_ends_the_message_or_leaves_it() {
    let failed = |reason| Verdict::Failed(reason);
    for (product, hook, verdict) in [
        (
            "sms",
            json!({"resultCode": "3018", "messageStatus": "FAILED"}),
            failed(Reason::SenderRejected),
        ),
        (
            "sms",
            json!({"resultCode": "3005"}),
            failed(Reason::RecipientUnavailable),
        ),
        (
            "sms",
            json!({"resultCode": "E915"}),
            failed(Reason::Duplicate),
        ),
        (
            "sms",
            json!({"resultCode": "E919"}),
            failed(Reason::OutOfHours),
        ),
        (
            "sms",
            json!({"resultCode": "7777"}),
            failed(Reason::Unspecified),
        ),
        (
            "sms",
            json!({"messageStatus": "COMPLETED"}),
            Verdict::Delivered,
        ),
        (
            "sms",
            json!({"messageStatus": "CANCEL"}),
            failed(Reason::ProviderError),
        ),
        (
            "sms",
            json!({"messageStatus": "DUPLICATED", "resultCode": ""}),
            failed(Reason::Duplicate),
        ),
        (
            "sms",
            json!({"messageStatus": "FAILED_AD"}),
            failed(Reason::OutOfHours),
        ),
        ("sms", json!({"messageStatus": "NEWS"}), Verdict::Taken),
        ("kakao", json!({"resultCode": 1000}), Verdict::Delivered),
        // Sent, receipt not confirmed: it may still arrive.
        (
            "kakao",
            json!({"resultCode": "3005", "messageStatus": "FAILED"}),
            Verdict::Taken,
        ),
        (
            "kakao",
            json!({"resultCode": "3018"}),
            failed(Reason::RecipientUnavailable),
        ),
        (
            "kakao",
            json!({"resultCode": "3019"}),
            failed(Reason::NotCapable),
        ),
        (
            "kakao",
            json!({"resultCode": "3016"}),
            failed(Reason::ContentRejected),
        ),
        (
            "kakao",
            json!({"resultCode": "3022"}),
            failed(Reason::OutOfHours),
        ),
    ] {
        let mut hook = hook;
        hook["requestId"] = json!("A");
        hook["recipientSeq"] = json!(1);
        let body = hooks(product, "MESSAGE_RESULT_UPDATE", &json!([hook]));
        let provider = provider(NOWHERE, product, "");
        let reports = read(&provider, Some(SIGNATURE), &body, SystemClock.now()).unwrap();
        assert_eq!(reports[0].verdict, verdict, "{hook}");
    }
}

#[tokio::test]
async fn other_events_are_accepted_and_passed_over() {
    let provider = provider(NOWHERE, "sms", "");
    for (event, hook) in [
        (
            "UNSUBSCRIBE",
            json!({"recipientNo": "01012341234", "unsubscribeNo": "08012341234"}),
        ),
        ("CONVERSION_BLOCK", json!({"countryCode": "1"})),
        (
            "INTERNATIONAL_DELIVERY_RECEIPT",
            json!({"requestId": "A", "recipientSeq": 1, "dlrStatus": "ACCEPTED"}),
        ),
    ] {
        let body = hooks("SMS", event, &json!([hook]));
        let reports = read(&provider, Some(SIGNATURE), &body, SystemClock.now());
        assert_eq!(reports, Ok(Vec::new()), "{event}");
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_and_a_hook_without_ids_is_passed_over() {
    let provider = provider(NOWHERE, "kakao", "");
    let now = SystemClock.now();
    let mixed = json!([
        7,
        {"resultCode": "1000"},
        {"requestId": "A", "recipientSeq": "01", "resultCode": "1000"},
    ]);
    let body = hooks("KakaoTalk Bizmessage", "MESSAGE_RESULT_UPDATE", &mixed);
    let reports = read(&provider, Some(SIGNATURE), &body, now).unwrap();
    assert_eq!(reports.len(), 1);
    assert_eq!(reports[0].vendor_id, VendorMessageId::new("A:1"));
    for body in [json!({}), json!([]), json!("no"), json!({"event": 1})] {
        let unreadable = read(&provider, Some(SIGNATURE), &body, now);
        assert!(
            matches!(unreadable, Err(CallbackError::Unreadable(_))),
            "{body}"
        );
    }
}

#[tokio::test]
async fn an_account_is_either_called_back_or_polled() {
    for product in ["sms", "kakao"] {
        let called = provider(NOWHERE, product, "");
        assert_eq!(called.capabilities().reports, ReportPath::Callback);
        let PollError(_) = called.poll(None).await.unwrap_err();

        let mut polling = account(NOWHERE, product, "reports = \"poll\"");
        polling.callback_secret = None;
        let polling = adapter::build("nhn", polling).unwrap();
        assert_eq!(polling.capabilities().reports, ReportPath::Poll);
        let body = hooks("SMS", "MESSAGE_RESULT_UPDATE", &json!([]));
        let refused = read(&polling, Some(SIGNATURE), &body, SystemClock.now());
        assert_eq!(refused, Err(CallbackError::NotExpected));
    }
}

#[test]
fn settings_that_cannot_be_are_refused() {
    let refusal = |product: &str, more: &str| {
        let built = adapter::build("nhn", account(NOWHERE, product, more));
        built.err().unwrap()
    };
    for (product, more) in [
        ("mail", ""),
        ("sms", "reports = \"never\""),
        ("sms", "targeting = \"M\""),
        ("sms", "origin_code = \"12\""),
        ("kakao", "targeting = \"X\""),
        ("kakao", "origin_code = \"123456789\""),
        ("kakao", "spelt = \"wrong\""),
    ] {
        let error = refusal(product, more);
        assert!(
            matches!(error, BuildError::Settings(_)),
            "{product} {more}: {error}"
        );
    }
    let mut slash = account(NOWHERE, "sms", "");
    slash.settings.insert("app_key".to_owned(), "a/b".into());
    let error = adapter::build("nhn", slash).err().unwrap();
    assert!(error.to_string().contains("app_key"), "{error}");

    let mut unsigned = account(NOWHERE, "sms", "");
    unsigned.callback_secret = None;
    let error = adapter::build("nhn", unsigned).err().unwrap();
    assert!(matches!(error, BuildError::NoCallbackSecret));
    let mut short = account(NOWHERE, "sms", "");
    short.callback_secret = Some(SecretString::from("short"));
    let error = adapter::build("nhn", short).err().unwrap();
    assert!(matches!(error, BuildError::CallbackSecret(_)));
}
