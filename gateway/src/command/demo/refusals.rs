//! Requests that must be refused, each with its code and reason.

use pabal_common::domain::code::ErrorReason;
use serde_json::{Value, json};

use super::cases::CASES;

/// Who the request says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// The partner.
    Ours,
    /// Nobody.
    None,
    /// Somebody who made a token up.
    Forged,
}

/// One request that must be refused.
pub(super) struct Refusal {
    pub(super) what: &'static str,
    pub(super) expected: ErrorReason,
    pub(super) token: Token,
    pub(super) path: &'static str,
    pub(super) body: String,
}

/// Every one of them. They repeat the first case, so they come after it.
pub(super) fn refusals() -> Vec<Refusal> {
    vec![
        Refusal {
            token: Token::None,
            ..refusal("no token", ErrorReason::TokenMissing, &message())
        },
        Refusal {
            token: Token::Forged,
            ..refusal("a forged token", ErrorReason::TokenInvalid, &message())
        },
        Refusal {
            token: Token::None,
            path: "/v1/auth/token",
            ..refusal(
                "a wrong client secret",
                ErrorReason::BadCredentials,
                &json!({"clientId": "demo", "clientSecret": "a guess"}),
            )
        },
        refusal(
            "the same message again",
            ErrorReason::DuplicateSame,
            &CASES[0].request(),
        ),
        refusal(
            "its clientMsgId with another text",
            ErrorReason::DuplicateConflict,
            &with(CASES[0].request(), "text", json!("다른 내용")),
        ),
        refusal(
            "somebody else's sender number",
            ErrorReason::SenderNotAllowed,
            &with(message(), "from", json!("02-0000-9999")),
        ),
        refusal(
            "an SMS one byte too long",
            ErrorReason::TextTooLong,
            &with(message(), "text", json!("a".repeat(91))),
        ),
        refusal(
            "an emoji in an SMS",
            ErrorReason::UnencodableCharacter,
            &with(message(), "text", json!("주문 완료 🎉")),
        ),
        refusal(
            "an unknown type",
            ErrorReason::UnknownMessageType,
            &with(message(), "type", json!("FAX")),
        ),
        refusal(
            "a field nobody knows",
            ErrorReason::UnknownField,
            &with(message(), "colour", json!("red")),
        ),
        refusal(
            "a subject in an SMS",
            ErrorReason::FieldNotAllowed,
            &with(message(), "subject", json!("제목")),
        ),
        refusal(
            "no recipient",
            ErrorReason::MissingField,
            &with(message(), "to", Value::Null),
        ),
        refusal(
            "a recipient abroad",
            ErrorReason::InternationalNotSupported,
            &with(message(), "to", json!("+1 202 555 0100")),
        ),
        Refusal {
            body: "{\"clientMsgId\": \"demo-".to_owned(),
            ..refusal("half a request", ErrorReason::InvalidJson, &Value::Null)
        },
        Refusal {
            path: "/v1/messages/batch",
            ..refusal(
                "a batch of 1001",
                ErrorReason::BatchTooLarge,
                &json!({"messages": vec![message(); 1001]}),
            )
        },
    ]
}

fn refusal(what: &'static str, expected: ErrorReason, body: &Value) -> Refusal {
    Refusal {
        what,
        expected,
        token: Token::Ours,
        path: "/v1/messages",
        body: body.to_string(),
    }
}

/// A good message under a clientMsgId of its own.
fn message() -> Value {
    with(CASES[0].request(), "clientMsgId", json!("demo-refused"))
}

fn with(mut message: Value, field: &str, value: Value) -> Value {
    message[field] = value;
    message
}
