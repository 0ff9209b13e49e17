//! `pabal bench`, the real program, in short: what it says must balance. How fast it was is not judged.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
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
    short_with_plots(scenario).0
}

/// The same, and its plots by their names.
fn short_with_plots(scenario: &[&str]) -> (Value, BTreeMap<String, String>) {
    let temporary = tempfile::tempdir().unwrap();
    let file = temporary.path().join("written.json");
    let path = file.display().to_string();
    let folder = temporary.path().join("plots");
    let plots = folder.display().to_string();
    let arguments = ["--embedded", "--short", "--label", "test"];
    let written = ["--json", &path, "--plots", &plots];
    let ran = bench(temporary.path(), &[scenario, &arguments, &written].concat());
    let printed = String::from_utf8_lossy(&ran.stdout);
    let said = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(0), "{printed}\n{said}");
    let written = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let plots = files(&folder);
    std::fs::remove_file(file).unwrap();
    std::fs::remove_dir_all(folder).unwrap();
    let left = std::fs::read_dir(temporary.path()).unwrap().count();
    assert_eq!(left, 0, "something was left behind");
    (written, plots)
}

fn files(folder: &Path) -> BTreeMap<String, String> {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    let read = |entry: std::fs::DirEntry| {
        let name = entry.file_name().into_string().unwrap();
        (name, std::fs::read_to_string(entry.path()).unwrap())
    };
    entries.map(read).collect()
}

/// Accepted, taken and told are the same, and are some.
fn assert_balanced(run: &Value) {
    assert_eq!(run["messages"], run["books"]["accepted"]);
    assert_books(run);
}

fn assert_books(run: &Value) {
    let books = &run["books"];
    let accepted = books["accepted"].as_u64().unwrap();
    assert!(accepted > 0, "{books:#}");
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

#[test]
fn a_filled_ledger_is_measured_beside_an_empty_one_and_its_first_day_goes() {
    let written = short(&["growth"]);
    let run = &written["scenarios"][0]["runs"][0];
    assert_books(run);
    let figures = run["figures"].as_object().unwrap();
    assert_eq!(figures["rows filled in"], 3_000.0);
    // Three thousand over 59 days.
    assert_eq!(figures["messages of the day that goes"], 51.0);
    for name in [
        "accepted a second, empty",
        "accepted a second, filled",
        "told a second, to the last webhook, filled",
        "p99 of accepting while they go, % of before",
    ] {
        assert!(figures[name].as_f64().unwrap() > 0.0, "{name}");
    }
    for name in [
        "empty: look-up of a message",
        "filled: look-up of a message",
        "filled: a month's numbers",
        "filled, a day goes: due to answer",
    ] {
        assert!(run["millis"][name]["count"].as_u64().unwrap() > 0, "{name}");
    }
}

#[test]
fn plots_are_well_formed_and_have_the_numbers_of_the_report() {
    let (written, plots) = short_with_plots(&["backlog"]);
    let measured = &written["scenarios"][0];
    let names: Vec<_> = plots.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "backlog-beside.svg",
            "backlog-latency.svg",
            "backlog-memory.svg"
        ]
    );
    // What each mark of a plot says: its name, and then its numbers.
    let said = |plot: &str| {
        let read = roxmltree::Document::parse(&plots[plot]).unwrap();
        let titles = read.descendants().filter(|node| node.has_tag_name("title"));
        let titles = titles.filter_map(|node| node.text()?.split_once(": "));
        let titles = titles.map(|(name, numbers)| (name.to_owned(), numbers.to_owned()));
        titles.collect::<BTreeMap<_, _>>()
    };
    let bars = said("backlog-beside.svg");
    for name in [
        "accepted a second, nothing waiting",
        "accepted a second, all waiting",
    ] {
        let (median, _) = bars[name].split_once(" (").unwrap();
        assert_same(
            median.parse().unwrap(),
            &measured["figures"][name]["median"],
        );
    }
    let curve = &said("backlog-latency.svg")["request to answer"];
    let most = curve.rsplit_once("max ").unwrap().1.trim_end_matches(" ms");
    let most = most.replace(',', "").parse().unwrap();
    assert_same(
        most,
        &measured["millis"]["max"]["request to answer"]["median"],
    );
    let processes = measured["runs"][0]["processes"].as_array().unwrap();
    let memory = said("backlog-memory.svg");
    for process in processes {
        let name = process["name"].as_str().unwrap();
        assert!(memory.contains_key(name), "{memory:?}");
    }
}

/// As exactly as numbers are written for people.
fn assert_same(plotted: f64, reported: &Value) {
    let reported = reported.as_f64().unwrap();
    let error = (plotted - reported).abs() / reported;
    assert!(error < 0.01, "{plotted} is plotted, not {reported}");
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
        vec!["accept", "--rows", "5"],
        vec!["growth", "--runs", "2"],
        vec!["growth", "--rows", "0"],
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
