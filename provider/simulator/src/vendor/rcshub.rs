//! RCS. `POST /rcs/v1/messages` takes up to 20 and answers with two lists, accepted and
//! rejected; reports are called back with the hub's id and ours.
//!
//! Ids are `RCS-` and sixteen hexadecimal digits; case, the prefix and leading zeros mean nothing.

use std::borrow::Cow;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response, StatusCode, header};
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

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Message<'a> {
    message_id: MessageId,
    #[serde(borrow)]
    to: Cow<'a, str>,
}

#[derive(Default, Serialize)]
struct Submitted {
    accepted: Vec<Accepted>,
    rejected: Vec<Rejected>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Accepted {
    message_id: MessageId,
    rcs_id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Rejected {
    message_id: MessageId,
    code: &'static str,
}

#[derive(Serialize)]
struct Reports {
    reports: Vec<Report>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    rcs_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<String>,
    code: &'static str,
    at: Timestamp,
}

pub(crate) fn router(vendor: Arc<Vendor>) -> Router {
    Router::new()
        .route("/rcs/v1/messages", post(submit))
        .route("/rcs/v1/health", get(health))
        .with_state(vendor)
}

fn is_authorised(vendor: &Vendor, headers: &HeaderMap) -> bool {
    vendor.is_authorised(headers, header::AUTHORIZATION.as_str(), "Bearer ")
}

async fn health(State(vendor): State<Arc<Vendor>>, headers: HeaderMap) -> StatusCode {
    if is_authorised(&vendor, &headers) {
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
    if !is_authorised(&vendor, &headers) {
        return refused();
    }
    let Some(members) = read(&body) else {
        return error(400, "8800");
    };
    match vendor.receive(members.clone()).await {
        Ok(fates) => json(200, &answer_of(&members, &fates)),
        Err(fault) => fault.answer(refused),
    }
}

fn refused() -> Response<Body> {
    error(401, "8804")
}

fn read(body: &[u8]) -> Option<Vec<Member>> {
    let call: Submit<'_> = serde_json::from_slice(body).ok()?;
    if !(1..=Family::Rcshub.batch()).contains(&call.messages.len()) {
        return None;
    }
    let members = call.messages.iter().map(|message| Member {
        message: message.message_id,
        outcome: Outcome::of_recipient(&message.to),
        immediate: false,
    });
    Some(members.collect())
}

fn answer_of(members: &[Member], fates: &[Fate]) -> Submitted {
    let mut answer = Submitted::default();
    for (member, fate) in members.iter().zip(fates) {
        match fate {
            Fate::Refused => answer.rejected.push(Rejected {
                message_id: member.message,
                code: "8869",
            }),
            Fate::Taken(vendor) | Fate::Ended(vendor, _) => answer.accepted.push(Accepted {
                message_id: member.message,
                rcs_id: Family::Rcshub.vendor_id(*vendor),
            }),
        }
    }
    answer
}

fn callback_body(_: &Vendor, items: &[Item], at: Timestamp) -> serde_json::Result<Vec<u8>> {
    let reports = items
        .iter()
        .map(|item| {
            let (rcs_id, message_id) = match item.notation {
                Notation::Usual => (
                    Family::Rcshub.vendor_id(item.vendor),
                    Some(item.message.to_string()),
                ),
                Notation::Other => (
                    format!("{:x}", item.vendor),
                    Some(item.message.to_string().to_lowercase()),
                ),
                Notation::Unknown => (Family::Rcshub.vendor_id(item.shown_vendor()), None),
            };
            Report {
                rcs_id,
                message_id,
                code: match item.ending {
                    Ending::Delivered => "1000",
                    Ending::InvalidRecipient => "8801",
                    Ending::RecipientUnavailable => "8837",
                    Ending::RecipientBlocked => "8802",
                    Ending::Spam => "8803",
                },
                at,
            }
        })
        .collect();
    serde_json::to_vec(&Reports { reports })
}
