//! One message as `POST /messages/v4/send-many/detail` takes it (github.com/solapi/solapi-nodejs at
//! b733b97, `src/models`).
//!
//! Nothing in it lets the vendor decide for us: the type is said and never detected, a failure never
//! becomes an SMS (`disableSms`), and a number that was written to before is written to again.

use std::collections::BTreeMap;

use pabal_common::domain::id::{MessageId, SubmissionId};
use pabal_common::domain::kind::MessageType;
use pabal_common::domain::message::Template;
use serde::Serialize;

use super::button::{self, BmsButton, LinkButton, RcsButton};
use super::codes;
use super::settings::{Settings, Targeting};
use crate::provider::Outgoing;

const KOREA: &str = "82";

/// One call.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Submit<'a> {
    messages: Vec<Message<'a>>,
    /// Otherwise the second message to a number in one call is refused (1026): a one-time password
    /// asked for twice, two orders of one customer. What is a repeat, we have decided before.
    allow_duplicates: bool,
    /// Without the list only refusals are told, and no message's id.
    show_message_list: bool,
}

impl<'a> Submit<'a> {
    pub(super) fn of(messages: Vec<Message<'a>>) -> Self {
        Self {
            messages,
            allow_duplicates: true,
            show_message_list: true,
        }
    }
}

/// One message of a call.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Message<'a> {
    to: &'a str,
    country: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<&'a str>,
    #[serde(rename = "type")]
    kind: &'static str,
    auto_type_detect: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kakao_options: Option<KakaoOptions<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rcs_options: Option<RcsOptions<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    naver_options: Option<NaverOptions<'a>>,
    custom_fields: CustomFields,
}

/// What answers, reports and lists give back with a message: which it is, and in which call it went,
/// so that a late word about an earlier call is told apart.
#[derive(Serialize)]
struct CustomFields {
    message: MessageId,
    call: SubmissionId,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct KakaoOptions<'a> {
    pf_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    template_id: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    variables: BTreeMap<String, &'a str>,
    disable_sms: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    buttons: Vec<LinkButton<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bms: Option<Bms<'a>>,
}

/// A Brand Message's own part.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Bms<'a> {
    targeting: Targeting,
    #[serde(skip_serializing_if = "Option::is_none")]
    chat_bubble_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    buttons: Vec<BmsButton<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RcsOptions<'a> {
    brand_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    template_id: Option<&'a str>,
    disable_sms: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    buttons: Vec<RcsButton<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NaverOptions<'a> {
    talk_id: &'a str,
    template_id: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    variables: BTreeMap<String, &'a str>,
    disable_sms: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    buttons: Vec<LinkButton<'a>>,
}

/// Writes a message of `call`.
///
/// What the vendor could only refuse is refused here, under the code it has for it: one such message
/// would otherwise make it refuse the whole call.
///
/// # Errors
/// The vendor's code.
pub(super) fn message<'a>(
    outgoing: &'a Outgoing,
    call: SubmissionId,
    settings: &'a Settings,
) -> Result<Message<'a>, &'static str> {
    let content = &outgoing.content;
    if content.to.is_empty() || !content.to.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(codes::NO_NUMBER);
    }
    let plain = Message {
        to: &content.to,
        country: KOREA,
        from: content.from.as_deref().or(settings.sender.as_deref()),
        kind: "SMS",
        auto_type_detect: false,
        subject: content.subject.as_deref(),
        text: &content.text,
        kakao_options: None,
        rcs_options: None,
        naver_options: None,
        custom_fields: CustomFields {
            message: outgoing.id,
            call,
        },
    };
    match outgoing.kind {
        MessageType::Sms => Ok(plain),
        MessageType::Lms => Ok(Message {
            kind: "LMS",
            ..plain
        }),
        // A picture would have to be uploaded first, for the vendor's own file id. Without one it is
        // no MMS, and as an LMS it would be another type than was asked for.
        MessageType::Mms => Err(codes::NO_IMAGE),
        MessageType::KakaoAlimtalk => alimtalk(outgoing, plain),
        MessageType::KakaoBrandMessage => brand_message(outgoing, plain, settings),
        MessageType::NaverTalk => naver(outgoing, plain),
        MessageType::Rcs => rcs(outgoing, plain),
        MessageType::Email => Err(codes::NO_NUMBER),
    }
}

fn alimtalk<'a>(outgoing: &'a Outgoing, plain: Message<'a>) -> Result<Message<'a>, &'static str> {
    let content = &outgoing.content;
    let template = content.template.as_ref().ok_or(codes::NO_TEMPLATE)?;
    let pf_id = content.channel.sender_key.as_deref();
    Ok(Message {
        kind: "ATA",
        kakao_options: Some(KakaoOptions {
            pf_id: pf_id.ok_or(codes::NO_CHANNEL)?,
            template_id: Some(&template.code),
            variables: variables(template)?,
            disable_sms: true,
            buttons: button::link_buttons(&content.buttons, button::ALIMTALK)?,
            bms: None,
        }),
        ..plain
    })
}

fn brand_message<'a>(
    outgoing: &'a Outgoing,
    plain: Message<'a>,
    settings: &Settings,
) -> Result<Message<'a>, &'static str> {
    let content = &outgoing.content;
    let template = content.template.as_ref();
    // A template has buttons of its own.
    if template.is_some() && !content.buttons.is_empty() {
        return Err(codes::NO_BUTTON);
    }
    let pf_id = content.channel.sender_key.as_deref();
    Ok(Message {
        kind: template.map_or("BMS_FREE", |_| settings.brand_template.name()),
        kakao_options: Some(KakaoOptions {
            pf_id: pf_id.ok_or(codes::NO_CHANNEL)?,
            template_id: template.map(|template| template.code.as_str()),
            variables: template.map(variables).transpose()?.unwrap_or_default(),
            disable_sms: true,
            buttons: Vec::new(),
            bms: Some(Bms {
                targeting: settings.brand_targeting,
                chat_bubble_type: template.is_none().then_some("TEXT"),
                buttons: button::bms_buttons(&content.buttons)?,
            }),
        }),
        ..plain
    })
}

fn naver<'a>(outgoing: &'a Outgoing, plain: Message<'a>) -> Result<Message<'a>, &'static str> {
    let content = &outgoing.content;
    let template = content.template.as_ref().ok_or(codes::NO_TEMPLATE)?;
    let talk_id = content.channel.talk_id.as_deref();
    Ok(Message {
        kind: "NSA",
        naver_options: Some(NaverOptions {
            talk_id: talk_id.ok_or(codes::NO_CHANNEL)?,
            template_id: &template.code,
            variables: variables(template)?,
            disable_sms: true,
            buttons: button::link_buttons(&content.buttons, button::NAVER)?,
        }),
        ..plain
    })
}

/// The carriers' common message bases are formats and have types of their own here; any other is a
/// template. Those with pictures cannot be filled.
fn rcs<'a>(outgoing: &'a Outgoing, plain: Message<'a>) -> Result<Message<'a>, &'static str> {
    let content = &outgoing.content;
    let base = content.channel.messagebase_id.as_deref();
    let (kind, template_id) = match base.ok_or(codes::NO_TEMPLATE)? {
        "SS000000" => ("RCS_SMS", None),
        "SL000000" => ("RCS_LMS", None),
        media if media.starts_with("SMw") || media.starts_with("CMw") => {
            return Err(codes::NO_IMAGE);
        }
        template => ("RCS_TPL", Some(template)),
    };
    let brand_id = content.channel.brand_id.as_deref();
    Ok(Message {
        kind,
        rcs_options: Some(RcsOptions {
            brand_id: brand_id.ok_or(codes::NO_CHANNEL)?,
            template_id,
            disable_sms: true,
            buttons: button::rcs_buttons(&content.buttons)?,
        }),
        ..plain
    })
}

/// Names as the vendor wants them: `#{name}`. It takes no name with a dot in it.
fn variables(template: &Template) -> Result<BTreeMap<String, &str>, &'static str> {
    let written = template.variables.iter().map(|(name, value)| {
        let bare = name.strip_prefix("#{").and_then(|n| n.strip_suffix('}'));
        let bare = bare.unwrap_or(name);
        if bare.contains('.') {
            return Err(codes::OTHER_THAN_TEMPLATE);
        }
        Ok((format!("#{{{bare}}}"), value.as_str()))
    });
    written.collect()
}

#[cfg(test)]
mod tests {
    use pabal_common::domain::kind::Purpose;
    use pabal_common::domain::message::{Button, ChannelIds, Content};
    use proptest::prelude::*;

    use super::super::codes::CODES;
    use super::*;
    use crate::provider::Answer;

    fn settings() -> Settings {
        toml::from_str("key_id = 'KEY'").unwrap()
    }

    prop_compose! {
        fn an_outgoing()(
            kind in proptest::sample::select(MessageType::ALL.to_vec()),
            to in "[0-9]{0,11}|user-[a-z]{3}",
            from in proptest::option::of("[0-9]{8,11}"),
            text in "\\PC{0,40}",
            template in proptest::option::of(proptest::collection::btree_map("[#{}.가-나a]{1,4}", "\\PC{0,5}", 0..3)),
            buttons in proptest::collection::vec(("WL|AL|BK|DS|AC|P1|XX", "\\PC{1,14}", any::<bool>()), 0..3),
            base in proptest::option::of("SS000000|SL000000|SMwThT00|UBR.[a-z]{5}"),
            ids: bool,
        ) -> Outgoing {
            let id = ids.then(|| "CHANNEL".to_owned());
            let button = |(kind, name, leads): (String, String, bool)| Button {
                kind,
                name,
                url: leads.then(|| "https://shop.example/a".to_owned()),
            };
            Outgoing {
                id: MessageId::from_number(7),
                kind,
                purpose: Purpose::Info,
                content: Content {
                    to,
                    from,
                    text,
                    template: template.map(|variables| Template { code: "T".to_owned(), variables }),
                    buttons: buttons.into_iter().map(button).collect(),
                    channel: ChannelIds {
                        sender_key: id.clone(),
                        brand_id: id.clone(),
                        talk_id: id,
                        messagebase_id: base,
                        ..ChannelIds::default()
                    },
                    ..Content::default()
                },
                attachments: Vec::new(),
            }
        }
    }

    proptest! {
        #[test]
        fn a_message_is_written_whole_or_refused_by_a_listed_code(outgoing in an_outgoing()) {
            let settings = settings();
            match message(&outgoing, SubmissionId::from_number(9), &settings) {
                Err(code) => {
                    let answer = CODES.answer(code, None);
                    let refused = matches!(answer, Answer::Refused { .. });
                    prop_assert!(refused, "{}", code);
                }
                Ok(message) => {
                    let json = serde_json::to_value(&message).unwrap();
                    prop_assert_eq!(&json["to"], outgoing.content.to.as_str());
                    prop_assert_eq!(&json["text"], outgoing.content.text.as_str());
                    prop_assert_eq!(&json["autoTypeDetect"], false);
                    prop_assert_eq!(&json["customFields"]["message"], "0000000000007");
                    prop_assert_eq!(&json["customFields"]["call"], "0000000000009");
                    let options: Vec<_> = ["kakaoOptions", "rcsOptions", "naverOptions"]
                        .iter()
                        .filter_map(|name| json.get(name))
                        .collect();
                    let plain = matches!(outgoing.kind, MessageType::Sms | MessageType::Lms);
                    prop_assert_eq!(options.len(), usize::from(!plain));
                    for options in options {
                        prop_assert_eq!(&options["disableSms"], true);
                    }
                }
            }
        }

        #[test]
        fn a_variable_is_named_the_vendors_way_exactly_once(name in "[가-힣a-z]{1,8}", wrapped: bool) {
            let expected = format!("#{{{name}}}");
            let given = if wrapped { expected.clone() } else { name };
            let template = Template {
                code: "T".to_owned(),
                variables: [(given, "값".to_owned())].into(),
            };
            prop_assert_eq!(variables(&template).unwrap(), BTreeMap::from([(expected, "값")]));
        }
    }
}
