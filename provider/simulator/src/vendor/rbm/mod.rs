//! Google RCS Business Messaging, REST version 1.
//!
//! | request | does |
//! |---|---|
//! | `POST /token` | grants an access token |
//! | `GET /v1/phones/{number}/capabilities` | says whether the recipient can take RCS |
//! | `POST /v1/phones/{number}/agentMessages` | takes one message, under the caller's UUID |
//!
//! Reports are events, one in a callback. The platform reports no reasons: a message that fails is
//! one that expired and was taken back.

mod id;
mod message;
mod token;

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Response};
use axum::routing::{get, post};
use axum::{Form, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use pabal_common::clock::{Clock as _, SystemClock, Timestamp};
use pabal_common::domain::id::MessageId;
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use sha2::Sha512;

use self::token::{Asked, Tokens};
use super::fault::json;
use super::{Fate, Member, Vendor, lock};
use crate::callbacks::{Callback, Headers};
use crate::family::Family;
use crate::outcome::{Ending, Outcome};
use crate::reports::{Item, Notation};

/// The key of the simulated service account. It opens nothing else.
pub(crate) const ACCOUNT_KEY: &str = include_str!("account.pem");

/// What a local account needs beside its key.
pub(crate) const SETTINGS: &[(&str, &str)] = &[
    ("agent_id", "simulated_agent"),
    ("client_email", "pabal@simulated.iam.gserviceaccount.com"),
    ("token_url", "/token"),
];

pub(crate) const CALLBACK: Callback = Callback {
    batch: 1,
    body: callback_body,
    headers: callback_headers,
};

struct Rbm {
    vendor: Arc<Vendor>,
    tokens: Tokens,
    /// The ids it has seen: a message under one of them is not taken again.
    seen: Mutex<HashSet<MessageId>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct OfMessage {
    message_id: String,
    agent_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct OfAgent {
    agent_id: String,
}

#[derive(Serialize)]
struct Refused {
    error: Status,
}

/// `google.rpc.Status` as its REST interfaces write it.
#[derive(Serialize)]
struct Status {
    code: u16,
    message: &'static str,
    status: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Created {
    name: String,
    send_time: String,
}

#[derive(Serialize)]
struct Envelope {
    message: PushMessage,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PushMessage {
    data: String,
    message_id: String,
}

#[derive(Deserialize)]
struct Sent {
    message: PushMessage,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    event_type: &'static str,
    event_id: String,
    message_id: String,
    agent_id: &'a str,
    send_time: String,
}

pub(crate) fn router(vendor: Arc<Vendor>) -> Router {
    let seen = vendor.record.entries_of(vendor.family);
    let rbm = Rbm {
        tokens: Tokens::default(),
        seen: Mutex::new(seen.iter().map(|entry| entry.message).collect()),
        vendor,
    };
    Router::new()
        .route("/token", post(grant))
        .route("/v1/phones/{number}/capabilities", get(capabilities))
        .route("/v1/phones/{number}/agentMessages", post(create))
        .with_state(Arc::new(rbm))
}

async fn grant(State(rbm): State<Arc<Rbm>>, Form(asked): Form<Asked>) -> Response<Body> {
    rbm.tokens
        .grant(setting(&rbm.vendor, "client_email"), &asked)
}

async fn capabilities(
    State(rbm): State<Arc<Rbm>>,
    Path(number): Path<String>,
    Query(of): Query<OfAgent>,
    headers: HeaderMap,
) -> Response<Body> {
    if let Some(refused) = rbm.refuse(&headers, &of.agent_id, &number) {
        return refused;
    }
    if Outcome::of_recipient(&number) == Outcome::Refused {
        return not_capable();
    }
    json(
        200,
        &serde_json::json!({ "features": ["RICHCARD_STANDALONE", "ACTION_DIAL"] }),
    )
}

async fn create(
    State(rbm): State<Arc<Rbm>>,
    Path(number): Path<String>,
    Query(of): Query<OfMessage>,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    if let Some(refused) = rbm.refuse(&headers, &of.agent_id, &number) {
        return refused;
    }
    let Some(message) = id::read(&of.message_id).filter(|_| message::fits(&body)) else {
        return invalid();
    };
    if !lock(&rbm.seen).insert(message) {
        return refused(409, "ALREADY_EXISTS");
    }
    let member = Member {
        message,
        outcome: Outcome::of_recipient(&number),
        immediate: false,
    };
    let fates = match rbm.vendor.receive(vec![member]).await {
        Ok(fates) => fates,
        Err(fault) => {
            rbm.forget_unless_taken(message);
            return fault.answer(|| {
                rbm.tokens.revoke();
                unauthenticated()
            });
        }
    };
    if let [Fate::Refused] = fates.as_slice() {
        rbm.forget_unless_taken(message);
        return not_capable();
    }
    json(
        200,
        &Created {
            name: format!("phones/{number}/agentMessages/{}", of.message_id),
            send_time: SystemClock.now().to_rfc3339(),
        },
    )
}

impl Rbm {
    /// What is wrong with a request whatever it asks for.
    fn refuse(&self, headers: &HeaderMap, agent: &str, number: &str) -> Option<Response<Body>> {
        if !self.tokens.admit(headers) {
            Some(unauthenticated())
        } else if agent != setting(&self.vendor, "agent_id") {
            Some(refused(403, "PERMISSION_DENIED"))
        } else if !message::is_e164(number) {
            Some(invalid())
        } else {
            None
        }
    }

    /// A fault may come after taking or instead of it; the record knows.
    fn forget_unless_taken(&self, message: MessageId) {
        let taken = self.vendor.record.entries_of(self.vendor.family);
        if taken.iter().all(|entry| entry.message != message) {
            lock(&self.seen).remove(&message);
        }
    }
}

fn setting<'a>(vendor: &'a Vendor, name: &str) -> &'a str {
    vendor.account.settings.get(name).map_or("", String::as_str)
}

fn unauthenticated() -> Response<Body> {
    refused(401, "UNAUTHENTICATED")
}

fn invalid() -> Response<Body> {
    refused(400, "INVALID_ARGUMENT")
}

fn not_capable() -> Response<Body> {
    refused(404, "NOT_FOUND")
}

fn refused(code: u16, status: &'static str) -> Response<Body> {
    let error = Status {
        code,
        message: "The simulated platform refuses this.",
        status,
    };
    json(code, &Refused { error })
}

fn callback_body(vendor: &Vendor, items: &[Item], at: Timestamp) -> serde_json::Result<Vec<u8>> {
    // One in each; an empty callback would be a message of a user.
    let event = items.first().map(|item| event(vendor, item, at));
    let message = PushMessage {
        data: STANDARD.encode(serde_json::to_vec(&event)?),
        message_id: at.millis().to_string(),
    };
    serde_json::to_vec(&Envelope { message })
}

fn event<'a>(vendor: &'a Vendor, item: &Item, at: Timestamp) -> Event<'a> {
    let message_id = match item.notation {
        Notation::Usual => id::write(item.message),
        Notation::Other => id::write(item.message).to_uppercase(),
        Notation::Unknown => id::write(MessageId::from_number(item.shown_vendor())),
    };
    Event {
        event_type: match item.ending {
            Ending::Delivered => "DELIVERED",
            _ => "TTL_EXPIRATION_REVOKED",
        },
        event_id: Family::Rbm.vendor_id(item.vendor),
        message_id,
        agent_id: setting(vendor, "agent_id"),
        send_time: at.to_rfc3339(),
    }
}

/// Base64 of HMAC-SHA512 over what the body's `message.data` holds.
fn callback_headers(vendor: &Vendor, body: &[u8], _: Timestamp) -> Headers {
    let secret = vendor.account.callback_secret.expose_secret();
    let sent = serde_json::from_slice(body);
    let data = sent.map(|Sent { message }| STANDARD.decode(message.data).unwrap_or_default());
    // HMAC takes a key of any length, so that there is always a signature.
    let signature = Hmac::<Sha512>::new_from_slice(secret.as_bytes()).map(|mut mac| {
        mac.update(&data.unwrap_or_default());
        STANDARD.encode(mac.finalize().into_bytes())
    });
    vec![("x-goog-signature", signature.unwrap_or_default())]
}
