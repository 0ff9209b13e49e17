//! Commands beside a running server.

use pabal_common::clock::{Clock as _, SystemClock};
use pabal_common::domain::id::{DeadLetterId, WebhookId};
use pabal_common::ledger::{DeadLetterKind, DeadLetters as _, NewDeadLetter};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

use crate::pabal::{Folder, Server, text, until};

struct Partner {
    http: Client,
    token: String,
}

impl Partner {
    async fn log_in(server: &Server, id: &str, secret: &str) -> Result<Self, StatusCode> {
        let http = Client::new();
        let body = json!({"clientId": id, "clientSecret": secret});
        let answer = http
            .post(server.url("/v1/auth/token"))
            .json(&body)
            .send()
            .await
            .unwrap();
        let status = answer.status();
        let answer: Value = answer.json().await.unwrap();
        match answer["accessToken"].as_str() {
            Some(token) => Ok(Self {
                http,
                token: token.to_owned(),
            }),
            None => Err(status),
        }
    }

    async fn send(&self, server: &Server, client_msg_id: &str) -> (StatusCode, Value) {
        let body = json!({
            "clientMsgId": client_msg_id, "type": "SMS", "to": "010-7777-0000",
            "from": "02-123-4567", "text": "a text nobody shows",
        });
        let request = self
            .http
            .post(server.url("/v1/messages"))
            .bearer_auth(&self.token);
        let answer = request.json(&body).send().await.unwrap();
        (answer.status(), answer.json().await.unwrap())
    }

    /// Sends until the answer is `wanted`: a change is obeyed within two seconds.
    async fn sends_with(&self, server: &Server, wanted: StatusCode) -> Value {
        let mut tries = 0;
        until(&format!("an answer {wanted}"), async || {
            tries += 1;
            let (status, answer) = self
                .send(server, &format!("{wanted}-{tries}").replace(' ', "-"))
                .await;
            (status == wanted).then_some(answer)
        })
        .await
    }
}

async fn webhook_ids(server: &Server) -> Vec<String> {
    let answer = Client::new()
        .get(server.url("/demo/webhooks"))
        .send()
        .await
        .unwrap();
    let list: Value = answer.json().await.unwrap();
    let items = list["items"].as_array().unwrap().iter();
    items
        .map(|one| text(&one["webhookId"]).to_owned())
        .collect()
}

fn letter(number: u64, kind: DeadLetterKind, subject: &str, payload: &[u8]) -> NewDeadLetter {
    NewDeadLetter {
        id: DeadLetterId::from_number(number),
        kind,
        partner: (kind == DeadLetterKind::Webhook).then(|| "demo".parse().unwrap()),
        subject: subject.to_owned(),
        reason: "planted".to_owned(),
        attempts: 7,
        payload: payload.to_vec(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_server_obeys_what_is_changed_beside_it() {
    let folder = Folder::nowhere();
    let server = folder.serve();
    let added = folder.pabal(&["partner", "add", "shop", "--json"]).json();
    let secret = text(&added["clientSecret"]);
    let shop = Partner::log_in(&server, "shop", secret).await.ok().unwrap();

    let (status, refused) = shop.send(&server, "not-yet").await;
    assert_eq!(
        (status, text(&refused["reason"])),
        (StatusCode::BAD_REQUEST, "SENDER_NOT_ALLOWED")
    );
    assert_eq!(
        folder
            .pabal(&["partner", "allow-sender", "shop", "02-123-4567"])
            .code,
        0
    );
    shop.sends_with(&server, StatusCode::ACCEPTED).await;

    assert_eq!(folder.pabal(&["partner", "disable", "shop"]).code, 0);
    let refused = shop.sends_with(&server, StatusCode::FORBIDDEN).await;
    assert_eq!(refused["code"], "E008");
    assert_eq!(folder.pabal(&["partner", "enable", "shop"]).code, 0);
    let (status, _) = until("enabled again", async || {
        let answer = shop.send(&server, "again").await;
        (answer.0 != StatusCode::FORBIDDEN).then_some(answer)
    })
    .await;
    assert_eq!(status, StatusCode::ACCEPTED);

    let rotated = folder
        .pabal(&["partner", "rotate-secret", "shop", "--json"])
        .json();
    let refused = shop.sends_with(&server, StatusCode::UNAUTHORIZED).await;
    assert_eq!(refused["code"], "E002");
    let old = Partner::log_in(&server, "shop", secret).await.err();
    assert_eq!(old, Some(StatusCode::UNAUTHORIZED));
    let new = text(&rotated["clientSecret"]);
    assert!(Partner::log_in(&server, "shop", new).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_messages_timeline_shows_its_steps_and_nothing_of_its_content() {
    let folder = Folder::nowhere();
    let server = folder.serve();
    let add = [
        "partner",
        "add",
        "shop",
        "--sender",
        "02-123-4567",
        "--json",
    ];
    let added = folder.pabal(&add).json();
    let secret = text(&added["clientSecret"]);
    let shop = Partner::log_in(&server, "shop", secret).await.ok().unwrap();
    let (status, accepted) = shop.send(&server, "order-1").await;
    assert_eq!(status, StatusCode::ACCEPTED);
    let id = text(&accepted["messageId"]);

    let shown = until("the message is delivered", async || {
        let shown = folder.pabal(&["message", "show", id, "--json"]).json();
        (shown["message"]["status"] == "DELIVERED").then_some(shown)
    })
    .await;
    let message = &shown["message"];
    let expected = ["shop", "order-1", "SMS", "INFO", "ORDINARY", "DONE"];
    let names = ["partner", "clientMsgId", "type", "purpose", "lane", "phase"];
    assert_eq!(names.map(|name| text(&message[name])), expected);
    let steps = shown["timeline"].as_array().unwrap();
    let whats: Vec<_> = steps.iter().map(|step| text(&step["what"])).collect();
    assert_eq!(whats, ["RECEIVED", "CLAIMED", "SENT", "DELIVERED"]);
    assert_eq!(steps[0]["afterMillis"], 0);
    assert!(text(&steps[1]["detail"]).contains("attempt 1"), "{shown}");

    let find = [
        "message",
        "find",
        "--partner",
        "shop",
        "--client-msg-id",
        "order-1",
    ];
    assert_eq!(
        folder.pabal(&[&find[..], &["--json"]].concat()).json(),
        shown
    );
    let table = folder.pabal(&find).out;
    for word in [id, "order-1", "RECEIVED", "CLAIMED", "DELIVERED", "+0.000s"] {
        assert!(table.contains(word), "{word} is not in\n{table}");
    }
    for content in ["7777", "a text nobody shows"] {
        assert!(
            !table.contains(content) && !shown.to_string().contains(content),
            "{content}"
        );
    }
    let other = [
        "message",
        "find",
        "--partner",
        "shop",
        "--client-msg-id",
        "order-2",
    ];
    folder.pabal(&other).refused(1, &["order-2", "shop"]);
    folder
        .pabal(&["message", "show", "0000000000001"])
        .refused(1, &["0000000000001"]);
    folder
        .pabal(&["message", "show", "order-1"])
        .refused(2, &["13 characters"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replayed_webhook_is_delivered_by_the_server_that_runs() {
    let folder = Folder::nowhere();
    let server = folder.serve();
    let webhook = WebhookId::from_number(77).to_string();
    let body = json!({"apiVersion": "1", "events": []}).to_string();
    let planted = letter(7, DeadLetterKind::Webhook, &webhook, body.as_bytes());
    folder
        .ledger()
        .await
        .bury(&[planted], SystemClock.now())
        .await
        .unwrap();
    let id = DeadLetterId::from_number(7).to_string();
    let replayed = folder
        .pabal(&["dead-letter", "replay", "--id", &id, "--json"])
        .json();
    assert_eq!(replayed["replayed"], 1);
    until("the webhook arrives under its old id", async || {
        webhook_ids(&server).await.contains(&webhook).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replayed_report_goes_through_the_queue_of_the_server_that_runs() {
    let folder = Folder::nowhere();
    let _server = folder.serve();
    // A report nobody can read comes back as a frame: proof that it went through the queue.
    let planted = letter(8, DeadLetterKind::Report, "v-1", b"not a report");
    folder
        .ledger()
        .await
        .bury(&[planted], SystemClock.now())
        .await
        .unwrap();
    let id = DeadLetterId::from_number(8).to_string();
    assert_eq!(
        folder.pabal(&["dead-letter", "replay", "--id", &id]).code,
        0
    );
    until("the frame is given up", async || {
        let frames = folder
            .pabal(&["dead-letter", "list", "--kind", "frame", "--json"])
            .json();
        let items = frames["items"].as_array().unwrap();
        (items.len() == 1).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn enabling_sends_what_waited_for_an_endpoint_that_was_gone() {
    let folder = Folder::nowhere();
    let server = folder.serve();
    let webhook = WebhookId::from_number(88);
    let mut sqlite = folder.sqlite().await;
    sqlx::query("UPDATE partners SET webhook_disabled = 'it answered 410'")
        .execute(&mut sqlite)
        .await
        .unwrap();
    sqlx::query(
        "INSERT INTO webhooks (webhook_id, partner_id, owner, attempt, next_attempt_at, results, \
         body, created_at) VALUES (?, 'demo', 0, 1, 1, 0, '{\"events\":[]}', ?)",
    )
    .bind(webhook.to_column())
    // An old one would go with the first round of retention, which may come at any time now.
    .bind(SystemClock.now().millis())
    .execute(&mut sqlite)
    .await
    .unwrap();
    until("the server has taken the webhook over", async || {
        let owner: i64 = sqlx::query_scalar("SELECT owner FROM webhooks")
            .fetch_one(&mut sqlite)
            .await
            .unwrap();
        (owner != 0).then_some(())
    })
    .await;
    assert_eq!(webhook_ids(&server).await, Vec::<String>::new());
    assert_eq!(folder.pabal(&["partner", "enable", "demo"]).code, 0);
    until("the webhook arrives", async || {
        webhook_ids(&server)
            .await
            .contains(&webhook.to_string())
            .then_some(())
    })
    .await;
}

#[test]
fn a_second_server_on_the_same_folder_says_so_and_ends() {
    let folder = Folder::nowhere();
    let _server = folder.serve();
    let words = ["used by another pabal", "data.folder"];
    folder.pabal(&["serve"]).refused(1, &words);
    folder.pabal(&["migrate"]).refused(1, &words);
    folder.pabal(&["ledger", "restored"]).refused(1, &words);
    assert_eq!(folder.pabal(&["partner", "list"]).code, 0);
}
