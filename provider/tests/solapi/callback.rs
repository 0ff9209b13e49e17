//! Callbacks: who may bring them, and what is read of them.

use pabal_common::clock::{Clock as _, SystemClock, Timestamp};
use pabal_common::domain::kind::MessageType::Sms;
use pabal_common::domain::reason::Reason;
use pabal_common::domain::report::{Report, Verdict};
use pabal_provider::{CallbackError, adapter};

use crate::world::{World, account};

/// SHA-1 of `simulator-secret`, made elsewhere.
const PROOF: &str = "02acd57ee67fb2d3d7c88d39e3e67783cd4f2422";
const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_000);

fn read(proof: Option<&str>, body: &str) -> Result<Vec<Report>, CallbackError> {
    let provider = adapter::build("solapi", account("http://127.0.0.1:1")).unwrap();
    let header = |name: &str| {
        let shown = (name == "x-solapi-secret").then_some(proof).flatten();
        shown.map(str::to_owned)
    };
    provider.read_callback(&header, body.as_bytes(), NOW)
}

#[tokio::test]
async fn a_callback_of_the_vendor_is_believed_and_a_tampered_proof_is_not() {
    let mut world = World::new().await;
    world.send_taken(Sms, 0).await;
    let received = world.next_callback().await;
    assert_eq!(
        received.header("x-solapi-event-name").as_deref(),
        Some("SINGLE-REPORT")
    );
    let now = SystemClock.now();
    let right = |name: &str| received.header(name);
    let reports = world.provider.read_callback(&right, &received.body, now);
    assert_eq!(reports.unwrap().len(), 1);
    let wrong = |name: &str| {
        received
            .header(name)
            .map(|value| value.replace(['a', '0'], "1"))
    };
    let reports = world.provider.read_callback(&wrong, &received.body, now);
    assert!(matches!(reports, Err(CallbackError::NotAuthentic(_))));
}

#[test]
fn only_the_right_proof_is_believed() {
    assert_eq!(read(Some(PROOF), "[]"), Ok(vec![]));
    assert_eq!(read(Some(&PROOF.to_uppercase()), "[]"), Ok(vec![]));
    let longer = format!("{PROOF}00");
    for wrong in [
        None,
        Some(""),
        Some("simulator-secret"),
        Some(&PROOF[..39]),
        Some(longer.as_str()),
        Some("0000000000000000000000000000000000000000"),
    ] {
        let refused = read(wrong, "[]");
        let refused = matches!(refused, Err(CallbackError::NotAuthentic(_)));
        assert!(refused, "{wrong:?}");
    }
}

#[test]
fn a_body_that_is_no_list_is_unreadable_and_one_of_groups_holds_no_report() {
    for body in ["", "{}", "null", "{\"messageId\":\"M\"}"] {
        let unreadable = matches!(read(Some(PROOF), body), Err(CallbackError::Unreadable(_)));
        assert!(unreadable, "{body}");
    }
    let groups = r#"[{"groupId":"G4V20180307105937H3PTASXMNJG2JIO","count":{"total":1}}]"#;
    assert_eq!(read(Some(PROOF), groups), Ok(vec![]));
}

#[test]
fn reports_are_read_whatever_else_stands_in_them() {
    let body = r#"[
        {"messageId":"M4V20260101000000AAAAAAAAAAAAAAA","groupId":"G4V20260101000000AAAAAAAAAAAAAAA",
         "to":"01000000000","from":"029302266","type":"ATA","statusCode":"3104",
         "statusMessage":"카카오톡 미사용자","dateReceived":"2026-11-18T11:06:39.000Z",
         "customFields":{"message":"0000000000007","call":"0000000000009","theirs":"x"}},
        {"data":{"messageId":" m4v20260101000000bbbbbbbbbbbbbbb ","statusCode":4000,"customFields":null},
         "retryCount":0},
        {"messageId":"M4V20260101000000CCCCCCCCCCCCCCC","statusCode":"3014","customFields":{"message":"not ours"}},
        {"statusCode":"4000","customFields":{"message":"0000000000008"},"dateReceived":"yesterday"}
    ]"#;
    let reports = read(Some(PROOF), body).unwrap();
    let ids: Vec<_> = reports
        .iter()
        .map(|report| report.vendor_id.as_ref().map(|id| id.as_str()))
        .collect();
    assert_eq!(
        ids,
        [
            Some("M4V20260101000000AAAAAAAAAAAAAAA"),
            Some("M4V20260101000000BBBBBBBBBBBBBBB"),
            Some("M4V20260101000000CCCCCCCCCCCCCCC"),
            None,
        ]
    );
    let verdicts: Vec<_> = reports.iter().map(|report| report.verdict).collect();
    assert_eq!(
        verdicts,
        [
            Verdict::Failed(Reason::NotCapable),
            Verdict::Delivered,
            Verdict::Taken,
            Verdict::Delivered,
        ]
    );
    assert_eq!(reports[0].message.unwrap().number(), 7);
    assert_eq!(reports[0].submission.unwrap().number(), 9);
    assert_eq!(reports[0].vendor_code.as_deref(), Some("3104"));
    assert_eq!(reports[0].occurred_at.millis(), 1_794_999_999_000);
    assert_eq!(reports[2].message, None);
    assert_eq!(reports[3].message.unwrap().number(), 8);
    assert_eq!(reports[3].occurred_at, NOW);
}
