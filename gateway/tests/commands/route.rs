//! `pabal route` and `pabal sender`

use pabal_common::clock::{Clock as _, SystemClock};
use pabal_common::ledger::{Blocked, Partners as _};
use serde_json::{Value, json};

use crate::pabal::{Folder, text};

const SMS_B: [&str; 11] = [
    "route",
    "set",
    "sms-b",
    "--account",
    "carrier/main",
    "--type",
    "SMS",
    "--tps",
    "50",
    "--concurrency",
    "8",
];

fn routes(folder: &Folder) -> Vec<Value> {
    let listed = folder.pabal(&["route", "list", "--json"]).json();
    listed["items"].as_array().unwrap().clone()
}

fn route(folder: &Folder, name: &str) -> Value {
    let found = routes(folder).into_iter().find(|one| one["name"] == name);
    found.unwrap_or_else(|| panic!("{name} is not listed"))
}

#[test]
fn a_route_is_paused_and_resumed_and_says_so() {
    let folder = Folder::migrated();
    let name = "simulated-carrier";
    assert_eq!(route(&folder, name)["paused"], false);
    let said = folder.pabal(&["route", "pause", name]);
    assert_eq!(said.code, 0, "{said:?}");
    let paused = route(&folder, name);
    assert_eq!(
        (&paused["paused"], text(&paused["from"])),
        (&json!(true), "SIMULATOR")
    );
    assert!(folder.pabal(&["route", "list"]).out.contains("PAUSED"));
    let resumed = folder.pabal(&["route", "resume", name, "--json"]).json();
    assert_eq!(resumed["paused"], false);
}

#[test]
fn a_route_that_is_set_is_listed_with_everything_and_removed_again() {
    let folder = Folder::migrated();
    let more = [
        "--partner",
        "shop",
        "--prefix",
        "8210",
        "--limit",
        "SMS=80",
        "--priority",
        "2",
    ];
    let arguments: Vec<&str> = SMS_B.into_iter().chain(more).collect();
    let said = folder.pabal(&arguments);
    assert_eq!(said.code, 0, "{said:?}");
    let set = route(&folder, "sms-b");
    for (key, value) in [
        ("account", json!("carrier/main")),
        ("types", json!(["SMS"])),
        ("tps", json!(50)),
        ("priority", json!(2)),
        ("weight", json!(1)),
        ("partners", json!(["shop"])),
        ("prefixes", json!(["010"])),
        ("limits", json!({"SMS": 80})),
        ("from", json!("LEDGER")),
        ("health", json!("UNKNOWN")),
    ] {
        assert_eq!(set[key], value, "{key} in {set}");
    }
    assert_eq!(folder.pabal(&["route", "remove", "sms-b"]).code, 0);
    assert!(routes(&folder).iter().all(|one| one["name"] != "sms-b"));
}

#[test]
fn a_route_of_the_ledger_stands_in_the_place_of_another_until_it_is_removed() {
    let folder = Folder::migrated();
    let mut instead = SMS_B;
    instead[2] = "simulated-carrier";
    assert_eq!(folder.pabal(&instead).code, 0);
    assert_eq!(route(&folder, "simulated-carrier")["tps"], 50);
    assert_eq!(
        folder.pabal(&["route", "remove", "simulated-carrier"]).code,
        0
    );
    assert_eq!(route(&folder, "simulated-carrier")["tps"], 20_000);
}

#[test]
fn what_cannot_be_a_route_is_refused_with_what_can() {
    let folder = Folder::migrated();
    let with = |at: usize, value: &'static str| {
        let mut arguments = SMS_B;
        arguments[at] = value;
        folder.pabal(&arguments)
    };
    with(4, "carrier/other").refused(2, &["carrier/other", "carrier/main"]);
    with(6, "FAX").refused(2, &["FAX", "SMS"]);
    with(8, "0").refused(2, &["tps is 0", "1..=100000"]);
    for command in ["pause", "resume"] {
        folder
            .pabal(&["route", command, "nobody"])
            .refused(1, &["nobody", "route list"]);
    }
    folder
        .pabal(&["route", "remove", "nobody"])
        .refused(1, &["nobody"]);
    assert!(routes(&folder).iter().all(|one| one["from"] == "SIMULATOR"));
}

#[tokio::test]
async fn a_blocked_number_is_shown_and_allowed_again() {
    let folder = Folder::migrated();
    let added = folder.pabal(&["partner", "add", "shop", "--sender", "02-123-4567"]);
    assert_eq!(added.code, 0, "{added:?}");
    let blocked = Blocked {
        since: SystemClock.now(),
        why: "refused by the vendor of route sms-a".to_owned(),
    };
    let (ledger, shop) = (folder.ledger().await, "shop".parse().unwrap());
    let done = ledger.block_sender(&shop, "021234567", &blocked).await;
    assert!(done.unwrap());
    let listed = folder.pabal(&["sender", "list", "--json"]).json();
    let one = &listed["items"][0];
    assert_eq!(
        (text(&one["state"]), text(&one["why"])),
        ("BLOCKED", blocked.why.as_str())
    );
    assert!(folder.pabal(&["sender", "list"]).out.contains("BLOCKED"));

    let said = folder.pabal(&["sender", "allow", "shop", "02-123-4567"]);
    assert_eq!(said.code, 0, "{said:?}");
    let listed = folder
        .pabal(&["sender", "list", "--partner", "shop", "--json"])
        .json();
    assert_eq!(listed["items"][0]["state"], "ALLOWED");
    folder
        .pabal(&["sender", "list", "--partner", "bank"])
        .refused(1, &["bank"]);
}
