//! Settings that lead to servers: which go together, what is shown of them, and servers that are
//! away.

use std::net::TcpListener;

use serde_json::json;

use crate::pabal::Folder;

const LEDGER: &str = "ledger.url=mysql://pabal:hunter2@db.example:3306/pabal";
const BROKER: &str = "broker.url=amqp://pabal:hunter2@mq.example:5672/%2f";
const QUOTA: &str = "quota.url=redis://:hunter2@cache.example:6379/0";

fn with<'s>(command: &[&'s str], settings: &[&'s str]) -> Vec<&'s str> {
    let settings = settings.iter().flat_map(|one| ["--set", one]);
    command.iter().copied().chain(settings).collect()
}

#[test]
fn a_ledger_on_a_server_and_a_broker_go_together() {
    let folder = Folder::nowhere();
    for (alone, other) in [(LEDGER, "broker.url"), (BROKER, "ledger.url")] {
        for command in [&["serve"][..], &["config"], &["migrate"]] {
            let key = alone.split('=').next().unwrap();
            folder
                .pabal(&with(command, &[alone]))
                .refused(2, &[key, other, "give both, or neither"]);
        }
    }
    assert_eq!(folder.pabal(&with(&["config"], &[QUOTA])).code, 0);
    assert_eq!(folder.pabal(&with(&["config"], &[LEDGER, BROKER])).code, 0);
    assert!(!folder.path().exists());
}

#[test]
fn config_shows_where_servers_are_and_no_password() {
    let folder = Folder::nowhere();
    for command in [&["config"][..], &["config", "--json"]] {
        let said = folder.pabal(&with(command, &[LEDGER, BROKER, QUOTA]));
        assert_eq!(said.code, 0, "{said:?}");
        for place in [
            "pabal:****@db.example:3306/pabal",
            "mq.example",
            "cache.example",
        ] {
            assert!(said.out.contains(place), "{place}: {said:?}");
        }
        assert!(!format!("{said:?}").contains("hunter2"), "{said:?}");
    }
    let url = LEDGER.split_once('=').unwrap().1;
    let variables = [
        ("PABAL_LEDGER_URL", url),
        ("PABAL_BROKER_URL", "no url hunter2@x"),
    ];
    let said = folder.pabal_with(&["config"], &variables);
    said.refused(2, &["broker.url", "PABAL_BROKER_URL"]);
    assert!(!said.err.contains("hunter2"), "{said:?}");
}

#[test]
fn a_file_of_a_password_that_cannot_be_read_is_named_before_anything_is_tried() {
    let folder = Folder::nowhere();
    let file = "ledger.password_file=/nowhere/password";
    for command in [&["config"][..], &["serve"], &["partner", "list"]] {
        folder
            .pabal(&with(command, &[LEDGER, BROKER, file]))
            .refused(2, &["ledger.password_file", "/nowhere/password"]);
    }
}

#[test]
fn a_command_says_that_the_ledger_is_away_rather_than_wait() {
    let folder = Folder::nowhere();
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let ledger = format!("ledger.url=mysql://pabal:hunter2@127.0.0.1:{port}/pabal");
    let broker = format!("broker.url=amqp://pabal:hunter2@127.0.0.1:{port}/%2f");
    for command in [&["migrate"][..], &["reconcile"], &["ledger", "restored"]] {
        // Commands beside a cluster have its key file.
        let keys = folder.path().join("keys.json");
        if !keys.exists() {
            let made = Folder::migrated();
            std::fs::create_dir_all(folder.path()).unwrap();
            std::fs::copy(made.path().join("keys.json"), &keys).unwrap();
        }
        let said = folder.pabal(&with(command, &[&ledger, &broker]));
        said.refused(1, &["ledger unavailable"]);
        assert!(!said.err.contains("hunter2"), "{said:?}");
    }
}

#[test]
fn config_shows_accounts_and_routes_with_their_secrets_masked_and_finds_what_is_wrong_in_them() {
    let folder = Folder::nowhere();
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "at-least-16-bytes").unwrap();
    let text = format!(
        r#"
        [[account]]
        protocol = "carrier"
        name = "main"
        base_url = "https://sms.vendor.example"
        api_key = "hunter2-hunter2"
        callback_secret_file = "{}"

        [[route]]
        name = "sms"
        account = "carrier/main"
        kinds = ["SMS", "LMS"]
        tps = 100
        concurrency = 4
        "#,
        secret.path().display()
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &text).unwrap();
    let config = |more: &[&str]| {
        let path = file.path().to_str().unwrap();
        folder.pabal(&[&["config", "--config", path], more].concat())
    };
    let said = config(&[]);
    assert_eq!(said.code, 0, "{said:?}");
    let place = secret.path().to_str().unwrap();
    for word in [
        "carrier/main",
        "https://sms.vendor.example",
        place,
        "SMS,LMS",
    ] {
        assert!(said.out.contains(word), "{word}: {said:?}");
    }
    let shown = config(&["--json"]).json();
    let account = &shown["account"][0];
    assert_eq!(account["api_key"], "****");
    assert_eq!(account["callback_secret"], json!(null));
    assert_eq!(account["callback_secret_file"], place);
    assert_eq!(account["connect_timeout_ms"], 3000);
    assert_eq!(shown["route"][0]["kinds"], json!(["SMS", "LMS"]));
    for shown in [said.out, shown.to_string()] {
        assert!(
            !shown.contains("hunter2") && !shown.contains("at-least"),
            "{shown}"
        );
    }
    std::fs::write(
        file.path(),
        text.replace("account = \"carrier", "account = \"kakao"),
    )
    .unwrap();
    config(&[]).refused(2, &["[[route]] sms", "kakao/main", "carrier/main"]);
}

#[test]
fn a_log_filter_that_cannot_be_read_is_found_by_config_too() {
    let folder = Folder::nowhere();
    for command in [&["config"][..], &["serve"]] {
        folder
            .pabal(&with(command, &["log.filter=info,pabal=loud"]))
            .refused(2, &["log.filter", "info,pabal=loud", "target=level"]);
    }
}
