//! `pabal template`

use std::fs;

use serde_json::{Value, json};

use crate::pabal::Folder;

const SENDER_KEY: &str = "0123456789abcdef0123456789abcdef01234567";

fn shop() -> Folder {
    let folder = Folder::migrated();
    assert_eq!(folder.pabal(&["partner", "add", "shop"]).code, 0);
    folder
}

fn template(code: &str) -> Value {
    json!({
        "senderKey": SENDER_KEY,
        "code": code,
        "text": "#{name}님,\r\n발송되었습니다.",
        "buttons": [{"type": "WL", "name": "조회", "url": "https://shop.example/#{no}"}],
    })
}

/// Writes a file of templates; where it is.
fn written(folder: &Folder, templates: &Value) -> String {
    let file = folder.path().join("templates.json");
    fs::write(&file, templates.to_string()).unwrap();
    file.display().to_string()
}

fn add(folder: &Folder, templates: &Value) -> crate::pabal::Said {
    folder.pabal(&[
        "template",
        "add",
        "shop",
        &written(folder, templates),
        "--json",
    ])
}

fn codes(folder: &Folder) -> Vec<String> {
    let listed = folder.pabal(&["template", "list", "shop", "--json"]).json();
    let items = listed["items"].as_array().unwrap().clone();
    let code = |item: &Value| item["code"].as_str().unwrap().to_owned();
    items.iter().map(code).collect()
}

#[test]
fn templates_are_added_shown_suspended_resumed_and_removed() {
    let folder = shop();
    let added = add(&folder, &json!([template("B"), template("A")]));
    assert_eq!(added.json(), json!({"added": 2}));
    assert_eq!(add(&folder, &template("A")).json(), json!({"added": 1}));
    assert_eq!(codes(&folder), ["A", "B"]);

    let one = |what: &str| folder.pabal(&["template", what, "shop", SENDER_KEY, "A", "--json"]);
    let shown = one("show").json();
    assert_eq!(shown["text"], "#{name}님,\n발송되었습니다.");
    assert_eq!(shown["variables"], json!(["name", "no"]));
    assert_eq!(shown["state"], "APPROVED");
    assert_eq!(one("suspend").json()["state"], "SUSPENDED");
    assert_eq!(one("resume").json()["state"], "APPROVED");
    assert_eq!(one("remove").json(), json!({"removed": "A"}));
    assert_eq!(codes(&folder), ["B"]);
    for what in ["show", "suspend", "resume", "remove"] {
        one(what).refused(1, &["no template A", "pabal template list shop"]);
    }
}

#[test]
fn a_file_with_a_template_that_no_message_can_be_made_of_adds_none_and_says_which_it_is() {
    let folder = shop();
    let mut bad = template("BAD");
    for (field, value, words) in [
        ("text", json!(""), &["template 2", "BAD", "text"][..]),
        ("code", json!("two words"), &["template 2", "visible ASCII"]),
        (
            "buttons",
            json!([{"type": "XX", "name": "a"}]),
            &["BAD", "buttons[0].type", "WL"],
        ),
    ] {
        let good = bad[field].take();
        bad[field] = value;
        add(&folder, &json!([template("A"), bad])).refused(2, words);
        bad[field] = good;
    }
    bad["state"] = json!("APPROVED");
    add(&folder, &json!([bad])).refused(2, &["templates.json", "state"]);
    assert!(codes(&folder).is_empty());
}

#[test]
fn nobody_is_given_the_templates_of_a_partner_that_is_not_there() {
    let folder = Folder::migrated();
    add(&folder, &template("A")).refused(1, &["no partner named shop"]);
    folder
        .pabal(&["template", "list", "shop"])
        .refused(1, &["no partner named shop"]);
}
