//! `pabal dead-letter` beside no running server.

use pabal_common::clock::Timestamp;
use pabal_common::domain::id::DeadLetterId;
use pabal_common::ledger::{DeadLetterKind, DeadLetters as _, NewDeadLetter};
use serde_json::{Value, json};

use crate::pabal::Folder;

/// 2026-11-21T00:00:00Z
const MIDNIGHT: i64 = 1_795_219_200_000;
const HOUR: i64 = 3_600_000;

fn id(number: u64) -> String {
    DeadLetterId::from_number(number).to_string()
}

fn letter(number: u64, kind: DeadLetterKind, partner: Option<&str>) -> NewDeadLetter {
    let message = id(number);
    let body = json!({"apiVersion": "1", "events": [{"messageId": message, "metadata": {"x": "private"}}]});
    NewDeadLetter {
        id: DeadLetterId::from_number(number),
        kind,
        partner: partner.map(|id| id.parse().unwrap()),
        subject: match kind {
            DeadLetterKind::Webhook => id(1000 + number),
            DeadLetterKind::Report => "v-1".to_owned(),
            DeadLetterKind::Frame => "send.sms.queue".to_owned(),
        },
        reason: "the endpoint answered HTTP 503".to_owned(),
        attempts: 7,
        payload: body.to_string().into_bytes(),
    }
}

/// One letter an hour from midnight on: 1, 2 of shop, 3 of cafe, 4 a report, 5 a frame.
async fn folder() -> Folder {
    let folder = Folder::migrated();
    for partner in ["shop", "cafe"] {
        assert_eq!(folder.pabal(&["partner", "add", partner]).code, 0);
    }
    let letters = [
        letter(1, DeadLetterKind::Webhook, Some("shop")),
        letter(2, DeadLetterKind::Webhook, Some("shop")),
        letter(3, DeadLetterKind::Webhook, Some("cafe")),
        letter(4, DeadLetterKind::Report, None),
        letter(5, DeadLetterKind::Frame, None),
    ];
    let ledger = folder.ledger().await;
    for (letter, hour) in letters.into_iter().zip(0..) {
        let at = Timestamp::from_millis(MIDNIGHT + hour * HOUR);
        // Dead letters of the past, as every one is.
        let at = at.minus(std::time::Duration::from_secs(400 * 86_400));
        ledger.bury(&[letter], at).await.unwrap();
    }
    folder
}

fn listed(folder: &Folder, arguments: &[&str]) -> Vec<String> {
    let list = folder
        .pabal(&[&["dead-letter", "list", "--json"], arguments].concat())
        .json();
    let ids = list["items"].as_array().unwrap().iter();
    ids.map(|one| one["id"].as_str().unwrap().to_owned())
        .collect()
}

fn replayed(folder: &Folder, arguments: &[&str]) -> Value {
    folder
        .pabal(&[&["dead-letter", "replay", "--json"], arguments].concat())
        .json()
}

async fn count(folder: &Folder, query: &'static str) -> i64 {
    sqlx::query_scalar(query)
        .fetch_one(&mut folder.sqlite().await)
        .await
        .unwrap()
}

#[tokio::test]
async fn dead_letters_are_listed_by_partner_kind_and_time() {
    let folder = folder().await;
    let all: Vec<String> = (1..=5).map(id).collect();
    assert_eq!(listed(&folder, &[]), all);
    assert_eq!(listed(&folder, &["--partner", "shop"]), all[..2]);
    assert_eq!(listed(&folder, &["--kind", "webhook"]), all[..3]);
    assert_eq!(listed(&folder, &["--kind", "frame"]), all[4..]);
    // 400 days before 2026-11-21, in either notation; the end is not included.
    let day = [
        "--from",
        "2025-10-17T01:00:00Z",
        "--to",
        "2025-10-17T12:00:00+09:00",
    ];
    assert_eq!(listed(&folder, &day), all[1..3]);
}

#[tokio::test]
async fn a_long_list_comes_in_pages_that_join() {
    let folder = folder().await;
    let mut after = id(0);
    let mut seen = Vec::new();
    loop {
        let arguments = [
            "dead-letter",
            "list",
            "--json",
            "--limit",
            "2",
            "--after",
            &after,
        ];
        let page = folder.pabal(&arguments).json();
        seen.extend(
            page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|one| one["id"].clone()),
        );
        let Some(next) = page["nextCursor"].as_str() else {
            break;
        };
        after = next.to_owned();
    }
    assert_eq!(seen, (1..=5).map(id).collect::<Vec<_>>());
    let text = folder.pabal(&["dead-letter", "list", "--limit", "2"]).out;
    assert!(text.contains(&format!("--after {}", id(2))), "{text}");
}

#[tokio::test]
async fn a_dead_letter_tells_of_its_messages_but_not_its_body() {
    let folder = folder().await;
    let said = folder.pabal(&["dead-letter", "list", "--limit", "1", "--json"]);
    let one = &said.json()["items"][0];
    assert_eq!(one["messageIds"], json!([id(1)]));
    assert_eq!(one["attempts"], 7);
    assert_eq!(one["replayedAt"], Value::Null);
    assert!(!said.out.contains("private"));
    let table = folder.pabal(&["dead-letter", "list"]).out;
    assert!(table.contains("the endpoint answered HTTP 503") && !table.contains("private"));
}

#[tokio::test]
async fn what_is_sent_again_belongs_to_nobody_until_a_running_process_takes_it() {
    let folder = folder().await;
    assert_eq!(
        replayed(&folder, &["--all"]),
        json!({"replayed": 5, "more": false})
    );
    assert_eq!(
        count(&folder, "SELECT count(*) FROM webhooks WHERE owner = 0").await,
        3
    );
    let same = "SELECT count(*) FROM webhooks WHERE webhook_id IN (1001, 1002, 1003)";
    assert_eq!(count(&folder, same).await, 3, "under their old ids");
    assert_eq!(
        count(&folder, "SELECT count(*) FROM outbox WHERE owner = 0").await,
        1
    );
    let marked = "SELECT count(*) FROM dead_letters WHERE replayed_at IS NOT NULL";
    assert_eq!(count(&folder, marked).await, 5);
}

#[tokio::test]
async fn what_was_sent_again_before_is_passed_over_unless_it_is_named() {
    let folder = folder().await;
    assert_eq!(replayed(&folder, &["--partner", "shop"])["replayed"], 2);
    assert_eq!(replayed(&folder, &["--partner", "shop"])["replayed"], 0);
    assert_eq!(
        replayed(&folder, &["--all", "--kind", "webhook"])["replayed"],
        1
    );
    assert_eq!(
        replayed(&folder, &["--id", &id(1), "--id", &id(1)])["replayed"],
        1
    );
    let said = folder.pabal(&["dead-letter", "replay", "--id", &id(2)]);
    assert!(said.out.contains("a running pabal picks it up"), "{said:?}");
}

#[tokio::test]
async fn a_limit_sends_the_oldest_and_says_that_more_are_left() {
    let folder = folder().await;
    let limited = ["--all", "--limit", "2"];
    assert_eq!(
        replayed(&folder, &limited),
        json!({"replayed": 2, "more": true})
    );
    assert_eq!(
        replayed(&folder, &limited),
        json!({"replayed": 2, "more": true})
    );
    assert_eq!(
        replayed(&folder, &limited),
        json!({"replayed": 1, "more": false})
    );
}

#[tokio::test]
async fn one_unknown_id_sends_nothing() {
    let folder = folder().await;
    let said = folder.pabal(&["dead-letter", "replay", "--id", &id(1), "--id", &id(99)]);
    said.refused(1, &[&id(99), "nothing was sent"]);
    assert_eq!(count(&folder, "SELECT count(*) FROM webhooks").await, 0);
}

#[test]
fn a_wrong_selection_is_refused_with_what_is_allowed() {
    let folder = Folder::migrated();
    let cases: &[(&[&str], &[&str])] = &[
        (&["list", "--kind", "letter"], &["webhook, report, frame"]),
        (
            &["list", "--from", "yesterday"],
            &["yesterday", "2026-11-21T09:00:00+09:00"],
        ),
        (&["list", "--limit", "1001"], &["1..=1000"]),
        (&["list", "--after", "1"], &["13 characters"]),
        (&["replay"], &["--id", "--partner", "--all"]),
        (&["replay", "--all", "--partner", "shop"], &["--partner"]),
        (
            &["replay", "--id", "0PZ4X9M2K7Q1A", "--kind", "frame"],
            &["--kind"],
        ),
        (
            &[
                "list",
                "--from",
                "2026-11-21T00:00:00Z",
                "--to",
                "2026-11-20T00:00:00Z",
            ],
            &["--from must be earlier than --to"],
        ),
    ];
    for (arguments, words) in cases {
        folder
            .pabal(&[&["dead-letter"], *arguments].concat())
            .refused(2, words);
    }
    let empty = folder.pabal(&["dead-letter", "list"]);
    assert_eq!(
        (empty.code, empty.out.as_str()),
        (0, "There are no such dead letters.\n")
    );
}
