//! A webhook endpoint for trying things out: it checks both signatures as a partner would, and
//! shows what it got. It runs beside the simulated vendors only.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::post;
use pabal_common::clock::Clock;
use pabal_common::crypto::{WebhookSecret, verify_standard_webhook, verify_x_signature};
use pabal_common::http::BoundedBody;
use serde_json::{Value, json};
use tokio::sync::watch;

/// Its path on the gateway's own port.
pub const PATH: &str = "/demo/webhooks";
/// How many webhooks it remembers.
const REMEMBERED: usize = 1000;
/// How old a signature may be.
const TOLERANCE: Duration = Duration::from_secs(300);

/// A webhook that arrived and was authentic in both ways.
#[derive(Clone, Debug)]
pub struct Received {
    /// Its `webhook-id`.
    pub id: String,
    /// Its body.
    pub body: Value,
}

/// The endpoint. Clones share it.
#[derive(Clone, Debug)]
pub struct DemoEndpoint {
    secret: Arc<Mutex<Option<WebhookSecret>>>,
    received: Arc<Mutex<VecDeque<Received>>>,
    forged: Arc<Mutex<u64>>,
    count: Arc<watch::Sender<u64>>,
    clock: Arc<dyn Clock>,
}

impl DemoEndpoint {
    /// An endpoint that refuses everything until it is told the secret.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            secret: Arc::default(),
            received: Arc::default(),
            forged: Arc::default(),
            count: Arc::new(watch::channel(0).0),
            clock,
        }
    }

    /// Tells it what webhooks are signed with.
    pub fn trust(&self, secret: WebhookSecret) {
        *self.secret.lock().unwrap_or_else(PoisonError::into_inner) = Some(secret);
    }

    /// What arrived, oldest first.
    pub fn received(&self) -> Vec<Received> {
        let received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        received.iter().cloned().collect()
    }

    /// How many requests had a wrong signature.
    pub fn forged(&self) -> u64 {
        *self.forged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes whenever a webhook arrives.
    pub fn arrivals(&self) -> watch::Receiver<u64> {
        self.count.subscribe()
    }

    /// `POST` takes a webhook, `GET` lists the last ones.
    pub fn router(&self) -> Router {
        Router::new()
            .route(PATH, post(take).get(list))
            .with_state(self.clone())
    }

    fn is_authentic(&self, headers: &HeaderMap, body: &[u8]) -> bool {
        let secret = self
            .secret
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let now = self.clock.now();
        secret.is_some_and(|secret| {
            verify_x_signature(&secret, header, body, now, TOLERANCE).is_ok()
                && verify_standard_webhook(&secret, header, body, now, TOLERANCE).is_ok()
        })
    }
}

async fn take(
    State(endpoint): State<DemoEndpoint>,
    headers: HeaderMap,
    BoundedBody(body): BoundedBody,
) -> StatusCode {
    if !endpoint.is_authentic(&headers, &body) {
        *endpoint
            .forged
            .lock()
            .unwrap_or_else(PoisonError::into_inner) += 1;
        return StatusCode::UNAUTHORIZED;
    }
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    for event in body["events"].as_array().into_iter().flatten() {
        tracing::info!(
            message_id = event["messageId"].as_str(),
            client_msg_id = event["clientMsgId"].as_str(),
            status = event["status"].as_str(),
            reason = event["reason"].as_str(),
            "the demo endpoint got a webhook; both signatures are right"
        );
    }
    let id = headers
        .get("webhook-id")
        .and_then(|id| id.to_str().ok())
        .unwrap_or_default();
    let mut received = endpoint
        .received
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    if received.len() == REMEMBERED {
        received.pop_front();
    }
    received.push_back(Received {
        id: id.to_owned(),
        body,
    });
    drop(received);
    endpoint.count.send_modify(|count| *count += 1);
    StatusCode::NO_CONTENT
}

async fn list(State(endpoint): State<DemoEndpoint>) -> impl IntoResponse {
    let items: Vec<Value> = endpoint
        .received()
        .into_iter()
        .map(|one| json!({"webhookId": one.id, "body": one.body}))
        .collect();
    axum::Json(json!({"items": items, "wrongSignatures": endpoint.forged()}))
}
