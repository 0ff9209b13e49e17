//! What the platform takes as a message: `AgentMessage` of its reference, the parts that are sent
//! here, within its limits.

use serde::Deserialize;

/// The longest text, in characters.
const TEXT: usize = 3_072;
const SUGGESTIONS: usize = 11;
/// The longest text of a suggestion.
const LABEL: usize = 25;
const POSTBACK: usize = 2_048;
const URL: usize = 2_048;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AgentMessage {
    content_message: ContentMessage,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ContentMessage {
    text: String,
    #[serde(default)]
    suggestions: Vec<Suggestion>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum Suggestion {
    Reply(Reply),
    Action(Action),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Reply {
    text: String,
    postback_data: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Action {
    text: String,
    postback_data: String,
    open_url_action: Option<OpenUrl>,
    dial_action: Option<Dial>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OpenUrl {
    url: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Dial {
    phone_number: String,
}

/// Whether the platform would take this body.
pub(super) fn fits(body: &[u8]) -> bool {
    let message = serde_json::from_slice(body);
    message.is_ok_and(|AgentMessage { content_message }| {
        is_within(&content_message.text, TEXT)
            && content_message.suggestions.len() <= SUGGESTIONS
            && content_message.suggestions.iter().all(Suggestion::fits)
    })
}

/// Whether this is a number as E.164 writes it, with a plus sign.
pub(super) fn is_e164(number: &str) -> bool {
    number.strip_prefix('+').is_some_and(|digits| {
        (8..=15).contains(&digits.len())
            && digits.bytes().all(|digit| digit.is_ascii_digit())
            && !digits.starts_with('0')
    })
}

impl Suggestion {
    fn fits(&self) -> bool {
        let (text, postback) = match self {
            Self::Reply(reply) => (&reply.text, &reply.postback_data),
            Self::Action(action) => (&action.text, &action.postback_data),
        };
        let leads = match self {
            Self::Reply(_) => true,
            Self::Action(action) => match (&action.open_url_action, &action.dial_action) {
                (Some(open), None) => is_within(&open.url, URL),
                (None, Some(dial)) => is_e164(&dial.phone_number),
                _ => false,
            },
        };
        leads && is_within(text, LABEL) && is_within(postback, POSTBACK)
    }
}

fn is_within(text: &str, longest: usize) -> bool {
    (1..=longest).contains(&text.chars().count())
}
