//! Requests of KakaoTalk Bizmessage: Alimtalk v2.3 and Brand Message v1.0.

use std::collections::BTreeMap;

use pabal_common::domain::id::MessageId;
use pabal_common::domain::kind::{MessageType, Purpose};
use pabal_common::domain::message::{Button, Template};
use serde::{Deserialize, Serialize};

use super::code;
use super::letter::{Body, Letter, holds_one_of};
use crate::provider::Outgoing;

/// One of these must stand in the body of an authentication message (-8006); without, it goes as an
/// ordinary one.
const AUTH_WORDS: [&str; 7] = [
    "auth",
    "password",
    "verif",
    "にんしょう",
    "認証",
    "비밀번호",
    "인증",
];

/// Whom a Brand Message may reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Targeting {
    /// Who has agreed to the advertiser's marketing.
    M,
    /// As `M`, without friends of the channel.
    N,
    /// Friends of the channel.
    #[default]
    I,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Send<'a> {
    sender_key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    template_code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chat_bubble_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    buttons: Vec<WireButton<'a>>,
    recipient_list: [Recipient<'a>; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    reseller_code: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Recipient<'a> {
    recipient_no: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    template_parameter: Option<&'a BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    buttons: Vec<WireButton<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    targeting: Option<Targeting>,
    resend_parameter: Resend,
    recipient_grouping_key: MessageId,
}

/// Without this word NHN sends an SMS by itself wherever the console says so.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Resend {
    is_resend: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WireButton<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    ordering: Option<usize>,
    #[serde(rename = "type")]
    kind: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    link_mo: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scheme_ios: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scheme_android: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tel_number: Option<&'a str>,
}

/// How `message` is sent.
///
/// # Errors
/// NHN's code for what it lacks.
pub(super) fn letter<'a>(
    app_key: &str,
    message: &'a Outgoing,
    targeting: Targeting,
    reseller_code: Option<&'a str>,
) -> Result<Letter<'a>, &'static str> {
    let (path, body) = match message.kind {
        MessageType::KakaoAlimtalk => alimtalk(app_key, message)?,
        MessageType::KakaoBrandMessage => brand(app_key, message, targeting, reseller_code)?,
        _ => return Err(code::NO_API),
    };
    let body = Body::Kakao(body);
    Ok(Letter { path, body })
}

/// Where Alimtalk is.
pub(super) fn alimtalk_base(app_key: &str) -> String {
    format!("/alimtalk/v2.3/appkeys/{app_key}")
}

/// Where Brand Message is.
pub(super) fn brand_base(app_key: &str) -> String {
    format!("/brand-message/v1.0/appkeys/{app_key}")
}

/// With variables, NHN fills the template in: it holds what our request cannot, such as a title or
/// the links of an app. Without, the text and its buttons go as they are.
fn alimtalk<'a>(app_key: &str, message: &'a Outgoing) -> Result<(String, Send<'a>), &'static str> {
    let content = &message.content;
    if content.template.is_none() {
        return Err(code::NO_TEMPLATE);
    }
    let filled_in = variables(message).is_some();
    let service = if filled_in {
        "messages"
    } else {
        "raw-messages"
    };
    let auth = match message.purpose == Purpose::Auth && holds_one_of(&AUTH_WORDS, &content.text) {
        true => "auth/",
        false => "",
    };
    let mut recipient = recipient(message);
    if filled_in {
        recipient.template_parameter = variables(message);
    } else {
        recipient.content = Some(&content.text);
        recipient.buttons = buttons(&content.buttons, true);
    }
    let path = format!("{}/{auth}{service}", alimtalk_base(app_key));
    Ok((path, send(message, recipient)?))
}

fn brand<'a>(
    app_key: &str,
    message: &'a Outgoing,
    targeting: Targeting,
    reseller_code: Option<&'a str>,
) -> Result<(String, Send<'a>), &'static str> {
    let content = &message.content;
    let mut recipient = recipient(message);
    recipient.targeting = Some(targeting);
    recipient.template_parameter = variables(message);
    let mut send = Send {
        reseller_code,
        ..send(message, recipient)?
    };
    let service = if content.template.is_some() {
        "basic-messages"
    } else {
        send.chat_bubble_type = Some("TEXT");
        send.content = Some(&content.text);
        send.buttons = buttons(&content.buttons, false);
        "freestyle-messages"
    };
    Ok((format!("{}/{service}", brand_base(app_key)), send))
}

fn send<'a>(message: &'a Outgoing, recipient: Recipient<'a>) -> Result<Send<'a>, &'static str> {
    let content = &message.content;
    let template = content.template.as_ref();
    let sender_key = content.channel.sender_key.as_deref();
    Ok(Send {
        sender_key: sender_key.ok_or(code::NO_PROFILE)?,
        template_code: template.map(|template| template.code.as_str()),
        chat_bubble_type: None,
        content: None,
        buttons: Vec::new(),
        recipient_list: [recipient],
        reseller_code: None,
    })
}

fn recipient(message: &Outgoing) -> Recipient<'_> {
    Recipient {
        recipient_no: &message.content.to,
        content: None,
        template_parameter: None,
        buttons: Vec::new(),
        targeting: None,
        resend_parameter: Resend { is_resend: false },
        recipient_grouping_key: message.id,
    }
}

fn variables(message: &Outgoing) -> Option<&BTreeMap<String, String>> {
    let template = message.content.template.as_ref();
    template
        .map(|Template { variables, .. }| variables)
        .filter(|variables| !variables.is_empty())
}

fn buttons(buttons: &[Button], ordered: bool) -> Vec<WireButton<'_>> {
    let wire = buttons.iter().enumerate().map(|(place, button)| {
        let leads_to = |kind| button.url.as_deref().filter(|_| button.kind == kind);
        WireButton {
            ordering: ordered.then_some(place + 1),
            kind: &button.kind,
            name: &button.name,
            link_mo: leads_to("WL"),
            // Two of the three ways into an app are required, and we know one address.
            scheme_ios: leads_to("AL"),
            scheme_android: leads_to("AL"),
            tel_number: leads_to("TN").map(|url| url.strip_prefix("tel:").unwrap_or(url)),
        }
    });
    wire.collect()
}
