//! What may stand in the fields.

use std::collections::BTreeMap;

use pabal_common::domain::kind::Purpose;
use pabal_common::domain::text::{Unit, limit};

use super::*;

#[test]
fn recipients_are_kept_in_national_digits_whatever_their_notation() {
    for to in [
        "010-1234-5678",
        "+82 10-1234-5678",
        "8201012345678",
        "00821012345678",
    ] {
        for kind in MessageType::ALL {
            if !matches!(kind, MessageType::NaverTalk | MessageType::Email) {
                let content = checked(&with(kind, "to", json!(to))).ok().unwrap().content;
                assert_eq!(content.to, "01012345678");
            }
        }
    }
    let content = checked(&good(MessageType::NaverTalk)).ok().unwrap().content;
    assert_eq!(content.to, "al-2eGuGr5WQOnco1");
}

#[test]
fn recipients_that_cannot_be_reached_are_refused() {
    use ErrorReason::{InternationalNotSupported, InvalidRecipient};
    for (to, reason) in [
        ("", InvalidRecipient),
        ("02-123-4567", InvalidRecipient),
        ("010-1234-567", InvalidRecipient),
        ("홍길동", InvalidRecipient),
        ("+1 415 555 2671", InternationalNotSupported),
    ] {
        let (found, detail) = refused(&with(MessageType::Sms, "to", json!(to)));
        assert_eq!((found, detail.field.as_ref()), (reason, "to"), "{to}");
    }
    for to in ["", "사용자", "a b"] {
        let (found, _) = refused(&with(MessageType::NaverTalk, "to", json!(to)));
        assert_eq!(found, InvalidRecipient);
    }
}

#[test]
fn senders_are_kept_in_digits_and_rcs_takes_no_mobile() {
    let sms = |from: &str| checked(&with(MessageType::Sms, "from", json!(from)));
    let content = sms("010-2345-6789").ok().unwrap().content;
    assert_eq!(content.from.as_deref(), Some("01023456789"));
    for from in ["", "112", "010-0234-5678", "+82 2-123-4567"] {
        let error = sms(from).err().unwrap();
        assert_eq!(error.reason(), ErrorReason::InvalidValue, "{from}");
        assert_eq!(error.details()[0].field, "from");
    }
    let (reason, detail) = refused(&with(MessageType::Rcs, "from", json!("010-2345-6789")));
    assert_eq!(
        (reason, detail.field.as_ref()),
        (ErrorReason::InvalidValue, "from")
    );
}

#[test]
fn a_text_may_be_as_long_as_its_type_allows_and_no_longer() {
    for kind in MessageType::ALL {
        let longest = limit(kind);
        let text = "가".repeat(match longest.unit {
            Unit::Byte => longest.max / 2,
            Unit::Character => longest.max,
        });
        assert!(checked(&with(kind, "text", json!(text))).is_ok(), "{kind}");
        let (reason, detail) = refused(&with(kind, "text", json!(text + "!")));
        assert_eq!(reason, ErrorReason::TextTooLong, "{kind}");
        let wanted = Detail::new("text", "maxLength")
            .limit(longest.max as u64)
            .actual(longest.max as u64 + 1)
            .unit(longest.unit.name());
        assert_eq!(detail, wanted, "{kind}");
    }
}

#[test]
fn a_character_that_cannot_be_carried_is_named_or_replaced_as_the_partner_chose() {
    let request = with(MessageType::Sms, "text", json!("밥 먹자 😀"));
    let (reason, detail) = refused(&request);
    assert_eq!(reason, ErrorReason::UnencodableCharacter);
    assert_eq!(
        detail,
        Detail::new("text", "encodable").position(5).character('😀')
    );
    let content = checked_with(&request, Unencodable::Replace('?'));
    assert_eq!(content.ok().unwrap().content.text, "밥 먹자 ?");
    assert!(checked(&with(MessageType::Rcs, "text", json!("밥 먹자 😀"))).is_ok());
}

#[test]
fn texts_and_subjects_of_nothing_visible_are_refused() {
    for text in ["", " ", "\n\t ", "\u{200b}"] {
        let (reason, detail) = refused(&with(MessageType::Sms, "text", json!(text)));
        assert_eq!(reason, ErrorReason::InvalidValue, "{text:?}");
        assert_eq!(detail, Detail::new("text", "notBlank"));
    }
    let (_, detail) = refused(&with(MessageType::Lms, "subject", json!(" ")));
    assert_eq!(detail, Detail::new("subject", "notBlank"));
}

#[test]
fn subjects_are_one_line_of_forty_bytes() {
    for kind in [MessageType::Lms, MessageType::Mms, MessageType::Rcs] {
        let subject = "가".repeat(20);
        assert!(checked(&with(kind, "subject", json!(subject))).is_ok());
        let (reason, detail) = refused(&with(kind, "subject", json!(subject + "!")));
        assert_eq!(reason, ErrorReason::SubjectTooLong);
        assert_eq!((detail.limit, detail.actual), (Some(40), Some(41)));
        let (reason, detail) = refused(&with(kind, "subject", json!("가\n나")));
        assert_eq!(reason, ErrorReason::UnencodableCharacter);
        assert_eq!(detail.position, Some(1));
    }
    let long = "가".repeat(2000);
    let (reason, detail) = refused(&with(MessageType::Rcs, "subject", json!(long)));
    assert_eq!(reason, ErrorReason::SubjectTooLong);
    assert_eq!((detail.limit, detail.actual), (Some(40), Some(4000)));
    let (lms, rcs) = (MessageType::Lms, MessageType::Rcs);
    assert!(checked(&with(rcs, "subject", json!("😀"))).is_ok());
    assert!(checked(&with(lms, "subject", json!("😀"))).is_err());
}

#[test]
fn client_ids_are_visible_ascii() {
    let longest = "x".repeat(64);
    for id in ["1", "order-1001", "!~", longest.as_str()] {
        assert!(checked(&with(MessageType::Sms, "clientMsgId", json!(id))).is_ok());
    }
    for id in ["", "a b", "주문1", "a\n", &format!("{longest}x")] {
        let (reason, detail) = refused(&with(MessageType::Sms, "clientMsgId", json!(id)));
        assert_eq!(reason, ErrorReason::InvalidValue);
        assert_eq!(detail.field, "clientMsgId");
    }
}

#[test]
fn purpose_and_validity_have_their_bounds_and_defaults() {
    let auth = with(MessageType::Sms, "purpose", json!("AUTH"));
    let auth = checked(&auth).ok().unwrap();
    assert_eq!(
        (auth.purpose, auth.validity.as_secs()),
        (Purpose::Auth, 180)
    );
    for purpose in ["auth", "", "OTP"] {
        let (_, detail) = refused(&with(MessageType::Sms, "purpose", json!(purpose)));
        assert_eq!(
            detail,
            Detail::new("purpose", "oneOf").expected("AUTH, INFO, AD")
        );
    }
    for seconds in [10, 86_400] {
        let request = with(MessageType::Sms, "validitySeconds", json!(seconds));
        assert_eq!(checked(&request).ok().unwrap().validity.as_secs(), seconds);
    }
    for (seconds, limit, actual) in [
        (9_i64, 10, Some(9)),
        (0, 10, Some(0)),
        (-10, 10, None),
        (i64::MIN, 10, None),
        (86_401, 86_400, Some(86_401)),
        (i64::MAX, 86_400, Some(i64::MAX as u64)),
    ] {
        let (_, detail) = refused(&with(MessageType::Sms, "validitySeconds", json!(seconds)));
        let wanted = Detail::new("validitySeconds", "range")
            .limit(limit)
            .unit("SECOND")
            .expected("10..86400");
        let wanted = actual.into_iter().fold(wanted, Detail::actual);
        assert_eq!(detail, wanted);
    }
}

#[test]
fn metadata_is_an_object_of_two_kibibytes_that_can_be_read_again() {
    let metadata = |length: usize| json!({"k": "x".repeat(length - r#"{"k":""}"#.len())});
    let request = with(MessageType::Sms, "metadata", metadata(2048));
    let kept = checked(&request).ok().unwrap().metadata.unwrap();
    assert_eq!(kept.text.len(), 2048);
    let (_, detail) = refused(&with(MessageType::Sms, "metadata", metadata(2049)));
    assert_eq!((detail.limit, detail.actual), (Some(2048), Some(2049)));

    let deep = |depth: usize| format!("{{\"k\":{}1{}}}", "[".repeat(depth), "]".repeat(depth));
    assert!(with_metadata(&deep(126)).is_ok());
    let told = |metadata: &str| with_metadata(metadata).err().unwrap().details()[0].clone();
    assert_eq!(
        told(&deep(127)),
        Detail::new("metadata", "maxDepth")
            .limit(127)
            .actual(128)
            .unit("LEVEL")
    );
    let wanted = Detail::new("metadata", "range")
        .expected("numbers that a 64-bit floating-point value can hold");
    assert_eq!(told(r#"{"k": 1e999}"#), wanted);
    let wanted = Detail::new("metadata", "type").expected("object");
    for other in ["[]", "7", "true", "\"{}\""] {
        assert_eq!(told(other), wanted, "{other}");
    }
}

/// A good request with this metadata, to the letter.
fn with_metadata(metadata: &str) -> Result<check::Checked, ApiError> {
    let text = good(MessageType::Sms).to_string();
    let text = format!("{},\"metadata\":{metadata}}}", &text[..text.len() - 1]);
    parse_json(text.as_bytes())
        .and_then(|request| check(request, Unencodable::Reject, &Known::default()))
}

#[test]
fn what_is_expected_of_a_number_is_said_as_what_would_be_right() {
    for (path, value, expected) in [
        ("to", "02-123-4567", "a Korean mobile number such as"),
        ("to", "+1 415 555 2671", "a Korean mobile number such as"),
        (
            "from",
            "112",
            "a Korean telephone number in national digits",
        ),
        ("from", "010-0234-5678", "a number that does not begin with"),
    ] {
        let (_, detail) = refused(&with(MessageType::Sms, path, json!(value)));
        let said = detail.expected.unwrap();
        assert!(said.starts_with(expected), "{value}: {said}");
    }
}

#[test]
fn metadata_is_kept_as_it_was_written() {
    let written = r#"{ "b": 123456789012345678901234567890, "a": 1.10 }"#;
    let checked = with_metadata(written);
    assert_eq!(checked.ok().unwrap().metadata.unwrap().text, written);
}

#[test]
fn templates_have_a_code_and_at_most_forty_variables() {
    let alimtalk = |template: Value| with(MessageType::KakaoAlimtalk, "template", template);
    let variables = |count: usize| -> BTreeMap<String, String> {
        (0..count)
            .map(|n| (format!("v{n}"), "x".to_owned()))
            .collect()
    };
    for template in [
        json!({"code": "T"}),
        json!({"code": "T", "variables": variables(40)}),
    ] {
        assert!(checked(&alimtalk(template)).is_ok());
    }
    for (template, reason, field) in [
        (json!({}), ErrorReason::MissingField, "template.code"),
        (
            json!({"code": ""}),
            ErrorReason::InvalidValue,
            "template.code",
        ),
        (
            json!({"code": "x".repeat(33)}),
            ErrorReason::InvalidValue,
            "template.code",
        ),
        (
            json!({"code": "T", "variables": variables(41)}),
            ErrorReason::InvalidValue,
            "template.variables",
        ),
        (
            json!({"code": "T", "variables": {"": "x"}}),
            ErrorReason::InvalidValue,
            "template.variables",
        ),
        (
            json!({"code": "T", "variables": {"a": "x".repeat(1401)}}),
            ErrorReason::InvalidValue,
            "template.variables",
        ),
    ] {
        let (found, detail) = refused(&alimtalk(template));
        assert_eq!((found, detail.field.as_ref()), (reason, field));
    }
}

#[test]
fn channel_ids_are_visible_ascii() {
    for (kind, path) in [
        (MessageType::KakaoAlimtalk, "channel.senderKey"),
        (MessageType::NaverTalk, "channel.talkId"),
        (MessageType::Rcs, "channel.chatbotId"),
    ] {
        for id in ["", "키", "a b", &"x".repeat(65)] {
            let (reason, detail) = refused(&with(kind, path, json!(id)));
            assert_eq!(
                (reason, detail.field.as_ref()),
                (ErrorReason::InvalidValue, path)
            );
        }
    }
}

#[test]
fn no_file_is_found_as_long_as_none_can_be_uploaded() {
    let mms = |files: Value| with(MessageType::Mms, "attachments", files);
    assert!(checked(&mms(json!([]))).is_ok());
    let (reason, detail) = refused(&mms(json!([{"fileId": "f"}])));
    assert_eq!(reason, ErrorReason::FileNotFound);
    assert_eq!(detail.field, "attachments[0].fileId");
    assert_eq!(refused(&mms(json!([{}]))).0, ErrorReason::MissingField);
    let (_, detail) = refused(&mms(json!([{}, {}, {}, {}])));
    assert_eq!((detail.limit, detail.actual), (Some(3), Some(4)));
}
