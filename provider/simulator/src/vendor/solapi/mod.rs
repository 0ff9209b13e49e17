//! Solapi, message API v4. `POST /messages/v4/send-many/detail` takes messages and answers with those
//! it took and those it refused; `GET /messages/v4/list` finds them again; reports are called back as
//! arrays, with the vendor's id and whatever fields the caller gave along.
//!
//! Where the real vendor would guess (the type) or help itself (an SMS in place of what failed), this
//! one refuses: callers are to leave it nothing of the kind. Every message bears the caller's id as
//! `customFields.message`, because that is what the record is kept by.
//!
//! Ids are 32 upper-case letters and digits; in lower case they mean the same.

mod list;
mod request;
mod signing;

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lc_rs::digest;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response};
use axum::routing::{get, post};
use pabal_common::clock::Timestamp;
use pabal_common::domain::id::MessageId;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::fault::{self, answer};
use super::{Fate, Vendor, lock};
use crate::callbacks::Callback;
use crate::family::Family;
use crate::outcome::Ending;
use crate::reports::{Item, Notation};
use request::{Refused, Taking};
use signing::Gate;

pub(crate) const CALLBACK: Callback = Callback {
    batch: 100,
    body: callback_body,
    headers: callback_headers,
};

/// What a local account has beside its secret.
pub(crate) const SETTINGS: &[(&str, &str)] = &[("key_id", "NCSSIMULATORKEYS")];

/// The fields a caller gives along with a message.
pub(crate) type CustomFields = BTreeMap<String, String>;

/// Sender not registered: what a refusal is, unless the message itself is at fault.
const REFUSED: &str = "1062";
const TAKEN: &str = "2000";

struct Desk {
    vendor: Arc<Vendor>,
    gate: Gate,
}

pub(crate) fn router(vendor: Arc<Vendor>) -> Router {
    let desk = Desk {
        gate: Gate::of(&vendor.account),
        vendor,
    };
    Router::new()
        .route("/messages/v4/send-many/detail", post(submit))
        .route("/messages/v4/list", get(list::list))
        .with_state(Arc::new(desk))
}

async fn submit(State(desk): State<Arc<Desk>>, headers: HeaderMap, body: Bytes) -> Response<Body> {
    if let Err(code) = desk.gate.pass(&headers) {
        return error(403, code);
    }
    let takings = match request::read(&body) {
        Ok(takings) => takings,
        Err(Refused { status, code }) => return error(status, code),
    };
    let carried = takings.iter().map(|one| (one.member.message, one.fields()));
    lock(&desk.vendor.echoes).extend(carried);
    let members = takings.iter().map(|one| one.member).collect();
    match desk.vendor.receive(members).await {
        Ok(fates) => fault::json(200, &answer_of(&takings, &fates)),
        Err(fault) => fault.answer(|| error(403, "SignatureDoesNotMatch")),
    }
}

/// An error as this vendor words it.
fn error(status: u16, code: &str) -> Response<Body> {
    let body = json!({"errorCode": code, "errorMessage": "refused by the simulator"});
    answer(status, body.to_string())
}

fn answer_of(takings: &[Taking], fates: &[Fate]) -> Value {
    let (mut failed, mut taken) = (Vec::new(), Vec::new());
    for (one, fate) in takings.iter().zip(fates) {
        match fate {
            Fate::Refused => {
                let id = Family::Solapi.vendor_id(one.member.message.number());
                failed.push(one.entry(&id, one.fault.unwrap_or(REFUSED)));
            }
            Fate::Taken(vendor) | Fate::Ended(vendor, _) => {
                taken.push(one.entry(&Family::Solapi.vendor_id(*vendor), TAKEN));
            }
        }
    }
    let mut answer = json!({
        "groupInfo": {
            "groupId": "G4V00000000000000000000000000000",
            "status": "SENDING",
            "count": {
                "total": takings.len(),
                "registeredFailed": failed.len(),
                "registeredSuccess": taken.len(),
            },
        },
        "failedMessageList": failed,
    });
    if takings.iter().all(|one| one.shown) {
        answer["messageList"] = Value::Array(taken);
    }
    answer
}

const fn code_of(ending: Ending) -> &'static str {
    match ending {
        Ending::Delivered => "4000",
        Ending::InvalidRecipient => "3010",
        Ending::RecipientUnavailable => "3043",
        Ending::RecipientBlocked => "3047",
        Ending::Spam => "3054",
    }
}

fn echo(vendor: &Vendor, message: MessageId) -> CustomFields {
    // A restart forgets the fields, but never which message it was.
    let ours = || CustomFields::from([(request::MESSAGE.to_owned(), message.to_string())]);
    let echoes = lock(&vendor.echoes);
    echoes.get(&message).cloned().unwrap_or_else(ours)
}

fn callback_body(vendor: &Vendor, items: &[Item], at: Timestamp) -> serde_json::Result<Vec<u8>> {
    let reports = items.iter().map(|item| {
        let id = Family::Solapi.vendor_id(item.shown_vendor());
        let (id, fields) = match item.notation {
            Notation::Usual => (id, echo(vendor, item.message)),
            Notation::Other => (id.to_lowercase(), echo(vendor, item.message)),
            Notation::Unknown => (id, CustomFields::new()),
        };
        json!({
            "messageId": id,
            "statusCode": code_of(item.ending),
            "statusMessage": "reported by the simulator",
            "dateReceived": at.to_rfc3339(),
            "customFields": fields,
        })
    });
    serde_json::to_vec(&reports.collect::<Vec<_>>())
}

fn callback_headers(vendor: &Vendor, _: &[u8], _: Timestamp) -> Vec<(&'static str, String)> {
    let secret = vendor.account.callback_secret.expose_secret();
    let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
    vec![
        ("x-solapi-event-name", "SINGLE-REPORT".to_owned()),
        ("x-solapi-secret", hex::encode(digest)),
    ]
}
