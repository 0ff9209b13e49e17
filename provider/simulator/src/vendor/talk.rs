//! Naver TalkTalk. `POST /chatbot/v1/event` takes one message, answers HTTP 200 even for a
//! failure, and never reports: accepted is the end.

use std::borrow::Cow;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response, StatusCode, header};
use axum::routing::{get, post};
use pabal_common::domain::id::MessageId;
use serde::Deserialize;

use super::fault::answer;
use super::{Fate, Member, Vendor};
use crate::outcome::{Ending, Outcome};

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    event: Cow<'a, str>,
    #[serde(borrow)]
    user: Cow<'a, str>,
    options: Options,
}

#[derive(Deserialize)]
struct Options {
    reference: MessageId,
}

pub(crate) fn router(vendor: Arc<Vendor>) -> Router {
    Router::new()
        .route("/chatbot/v1/event", post(submit))
        .route("/chatbot/v1/health", get(health))
        .with_state(vendor)
}

fn is_authorised(vendor: &Vendor, headers: &HeaderMap) -> bool {
    vendor.is_authorised(headers, header::AUTHORIZATION.as_str(), "")
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
    let Some(member) = read(&body) else {
        return result("02");
    };
    match vendor.receive(vec![member]).await {
        Ok(fates) => result(fates.first().map_or("99", code_of)),
        Err(fault) => fault.answer(refused),
    }
}

fn read(body: &[u8]) -> Option<Member> {
    let event: Event<'_> = serde_json::from_slice(body).ok()?;
    (event.event == "send").then(|| Member {
        message: event.options.reference,
        outcome: Outcome::of_recipient(&event.user),
        immediate: true,
    })
}

const fn code_of(fate: &Fate) -> &'static str {
    match fate {
        Fate::Taken(_) | Fate::Ended(_, Ending::Delivered) => "00",
        Fate::Ended(_, Ending::InvalidRecipient) => "31",
        Fate::Ended(_, Ending::RecipientUnavailable) => "32",
        Fate::Ended(_, Ending::RecipientBlocked) => "33",
        Fate::Ended(_, Ending::Spam) => "34",
        Fate::Refused => "35",
    }
}

fn refused() -> Response<Body> {
    result("01")
}

fn result(code: &str) -> Response<Body> {
    let success = code == "00";
    answer(
        200,
        format!(r#"{{"success":{success},"resultCode":"{code}"}}"#),
    )
}
