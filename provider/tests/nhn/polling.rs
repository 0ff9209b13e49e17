//! Polling for results by their update time.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pabal_common::clock::{Clock as _, SystemClock};
use pabal_common::domain::id::MessageId;
use pabal_common::domain::reason::Reason;
use pabal_common::domain::report::{Report, VendorMessageId, Verdict};
use pabal_provider::{Answer, Provider};
use pabal_simulator::{Family, Simulator};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::canned::{Canned, Seen};
use crate::world::{DEADLINE, Line, answers, call, config, message, pace, provider};

/// A simulator that is not told where to call, and whose results are old enough at once.
async fn silent(product: &str) -> (Simulator, Arc<dyn Provider>) {
    let mut config = config(product, pace());
    let settings = &mut config.account_mut(Family::Nhn).settings;
    settings.insert("clock_behind".to_owned(), "150".to_owned());
    let simulator = Simulator::start(config, CancellationToken::new()).await;
    let simulator = simulator.unwrap();
    let base_url = simulator.base_url(Family::Nhn).unwrap();
    (
        simulator,
        provider(&base_url, product, "reports = \"poll\""),
    )
}

/// All there is from the start on, once there are so many.
async fn all(provider: &Arc<dyn Provider>, many: usize) -> (Vec<Report>, Option<String>) {
    let reading = async {
        loop {
            let polled = provider.poll(None).await.unwrap();
            if polled.reports.len() == many {
                assert!(!polled.more);
                return (polled.reports, polled.cursor);
            }
            assert!(polled.reports.len() < many);
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(DEADLINE, reading).await.expect("the results come")
}

#[tokio::test]
async fn results_are_read_under_the_ids_of_the_answers() {
    for line in [Line::Sms, Line::Alimtalk] {
        let (_simulator, provider) = silent(line.product()).await;
        let mut expected = HashMap::new();
        for (digits, verdict) in [
            (0, Verdict::Delivered),
            (51, Verdict::Failed(Reason::InvalidRecipient)),
            (52, Verdict::Failed(Reason::RecipientUnavailable)),
            (53, Verdict::Failed(Reason::RecipientBlocked)),
            (75, Verdict::Delivered),
        ] {
            let call = call(message(line, digits));
            let outcome = provider.submit(&call).await;
            let [Answer::Taken { vendor_id }] = answers(&outcome) else {
                panic!("{outcome:?}");
            };
            expected.insert(vendor_id.clone().unwrap(), (call.messages[0].id, verdict));
        }
        let (reports, cursor) = all(&provider, expected.len()).await;
        for report in reports {
            let (id, verdict) = expected[report.vendor_id.as_ref().unwrap()];
            assert_eq!(report.verdict, verdict);
            // Results of Alimtalk bear no grouping key.
            assert_eq!(report.message, (line == Line::Sms).then_some(id));
        }
        let after = provider.poll(cursor.as_deref()).await.unwrap();
        assert!(!after.more);
        if line == Line::Sms {
            assert!(after.reports.is_empty());
        }
    }
}

#[tokio::test]
async fn a_result_reported_twice_or_under_an_unknown_id_is_passed_on_as_it_is() {
    let (_simulator, provider) = silent("sms").await;
    for digits in [71, 74] {
        assert_eq!(
            answers(&provider.submit(&call(message(Line::Sms, digits))).await).len(),
            1
        );
    }
    let (reports, _) = all(&provider, 4).await;
    let ids: HashSet<_> = reports.iter().map(|report| &report.vendor_id).collect();
    assert_eq!(ids.len(), 3);
    assert_eq!(
        reports
            .iter()
            .filter(|report| report.message.is_none())
            .count(),
        1
    );
}

#[tokio::test]
async fn the_documented_page_of_sms_results_is_read() {
    let id = MessageId::from_number(7);
    let row = json!({
        "messageType": "SMS",
        "requestId": "20230914101505oAJTbxHkIB0",
        "recipientSeq": 1,
        "resultCode": "1000",
        "resultCodeName": "성공",
        "requestDate": "2023-09-14 10:15:05.0",
        "resultDate": "2023-09-14 10:15:08.0",
        "updateDate": "2023-09-14 10:15:12.0",
        "telecomCode": "10002",
        "telecomCodeName": "KT",
        "senderGroupingKey": "SenderGroupingKey",
        "recipientGroupingKey": id.to_string(),
    });
    let vendor = Canned::saying(json!({
        "header": {"resultCode": 0, "resultMessage": "success", "isSuccessful": true},
        "body": {"pageNum": 1, "pageSize": 15, "totalCount": 1, "data": [row]},
    }))
    .await;
    let provider = provider(&vendor.base_url, "sms", "reports = \"poll\"");
    let polled = provider.poll(None).await.unwrap();
    assert_eq!(polled.reports.len(), 1);
    assert_eq!(polled.reports[0].message, Some(id));
    let expected = VendorMessageId::new("20230914101505oAJTbxHkIB0:1");
    assert_eq!(polled.reports[0].vendor_id, expected);

    let [seen] = vendor.seen().try_into().unwrap();
    let seen: Seen = seen;
    assert_eq!(
        seen.path,
        "/sms/v3.0/appKeys/simulator-app-key/message-results"
    );
    assert_eq!(seen.header("x-secret-key"), Some("simulator-key"));
    assert_eq!(seen.parameter("pageNum"), Some("1"));
    assert_eq!(seen.parameter("pageSize"), Some("1000"));
    let start = seen.parameter("startUpdateDate").unwrap();
    assert_eq!(start.len(), "yyyy-MM-dd HH:mm:ss".len());
    assert!(start < seen.parameter("endUpdateDate").unwrap());
}

#[tokio::test]
async fn a_window_that_is_not_yet_past_costs_no_request() {
    let vendor = Canned::saying("no").await;
    let now = SystemClock.now().unix_seconds();
    for product in ["sms", "kakao"] {
        let provider = provider(&vendor.base_url, product, "reports = \"poll\"");
        let cursor = now.to_string();
        let polled = provider.poll(Some(&cursor)).await.unwrap();
        assert!(polled.reports.is_empty() && !polled.more);
        assert_eq!(polled.cursor, Some(cursor));
    }
    assert!(vendor.seen().is_empty());
}

/// A vendor with results of its own, page by page.
async fn paged(product: &'static str, results: Arc<Mutex<Vec<u32>>>) -> Canned {
    Canned::new(move |seen| {
        let results = results.lock().unwrap();
        let header = json!({"isSuccessful": true, "resultCode": 0});
        let number = |name| {
            seen.parameter(name)
                .map(|text| text.parse::<usize>().unwrap())
        };
        let (page, size) = (
            number("pageNum").unwrap_or(1),
            number("pageSize").unwrap_or(15),
        );
        let rows = results.iter().skip((page - 1) * size).take(size);
        let row = |seq: &u32| json!({"requestId": "A", "recipientSeq": seq, "resultCode": "1000"});
        let rows: Vec<Value> = rows.map(row).collect();
        let total = results.len();
        let body = match product {
            "sms" => json!({"header": header, "body": {"totalCount": total, "data": rows}}),
            _ if seen.path.ends_with("/count") => json!({"header": header, "totalCount": total}),
            _ => json!({"header": header, "messages": rows}),
        };
        (200, body.to_string())
    })
    .await
}

#[tokio::test]
async fn results_at_page_borders_are_not_lost_when_others_leave_the_window_meanwhile() {
    for (product, many) in [
        ("sms", 999),
        ("sms", 1000),
        ("sms", 1001),
        ("sms", 3500),
        ("kakao", 999),
        ("kakao", 1000),
        ("kakao", 1001),
        ("kakao", 3500),
    ] {
        let results = Arc::new(Mutex::new((1..=many).collect::<Vec<u32>>()));
        let vendor = paged(product, Arc::clone(&results)).await;
        let provider = provider(&vendor.base_url, product, "reports = \"poll\"");
        let (mut cursor, mut seen) = (None, HashSet::new());
        loop {
            let polled = provider.poll(cursor.as_deref()).await.unwrap();
            let ids = polled
                .reports
                .into_iter()
                .filter_map(|report| report.vendor_id);
            seen.extend(ids.map(|id| id.as_str().to_owned()));
            cursor = polled.cursor;
            if !polled.more {
                break;
            }
            // The first of the list is updated again, and belongs to a later window now.
            results.lock().unwrap().remove(0);
        }
        let left = results.lock().unwrap();
        for seq in left.iter() {
            assert!(
                seen.contains(&format!("A:{seq}")),
                "{product} {many}: {seq}"
            );
        }
        assert!(many <= 1000 || left.len() < many as usize);
    }
}

#[tokio::test]
async fn a_failed_poll_is_an_error_and_never_an_empty_page() {
    let header = |code: i32| json!({"isSuccessful": code == 0, "resultCode": code});
    for answer in [
        json!({"header": header(-1000)}),
        json!({"header": header(0)}),
        json!({"header": header(0), "body": {"data": []}}),
        json!({"header": header(0), "body": {"totalCount": 5, "data": []}}),
        json!("no"),
    ] {
        let vendor = Canned::saying(&answer).await;
        let provider = provider(&vendor.base_url, "sms", "reports = \"poll\"");
        assert!(provider.poll(None).await.is_err(), "{answer}");
    }
}

#[tokio::test]
async fn after_days_of_silence_the_days_are_read_one_by_one() {
    let results = Arc::new(Mutex::new(vec![1]));
    let vendor = paged("sms", results).await;
    let provider = provider(&vendor.base_url, "sms", "reports = \"poll\"");
    let start = SystemClock.now().unix_seconds() - 3 * 24 * 3600;
    let mut cursor = Some(start.to_string());
    let mut polls = 0;
    loop {
        let polled = provider.poll(cursor.as_deref()).await.unwrap();
        polls += 1;
        cursor = polled.cursor;
        if !polled.more {
            break;
        }
    }
    assert_eq!(polls, 3);
    let seen = vendor.seen();
    for pair in seen.windows(2) {
        let end = pair[0].parameter("endUpdateDate");
        assert_eq!(end, pair[1].parameter("startUpdateDate"));
    }
}
