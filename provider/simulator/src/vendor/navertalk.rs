//! Naver TalkTalk's chatbot API, version 1 (github.com/navertalk/chatbot-api).
//! `POST /chatbot/v1/event` takes one message, answers HTTP 200 even for a failure, and never
//! reports: accepted is the end. Of failures that are nobody's fault it says 99, whatever they are.
//!
//! The API carries no id of the caller, so which message it is stands in `X-Request-Id`.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response, header};
use axum::routing::post;
use pabal_common::domain::id::MessageId;
use serde::Deserialize;

use super::fault::answer;
use super::{Fate, Member, Vendor};
use crate::outcome::{Ending, Outcome};

/// The longest text, in characters.
const TEXT: usize = 10_000;
/// The longest description of a composite.
const DESCRIPTION: usize = 1_000;
const BUTTONS: usize = 10;
/// The longest title of a button.
const TITLE: usize = 18;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Event {
    event: String,
    user: String,
    text_content: Option<TextContent>,
    composite_content: Option<CompositeContent>,
    #[serde(rename = "options")]
    _options: Option<Options>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TextContent {
    text: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CompositeContent {
    composite_list: Vec<Composite>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Composite {
    description: String,
    button_list: Vec<Button>,
}

#[derive(Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "UPPERCASE")]
enum Button {
    Text {
        title: String,
    },
    #[serde(rename_all = "camelCase")]
    Link {
        title: String,
        url: String,
        mobile_url: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    #[serde(rename = "notification")]
    _notification: bool,
}

pub(crate) fn router(vendor: Arc<Vendor>) -> Router {
    Router::new()
        .route("/chatbot/v1/event", post(submit))
        .with_state(vendor)
}

async fn submit(
    State(vendor): State<Arc<Vendor>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    if !vendor.is_authorised(&headers, header::AUTHORIZATION.as_str(), "") {
        return refused();
    }
    let Some(member) = read(&headers, &body) else {
        return result("02");
    };
    match vendor.receive(vec![member]).await {
        Ok(fates) => result(fates.first().map_or("99", code_of)),
        Err(fault) => fault.answer(refused),
    }
}

fn read(headers: &HeaderMap, body: &[u8]) -> Option<Member> {
    let message: MessageId = headers.get("x-request-id")?.to_str().ok()?.parse().ok()?;
    let event: Event = serde_json::from_slice(body).ok()?;
    let fits = match (&event.text_content, &event.composite_content) {
        (Some(content), None) => is_within(&content.text, TEXT),
        (None, Some(content)) => match content.composite_list.as_slice() {
            [composite] => composite.fits(),
            _ => false,
        },
        _ => false,
    };
    (event.event == "send" && !event.user.is_empty() && fits).then(|| Member {
        message,
        outcome: Outcome::of_recipient(&event.user),
        immediate: true,
    })
}

impl Composite {
    fn fits(&self) -> bool {
        is_within(&self.description, DESCRIPTION)
            && (1..=BUTTONS).contains(&self.button_list.len())
            && self.button_list.iter().all(Button::fits)
    }
}

impl Button {
    fn fits(&self) -> bool {
        match self {
            Self::Text { title } => is_within(title, TITLE),
            Self::Link {
                title,
                url,
                mobile_url,
            } => is_within(title, TITLE) && !url.is_empty() && !mobile_url.is_empty(),
        }
    }
}

fn is_within(text: &str, longest: usize) -> bool {
    (1..=longest).contains(&text.chars().count())
}

const fn code_of(fate: &Fate) -> &'static str {
    match fate {
        Fate::Taken(_) | Fate::Ended(_, Ending::Delivered) => "00",
        Fate::Ended(..) => "99",
        Fate::Refused => "02",
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
