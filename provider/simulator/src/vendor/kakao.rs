//! Kakao. `POST /v3/messages` takes up to 100: Alimtalk (`AT`) is answered finally, Brand
//! Message (`BM`) is accepted. `GET /v3/results` gives results after a cursor, and
//! `GET /v3/messages?serials=` what became of messages by our reference.
//!
//! Ids are `KKO` and twenty decimal digits, or the bare decimal number.

use std::borrow::Cow;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, Response, StatusCode};
use axum::routing::{get, post};
use pabal_common::clock::{Clock as _, SystemClock, Timestamp};
use pabal_common::domain::id::MessageId;
use serde::{Deserialize, Serialize};

use super::archive::Logged;
use super::fault::{error, json};
use super::{Fate, Member, Vendor, lock};
use crate::family::Family;
use crate::outcome::{Ending, Outcome};
use crate::reports::Notation;

const KEY: &str = "x-kakao-key";
const MAX_PAGE: usize = 1000;

/// Accepted, the result follows.
const ACCEPTED: &str = "0000";
/// Sent, receipt not confirmed: may still arrive.
const UNCONFIRMED: &str = "3005";
/// In progress.
const IN_PROGRESS: &str = "4161";

#[derive(Deserialize)]
struct Submit<'a> {
    #[serde(borrow)]
    messages: Vec<Message<'a>>,
}

#[derive(Deserialize)]
struct Message<'a> {
    serial: MessageId,
    service: Service,
    #[serde(borrow)]
    to: Cow<'a, str>,
}

#[derive(Deserialize, PartialEq, Eq)]
enum Service {
    /// Alimtalk.
    #[serde(rename = "AT")]
    Alimtalk,
    /// Brand Message.
    #[serde(rename = "BM")]
    Brand,
}

#[derive(Serialize)]
struct Submitted {
    results: Vec<Answered>,
}

#[derive(Serialize)]
struct Answered {
    serial: MessageId,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
}

#[derive(Deserialize)]
struct PollQuery {
    after: Option<String>,
    limit: Option<usize>,
}

#[derive(Serialize)]
struct Page {
    results: Vec<PolledResult>,
    next: String,
    more: bool,
}

#[derive(Serialize)]
struct PolledResult {
    id: Id,
    #[serde(skip_serializing_if = "Option::is_none")]
    serial: Option<MessageId>,
    code: &'static str,
    at: Timestamp,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Id {
    Text(String),
    Number(u64),
}

#[derive(Deserialize)]
struct AskQuery {
    serials: String,
}

#[derive(Serialize)]
struct AskedPage {
    messages: Vec<AskedResult>,
}

#[derive(Serialize)]
struct AskedResult {
    serial: MessageId,
    found: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<Timestamp>,
}

pub(crate) fn router(vendor: Arc<Vendor>) -> Router {
    Router::new()
        .route("/v3/messages", post(submit).get(ask))
        .route("/v3/results", get(poll))
        .route("/v3/health", get(health))
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
        return error(400, "1001");
    };
    match vendor.receive(members.clone()).await {
        Ok(fates) => json(200, &answer_of(&members, &fates)),
        Err(fault) => fault.answer(refused),
    }
}

fn refused() -> Response<Body> {
    error(401, "1002")
}

fn read(body: &[u8]) -> Option<Vec<Member>> {
    let call: Submit<'_> = serde_json::from_slice(body).ok()?;
    if !(1..=Family::Kakao.batch()).contains(&call.messages.len()) {
        return None;
    }
    let members = call.messages.iter().map(|message| Member {
        message: message.serial,
        outcome: Outcome::of_recipient(&message.to),
        immediate: message.service == Service::Alimtalk,
    });
    Some(members.collect())
}

fn answer_of(members: &[Member], fates: &[Fate]) -> Submitted {
    let results = members.iter().zip(fates).map(|(member, fate)| {
        let (code, vendor) = match fate {
            Fate::Refused => ("3016", None),
            Fate::Taken(vendor) if member.immediate => (UNCONFIRMED, Some(vendor)),
            Fate::Taken(vendor) => (ACCEPTED, Some(vendor)),
            Fate::Ended(vendor, ending) => (code_of(*ending), Some(vendor)),
        };
        Answered {
            serial: member.message,
            code,
            id: vendor.map(|vendor| Family::Kakao.vendor_id(*vendor)),
        }
    });
    Submitted {
        results: results.collect(),
    }
}

const fn code_of(ending: Ending) -> &'static str {
    match ending {
        Ending::Delivered => "1000",
        Ending::InvalidRecipient => "1020",
        Ending::RecipientUnavailable => "3018",
        Ending::RecipientBlocked => "3020",
        Ending::Spam => "3091",
    }
}

async fn poll(
    State(vendor): State<Arc<Vendor>>,
    headers: HeaderMap,
    Query(query): Query<PollQuery>,
) -> Response<Body> {
    if !vendor.is_authorised(&headers, KEY, "") {
        return refused();
    }
    vendor.publish_due();
    let limit = query.limit.unwrap_or(MAX_PAGE).clamp(1, MAX_PAGE);
    let page = lock(&vendor.archive).page(query.after.as_deref(), limit);
    json(
        200,
        &Page {
            results: page.results.iter().map(polled).collect(),
            next: page.next,
            more: page.more,
        },
    )
}

fn polled(Logged { item, at }: &Logged) -> PolledResult {
    let text = Family::Kakao.vendor_id(item.shown_vendor());
    let (id, serial) = match item.notation {
        Notation::Usual => (Id::Text(text), Some(item.message)),
        Notation::Other => (Id::Number(item.vendor), Some(item.message)),
        Notation::Unknown => (Id::Text(text), None),
    };
    PolledResult {
        id,
        serial,
        code: code_of(item.ending),
        at: *at,
    }
}

async fn ask(
    State(vendor): State<Arc<Vendor>>,
    headers: HeaderMap,
    Query(query): Query<AskQuery>,
) -> Response<Body> {
    if !vendor.is_authorised(&headers, KEY, "") {
        return refused();
    }
    let serials: Result<Vec<MessageId>, _> = query.serials.split(',').map(str::parse).collect();
    let Ok(serials) = serials else {
        return error(400, "1030");
    };
    if serials.len() > Family::Kakao.batch() {
        return error(400, "1030");
    }
    let now = SystemClock.now();
    let archive = lock(&vendor.archive);
    let messages = serials.into_iter().map(|serial| {
        let known = archive.known(serial);
        let ended = known.filter(|known| known.is_final(now));
        AskedResult {
            serial,
            found: known.is_some(),
            id: known.map(|known| Family::Kakao.vendor_id(known.vendor)),
            code: known.map(|_| ended.map_or(IN_PROGRESS, |ended| code_of(ended.ending))),
            at: ended.and_then(|ended| ended.final_at),
        }
    });
    let page = AskedPage {
        messages: messages.collect(),
    };
    json(200, &page)
}
