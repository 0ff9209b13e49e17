//! `pabal migrate` and `pabal reconcile`

use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use crate::pabal::Folder;

#[test]
fn a_command_without_a_ledger_says_how_to_make_one() {
    let folder = Folder::nowhere();
    for arguments in [
        &["partner", "list"][..],
        &["reconcile"],
        &["dead-letter", "list"],
    ] {
        folder
            .pabal(arguments)
            .refused(1, &["no ledger", "pabal serve", "pabal migrate"]);
    }
    assert!(!folder.path().exists(), "looking makes nothing");
}

#[test]
fn migrate_makes_a_ledger_with_its_keys_and_never_other_keys() {
    let folder = Folder::nowhere();
    assert_eq!(
        folder.pabal(&["migrate", "--json"]).json()["madeKeys"],
        true
    );
    let keys = folder.path().join("keys.json");
    let mode = std::fs::metadata(&keys).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(folder.pabal(&["partner", "add", "shop"]).code, 0);

    let before = std::fs::read(&keys).unwrap();
    assert_eq!(
        folder.pabal(&["migrate", "--json"]).json()["madeKeys"],
        false
    );
    assert_eq!(std::fs::read(&keys).unwrap(), before);

    std::fs::remove_file(&keys).unwrap();
    assert_eq!(folder.pabal(&["migrate"]).code, 0);
    assert!(
        !keys.exists(),
        "new keys could not read what the old ones sealed"
    );
    folder
        .pabal(&["partner", "list"])
        .refused(1, &["keys.json", "put the key file back"]);
}

#[tokio::test]
async fn reconcile_is_content_with_an_empty_ledger_and_finds_a_number_that_nobody_earned() {
    let folder = Folder::migrated();
    let said = folder.pabal(&["reconcile"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("The books agree."));
    let none = json!({"totals": [], "differences": []});
    assert_eq!(folder.pabal(&["reconcile", "--json"]).json(), none);

    sqlx::query(
        "INSERT INTO partner_daily_stats (partner_id, stat_date, message_type, total, success, \
         failed, expired) VALUES ('shop', 20261121, 1, 3, 3, 0, 0)",
    )
    .execute(&mut folder.sqlite().await)
    .await
    .unwrap();
    let said = folder.pabal(&["reconcile"]);
    said.refused(1, &["do not agree"]);
    assert!(
        said.out.contains("DIFFERENCE shop 2026-11-21 SMS: total"),
        "{said:?}"
    );
    let said = folder.pabal(&["reconcile", "--json"]);
    assert_eq!(said.code, 1);
    let found: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(found["differences"][0]["messages"], 0);
    assert_eq!(found["differences"][0]["book"], 3);
}
