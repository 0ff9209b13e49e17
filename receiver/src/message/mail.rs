//! What only mail has: addresses, HTML, headers.

use std::collections::BTreeMap;

use pabal_common::domain::code::ErrorReason;
use pabal_common::domain::kind::{MessageType, Purpose};
use pabal_common::domain::mail::{
    HeaderRefused, LIST_UNSUBSCRIBE, MailAddress, Mailbox, check_header, unsubscribes_by_one_click,
};
use pabal_common::domain::sender::Sender;
use pabal_common::domain::text::normalise_newlines;
use pabal_common::http::{ApiError, Detail};

use super::limits::{LONGEST_HTML, LONGEST_MAIL_SUBJECT, MOST_HEADERS};

const AN_ADDRESS: &str = "a mail address such as kim@mail.example";
const A_MAILBOX: &str = "a mail address, with or without a name: 김 <kim@mail.example>";
const A_WAY_OUT: &str = "an https address in angle brackets, by which one click ends the mailing";

pub(super) fn check_recipient(text: &str) -> Result<String, ApiError> {
    let address: Result<MailAddress, _> = text.parse();
    let address = address.map_err(|_| {
        ApiError::new(ErrorReason::InvalidRecipient)
            .detail(Detail::new("to", "recipient").expected(AN_ADDRESS))
    })?;
    Ok(address.expose().to_owned())
}

/// The sender as it will be written, and its domain, which must be the partner's.
pub(super) fn check_sender(text: &str) -> Result<(String, Sender), ApiError> {
    let mailbox = check_mailbox("from", text)?;
    let domain = mailbox.address.mail_domain();
    Ok((mailbox.expose(), Sender::Domain(domain)))
}

pub(super) fn check_reply_to(text: &str) -> Result<String, ApiError> {
    check_mailbox("replyTo", text).map(|mailbox| mailbox.expose())
}

fn check_mailbox(field: &'static str, text: &str) -> Result<Mailbox, ApiError> {
    let refused = |_| invalid(Detail::new(field, "address").expected(A_MAILBOX));
    text.parse().map_err(refused)
}

/// A subject is one line of any characters.
pub(super) fn check_subject(text: &str) -> Result<String, ApiError> {
    let control = text.chars().enumerate().find(|(_, c)| c.is_control());
    if let Some((position, character)) = control {
        return Err(ApiError::new(ErrorReason::UnencodableCharacter).detail(
            Detail::new("subject", "encodable")
                .position(position as u64)
                .character(character),
        ));
    }
    let length = text.chars().count();
    match length > LONGEST_MAIL_SUBJECT {
        true => Err(too_long(
            ErrorReason::SubjectTooLong,
            "subject",
            LONGEST_MAIL_SUBJECT,
            length,
        )),
        false => Ok(text.to_owned()),
    }
}

pub(super) fn check_html(text: &str) -> Result<String, ApiError> {
    if text.trim().is_empty() {
        return Err(invalid(Detail::new("html", "notBlank")));
    }
    let is_odd = |c: char| c.is_control() && !matches!(c, '\r' | '\n' | '\t');
    let odd = text.chars().enumerate().find(|(_, c)| is_odd(*c));
    if let Some((position, character)) = odd {
        return Err(ApiError::new(ErrorReason::UnencodableCharacter).detail(
            Detail::new("html", "encodable")
                .position(position as u64)
                .character(character),
        ));
    }
    let html = normalise_newlines(text);
    let length = html.chars().count();
    match length > LONGEST_HTML {
        true => Err(too_long(
            ErrorReason::TextTooLong,
            "html",
            LONGEST_HTML,
            length,
        )),
        false => Ok(html),
    }
}

/// Headers that a partner may set, of which only mail has any. Advertising has to say how it is left (RFC 8058), as the large
/// receivers of mail demand.
pub(super) fn check_headers(
    kind: MessageType,
    headers: BTreeMap<String, String>,
    purpose: Purpose,
) -> Result<BTreeMap<String, String>, ApiError> {
    if headers.len() > MOST_HEADERS {
        return Err(invalid(
            Detail::new("headers", "maxItems")
                .limit(MOST_HEADERS as u64)
                .actual(headers.len() as u64)
                .unit("ITEM"),
        ));
    }
    for (place, (name, value)) in headers.iter().enumerate() {
        let told = |rule| invalid(Detail::new("headers", rule).position(place as u64));
        check_header(name, value).map_err(|refused| match refused {
            HeaderRefused::Name => told("name"),
            HeaderRefused::Value => told("value"),
        })?;
    }
    let mut names: Vec<_> = headers
        .keys()
        .map(|name| name.to_ascii_lowercase())
        .collect();
    names.sort();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(invalid(Detail::new("headers", "unique")));
    }
    let can_be_left = headers.iter().any(|(name, value)| {
        name.eq_ignore_ascii_case(LIST_UNSUBSCRIBE) && unsubscribes_by_one_click(value)
    });
    match kind == MessageType::Email && purpose == Purpose::Ad && !can_be_left {
        true => Err(ApiError::new(ErrorReason::MissingField)
            .detail(Detail::new("headers.List-Unsubscribe", "required").expected(A_WAY_OUT))),
        false => Ok(headers),
    }
}

fn too_long(reason: ErrorReason, field: &'static str, limit: usize, actual: usize) -> ApiError {
    ApiError::new(reason).detail(
        Detail::new(field, "maxLength")
            .limit(limit as u64)
            .actual(actual as u64)
            .unit("CHARACTER"),
    )
}

fn invalid(detail: Detail) -> ApiError {
    ApiError::new(ErrorReason::InvalidValue).detail(detail)
}
