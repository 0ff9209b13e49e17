//! Naver TalkTalk's own chatbot API, version 1 (github.com/navertalk/chatbot-api): one message a
//! call, HTTP 200 even for a failure, no reports. Accepted is the end of this channel, so a success
//! is a delivery.

use async_trait::async_trait;
use pabal_common::domain::id::MessageId;
use pabal_common::domain::message::{Button, Content};
use pabal_common::domain::reason::Reason;
use pabal_common::domain::report::VendorAccount;
use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

use super::code::{Codes, Meaning};
use super::exchange::{Exchange, Request, probed};
use super::{Account, BuildError};
use crate::provider::{
    Answer, Call, Capabilities, Closed, NotConnected, Outcome, ProbeError, Provider, ReportPath,
};

/// What the result codes mean: the API's README, "오류 명세". 99 is every other failure, so it
/// does not say whether the message went out.
pub(super) const CODES: Codes = Codes(&[
    ("00", Meaning::Delivered),
    ("01", Meaning::Closes(Closed::Credentials)),
    ("02", Meaning::Definitive(Reason::ContentRejected)),
    ("99", Meaning::Ambiguous),
    ("IMG-01", Meaning::Definitive(Reason::ContentRejected)),
    ("IMG-02", Meaning::Definitive(Reason::ContentRejected)),
    ("IMG-03", Meaning::Definitive(Reason::ContentRejected)),
]);
const DEFINITIVE: [(&str, Reason); CODES.count_definitive()] = CODES.definitive();

const PATH: &str = "/chatbot/v1/event";
/// Our id. The API knows no such header, and no field that would carry an id.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// Whether a user who is not in the chat is notified.
    #[serde(default = "yes")]
    notification: bool,
}

const fn yes() -> bool {
    true
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    event: &'static str,
    user: &'a str,
    #[serde(flatten)]
    content: EventContent<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    options: Option<Options>,
}

/// Only one of the two may be sent.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum EventContent<'a> {
    TextContent {
        text: &'a str,
    },
    #[serde(rename_all = "camelCase")]
    CompositeContent {
        composite_list: [Composite<'a>; 1],
    },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Composite<'a> {
    description: &'a str,
    button_list: Vec<EventButton<'a>>,
}

#[derive(Serialize)]
#[serde(tag = "type", content = "data", rename_all = "UPPERCASE")]
enum EventButton<'a> {
    Text {
        title: &'a str,
    },
    #[serde(rename_all = "camelCase")]
    Link {
        title: &'a str,
        url: &'a str,
        mobile_url: &'a str,
    },
}

#[derive(Serialize)]
struct Options {
    notification: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EventResult {
    success: bool,
    result_code: String,
}

/// One TalkTalk channel.
pub(super) struct NaverTalk {
    account: VendorAccount,
    capabilities: Capabilities,
    exchange: Exchange,
    settings: Settings,
}

impl NaverTalk {
    /// The adapter.
    pub(super) fn new(account: Account) -> Result<Self, BuildError> {
        Ok(Self {
            settings: account.settings()?,
            exchange: Exchange::new(&account, AUTHORIZATION, "")?,
            account: account.account,
            capabilities: Capabilities {
                batch: 1,
                duplicate_window: None,
                can_be_asked: false,
                answers_finally: true,
                reports: ReportPath::None,
                definitive: &DEFINITIVE,
            },
        })
    }

    async fn send(&self, id: MessageId, content: &Content) -> Result<Vec<Answer>, Outcome> {
        let event = event(content, self.settings.notification);
        let id = HeaderValue::try_from(id.to_string())
            .map_err(|_| Outcome::NotConnected(NotConnected::Refused))?;
        let request = Request::json(PATH, &event)?.header(REQUEST_ID, id);
        self.exchange.call(request, read_answer, |_| None).await
    }
}

#[async_trait]
impl Provider for NaverTalk {
    fn account(&self) -> &VendorAccount {
        &self.account
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn submit(&self, call: &Call) -> Outcome {
        let [message] = call.messages.as_slice() else {
            // The protocol has no batch; nothing has been sent.
            tracing::error!(
                messages = call.messages.len(),
                "TalkTalk takes one message a call"
            );
            return Outcome::NotConnected(NotConnected::Refused);
        };
        let answers = self.send(message.id, &message.content).await;
        answers.map_or_else(|outcome| outcome, Outcome::Answered)
    }

    /// The API has no health address. An event without a name and a user can reach nobody; its
    /// refusal tells wrong credentials from a wrong event.
    async fn probe(&self) -> Result<(), ProbeError> {
        let nothing = Request::post(PATH, "application/json", b"{}".to_vec());
        let read = self.exchange.call(nothing, read_answer, |_| None).await;
        match read.as_deref() {
            Ok([Answer::Closed { code, why }]) => Err(ProbeError(format!("{why}, code {code}"))),
            Ok(_) => Ok(()),
            Err(outcome) => Err(probed(outcome)),
        }
    }
}

fn event(content: &Content, notification: bool) -> Event<'_> {
    let text = content.text.as_str();
    Event {
        event: "send",
        user: &content.to,
        content: if content.buttons.is_empty() {
            EventContent::TextContent { text }
        } else {
            EventContent::CompositeContent {
                composite_list: [Composite {
                    description: text,
                    button_list: content.buttons.iter().map(button).collect(),
                }],
            }
        },
        options: notification.then_some(Options { notification }),
    }
}

fn button(button: &Button) -> EventButton<'_> {
    let title = &button.name;
    match button.url.as_deref() {
        Some(url) => EventButton::Link {
            title,
            url,
            mobile_url: url,
        },
        None => EventButton::Text { title },
    }
}

/// The flag and the code must agree; otherwise the answer proves nothing.
fn read_answer(body: &[u8]) -> Option<Vec<Answer>> {
    let result: EventResult = serde_json::from_slice(body).ok()?;
    let answer = CODES.answer(&result.result_code, None);
    let delivered = matches!(answer, Answer::Delivered { .. });
    (delivered == result.success).then(|| vec![answer])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn content(buttons: Vec<Button>) -> Content {
        Content {
            to: "al-2eGuGr5WQOnco1_V-FQ".to_owned(),
            text: "hello world".to_owned(),
            buttons,
            ..Content::default()
        }
    }

    #[test]
    fn a_text_is_written_as_the_api_shows_it() {
        let written = serde_json::to_value(event(&content(vec![]), false)).unwrap();
        let published = serde_json::json!({
            "event": "send",
            "user": "al-2eGuGr5WQOnco1_V-FQ",
            "textContent": { "text": "hello world" }
        });
        assert_eq!(written, published);
    }

    #[test]
    fn a_text_with_buttons_is_one_composite_whose_links_lead_the_same_way_everywhere() {
        let link = Button {
            kind: "WL".to_owned(),
            name: "링크형 버튼".to_owned(),
            url: Some("https://shop.example/1".to_owned()),
        };
        let plain = Button {
            name: "텍스트형 버튼".to_owned(),
            ..Button::default()
        };
        let written = serde_json::to_value(event(&content(vec![link, plain]), true)).unwrap();
        let published = serde_json::json!({
            "event": "send",
            "user": "al-2eGuGr5WQOnco1_V-FQ",
            "compositeContent": { "compositeList": [{
                "description": "hello world",
                "buttonList": [
                    { "type": "LINK", "data": {
                        "title": "링크형 버튼",
                        "url": "https://shop.example/1",
                        "mobileUrl": "https://shop.example/1"
                    } },
                    { "type": "TEXT", "data": { "title": "텍스트형 버튼" } }
                ]
            }] },
            "options": { "notification": true }
        });
        assert_eq!(written, published);
    }

    #[test]
    fn every_published_answer_is_read() {
        let read = |body: &str| read_answer(body.as_bytes()).unwrap().remove(0);
        let delivered = read(r#"{"success":true,"resultCode":"00"}"#);
        assert!(matches!(
            delivered,
            Answer::Delivered {
                vendor_id: None,
                ..
            }
        ));
        let closed = read(r#"{"success":false,"resultCode":"01","resultMessage":"Authorization"}"#);
        assert!(matches!(
            closed,
            Answer::Closed {
                why: Closed::Credentials,
                ..
            }
        ));
        let unread = read(r#"{"success":false,"resultCode":"02","resultMessage":"parse error"}"#);
        assert!(matches!(
            unread,
            Answer::Refused {
                reason: Reason::ContentRejected,
                ..
            }
        ));
        let other = read(r#"{"success":false,"resultCode":"99"}"#);
        assert!(matches!(&other, Answer::Unknown { code } if code == "99"));
        for code in ["IMG-01", "IMG-02", "IMG-03"] {
            let image = read(&format!(r#"{{"success":false,"resultCode":"{code}"}}"#));
            assert!(matches!(image, Answer::Refused { .. }), "{code}");
        }
    }

    #[test]
    fn a_flag_that_contradicts_its_code_proves_nothing() {
        for body in [
            r#"{"success":false,"resultCode":"00"}"#,
            r#"{"success":true,"resultCode":"01"}"#,
            r#"{"success":true,"resultCode":"news"}"#,
            r#"{"success":true}"#,
        ] {
            assert_eq!(read_answer(body.as_bytes()), None, "{body}");
        }
    }

    proptest! {
        #[test]
        fn any_text_and_buttons_reach_the_wire_whole(
            text: String,
            buttons in proptest::collection::vec((".{0,18}", proptest::option::of(".{0,60}")), 0..6),
        ) {
            let buttons = buttons.into_iter().map(|(name, url)| Button {
                kind: String::new(),
                name,
                url,
            });
            let content = Content { text, ..content(buttons.collect()) };
            let written = serde_json::to_value(event(&content, true)).unwrap();
            if content.buttons.is_empty() {
                prop_assert_eq!(&written["textContent"]["text"], content.text.as_str());
                prop_assert!(written.get("compositeContent").is_none());
            } else {
                let composite = &written["compositeContent"]["compositeList"][0];
                prop_assert_eq!(&composite["description"], content.text.as_str());
                let list = composite["buttonList"].as_array().unwrap();
                prop_assert_eq!(list.len(), content.buttons.len());
                for (written, button) in list.iter().zip(&content.buttons) {
                    prop_assert_eq!(&written["data"]["title"], button.name.as_str());
                    prop_assert_eq!(written["data"]["mobileUrl"].as_str(), button.url.as_deref());
                }
                prop_assert!(written.get("textContent").is_none());
            }
        }

        #[test]
        fn no_bytes_make_the_reader_panic(body: Vec<u8>, success: bool, code in "\\PC{0,90}") {
            let _ = read_answer(&body);
            let body = serde_json::json!({"success": success, "resultCode": code}).to_string();
            let _ = read_answer(body.as_bytes());
        }
    }
}
