//! `pabal bench`, the real program, in short: what it says must balance. How fast it was is not judged.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;
use std::process::{Command, Output};

use pabal_gateway::trial::site::without_settings;
use serde_json::Value;

fn bench(temporary: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pabal"));
    without_settings(&mut command);
    command
        .arg("bench")
        .args(arguments)
        .env("TMPDIR", temporary)
        .output()
        .unwrap()
}

/// What a short run of a scenario, embedded, wrote as JSON.
fn short(scenario: &[&str]) -> Value {
    let temporary = tempfile::tempdir().unwrap();
    let file = temporary.path().join("written.json");
    let path = file.display().to_string();
    let arguments = ["--embedded", "--short", "--label", "test", "--json", &path];
    let ran = bench(temporary.path(), &[scenario, &arguments].concat());
    let printed = String::from_utf8_lossy(&ran.stdout);
    let said = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(0), "{printed}\n{said}");
    let written = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    std::fs::remove_file(file).unwrap();
    let left = std::fs::read_dir(temporary.path()).unwrap().count();
    assert_eq!(left, 0, "something was left behind");
    written
}

/// Accepted, taken and told are the same, and are some.
fn assert_balanced(run: &Value) {
    let books = &run["books"];
    let accepted = books["accepted"].as_u64().unwrap();
    assert!(accepted > 0, "{books:#}");
    assert_eq!(run["messages"], accepted);
    for same in ["taken", "told"] {
        assert_eq!(books[same], accepted, "{same} {books:#}");
    }
    for none in ["lost", "doubled", "open", "foreign"] {
        assert_eq!(books[none], 0, "{none} {books:#}");
    }
    assert_eq!(books["complaints"].as_array().unwrap().len(), 0);
}

#[test]
fn every_message_of_a_short_run_goes_the_whole_way_and_the_books_balance() {
    for scenario in [&["e2e"][..], &["e2e", "--single"]] {
        let written = short(scenario);
        assert_eq!(written["label"], "test");
        assert!(written["machine"]["cores"].as_u64().unwrap() > 0);
        let [measured] = &written["scenarios"].as_array().unwrap()[..] else {
            panic!("{written:#}");
        };
        assert_eq!(measured["isResult"], true);
        let [run] = &measured["runs"].as_array().unwrap()[..] else {
            panic!("a short run is one run: {measured:#}");
        };
        assert_balanced(run);
        let processes = run["processes"].as_array().unwrap();
        let names: Vec<_> = processes.iter().map(|one| &one["name"]).collect();
        assert_eq!(names, ["pabal", "load, vendors and partner"]);
        assert!(processes[0]["cpuSeconds"].as_f64().unwrap() > 0.0);
        if scenario.contains(&"--single") {
            assert_eq!(run["figures"]["results in a webhook"], 1.0);
        }
    }
}

#[test]
fn a_steady_rate_is_timed_from_due_to_webhook() {
    let written = short(&["latency"]);
    let run = &written["scenarios"][0]["runs"][0];
    assert_balanced(run);
    for name in ["due to answer", "answer to vendor", "report to webhook"] {
        let timing = &run["millis"][name];
        assert_eq!(timing["count"], run["messages"], "{name}");
        assert!(timing["p50"].as_f64() <= timing["max"].as_f64(), "{timing}");
    }
}

#[test]
fn a_burst_and_an_endpoint_that_hangs_lose_nobody_a_message() {
    let written = short(&["fairness"]);
    let run = &written["scenarios"][0]["runs"][0];
    assert_balanced(run);
    let figures = run["figures"].as_object().unwrap();
    for name in [
        "A to the vendor a second, alone",
        "A to the vendor a second, beside B and C",
        "A beside the others, % of alone",
    ] {
        assert!(figures[name].as_f64().unwrap() > 0.0, "{name}");
    }
    for name in [
        "B, nobody else: report to webhook",
        "B, D hangs: report to webhook",
    ] {
        // Two seconds at ten a second.
        assert_eq!(run["millis"][name]["count"], 20, "{name}");
    }
}

#[test]
fn idle_connections_stay_open_beside_new_requests() {
    let written = short(&["connections"]);
    let run = &written["scenarios"][0]["runs"][0];
    assert_balanced(run);
    assert_eq!(run["figures"]["idle connections, open at the end"], 200.0);
    // Two seconds at a hundred a second.
    let timing = &run["millis"]["beside the idle: due to answer"];
    assert_eq!(timing["count"], 200, "{timing}");
}

#[test]
fn all_that_was_accepted_while_the_vendor_was_away_is_sent_when_it_is_back() {
    let written = short(&["backlog"]);
    let run = &written["scenarios"][0]["runs"][0];
    assert_balanced(run);
    assert_eq!(run["messages"], 2_000);
    let drained = &run["figures"]["drained to the vendor a second"];
    assert!(drained.as_f64().unwrap() > 0.0, "{drained}");
}

/// What starts other gateways; none is started here.
const PEERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../bench/peers");

#[test]
fn what_does_not_go_together_is_refused_as_wrong_use() {
    let temporary = tempfile::tempdir().unwrap();
    let against = |scenario: &'static str, url: &'static str| {
        let login = ["--client-id", "shop", "--client-secret", "secret"];
        [&[scenario, "--against", url], &login[..]].concat()
    };
    let here = "http://127.0.0.1:9";
    for arguments in [
        vec!["nothing"],
        vec![],
        vec!["e2e", "--embedded", "--distributed"],
        vec!["accept", "--single"],
        vec!["all", "--single"],
        vec!["accept", "--rate", "5"],
        vec!["idle", "--connections", "5"],
        vec!["accept", "--messages", "5"],
        vec!["e2e", "--short", "--runs", "5"],
        vec!["accept", "--client-id", "shop"],
        vec!["accept", "--against", here],
        against("e2e", here),
        against("accept", "http://192.0.2.1:8080"),
        against("accept", "https://127.0.0.1:8080"),
        [
            &against("accept", here)[..],
            &["--set", "sender.prefetch=1"],
        ]
        .concat(),
        vec!["accept", "--peer", "nobody"],
        vec!["accept", "--peer", "kannel", "--peers", "/nowhere"],
        vec!["latency", "--peer", "kannel", "--peers", PEERS],
        [
            &against("accept", here)[..],
            &["--peer", "kannel", "--peers", PEERS],
        ]
        .concat(),
    ] {
        let ran = bench(temporary.path(), &arguments);
        let said = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(ran.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(!said.is_empty(), "{arguments:?}");
    }
}
