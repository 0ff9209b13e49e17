//! What only mail has.

use pabal_common::domain::sender::Sender;

use super::*;

const EMAIL: MessageType = MessageType::Email;

#[test]
fn a_mail_is_from_a_domain_and_kept_with_its_name() {
    let checked = checked(&good(EMAIL)).unwrap_or_else(|error| panic!("{error}"));
    let domain = Sender::Domain("shop.example".parse().unwrap());
    assert_eq!(checked.sender, Some(domain));
    assert_eq!(
        checked.content.from.as_deref(),
        Some("파발 가게 <shop@shop.example>")
    );
    assert_eq!(checked.content.to, "kim@mail.example");
}

#[test]
fn text_html_or_both_and_never_neither() {
    let html = json!("<p>안녕하세요</p>");
    let mut alone = with(EMAIL, "html", html.clone());
    take(&mut alone, "text");
    let checked = checked(&alone).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(
        (checked.content.text.as_str(), checked.content.html),
        ("", Some("<p>안녕하세요</p>".to_owned()))
    );
    assert!(checked_with(&with(EMAIL, "html", html), Unencodable::Reject).is_ok());
    let (reason, detail) = refused(&with(EMAIL, "html", json!("  ")));
    assert_eq!(
        (reason, detail.field.as_ref()),
        (ErrorReason::InvalidValue, "html")
    );
}

#[test]
fn addresses_that_some_server_would_not_take_are_refused() {
    for (field, value, reason) in [
        ("to", "010-1234-5678", ErrorReason::InvalidRecipient),
        (
            "to",
            "Kim <kim@mail.example>",
            ErrorReason::InvalidRecipient,
        ),
        (
            "to",
            "a@b.example, c@d.example",
            ErrorReason::InvalidRecipient,
        ),
        (
            "to",
            "a@b.example\r\nBcc: c@d.example",
            ErrorReason::InvalidRecipient,
        ),
        ("from", "02-123-4567", ErrorReason::InvalidValue),
        (
            "from",
            "a\nb <shop@shop.example>",
            ErrorReason::InvalidValue,
        ),
        ("replyTo", "nobody", ErrorReason::InvalidValue),
    ] {
        let (found, detail) = refused(&with(EMAIL, field, json!(value)));
        assert_eq!((found, detail.field.as_ref()), (reason, field), "{value:?}");
    }
}

#[test]
fn a_subject_is_one_line_and_not_too_long() {
    let (reason, detail) = refused(&with(EMAIL, "subject", json!("a\r\nBcc: c@d.example")));
    assert_eq!(
        (reason, detail.position),
        (ErrorReason::UnencodableCharacter, Some(1))
    );
    assert!(checked(&with(EMAIL, "subject", json!("가".repeat(255)))).is_ok());
    let (reason, detail) = refused(&with(EMAIL, "subject", json!("가".repeat(256))));
    assert_eq!(
        (reason, detail.limit),
        (ErrorReason::SubjectTooLong, Some(255))
    );
}

#[test]
fn headers_are_few_safe_and_different() {
    let rule = |headers: Value| refused(&with(EMAIL, "headers", headers)).1.rule;
    assert_eq!(rule(json!({"Bcc": "c@d.example"})), "name");
    assert_eq!(rule(json!({"X-A": "a\r\nBcc: c@d.example"})), "value");
    assert_eq!(rule(json!({"X-A": "a", "x-a": "b"})), "unique");
    let many: serde_json::Map<_, _> = (0..21).map(|n| (format!("X-{n}"), json!("v"))).collect();
    assert_eq!(rule(Value::Object(many)), "maxItems");
}

#[test]
fn advertising_can_be_left_by_one_click() {
    let mut advertising = with(EMAIL, "purpose", json!("AD"));
    let missing = (ErrorReason::MissingField, "headers.List-Unsubscribe");
    let found = refused(&advertising);
    assert_eq!((found.0, found.1.field.as_ref()), missing);
    put(
        &mut advertising,
        "headers",
        json!({"List-Unsubscribe": "<mailto:leave@shop.example>"}),
    );
    assert_eq!(refused(&advertising).0, ErrorReason::MissingField);
    put(
        &mut advertising,
        "headers",
        json!({"List-Unsubscribe": "<https://shop.example/leave/1>"}),
    );
    assert!(checked(&advertising).is_ok());
}
