//! `pabal partner`

use std::time::Duration;

use pabal_common::clock::{Clock as _, SystemClock, Timestamp};
use pabal_common::crypto::{
    Keyring, Sealer, SecretHasher, WebhookSecret, verify_standard_webhook, verify_x_signature,
};
use pabal_common::domain::id::{PartnerId, WebhookId};
use pabal_common::ledger::{Partner, Partners as _, RefreshOutcome, RefreshToken};
use pabal_reporter::webhook::Signer;
use serde_json::json;

use crate::pabal::{Folder, text};

const WINDOW: Duration = Duration::from_secs(300);

fn shop() -> PartnerId {
    "shop".parse().unwrap()
}

async fn kept(folder: &Folder) -> Partner {
    folder
        .ledger()
        .await
        .partner(&shop())
        .await
        .unwrap()
        .unwrap()
}

/// Whether each secret is the one of X-Signature, and whether it signs in webhook-signature.
async fn signs(folder: &Folder, secrets: &[&str], now: Timestamp) -> Vec<(bool, bool)> {
    let sealer = Sealer::new(&Keyring::open(&folder.path().join("keys.json")).unwrap());
    let partner = kept(folder).await;
    let signer = Signer::open(&sealer, &partner.id, &partner.webhook).unwrap();
    let headers = signer.headers(WebhookId::from_number(7), "{}", now);
    let header = |name: &str| headers.get(name);
    let check = |secret: &WebhookSecret| {
        (
            verify_x_signature(secret, header, b"{}", now, WINDOW).is_ok(),
            verify_standard_webhook(secret, header, b"{}", now, WINDOW).is_ok(),
        )
    };
    secrets
        .iter()
        .map(|secret| check(&secret.parse().unwrap()))
        .collect()
}

#[test]
fn a_new_partners_secrets_are_shown_once_and_are_nowhere_in_the_folder() {
    let folder = Folder::migrated();
    let added = folder.pabal(&["partner", "add", "shop", "--json"]).json();
    let (client, webhook) = (text(&added["clientSecret"]), text(&added["webhookSecret"]));
    assert!(
        client.starts_with("psk_") && webhook.starts_with("whsec_"),
        "{added}"
    );
    assert_eq!(added["clientId"], "shop");

    let listings = [&["partner", "list"][..], &["partner", "list", "--json"]];
    let changes = [
        &["partner", "disable", "shop", "--json"][..],
        &["partner", "enable", "shop"],
    ];
    for arguments in listings.into_iter().chain(changes) {
        let said = folder.pabal(arguments);
        assert_eq!(said.code, 0, "{said:?}");
        for secret in [client, webhook, "argon2", "psk_", "whsec_"] {
            assert!(!said.out.contains(secret), "{arguments:?} shows {secret}");
        }
    }
    assert!(!folder.holds(client) && !folder.holds(webhook));
    assert!(folder.holds("shop"), "the folder is the right one");
}

#[test]
fn add_says_for_people_too_what_the_partner_needs_and_what_is_missing() {
    let folder = Folder::migrated();
    let said = folder.pabal(&["partner", "add", "shop"]);
    let words = [
        "clientId",
        "psk_",
        "whsec_",
        "shown this once",
        "allow-sender",
        "set-webhook",
    ];
    for word in words {
        assert!(said.out.contains(word), "{word} is not in {said:?}");
    }
}

#[tokio::test]
async fn the_secret_that_add_shows_is_the_one_the_partner_logs_in_with() {
    let folder = Folder::migrated();
    let added = folder.pabal(&["partner", "add", "shop", "--json"]).json();
    let (hasher, hash) = (
        SecretHasher::new(1, WINDOW),
        kept(&folder).await.secret_hash,
    );
    let secret = text(&added["clientSecret"]);
    assert_eq!(hasher.verify(Some(&hash), secret).await, Ok(true));
    let signs = signs(&folder, &[text(&added["webhookSecret"])], SystemClock.now()).await;
    assert_eq!(signs, [(true, true)]);
}

#[test]
fn everything_given_to_add_is_kept_and_listed() {
    let folder = Folder::migrated();
    let arguments = [
        "partner",
        "add",
        "shop",
        "--name",
        "어느 가게",
        "--rate",
        "5000",
        "--express-rate",
        "7",
        "--webhook-url",
        "https://shop.example/hook",
        "--webhook-batch",
        "100",
        "--webhook-sent",
        "--unencodable",
        "replace:?",
        "--sender",
        "02-123-4567",
        "--sender",
        "1588-0000",
    ];
    assert_eq!(folder.pabal(&arguments).code, 0);
    let list = folder.pabal(&["partner", "list", "--json"]).json();
    let shop = &list["items"][0];
    let expected = json!({
        "id": "shop", "name": "어느 가게", "status": "ACTIVE", "rate": 5000, "expressRate": 7,
        "unencodable": "replace:?", "credentialVersion": 1,
        "webhook": {
            "url": "https://shop.example/hook", "batch": 100, "sent": true,
            "disabled": null, "rotation": null,
        },
        "senders": ["021234567", "15880000"], "createdAt": shop["createdAt"],
    });
    assert_eq!(*shop, expected);
    let table = folder.pabal(&["partner", "list"]).out;
    for cell in [
        "어느 가게",
        "ACTIVE",
        "5000",
        "https://shop.example/hook",
        "021234567,15880000",
    ] {
        assert!(table.contains(cell), "{cell} is not in\n{table}");
    }
}

#[test]
fn an_id_is_given_only_once() {
    let folder = Folder::migrated();
    assert_eq!(folder.pabal(&["partner", "add", "shop"]).code, 0);
    let again = folder.pabal(&["partner", "add", "shop", "--json"]);
    again.refused(1, &["shop", "pabal partner list"]);
    assert!(
        again.out.is_empty(),
        "no secret of a partner that was not added: {again:?}"
    );
}

#[test]
fn a_wrong_value_is_refused_with_what_is_allowed_and_changes_nothing() {
    let folder = Folder::migrated();
    let cases: &[(&[&str], &[&str])] = &[
        (
            &["add", "Shop"],
            &["'Shop'", "1 to 32 characters of a-z, 0-9 and '-'"],
        ),
        (&["add", "shop", "--rate", "0"], &["--rate", "1..=100000"]),
        (
            &["add", "shop", "--rate", "100001"],
            &["100001", "1..=100000"],
        ),
        (
            &["add", "shop", "--express-rate", "many"],
            &["--express-rate", "many"],
        ),
        (
            &["add", "shop", "--webhook-batch", "101"],
            &["--webhook-batch", "1..=100"],
        ),
        (
            &["add", "shop", "--webhook-url", "ftp://shop.example"],
            &["http or https"],
        ),
        (
            &["add", "shop", "--webhook-url", "https://me:pw@shop.example"],
            &["no user or password"],
        ),
        (
            &["add", "shop", "--webhook-url", "shop.example/hook"],
            &["https://shop.example/hook"],
        ),
        (
            &["add", "shop", "--unencodable", "drop"],
            &["reject", "replace:?"],
        ),
        (
            &["add", "shop", "--sender", "123"],
            &["'123'", "02-123-4567"],
        ),
        (
            &["add", "shop", "--sender", "+82-2-123-4567"],
            &["a number such as"],
        ),
        (&["add", "shop", "--name", ""], &["1 to 100 characters"]),
        (&["add"], &["<ID>"]),
        (&["set-webhook", "shop"], &["nothing to change", "--batch"]),
        (&["set-webhook", "shop", "--sent", "yes"], &["true, false"]),
        (&["allow-sender", "shop"], &["<NUMBER>"]),
        (
            &["rotate-webhook-secret", "shop", "--activate", "--discard"],
            &["--discard"],
        ),
    ];
    for (arguments, words) in cases {
        let arguments = [&["partner"], *arguments].concat();
        folder.pabal(&arguments).refused(2, words);
    }
    assert_eq!(
        folder.pabal(&["partner", "list", "--json"]).json(),
        json!({"items": []})
    );
}

#[test]
fn a_partner_that_is_not_there_is_named_with_the_way_to_find_the_right_one() {
    let folder = Folder::migrated();
    let cases: &[&[&str]] = &[
        &["partner", "disable", "nobody"],
        &["partner", "enable", "nobody"],
        &["partner", "rotate-secret", "nobody"],
        &["partner", "rotate-webhook-secret", "nobody"],
        &["partner", "allow-sender", "nobody", "02-123-4567"],
        &["partner", "set-webhook", "nobody", "none"],
        &[
            "message",
            "find",
            "--partner",
            "nobody",
            "--client-msg-id",
            "1",
        ],
        &["dead-letter", "list", "--partner", "nobody"],
        &["dead-letter", "replay", "--partner", "nobody"],
    ];
    for arguments in cases {
        folder
            .pabal(arguments)
            .refused(1, &["nobody", "pabal partner list"]);
    }
}

#[tokio::test]
async fn a_new_client_secret_ends_the_old_one_its_tokens_and_its_refresh_tokens() {
    let folder = Folder::migrated();
    let added = folder.pabal(&["partner", "add", "shop", "--json"]).json();
    let ledger = folder.ledger().await;
    let now = SystemClock.now();
    let later = now.plus(WINDOW);
    let token = RefreshToken {
        hash: [1; 32],
        family: [1; 16],
        partner: shop(),
        expires_at: later,
    };
    ledger.keep_refresh(&token, now).await.unwrap();

    let rotated = folder
        .pabal(&["partner", "rotate-secret", "shop", "--json"])
        .json();
    let (old, new) = (text(&added["clientSecret"]), text(&rotated["clientSecret"]));
    assert_ne!(old, new);
    assert_eq!(rotated["credentialVersion"], 2);
    let partner = kept(&folder).await;
    assert_eq!(partner.credential_version, 2);
    let hasher = SecretHasher::new(1, WINDOW);
    assert_eq!(
        hasher.verify(Some(&partner.secret_hash), old).await,
        Ok(false)
    );
    assert_eq!(
        hasher.verify(Some(&partner.secret_hash), new).await,
        Ok(true)
    );
    let refreshed = ledger
        .rotate_refresh(&[1; 32], &[2; 32], later, Duration::ZERO, now)
        .await;
    assert_eq!(refreshed.unwrap(), RefreshOutcome::Invalid);
    assert!(
        !folder
            .pabal(&["partner", "list", "--json"])
            .out
            .contains(new)
    );
}

#[tokio::test]
async fn a_webhook_secret_is_rotated_without_a_moment_in_which_neither_signs() {
    let folder = Folder::migrated();
    let added = folder.pabal(&["partner", "add", "shop", "--json"]).json();
    let step = |arguments: &[&str]| {
        let rotate = ["partner", "rotate-webhook-secret", "shop", "--json"];
        folder.pabal(&[&rotate, arguments].concat()).json()
    };
    let begun = step(&[]);
    let secrets = [text(&added["webhookSecret"]), text(&begun["webhookSecret"])];
    let now = SystemClock.now();
    assert_eq!(
        signs(&folder, &secrets, now).await,
        [(true, true), (false, true)]
    );
    let list = folder.pabal(&["partner", "list", "--json"]);
    assert_eq!(
        list.json()["items"][0]["webhook"]["rotation"]["state"],
        "NOT_ACTIVATED"
    );
    assert!(!list.out.contains(secrets[1]));

    let activated = step(&["--activate"]);
    assert!(
        activated.get("webhookSecret").is_none(),
        "a secret is shown once: {activated}"
    );
    let until = Timestamp::parse_rfc3339(text(&activated["oldSignsUntil"])).unwrap();
    let day = Duration::from_secs(24 * 3600);
    assert!(until >= now.plus(day), "{until}");
    let just_before = until.minus(Duration::from_secs(1));
    assert_eq!(
        signs(&folder, &secrets, just_before).await,
        [(false, true), (true, true)]
    );
    assert_eq!(
        signs(&folder, &secrets, until).await,
        [(false, false), (true, true)]
    );
}

#[tokio::test]
async fn steps_of_a_rotation_in_the_wrong_order_are_refused_with_the_right_one() {
    let folder = Folder::migrated();
    let added = folder.pabal(&["partner", "add", "shop", "--json"]).json();
    let rotate = ["partner", "rotate-webhook-secret", "shop"];
    let activate = [&rotate[..], &["--activate"]].concat();
    folder
        .pabal(&activate)
        .refused(1, &["no second webhook secret", &rotate.join(" ")]);
    assert_eq!(folder.pabal(&rotate).code, 0);
    folder
        .pabal(&rotate)
        .refused(1, &["--activate", "--discard"]);
    assert_eq!(folder.pabal(&activate).code, 0);
    folder
        .pabal(&activate)
        .refused(1, &["active already", "until"]);
    folder.pabal(&rotate).refused(1, &["not over", "--discard"]);

    let discard = [&rotate[..], &["--discard", "--json"]].concat();
    let again = folder.pabal(&discard).json();
    let secrets = [text(&added["webhookSecret"]), text(&again["webhookSecret"])];
    let signs = signs(&folder, &secrets, SystemClock.now()).await;
    assert_eq!(
        signs,
        [(false, false), (false, true)],
        "the first secret was dropped"
    );
}

#[tokio::test]
async fn a_rotation_whose_day_is_over_makes_room_for_the_next() {
    let folder = Folder::migrated();
    assert_eq!(folder.pabal(&["partner", "add", "shop"]).code, 0);
    let rotate = ["partner", "rotate-webhook-secret", "shop"];
    assert_eq!(folder.pabal(&rotate).code, 0);
    assert_eq!(
        folder.pabal(&[&rotate[..], &["--activate"]].concat()).code,
        0
    );
    sqlx::query("UPDATE partners SET webhook_other_until = 1")
        .execute(&mut folder.sqlite().await)
        .await
        .unwrap();
    assert_eq!(folder.pabal(&rotate).code, 0);
}

#[tokio::test]
async fn disabling_and_enabling_are_obeyed_and_enabling_opens_an_endpoint_that_was_gone() {
    let folder = Folder::migrated();
    assert_eq!(folder.pabal(&["partner", "add", "shop"]).code, 0);
    for _ in 0..2 {
        let disabled = folder
            .pabal(&["partner", "disable", "shop", "--json"])
            .json();
        assert_eq!(disabled["status"], "DISABLED");
    }
    sqlx::query("UPDATE partners SET webhook_disabled = 'it answered 410'")
        .execute(&mut folder.sqlite().await)
        .await
        .unwrap();
    assert!(
        folder
            .pabal(&["partner", "list"])
            .out
            .contains("disabled: it answered 410")
    );
    let enabled = folder
        .pabal(&["partner", "enable", "shop", "--json"])
        .json();
    assert_eq!(enabled["status"], "ACTIVE");
    assert_eq!(enabled["webhook"]["disabled"], json!(null));
}

#[tokio::test]
async fn another_endpoint_is_open_again_but_the_same_one_stays_as_it_is() {
    let folder = Folder::migrated();
    let add = [
        "partner",
        "add",
        "shop",
        "--webhook-url",
        "https://shop.example/old",
    ];
    assert_eq!(folder.pabal(&add).code, 0);
    sqlx::query("UPDATE partners SET webhook_disabled = 'it answered 410'")
        .execute(&mut folder.sqlite().await)
        .await
        .unwrap();
    let set = |arguments: &[&str]| {
        let set = ["partner", "set-webhook", "shop", "--json"];
        folder.pabal(&[&set, arguments].concat()).json()["webhook"].clone()
    };
    let same = set(&[
        "https://shop.example/old",
        "--batch",
        "20",
        "--sent",
        "true",
    ]);
    let gone = "it answered 410";
    let expected = json!({
        "url": "https://shop.example/old", "batch": 20, "sent": true, "disabled": gone,
        "rotation": null,
    });
    assert_eq!(same, expected);
    let other = set(&["https://shop.example/new"]);
    assert_eq!(other["disabled"], json!(null));
    assert_eq!(
        (&other["batch"], &other["sent"]),
        (&json!(20), &json!(true))
    );
    assert_eq!(set(&["none"])["url"], json!(null));
}

#[test]
fn an_endpoint_that_the_settings_never_call_is_kept_with_a_warning() {
    let folder = Folder::migrated();
    let said = folder.pabal(&[
        "partner",
        "add",
        "shop",
        "--webhook-url",
        "http://10.0.0.1/hook",
    ]);
    assert_eq!(said.code, 0);
    assert!(said.err.contains("dead letters") && said.err.contains("webhooks.allow_http"));
    let said = folder.pabal(&[
        "partner",
        "set-webhook",
        "shop",
        "https://shop.example/hook",
    ]);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
}

#[test]
fn sender_numbers_are_kept_in_one_notation_and_once() {
    let folder = Folder::migrated();
    assert_eq!(folder.pabal(&["partner", "add", "shop"]).code, 0);
    let allow = [
        "partner",
        "allow-sender",
        "shop",
        "(02) 123-4567",
        "021234567",
        "1588.0000",
    ];
    let allowed = folder.pabal(&[&allow[..], &["--json"]].concat()).json();
    assert_eq!(allowed["senders"], json!(["021234567", "15880000"]));
}
