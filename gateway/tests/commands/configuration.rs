//! `pabal config`, and configuration that cannot be used.

use crate::pabal::Folder;

#[test]
fn config_shows_every_setting_and_where_it_is_from_but_no_secret() {
    let folder = Folder::nowhere();
    let endpoint = "telemetry.otlp_endpoint=http://me:hunter2@collector.example:4318/";
    let environment = [("PABAL_LOG_FILTER", "debug")];
    for more in [&[][..], &["--json"]] {
        let arguments = [&["config", "--set", endpoint], more].concat();
        let said = folder.pabal_with(&arguments, &environment);
        assert_eq!(said.code, 0, "{said:?}");
        assert!(!said.out.contains("hunter2"), "{said:?}");
        assert!(said.out.contains("collector.example:4318"), "{said:?}");
    }
    let shown = folder
        .pabal_with(&["config", "--json"], &environment)
        .json();
    assert_eq!(shown["log.filter"]["value"], "debug");
    assert!(
        shown["log.filter"]["from"]
            .as_str()
            .unwrap()
            .contains("PABAL_LOG_FILTER")
    );
    assert_eq!(shown["http.drain"]["value"], "3s");
    assert!(!folder.path().exists(), "showing settings makes nothing");
}

#[test]
fn a_wrong_setting_is_named_with_its_value_and_what_is_allowed() {
    let folder = Folder::nowhere();
    let wrong = [
        "--set",
        "http.drain=forever",
        "--set",
        "simulator.enabled=perhaps",
    ];
    for command in [
        &["config"][..],
        &["serve"],
        &["partner", "list"],
        &["migrate"],
        &["reconcile"],
    ] {
        let said = folder.pabal(&[command, &wrong].concat());
        let words = ["http.drain", "\"forever\"", "500ms", "from 10ms to 1m"];
        said.refused(2, &words);
        said.refused(2, &["simulator.enabled", "\"perhaps\"", "true or false"]);
    }
    assert!(
        !folder.path().exists(),
        "nothing is made under wrong settings"
    );
}

#[test]
fn settings_that_do_not_agree_are_both_named() {
    let folder = Folder::nowhere();
    for (setting, other) in [
        ("sender.call_limit=61s", "reporter.call_limit"),
        ("lease.length=6s", "lease.dead_after"),
        ("lease.dead_after=5s", "sender.first_byte_limit"),
    ] {
        let (key, value) = setting.split_once('=').unwrap();
        let said = folder.pabal(&["config", "--set", setting]);
        said.refused(2, &[key, value, other, "from default"]);
    }
}

#[test]
fn an_account_that_is_there_twice_or_waits_too_long_ends_the_start_as_wrong_use() {
    let folder = Folder::nowhere();
    let account = r#"
        [[account]]
        protocol = "carrier"
        name = "main"
        base_url = "https://sms.vendor.example"
        api_key = "key"
        callback_secret = "at-least-16-bytes"
    "#;
    let file = tempfile::NamedTempFile::new().unwrap();
    let serve = |text: String| {
        std::fs::write(file.path(), text).unwrap();
        folder.pabal(&["serve", "--config", file.path().to_str().unwrap()])
    };
    serve(account.repeat(2)).refused(2, &["[[account]] carrier/main", "two tables"]);
    serve(format!("{account}\nconnect_timeout_ms = 4001")).refused(
        2,
        &[
            "carrier/main",
            "connect_timeout_ms = 4001",
            "from 1 to 4000",
        ],
    );
}

#[test]
fn a_setting_that_does_not_exist_is_refused_wherever_it_is_written() {
    let folder = Folder::nowhere();
    let words = [
        "http.adress",
        "is not a setting",
        "did you mean http.address?",
    ];
    folder
        .pabal(&["config", "--set", "http.adress=127.0.0.1:1"])
        .refused(2, &words);
    let said = folder.pabal_with(&["config"], &[("PABAL_X", "1")]);
    said.refused(2, &["PABAL_X", "is not a setting"]);
    folder
        .pabal(&["config", "--set", "novalue"])
        .refused(2, &["KEY=VALUE"]);
    folder
        .pabal(&["config", "--config", "/nowhere.toml"])
        .refused(2, &["/nowhere.toml"]);
}

#[test]
fn every_command_explains_itself() {
    let folder = Folder::nowhere();
    let commands: &[&[&str]] = &[
        &[],
        &["partner"],
        &["partner", "add"],
        &["partner", "set-webhook"],
        &["message", "show"],
        &["message", "find"],
        &["dead-letter", "list"],
        &["dead-letter", "replay"],
    ];
    for command in commands {
        let said = folder.pabal(&[*command, &["--help"]].concat());
        assert_eq!(said.code, 0, "{said:?}");
        assert!(said.out.contains("Examples:"), "{command:?}: {}", said.out);
    }
    let said = folder.pabal(&["partner", "rotate-webhook-secret", "--help"]);
    assert!(said.out.contains("24 hours"), "{}", said.out);
    folder.pabal(&["parter"]).refused(2, &["'partner'"]);
}
