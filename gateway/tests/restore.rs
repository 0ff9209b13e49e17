//! A ledger that goes back in time: what was sent since the backup must not be sent again.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use pabal_common::crypto::{Sealer, SecretHasher};
use pabal_common::domain::id::MessageId;
use pabal_common::domain::reason::Reason;
use pabal_common::domain::status::Status;
use pabal_common::process;
use pabal_gateway::gateway::{self, Running, Service, StartError};
use pabal_gateway::partners::{self, Application, Credentials};
use pabal_gateway::settings;
use pabal_gateway::trial::site::without_settings;
use serde_json::{Value, json};

const MESSAGES: usize = 5;

#[tokio::test]
async fn after_a_backup_was_restored_nothing_is_sent_a_second_time() {
    let folder = tempfile::tempdir().unwrap();
    let backup = tempfile::tempdir().unwrap();

    // Accepted while no vendor is there: the backup holds messages that wait in a queue.
    let running = start(folder.path(), &[("simulator.enabled", "false")])
        .await
        .unwrap();
    let credentials = add_partner(&running).await;
    let messages = send(&running, &credentials).await;
    running.stop().await.unwrap();
    copy(folder.path(), backup.path());

    // All of them are sent after the backup.
    let running = start(folder.path(), &[]).await.unwrap();
    for message in &messages {
        assert_eq!(ended(&running, *message).await, (Status::Delivered, None));
    }
    running.stop().await.unwrap();

    copy(backup.path(), folder.path());
    let refused = start(folder.path(), &[]).await.unwrap_err();
    assert!(
        matches!(refused, StartError::Process(process::StartError::Join(_))),
        "{refused}"
    );
    assert!(
        refused.to_string().contains("pabal ledger restored"),
        "{refused}"
    );

    let mut command = Command::new(env!("CARGO_BIN_EXE_pabal"));
    without_settings(&mut command);
    let told = command
        .args(["ledger", "restored", "--json", "--set"])
        .arg(format!("data.folder={}", folder.path().display()))
        .output()
        .unwrap();
    assert!(
        told.status.success(),
        "{}",
        String::from_utf8_lossy(&told.stderr)
    );
    let told: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(told["unknown"], MESSAGES);

    let short = [
        ("reporter.sms_deadline", "1s"),
        ("reporter.patrol_period", "100ms"),
    ];
    let running = start(folder.path(), &short).await.unwrap();
    for message in &messages {
        let end = ended(&running, *message).await;
        assert_eq!(end, (Status::Expired, Some(Reason::UnknownOutcome)));
    }
    let simulator = running.simulator.clone().unwrap();
    assert_eq!(simulator.taken_count(), MESSAGES);
    assert!(simulator.duplicates().is_empty());
    assert_eq!(running.node.ledger.reconcile().await.unwrap(), []);
    running.stop().await.unwrap();
}

async fn start(folder: &Path, more: &[(&str, &str)]) -> Result<Running, StartError> {
    let mut flags = vec![
        ("data.folder".to_owned(), folder.display().to_string()),
        ("http.address".to_owned(), "127.0.0.1:0".to_owned()),
        ("demo.partner".to_owned(), "false".to_owned()),
    ];
    flags.extend(
        more.iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned())),
    );
    let values = settings::load(None, std::iter::empty(), &flags).unwrap();
    gateway::start(&values, &Service::ALL).await
}

async fn add_partner(running: &Running) -> Credentials {
    let application = Application {
        senders: vec!["0200000000".parse().unwrap()],
        ..Application::new("shop".parse().unwrap(), "Shop")
    };
    let node = &running.node;
    let hasher = SecretHasher::new(1, Duration::from_secs(30));
    let sealer = Sealer::new(&node.keyring);
    let now = node.clock.now();
    partners::add(node.ledger.as_ref(), &sealer, &hasher, application, now)
        .await
        .unwrap()
}

async fn send(running: &Running, credentials: &Credentials) -> Vec<MessageId> {
    let base = format!("http://{}", running.address);
    let client = reqwest::Client::new();
    let login = json!({
        "clientId": credentials.client_id,
        "clientSecret": credentials.client_secret.expose(),
    });
    let token: Value = client
        .post(format!("{base}/v1/auth/token"))
        .json(&login)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let messages: Vec<Value> = (0..MESSAGES)
        .map(|number| {
            json!({
                "clientMsgId": format!("before-{number}"), "type": "SMS", "text": "hello",
                "to": format!("0100000000{number}"), "from": "0200000000",
            })
        })
        .collect();
    let answer: Value = client
        .post(format!("{base}/v1/messages/batch"))
        .bearer_auth(token["accessToken"].as_str().unwrap())
        .json(&json!({ "messages": messages }))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(answer["accepted"], MESSAGES, "{answer}");
    let results = answer["results"].as_array().unwrap();
    results
        .iter()
        .map(|one| one["messageId"].as_str().unwrap().parse().unwrap())
        .collect()
}

/// How a message ended; waits for it.
async fn ended(running: &Running, message: MessageId) -> (Status, Option<Reason>) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        let view = running.node.ledger.message(message).await.unwrap().unwrap();
        if view.status.is_final() {
            return (view.status, view.reason);
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "{message} did not end: {view:?}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Copies the ledger, as a backup of its file does; the mark beside it stays as it is.
fn copy(from: &Path, to: &Path) {
    for name in ["pabal.db", "pabal.db-wal", "pabal.db-shm"] {
        let (from, to): (PathBuf, PathBuf) = (from.join(name), to.join(name));
        let _ = std::fs::remove_file(&to);
        if from.exists() {
            std::fs::copy(from, to).unwrap();
        }
    }
}
