//! The partner's webhook endpoint: believes only what both signatures vouch for, remembers
//! everything, and fails when told to, or now and then after it has understood.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use pabal_common::clock::{Clock as _, SystemClock};
use pabal_common::crypto::{WebhookSecret, verify_standard_webhook, verify_x_signature};
use serde_json::Value;
use tokio::net::TcpListener;

/// How old a signature may be.
const TOLERANCE: Duration = Duration::from_secs(60);
/// Of so many webhooks one is answered 503 the first time.
const FAILS_ONE_OF: usize = 25;
/// How long a hanging endpoint holds a request.
const HANGS: Duration = Duration::from_secs(120);

/// How it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// 2xx, but for the one of many that fails.
    Well,
    /// 503, and forgets what it was told.
    Away,
    /// Not at all.
    Hanging,
}

/// The endpoint. Clones share it.
#[derive(Clone)]
pub struct Endpoint {
    url: String,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    secret: OnceLock<WebhookSecret>,
    mood: AtomicU8,
    memory: Mutex<Memory>,
}

/// What arrived.
#[derive(Clone, Default)]
pub struct Memory {
    /// Every final result, by message.
    pub results: HashMap<String, Told>,
    /// Requests that were authentic, repeats included.
    pub deliveries: usize,
    /// What must not happen, with the messages it happened to.
    pub faults: Vec<(String, Vec<String>)>,
    bodies: HashMap<String, Bytes>,
}

/// A result as the partner was told it.
#[derive(Clone, Debug)]
pub struct Told {
    /// The `clientMsgId`.
    pub client: String,
    /// The final status.
    pub status: String,
    /// Why, if it failed.
    pub reason: Option<String>,
    /// Whether the endpoint answered 2xx.
    pub taken: bool,
    /// When it was told first.
    pub at: Instant,
    /// The `webhook-id` under which it was told.
    pub webhook: String,
    event: String,
}

impl Told {
    fn says_the_same(&self, other: &Self) -> bool {
        let words = |one: &Self| {
            let told = [&one.client, &one.status, &one.webhook, &one.event];
            (told.map(Clone::clone), one.reason.clone())
        };
        words(self) == words(other)
    }
}

impl Endpoint {
    /// Listens on a free loopback port until the runtime ends.
    ///
    /// # Errors
    /// If there is none.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/results", listener.local_addr()?);
        let shared = Arc::new(Shared::default());
        let router = Router::new()
            .route("/results", post(take))
            .with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { url, shared })
    }

    /// Its address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Tells it what webhooks are signed with.
    pub fn trust(&self, secret: WebhookSecret) {
        let _ = self.shared.secret.set(secret);
    }

    /// Changes how it answers from now on.
    pub fn set(&self, mood: Mood) {
        self.shared.mood.store(mood as u8, Ordering::SeqCst);
    }

    /// For how many messages it took a final result.
    pub fn taken(&self) -> usize {
        let memory = self.shared.memory();
        memory.results.values().filter(|told| told.taken).count()
    }

    /// When it was first told of a message.
    pub fn told_at(&self, message: &str) -> Option<Instant> {
        self.shared
            .memory()
            .results
            .get(message)
            .map(|told| told.at)
    }

    /// Everything so far.
    pub fn memory(&self) -> Memory {
        self.shared.memory().clone()
    }
}

impl Shared {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is(&self, mood: Mood) -> bool {
        self.mood.load(Ordering::SeqCst) == mood as u8
    }
}

async fn take(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    if shared.is(Mood::Away) {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    if shared.is(Mood::Hanging) {
        tokio::time::sleep(HANGS).await;
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let now = SystemClock.now();
    let authentic = shared.secret.get().is_some_and(|secret| {
        verify_x_signature(secret, header, &body, now, TOLERANCE).is_ok()
            && verify_standard_webhook(secret, header, &body, now, TOLERANCE).is_ok()
    });
    let mut memory = shared.memory();
    if !authentic {
        memory.fault("a webhook whose signatures are wrong", Vec::new());
        return StatusCode::UNAUTHORIZED;
    }
    let id = header("webhook-id").unwrap_or_default().to_owned();
    memory.deliveries += 1;
    let fresh = match memory.bodies.get(&id) {
        Some(known) if *known != body => {
            memory.fault(
                &format!("webhook {id} was repeated with another body"),
                messages(&body),
            );
            false
        }
        Some(_) => false,
        None => memory.bodies.insert(id.clone(), body.clone()).is_none(),
    };
    let fails = fresh && memory.bodies.len() % FAILS_ONE_OF == 7;
    for event in events(&body) {
        memory.note(&id, &event, !fails);
    }
    match fails {
        true => StatusCode::SERVICE_UNAVAILABLE,
        false => StatusCode::NO_CONTENT,
    }
}

impl Memory {
    fn note(&mut self, webhook: &str, event: &Value, taken: bool) {
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        let message = text("messageId");
        let told = Told {
            client: text("clientMsgId"),
            status: text("status"),
            reason: event["reason"].as_str().map(ToOwned::to_owned),
            taken,
            at: Instant::now(),
            webhook: webhook.to_owned(),
            event: text("id"),
        };
        match self.results.get_mut(&message) {
            None => {
                self.results.insert(message, told);
            }
            Some(before) => {
                before.taken |= told.taken;
                if !before.says_the_same(&told) {
                    let what = format!("told twice, differently: {before:?}, then {told:?}");
                    self.fault(&what, vec![message]);
                }
            }
        }
    }

    fn fault(&mut self, what: &str, messages: Vec<String>) {
        self.faults.push((what.to_owned(), messages));
    }
}

fn events(body: &[u8]) -> Vec<Value> {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    body["events"].as_array().cloned().unwrap_or_default()
}

fn messages(body: &[u8]) -> Vec<String> {
    let id = |event: &Value| event["messageId"].as_str().map(ToOwned::to_owned);
    events(body).iter().filter_map(id).collect()
}
