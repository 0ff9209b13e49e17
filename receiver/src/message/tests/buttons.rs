//! Buttons.

use pabal_common::domain::code::ErrorReason;
use pabal_common::domain::kind::MessageType;
use serde_json::json;

use super::{checked, refused, with};

#[test]
fn buttons_that_a_channel_has_are_kept() {
    for (kind, button) in [
        (
            MessageType::KakaoAlimtalk,
            json!({"type": "WL", "name": "열기", "url": "http://a.b"}),
        ),
        (
            MessageType::KakaoAlimtalk,
            json!({"type": "AL", "name": "열기", "url": "shop://x"}),
        ),
        (
            MessageType::KakaoAlimtalk,
            json!({"type": "DS", "name": "배송 조회"}),
        ),
        (
            MessageType::KakaoAlimtalk,
            json!({"type": "AC", "name": "채널 추가"}),
        ),
        (
            MessageType::KakaoAlimtalk,
            json!({"type": "TN", "name": "전화 연결", "url": "tel:02-123-4567"}),
        ),
        (
            MessageType::KakaoBrandMessage,
            json!({"type": "BK", "name": "가".repeat(14)}),
        ),
        (
            MessageType::NaverTalk,
            json!({"type": "WL", "name": "열기", "url": "HTTPS://a.b"}),
        ),
        (
            MessageType::Rcs,
            json!({"type": "DL", "name": "전화하기 아무 이름", "url": "tel:+8221234567"}),
        ),
    ] {
        let request = with(kind, "buttons", json!([button]));
        let content = checked(&request)
            .unwrap_or_else(|e| panic!("{button}: {e}"))
            .content;
        assert_eq!(content.buttons[0].name, button["name"].as_str().unwrap());
        assert_eq!(content.buttons[0].url.as_deref(), button["url"].as_str());
    }
}

#[test]
fn other_buttons_are_refused_where_they_are_wrong() {
    use ErrorReason::{FieldNotAllowed, InvalidValue, MissingField};
    let long_url = format!("https://a.b/{}", "x".repeat(489));
    for (button, reason, field) in [
        (json!({"name": "a"}), MissingField, "type"),
        (json!({"type": "BK"}), MissingField, "name"),
        (json!({"type": "WL", "name": "a"}), MissingField, "url"),
        (
            json!({"type": "BK", "name": "a", "url": "https://a.b"}),
            FieldNotAllowed,
            "url",
        ),
        (json!({"type": "XX", "name": "a"}), InvalidValue, "type"),
        (
            json!({"type": "BK", "name": "가".repeat(15)}),
            InvalidValue,
            "name",
        ),
        (json!({"type": "BK", "name": ""}), InvalidValue, "name"),
        (json!({"type": "BK", "name": "a\nb"}), InvalidValue, "name"),
        (
            json!({"type": "BK", "name": "#{이름}"}),
            InvalidValue,
            "name",
        ),
        (json!({"type": "AC", "name": "추가"}), InvalidValue, "name"),
        (
            json!({"type": "TN", "name": "전화", "url": "tel:112"}),
            InvalidValue,
            "name",
        ),
        (
            json!({"type": "WL", "name": "a", "url": "a.b"}),
            InvalidValue,
            "url",
        ),
        (
            json!({"type": "WL", "name": "a", "url": "ftp://a.b"}),
            InvalidValue,
            "url",
        ),
        (
            json!({"type": "WL", "name": "a", "url": "https://"}),
            InvalidValue,
            "url",
        ),
        (
            json!({"type": "WL", "name": "a", "url": "https:///x"}),
            InvalidValue,
            "url",
        ),
        (
            json!({"type": "WL", "name": "a", "url": "https://a b"}),
            InvalidValue,
            "url",
        ),
        (
            json!({"type": "WL", "name": "a", "url": "가https://a"}),
            InvalidValue,
            "url",
        ),
        (
            json!({"type": "WL", "name": "a", "url": long_url}),
            InvalidValue,
            "url",
        ),
        (
            json!({"type": "AL", "name": "a", "url": "shop"}),
            InvalidValue,
            "url",
        ),
        (
            json!({"type": "AL", "name": "a", "url": "1shop://a"}),
            InvalidValue,
            "url",
        ),
        (
            json!({"type": "TN", "name": "전화 연결", "url": "02-1"}),
            InvalidValue,
            "url",
        ),
        (
            json!({"type": "TN", "name": "전화 연결", "url": "tel:-"}),
            InvalidValue,
            "url",
        ),
    ] {
        let good = json!({"type": "BK", "name": "a"});
        let request = with(MessageType::KakaoAlimtalk, "buttons", json!([good, button]));
        let (found, detail) = refused(&request);
        let field = format!("buttons[1].{field}");
        assert_eq!(
            (found, detail.field.as_ref()),
            (reason, field.as_str()),
            "{button}"
        );
    }
    let six = vec![json!({"type": "BK", "name": "a"}); 6];
    let (_, detail) = refused(&with(MessageType::KakaoAlimtalk, "buttons", json!(six)));
    assert_eq!((detail.limit, detail.actual), (Some(5), Some(6)));
}
