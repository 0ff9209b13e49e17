//! One test per row of the simulator's table: whatever a vendor does to a message, it ends, it was
//! taken at most once, and its partner is told.

use std::time::Duration;

use serde_json::{Value, json};

use crate::api::message;
use crate::house::House;

/// One type of each way in which vendors answer and report.
const KINDS: [&str; 5] = [
    "SMS",
    "RCS",
    "KAKAO_ALIMTALK",
    "KAKAO_BRAND_MESSAGE",
    "NAVER_TALK",
];
const DELIVERED: End = End("DELIVERED", None);
/// The answer was lost and nothing can tell what became of the message.
const UNKNOWN: End = End("EXPIRED", Some("UNKNOWN_OUTCOME"));

/// How a message ends: status and reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct End(&'static str, Option<&'static str>);

/// Sends one of each kind to recipients that end in `digits`; `end` says how each ends, and
/// `taken` how often the vendor took it. A message without a report ends after `deadline`. Returns
/// how many attempts each was charged.
async fn row(digits: u8, deadline: Duration, taken: usize, end: impl Fn(&str) -> End) -> Vec<u16> {
    let millis = format!("{}ms", deadline.as_millis());
    let settings = [
        ("reporter.sms_deadline", millis.as_str()),
        ("reporter.report_deadline", millis.as_str()),
    ];
    let house = House::open(&settings).await;
    let partner = house.partner("shop").await;
    let (mut sent, mut attempts) = (Vec::new(), Vec::new());
    for kind in KINDS {
        let id = house
            .accept(&partner, &message(kind, &format!("order-{kind}"), digits))
            .await;
        sent.push((kind, id));
    }
    for (kind, id) in &sent {
        let result = house.result(&partner, id).await;
        let End(status, reason) = end(kind);
        let found = (&result["status"], &result["reason"]);
        let events = house.events(id).await;
        assert_eq!(
            found,
            (&json!(status), &json!(reason)),
            "{kind} {digits}: {result} {events:?}"
        );
        assert_eq!(house.times_taken(id), taken, "{kind} {digits}");
        let answer = house.get(&partner, &format!("/v1/messages/{id}")).await;
        assert_eq!(
            (answer.text("status"), &answer.body["reason"]),
            (status, &json!(reason))
        );
        let ended = house.daily(&partner).await[*kind].ended();
        assert_eq!(ended, counted(&result), "{kind} {digits}");
        attempts.push(house.view(id).await.attempt);
    }
    assert_eq!(partner.told().len(), KINDS.len(), "each is told once");
    house.close().await;
    attempts
}

/// Delivered, failed, expired.
fn counted(result: &Value) -> [u64; 3] {
    ["DELIVERED", "FAILED", "EXPIRED"].map(|status| u64::from(result["status"] == status))
}

/// Longer than any row takes to be reported.
const LONG: Duration = Duration::from_secs(60);
/// Longer than the report of a message whose answer was lost (1 s).
const SHORT: Duration = Duration::from_millis(2500);

/// What only a report with our own id, or asking the vendor, can tell: the carriers' report bears an
/// id that nobody was told, and TalkTalk has neither.
fn where_it_can_be_told(kind: &str) -> End {
    match kind {
        "SMS" | "NAVER_TALK" => UNKNOWN,
        _ => DELIVERED,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_51_fails_as_invalid_recipient() {
    row(51, LONG, 1, |_| End("FAILED", Some("INVALID_RECIPIENT"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_52_fails_as_recipient_unavailable() {
    row(52, LONG, 1, |_| {
        End("FAILED", Some("RECIPIENT_UNAVAILABLE"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_53_fails_as_recipient_blocked() {
    row(53, LONG, 1, |_| End("FAILED", Some("RECIPIENT_BLOCKED"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_54_fails_as_spam() {
    row(54, LONG, 1, |_| End("FAILED", Some("SPAM"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_55_is_refused_for_good_and_never_tried_again() {
    row(55, LONG, 0, |kind| match kind {
        "SMS" => End("FAILED", Some("SENDER_REJECTED")),
        _ => End("FAILED", Some("CONTENT_REJECTED")),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_60_is_delivered_although_the_vendor_refused_connections_for_a_while() {
    let attempts = row(60, LONG, 1, |_| DELIVERED).await;
    // Alone at its vendor, the SMS met nobody but its own refused connections.
    assert!(attempts[0] > 0, "{attempts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_61_is_delivered_although_the_vendor_throttled_for_a_while() {
    let attempts = row(61, LONG, 1, |_| DELIVERED).await;
    assert_eq!(attempts, [0; 5], "being throttled costs no attempt");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_62_lost_its_answer_and_is_never_sent_again() {
    row(62, SHORT, 1, where_it_can_be_told).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_63_lost_its_answer_and_only_a_vendor_that_can_be_asked_knows() {
    row(63, SHORT, 1, |kind| match kind {
        "KAKAO_ALIMTALK" | "KAKAO_BRAND_MESSAGE" => DELIVERED,
        _ => UNKNOWN,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_64_was_taken_although_the_vendor_said_500() {
    row(64, SHORT, 1, where_it_can_be_told).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_65_was_not_taken_and_not_found_is_no_leave_to_send_again() {
    row(65, SHORT, 0, |_| UNKNOWN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_66_was_taken_although_nobody_can_read_the_answer() {
    row(66, SHORT, 1, where_it_can_be_told).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_70_is_delivered_when_the_late_report_comes() {
    row(70, LONG, 1, |_| DELIVERED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_71_is_reported_twice_and_told_once() {
    row(71, LONG, 1, |_| DELIVERED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_72_is_delivered_although_the_report_came_before_the_answer() {
    row(72, LONG, 1, |_| DELIVERED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_73_is_taken_and_expires_without_a_report() {
    row(73, Duration::from_millis(1500), 1, |kind| match kind {
        "NAVER_TALK" => DELIVERED,
        _ => End("EXPIRED", Some("NO_REPORT")),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_74_is_delivered_although_a_report_about_nobody_came_first() {
    row(74, LONG, 1, |_| DELIVERED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_75_is_delivered_by_a_report_with_the_id_in_another_notation() {
    row(75, LONG, 1, |_| DELIVERED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_80_is_delivered_however_slow_the_answer() {
    row(80, LONG, 1, |_| DELIVERED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_81_answers_after_everybody_has_gone_and_is_never_sent_again() {
    row(81, SHORT, 1, where_it_can_be_told).await;
}
