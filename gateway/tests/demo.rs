//! `pabal demo`, the real program.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use pabal_common::domain::kind::MessageType;
use pabal_gateway::trial::site::without_settings;
use pabal_simulator::Outcome;
use serde_json::Value;

/// Words of the texts and names the demo sends.
const CONTENT: [&str; 3] = ["주문하신", "배송 안내문", "홍길동"];

fn demo(temporary: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pabal"));
    without_settings(&mut command);
    command
        .arg("demo")
        .args(arguments)
        .env("TMPDIR", temporary)
        .output()
        .unwrap()
}

/// What is content, or a recipient, in these bytes.
fn readable(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let recipients = (0..100).flat_map(|digits| {
        [
            format!("010-0000-00{digits:02}"),
            format!("010000000{digits:02}"),
            format!("demo-user-00{digits:02}"),
        ]
    });
    recipients
        .chain(CONTENT.map(ToOwned::to_owned))
        .filter(|secret| text.contains(secret.as_str()))
        .collect()
}

/// Every file of a folder, those in folders of it too.
fn files_in(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files.extend(files_in(&path)),
            false => files.push(path),
        }
    }
    files
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn everything_comes_out_as_expected_and_no_content_is_readable_anywhere() {
    let temporary = tempfile::tempdir().unwrap();
    let ran = demo(temporary.path(), &["--keep", "--set", "log.filter=debug"]);
    let (printed, logged) = (text(&ran.stdout), text(&ran.stderr));
    assert_eq!(ran.status.code(), Some(0), "{printed}\n{logged}");

    for row in &Outcome::TABLE {
        assert!(
            printed.contains(&format!(" ..{:02}  ", row.digits)),
            "{} in\n{printed}",
            row.digits
        );
    }
    for kind in MessageType::ALL {
        assert!(
            printed.contains(&format!("  {kind} ..00  delivered")),
            "{kind} in\n{printed}"
        );
    }
    assert!(printed.contains("All came out as expected"), "{printed}");
    assert!(!printed.contains("FAIL  "), "{printed}");
    let widest = printed
        .lines()
        .max_by_key(|line| line.chars().count())
        .unwrap();
    assert!(widest.chars().count() <= 100, "{widest}");

    assert!(logged.contains("\"level\":\"DEBUG\""), "nothing was logged");
    assert_eq!(readable(&ran.stdout), [""; 0]);
    assert_eq!(readable(&ran.stderr), [""; 0]);
    let kept = std::fs::read_dir(temporary.path())
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let files = files_in(&kept);
    assert!(
        files.iter().any(|file| file.ends_with("pabal.db")),
        "{files:?}"
    );
    for file in files {
        assert_eq!(
            readable(&std::fs::read(&file).unwrap()),
            [""; 0],
            "{}",
            file.display()
        );
    }
}

#[test]
fn as_json_it_tells_every_message_and_every_check_and_leaves_nothing_behind() {
    let temporary = tempfile::tempdir().unwrap();
    let ran = demo(temporary.path(), &["--json"]);
    let (printed, logged) = (text(&ran.stdout), text(&ran.stderr));
    assert_eq!(ran.status.code(), Some(0), "{printed}\n{logged}");
    let told: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(told["ok"], true);

    let messages = told["messages"].as_array().unwrap();
    for row in &Outcome::TABLE {
        assert!(
            messages
                .iter()
                .any(|message| message["digits"] == row.digits),
            "{}",
            row.digits
        );
    }
    for message in messages {
        let timeline = message["timeline"].as_array().unwrap();
        assert_eq!(timeline[0]["what"], "RECEIVED", "{message:#}");
        assert_eq!(
            message["webhook"]["ids"].as_array().unwrap().len(),
            1,
            "{message:#}"
        );
    }
    let total: u64 = told["daily"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["total"].as_u64().unwrap())
        .sum();
    assert_eq!(total, messages.len() as u64);
    let left = std::fs::read_dir(temporary.path()).unwrap().count();
    assert_eq!(left, 0, "the temporary folder was left behind");
}

#[test]
fn what_does_not_come_out_as_expected_is_named_and_ends_with_1() {
    let temporary = tempfile::tempdir().unwrap();
    // The batch of 1001 is refused for its size in bytes, before it is counted.
    let ran = demo(
        temporary.path(),
        &["--set", "receiver.batch_body_limit=64KiB"],
    );
    let (printed, logged) = (text(&ran.stdout), text(&ran.stderr));
    assert_eq!(ran.status.code(), Some(1), "{printed}\n{logged}");
    assert!(printed.contains("got 413 E001 BODY_TOO_LARGE"), "{printed}");
    assert!(logged.contains("refusals: 14 of 15"), "{logged}");
}
