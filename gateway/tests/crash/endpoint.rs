//! The partner's webhook endpoint: believes only what both signatures vouch for, remembers
//! everything, and now and then fails after it has understood.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

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

/// The endpoint. Clones share it.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) url: String,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    secret: OnceLock<WebhookSecret>,
    memory: Mutex<Memory>,
}

/// What arrived.
#[derive(Clone, Default)]
pub(crate) struct Memory {
    /// Every final result, by message.
    pub(crate) results: HashMap<String, Told>,
    /// Requests that were authentic, repeats included.
    pub(crate) deliveries: usize,
    /// What must not happen, with the messages it happened to.
    pub(crate) faults: Vec<(String, Vec<String>)>,
    bodies: HashMap<String, Bytes>,
}

/// A result as the partner was told it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) webhook: String,
    pub(crate) event: String,
    pub(crate) client: String,
    pub(crate) status: String,
    pub(crate) reason: Option<String>,
    /// Whether the endpoint answered 2xx.
    pub(crate) taken: bool,
}

impl Endpoint {
    /// Listens until the test's runtime ends.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/results", listener.local_addr().unwrap());
        let shared = Arc::new(Shared::default());
        let router = Router::new()
            .route("/results", post(take))
            .with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, shared }
    }

    /// Tells it what webhooks are signed with.
    pub(crate) fn trust(&self, secret: WebhookSecret) {
        let _ = self.shared.secret.set(secret);
    }

    /// For how many messages it took a final result.
    pub(crate) fn taken(&self) -> usize {
        self.shared
            .memory()
            .results
            .values()
            .filter(|told| told.taken)
            .count()
    }

    /// Everything so far.
    pub(crate) fn memory(&self) -> Memory {
        self.shared.memory().clone()
    }
}

impl Shared {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn take(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> StatusCode {
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
            webhook: webhook.to_owned(),
            event: text("id"),
            client: text("clientMsgId"),
            status: text("status"),
            reason: event["reason"].as_str().map(ToOwned::to_owned),
            taken,
        };
        match self.results.get_mut(&message) {
            None => {
                self.results.insert(message, told);
            }
            Some(before) => {
                let taken = before.taken || told.taken;
                before.taken = told.taken;
                let same = *before == told;
                before.taken = taken;
                if !same {
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
