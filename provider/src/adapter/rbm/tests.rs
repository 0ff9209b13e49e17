//! The token's life, on a clock that the tests turn, against a token server of their own.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use futures::future::join_all;
use pabal_common::clock::{ManualClock, Timestamp};
use pabal_common::domain::report::VendorAccount;
use pabal_simulator::Family;
use secrecy::SecretString;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::token::Tokens;
use crate::adapter::{Account, BuildError};
use crate::provider::{Closed, NotConnected, Outcome};

const DEADLINE: Duration = Duration::from_secs(30);
const MINUTE: Duration = Duration::from_secs(60);
const THROTTLED: Outcome = Outcome::Throttled { retry_after: None };

/// What the server answers next; a token that lasts an hour where nothing is said.
type Answers = Mutex<VecDeque<(StatusCode, String)>>;

struct Server {
    answers: Answers,
    asked: AtomicU32,
    grants: AtomicU32,
    /// Whether it answers 503 to everything.
    down: AtomicBool,
    /// How many requests are let through.
    gate: Semaphore,
}

struct World {
    server: Arc<Server>,
    clock: Arc<ManualClock>,
    tokens: Tokens,
}

fn account(base_url: &str) -> Account {
    Account {
        account: VendorAccount::new("rbm", "main"),
        base_url: base_url.to_owned(),
        api_key: SecretString::from(Family::Rbm.api_key()),
        callback_secret: None,
        settings: toml::Table::new(),
        connect_timeout: Duration::from_secs(2),
        answer_timeout: DEADLINE,
    }
}

fn tokens(account: &Account, token_url: &str) -> Result<Tokens, BuildError> {
    let clock = Arc::new(ManualClock::new(Timestamp::default()));
    Tokens::new(account, "account@example".to_owned(), token_url, clock)
}

async fn grant(State(server): State<Arc<Server>>) -> (StatusCode, String) {
    server.gate.acquire().await.unwrap().forget();
    server.asked.fetch_add(1, Ordering::SeqCst);
    if server.down.load(Ordering::SeqCst) {
        return (StatusCode::SERVICE_UNAVAILABLE, String::new());
    }
    if let Some(answer) = server.answers.lock().unwrap().pop_front() {
        return answer;
    }
    let grant = server.grants.fetch_add(1, Ordering::SeqCst) + 1;
    let granted = serde_json::json!({
        "access_token": format!("token-{grant}"),
        "expires_in": 3600,
        "token_type": "Bearer"
    });
    (StatusCode::OK, granted.to_string())
}

impl World {
    async fn new() -> Self {
        let server = Arc::new(Server {
            answers: Mutex::default(),
            asked: AtomicU32::new(0),
            grants: AtomicU32::new(0),
            down: AtomicBool::new(false),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
        });
        let router = Router::new()
            .route("/oauth/token", post(grant))
            .with_state(Arc::clone(&server));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_795_000_000_000)));
        let turned: Arc<ManualClock> = Arc::clone(&clock);
        let account = account("https://api.vendor.example/v9");
        let url = format!("{base}/oauth/token");
        let tokens = Tokens::new(&account, "account@example".to_owned(), &url, turned);
        Self {
            server,
            clock,
            tokens: tokens.unwrap(),
        }
    }

    fn answer(&self, status: u16, body: &str) {
        let status = StatusCode::from_u16(status).unwrap();
        let mut answers = self.server.answers.lock().unwrap();
        answers.push_back((status, body.to_owned()));
    }

    fn grants(&self) -> u32 {
        self.server.grants.load(Ordering::SeqCst)
    }

    /// The token that is shown, by its number.
    async fn shown(&self) -> String {
        let token = self.tokens.get().await.ok().unwrap();
        let shown = token.header.to_str().unwrap();
        shown.strip_prefix("Bearer token-").unwrap().to_owned()
    }

    async fn refusal(&self) -> Outcome {
        self.tokens.get().await.err().unwrap()
    }
}

#[tokio::test]
async fn one_token_serves_every_call_until_a_fifth_of_its_life_is_left() {
    let world = World::new().await;
    assert_eq!(world.shown().await, "1");
    world.clock.advance(47 * MINUTE);
    assert_eq!(world.shown().await, "1");
    assert_eq!(world.grants(), 1);
}

#[tokio::test]
async fn an_ageing_token_is_still_shown_while_a_new_one_is_fetched() {
    let world = World::new().await;
    assert_eq!(world.shown().await, "1");
    world.clock.advance(49 * MINUTE);
    assert_eq!(world.shown().await, "1");
    let renewed = async {
        while world.shown().await == "1" {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(DEADLINE, renewed).await.unwrap();
    assert_eq!(world.shown().await, "2");
    assert_eq!(world.grants(), 2);
}

#[tokio::test]
async fn a_token_that_cannot_be_renewed_serves_to_its_end_and_is_not_asked_for_in_a_loop() {
    let world = World::new().await;
    assert_eq!(world.shown().await, "1");
    world.server.down.store(true, Ordering::SeqCst);
    world.clock.advance(49 * MINUTE);
    let asked_again = async {
        while world.server.asked.load(Ordering::SeqCst) < 2 {
            assert_eq!(world.shown().await, "1");
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(DEADLINE, asked_again).await.unwrap();
    for _ in 0..20 {
        assert_eq!(world.shown().await, "1");
    }
    assert_eq!(world.server.asked.load(Ordering::SeqCst), 2);

    world.clock.advance(8 * MINUTE);
    assert_eq!(world.refusal().await, THROTTLED);
    world.server.down.store(false, Ordering::SeqCst);
    let granted = async {
        while world.tokens.get().await.is_err() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(DEADLINE, granted).await.unwrap();
    assert_eq!(world.shown().await, "2");
}

#[tokio::test]
async fn a_token_at_its_end_is_not_shown() {
    let world = World::new().await;
    assert_eq!(world.shown().await, "1");
    world.clock.advance(58 * MINUTE);
    assert_eq!(world.shown().await, "2");
}

#[tokio::test]
async fn many_callers_without_a_token_make_one_fetch() {
    let world = World::new().await;
    let shown = join_all((0..50).map(|_| world.shown())).await;
    assert!(shown.iter().all(|token| token == "1"));
    assert_eq!(world.grants(), 1);
}

#[tokio::test]
async fn a_caller_who_stops_waiting_does_not_stop_the_fetch() {
    let world = World::new().await;
    world.server.gate.forget_permits(Semaphore::MAX_PERMITS);
    let waited = timeout(Duration::from_millis(20), world.tokens.get()).await;
    assert!(waited.is_err());
    world.server.gate.add_permits(1);
    assert_eq!(world.shown().await, "1");
}

#[tokio::test]
async fn a_refused_token_is_given_up_and_two_in_a_row_close_the_account() {
    let world = World::new().await;
    let first = world.tokens.get().await.ok().unwrap();
    assert_eq!(world.tokens.refused(&first), THROTTLED);
    // Calls that were on their way with it say nothing new.
    assert_eq!(world.tokens.refused(&first), THROTTLED);

    world.clock.advance(MINUTE);
    let second = world.tokens.get().await.ok().unwrap();
    assert_ne!(second.header, first.header);
    assert_eq!(world.tokens.refused(&first), THROTTLED);
    let closed = Outcome::Closed {
        code: "UNAUTHENTICATED".to_owned(),
        why: Closed::Credentials,
    };
    assert_eq!(world.tokens.refused(&second), closed);

    world.clock.advance(MINUTE);
    let third = world.tokens.get().await.ok().unwrap();
    world.tokens.believed();
    assert_eq!(world.tokens.refused(&third), THROTTLED);
}

#[tokio::test]
async fn a_server_that_grants_nothing_leaves_every_call_not_taken() {
    let world = World::new().await;
    world.answer(400, r#"{"error":"invalid_grant","error_description":"d"}"#);
    let closed = Outcome::Closed {
        code: "invalid_grant".to_owned(),
        why: Closed::Credentials,
    };
    assert_eq!(world.refusal().await, closed);
    for (status, body) in [
        (500, ""),
        (400, "<html>"),
        (400, r#"{"error":"news"}"#),
        (200, "<html>"),
        (200, r#"{"access_token":"line\nbreak","expires_in":3600}"#),
        (404, r#"{"error":{"status":"NOT_FOUND"}}"#),
        (409, r#"{"error":{"status":"ALREADY_EXISTS"}}"#),
        (429, ""),
    ] {
        world.answer(status, body);
        assert_eq!(world.refusal().await, THROTTLED, "{status} {body}");
    }
    assert_eq!(world.shown().await, "1");
}

#[tokio::test]
async fn nobody_listening_at_the_token_server_is_not_connected() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let tokens = tokens(&account(&base), "/token").unwrap();
    let refused = Outcome::NotConnected(NotConnected::Refused);
    assert_eq!(tokens.get().await.err(), Some(refused));
}

#[test]
fn a_key_or_an_address_that_cannot_work_is_found_at_the_start() {
    let good = account("https://vendor.example");
    for url in ["/token", "https://tokens.example/token"] {
        assert!(tokens(&good, url).is_ok(), "{url}");
    }
    for url in [
        "https://",
        "/token?a=b",
        "/token#a",
        "ftp://tokens.example/",
    ] {
        assert!(tokens(&good, url).is_err(), "{url}");
    }
    for key in [
        "simulator-key",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    ] {
        let account = Account {
            api_key: SecretString::from(key),
            ..account("https://vendor.example")
        };
        let error = tokens(&account, "/token").err().unwrap().to_string();
        assert!(error.contains("api_key"), "{error}");
        assert!(!error.contains("AAAA"), "{error}");
    }
}
