//! Requests, as far as they can be judged without a partner.

mod attachments;
mod buttons;
mod content;
mod drafts;
mod fields;
mod mail;
mod templates;

use pabal_common::domain::code::ErrorReason;
use pabal_common::domain::kind::MessageType;
use pabal_common::domain::text::Unencodable;
use pabal_common::http::{ApiError, Detail, parse_json};
use serde_json::{Value, json};

use super::*;

/// A good request of this type with nothing more than it needs.
fn good(kind: MessageType) -> Value {
    let mut request = json!({
        "clientMsgId": "m-1",
        "type": kind.name(),
        "to": match kind {
            MessageType::NaverTalk => "al-2eGuGr5WQOnco1",
            MessageType::Email => "kim@mail.example",
            _ => "010-1234-5678",
        },
        "text": "안녕하세요",
    });
    for field in Field::ALL {
        if presence(kind, field) == Presence::Required {
            put(&mut request, field.path(), value_of(field));
        }
    }
    if kind == MessageType::Email {
        put(&mut request, "from", json!("파발 가게 <shop@shop.example>"));
    }
    request
}

fn value_of(field: Field) -> Value {
    match field {
        Field::From => json!("02-123-4567"),
        Field::Subject => json!("제목"),
        Field::Template => json!({"code": "T1", "variables": {"name": "홍길동"}}),
        Field::Buttons => json!([{"type": "WL", "name": "열기", "url": "https://a.example/"}]),
        Field::Attachments => json!([{"fileId": "f-1"}]),
        Field::Html => json!("<p>안녕하세요</p>"),
        Field::ReplyTo => json!("help@shop.example"),
        Field::Headers => json!({"X-Campaign": "spring"}),
        Field::SenderKey => json!("0123456789abcdef0123456789abcdef01234567"),
        Field::BrandId => json!("BR.a1b2"),
        Field::ChatbotId => json!("15881234"),
        Field::MessagebaseId => json!("SL000000"),
        Field::TalkId => json!("w4abcd"),
    }
}

fn put(request: &mut Value, path: &str, value: Value) {
    let place = path
        .split('.')
        .fold(request, |place, name| &mut place[name]);
    *place = value;
}

fn take(request: &mut Value, path: &str) {
    let (parent, name) = path.rsplit_once('.').unwrap_or(("", path));
    let parent = if parent.is_empty() {
        request
    } else {
        &mut request[parent]
    };
    parent.as_object_mut().unwrap().remove(name);
}

fn checked(request: &Value) -> Result<check::Checked, ApiError> {
    checked_with(request, Unencodable::Reject)
}

fn checked_with(request: &Value, policy: Unencodable) -> Result<check::Checked, ApiError> {
    checked_knowing(request, policy, &Known::default())
}

fn checked_knowing(
    request: &Value,
    policy: Unencodable,
    known: &Known,
) -> Result<check::Checked, ApiError> {
    check(parse_json(request.to_string().as_bytes())?, policy, known)
}

fn refused(request: &Value) -> (ErrorReason, Detail) {
    let error = checked(request)
        .err()
        .unwrap_or_else(|| panic!("{request}"));
    (error.reason(), error.details()[0].clone())
}

fn with(kind: MessageType, path: &str, value: Value) -> Value {
    let mut request = good(kind);
    put(&mut request, path, value);
    request
}
