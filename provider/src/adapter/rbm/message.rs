//! A message as the platform takes it: `AgentMessage` of its REST reference, version 1.

use pabal_common::domain::message::{Button, Content};
use serde::Serialize;

/// The body of `phones.agentMessages.create`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AgentMessage {
    content_message: ContentMessage,
}

#[derive(Serialize)]
struct ContentMessage {
    text: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    suggestions: Vec<Suggestion>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Suggestion {
    Reply(Label),
    Action {
        #[serde(flatten)]
        label: Label,
        #[serde(flatten)]
        action: Action,
    },
}

/// What is written on a suggestion, and what the platform tells of it once it is tapped.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Label {
    text: String,
    postback_data: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Action {
    OpenUrlAction {
        url: String,
    },
    #[serde(rename_all = "camelCase")]
    DialAction {
        phone_number: String,
    },
}

impl AgentMessage {
    /// The content as a text, its title in the first line: a text of the platform has no title.
    pub(super) fn of(content: &Content) -> Self {
        let text = match &content.subject {
            Some(subject) => format!("{subject}\n{}", content.text),
            None => content.text.clone(),
        };
        let suggestions = content.buttons.iter().map(suggestion).collect();
        Self {
            content_message: ContentMessage { text, suggestions },
        }
    }
}

fn suggestion(button: &Button) -> Suggestion {
    let label = Label {
        text: button.name.clone(),
        postback_data: button.name.clone(),
    };
    let Some(url) = &button.url else {
        return Suggestion::Reply(label);
    };
    let action = match telephone(url) {
        Some(phone_number) => Action::DialAction { phone_number },
        None => Action::OpenUrlAction { url: url.clone() },
    };
    Suggestion::Action { label, action }
}

/// The number behind a `tel:` address, in E.164; a national one is Korean.
fn telephone(url: &str) -> Option<String> {
    let scheme = url.get(..4)?;
    let number = &url[4..];
    if !scheme.eq_ignore_ascii_case("tel:") {
        return None;
    }
    let digits: String = number.chars().filter(char::is_ascii_digit).collect();
    Some(if number.starts_with('+') {
        format!("+{digits}")
    } else {
        format!("+82{}", digits.strip_prefix('0').unwrap_or(&digits))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn button(name: &str, url: Option<&str>) -> Button {
        Button {
            kind: String::new(),
            name: name.to_owned(),
            url: url.map(str::to_owned),
        }
    }

    #[test]
    fn a_text_is_written_as_the_reference_shows_it() {
        let content = Content {
            text: "안녕하세요".to_owned(),
            ..Content::default()
        };
        let written = serde_json::to_value(AgentMessage::of(&content)).unwrap();
        let published = serde_json::json!({ "contentMessage": { "text": "안녕하세요" } });
        assert_eq!(written, published);
    }

    #[test]
    fn buttons_are_suggestions_and_the_title_is_the_first_line() {
        let content = Content {
            subject: Some("배송 안내".to_owned()),
            text: "출발했습니다".to_owned(),
            buttons: vec![
                button("조회", Some("https://shop.example/1")),
                button("전화", Some("tel:02-1234-5678")),
                button("확인", None),
            ],
            ..Content::default()
        };
        let written = serde_json::to_value(AgentMessage::of(&content)).unwrap();
        let published = serde_json::json!({ "contentMessage": {
            "text": "배송 안내\n출발했습니다",
            "suggestions": [
                { "action": {
                    "text": "조회",
                    "postbackData": "조회",
                    "openUrlAction": { "url": "https://shop.example/1" }
                } },
                { "action": {
                    "text": "전화",
                    "postbackData": "전화",
                    "dialAction": { "phoneNumber": "+82212345678" }
                } },
                { "reply": { "text": "확인", "postbackData": "확인" } }
            ]
        } });
        assert_eq!(written, published);
    }

    #[test]
    fn a_number_to_dial_is_written_with_its_country() {
        for (url, number) in [
            ("tel:02-1234-5678", "+82212345678"),
            ("TEL:1588-1234", "+8215881234"),
            ("tel:+82-2-1234-5678", "+82212345678"),
            ("tel:+14155550100", "+14155550100"),
        ] {
            assert_eq!(telephone(url).as_deref(), Some(number), "{url}");
        }
        assert_eq!(telephone("https://shop.example/tel:1"), None);
    }

    proptest! {
        #[test]
        fn any_text_and_buttons_reach_the_wire_whole(
            text: String,
            buttons in proptest::collection::vec((".{0,25}", proptest::option::of(".{0,60}")), 0..4),
        ) {
            let buttons = buttons.iter().map(|(name, url)| button(name, url.as_deref()));
            let content = Content { text, buttons: buttons.collect(), ..Content::default() };
            let written = serde_json::to_value(AgentMessage::of(&content)).unwrap();
            let written = &written["contentMessage"];
            prop_assert_eq!(&written["text"], content.text.as_str());
            for (place, button) in content.buttons.iter().enumerate() {
                let kind = if button.url.is_some() { "action" } else { "reply" };
                let label = &written["suggestions"][place][kind];
                prop_assert_eq!(&label["text"], button.name.as_str());
            }
        }
    }
}
