//! SMS, LMS and MMS. `POST /v2/messages` takes up to 100 and answers by position; reports are
//! called back with the carrier's id alone.
//!
//! Ids are 64-bit numbers: sixteen hexadecimal digits as text, or a decimal JSON number.

use std::borrow::Cow;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response, StatusCode};
use axum::routing::{get, post};
use pabal_common::clock::Timestamp;
use pabal_common::domain::id::MessageId;
use serde::{Deserialize, Serialize};

use super::fault::{error, json};
use super::{Fate, Member, Vendor, signature};
use crate::callbacks::Callback;
use crate::family::Family;
use crate::outcome::{Ending, Outcome};
use crate::reports::{Item, Notation};

const KEY: &str = "x-api-key";

pub(crate) const CALLBACK: Callback = Callback {
    batch: 100,
    body: callback_body,
    headers: signature::headers,
};

#[derive(Deserialize)]
struct Submit<'a> {
    #[serde(borrow)]
    messages: Vec<Message<'a>>,
}

/// The fields that matter here; sender, subject and text are skipped.
#[derive(Deserialize)]
struct Message<'a> {
    #[serde(rename = "ref")]
    reference: MessageId,
    #[serde(borrow)]
    to: Cow<'a, str>,
}

#[derive(Serialize)]
struct Submitted {
    results: Vec<Accepted>,
}

#[derive(Serialize)]
struct Accepted {
    index: usize,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
}

#[derive(Serialize)]
struct Report {
    id: Id,
    code: &'static str,
    at: Timestamp,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Id {
    Hexadecimal(String),
    Decimal(u64),
}

pub(crate) fn router(vendor: Arc<Vendor>) -> Router {
    Router::new()
        .route("/v2/messages", post(submit))
        .route("/v2/health", get(health))
        .with_state(vendor)
}

async fn health(State(vendor): State<Arc<Vendor>>, headers: HeaderMap) -> StatusCode {
    if vendor.is_authorised(&headers, KEY, "") {
        StatusCode::OK
    } else {
        StatusCode::UNAUTHORIZED
    }
}

async fn submit(
    State(vendor): State<Arc<Vendor>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    if !vendor.is_authorised(&headers, KEY, "") {
        return refused();
    }
    let Some(members) = read(&body) else {
        return error(400, "4000");
    };
    match vendor.receive(members).await {
        Ok(fates) => json(200, &answer_of(&fates)),
        Err(fault) => fault.answer(refused),
    }
}

fn refused() -> Response<Body> {
    error(401, "4001")
}

fn read(body: &[u8]) -> Option<Vec<Member>> {
    let call: Submit<'_> = serde_json::from_slice(body).ok()?;
    if !(1..=Family::Carrier.batch()).contains(&call.messages.len()) {
        return None;
    }
    let members = call.messages.iter().map(|message| Member {
        message: message.reference,
        outcome: Outcome::of_recipient(&message.to),
        immediate: false,
    });
    Some(members.collect())
}

fn answer_of(fates: &[Fate]) -> Submitted {
    let results = fates.iter().enumerate().map(|(index, fate)| match fate {
        Fate::Refused => Accepted {
            index,
            code: "4106",
            id: None,
        },
        Fate::Taken(vendor) | Fate::Ended(vendor, _) => Accepted {
            index,
            code: "1000",
            id: Some(Family::Carrier.vendor_id(*vendor)),
        },
    });
    Submitted {
        results: results.collect(),
    }
}

fn callback_body(_: &Vendor, items: &[Item], at: Timestamp) -> serde_json::Result<Vec<u8>> {
    let reports: Vec<_> = items
        .iter()
        .map(|item| Report {
            id: match item.notation {
                Notation::Other => Id::Decimal(item.vendor),
                Notation::Usual | Notation::Unknown => {
                    Id::Hexadecimal(Family::Carrier.vendor_id(item.shown_vendor()))
                }
            },
            code: match item.ending {
                Ending::Delivered => "2000",
                Ending::InvalidRecipient => "4101",
                Ending::RecipientUnavailable => "4102",
                Ending::RecipientBlocked => "4103",
                Ending::Spam => "4104",
            },
            at,
        })
        .collect();
    serde_json::to_vec(&reports)
}
