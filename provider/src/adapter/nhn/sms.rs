//! Requests of the SMS API v3.0.

use std::borrow::Cow;

use pabal_common::domain::id::MessageId;
use pabal_common::domain::kind::{MessageType, Purpose};
use pabal_common::domain::message::Content;
use serde::Serialize;

use super::code;
use super::letter::{Body, Letter, holds_one_of};
use crate::provider::Outgoing;

/// One of these must stand in the body of an authentication message (-8000); without, it goes as an
/// ordinary one.
const AUTH_WORDS: [&str; 7] = [
    "auth",
    "password",
    "verify",
    "にんしょう",
    "認証",
    "비밀번호",
    "인증",
];
/// The longest title the carriers carry is 40 bytes of EUC-KR: twenty Korean characters.
const TITLE: usize = 20;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Send<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<Cow<'a, str>>,
    body: &'a str,
    send_no: &'a str,
    recipient_list: [Recipient<'a>; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    origin_code: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Recipient<'a> {
    recipient_no: &'a str,
    recipient_grouping_key: MessageId,
}

/// How `message` is sent.
///
/// # Errors
/// NHN's code for what it lacks.
pub(super) fn letter<'a>(
    app_key: &str,
    message: &'a Outgoing,
    origin_code: Option<&'a str>,
) -> Result<Letter<'a>, &'static str> {
    let content = &message.content;
    if !content.attachments.is_empty() {
        return Err(code::NO_FILE);
    }
    let (service, title) = match (message.kind, message.purpose) {
        (MessageType::Sms, Purpose::Auth) if holds_one_of(&AUTH_WORDS, &content.text) => {
            ("auth/sms", None)
        }
        (MessageType::Sms, Purpose::Ad) => ("ad-sms", None),
        (MessageType::Sms, Purpose::Auth | Purpose::Info) => ("sms", None),
        (MessageType::Lms | MessageType::Mms, Purpose::Ad) => ("ad-mms", Some(title(content))),
        (MessageType::Lms | MessageType::Mms, Purpose::Auth | Purpose::Info) => {
            ("mms", Some(title(content)))
        }
        _ => return Err(code::NO_SMS),
    };
    Ok(Letter {
        path: format!("{}/sender/{service}", base(app_key)),
        body: Body::Sms(Send {
            title,
            body: &content.text,
            send_no: content.from.as_deref().ok_or(code::NO_SENDER)?,
            recipient_list: [Recipient {
                recipient_no: &content.to,
                recipient_grouping_key: message.id,
            }],
            origin_code,
        }),
    })
}

/// Where the product is.
pub(super) fn base(app_key: &str) -> String {
    format!("/sms/v3.0/appKeys/{app_key}")
}

/// NHN requires a title: the subject, else the text's first line, cut.
fn title(content: &Content) -> Cow<'_, str> {
    if let Some(subject) = &content.subject {
        return Cow::Borrowed(subject);
    }
    let lines = content.text.lines().map(str::trim);
    let line = lines.into_iter().find(|line| !line.is_empty());
    Cow::Owned(line.unwrap_or_default().chars().take(TITLE).collect())
}
