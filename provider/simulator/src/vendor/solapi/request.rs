//! What a call may hold. A shape that is none refuses the whole call; a message that is at fault by
//! itself is refused by its own code.

use std::collections::{BTreeMap, HashSet};

use pabal_common::domain::id::MessageId;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::Member;
use super::CustomFields;
use crate::outcome::Outcome;

/// The field that holds the caller's id of a message.
pub(super) const MESSAGE: &str = "message";
/// The most messages in a call.
const MOST: usize = 10_000;

/// Why a whole call is refused.
pub(super) struct Refused {
    pub(super) status: u16,
    pub(super) code: &'static str,
}

const INVALID: Refused = Refused {
    status: 400,
    code: "ValidationError",
};

/// One message of a call.
pub(super) struct Taking {
    pub(super) member: Member,
    /// What is wrong with it.
    pub(super) fault: Option<&'static str>,
    /// Whether the answer is to name it though it is taken.
    pub(super) shown: bool,
    message: Message,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Submit {
    messages: Vec<Message>,
    #[serde(default)]
    allow_duplicates: bool,
    #[serde(default)]
    show_message_list: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Message {
    to: String,
    from: Option<String>,
    country: Option<String>,
    #[serde(rename = "type")]
    kind: String,
    auto_type_detect: bool,
    subject: Option<String>,
    #[serde(default)]
    text: String,
    image_id: Option<String>,
    kakao_options: Option<Options>,
    rcs_options: Option<Options>,
    naver_options: Option<Options>,
    custom_fields: CustomFields,
}

/// Those of Kakao, RCS and Naver, whose parts have the same names.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Options {
    pf_id: Option<String>,
    brand_id: Option<String>,
    talk_id: Option<String>,
    template_id: Option<String>,
    disable_sms: bool,
    #[serde(default)]
    variables: BTreeMap<String, String>,
    bms: Option<Bms>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bms {
    targeting: String,
    chat_bubble_type: Option<String>,
}

/// Reads a call.
pub(super) fn read(body: &[u8]) -> Result<Vec<Taking>, Refused> {
    let call: Submit = serde_json::from_slice(body).map_err(|_| INVALID)?;
    if call.messages.len() > MOST {
        return Err(Refused {
            status: 413,
            code: "RecipientsTooMany",
        });
    }
    if call.messages.is_empty() {
        return Err(INVALID);
    }
    let mut seen = HashSet::new();
    let takings = call.messages.into_iter().map(|message| {
        let id = message.check().ok_or(INVALID)?;
        let again = !seen.insert(message.to.clone()) && !call.allow_duplicates;
        let fault = if again { Some("1026") } else { message.fault() };
        let outcome = match fault {
            Some(_) => Outcome::Refused,
            None => Outcome::of_recipient(&message.to),
        };
        Ok(Taking {
            member: Member {
                message: id,
                outcome,
                immediate: false,
            },
            fault,
            shown: call.show_message_list,
            message,
        })
    });
    takings.collect()
}

impl Taking {
    pub(super) fn fields(&self) -> CustomFields {
        self.message.custom_fields.clone()
    }

    /// Its entry in an answer.
    pub(super) fn entry(&self, id: &str, code: &str) -> Value {
        json!({
            "to": self.message.to,
            "from": self.message.from,
            "type": self.message.kind,
            "country": self.message.country,
            "messageId": id,
            "statusCode": code,
            "statusMessage": "answered by the simulator",
            "accountId": "12925149",
            "customFields": self.message.custom_fields,
        })
    }
}

impl Message {
    /// The caller's id of a message whose shape is right.
    fn check(&self) -> Option<MessageId> {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let fields = self.custom_fields.iter();
        let mut fields =
            fields.map(|(key, value)| key.chars().count() <= 30 && value.chars().count() <= 100);
        let options = [&self.kakao_options, &self.rcs_options, &self.naver_options];
        let mut options = options.into_iter().flatten();
        let right = digits(&self.to)
            && self.country.as_deref().is_none_or(digits)
            && !self.auto_type_detect
            && fields.all(|fits| fits)
            && options.all(Options::check);
        let message = self.custom_fields.get(MESSAGE).filter(|_| right);
        message.and_then(|id| id.parse().ok())
    }

    /// The code of what is wrong with it alone.
    fn fault(&self) -> Option<&'static str> {
        match self.kind.as_str() {
            "SMS" if self.subject.is_some() => Some("1013"),
            "SMS" => self.sender_fault().or_else(|| self.too_long(90)),
            "LMS" => self.sender_fault().or_else(|| self.too_long(2000)),
            "MMS" if self.image_id.is_none() => Some("1034"),
            "MMS" => self.sender_fault().or_else(|| self.too_long(2000)),
            "ATA" => self.kakao_fault(true),
            "BMS_FREE" => self.kakao_fault(false).or_else(|| self.bms_fault(true)),
            "BMS_TEXT" | "BMS_IMAGE" | "BMS_WIDE" => {
                self.kakao_fault(true).or_else(|| self.bms_fault(false))
            }
            "NSA" => missing(&self.naver_options, |o| &o.talk_id, true),
            "RCS_SMS" | "RCS_LMS" => self
                .sender_fault()
                .or_else(|| missing(&self.rcs_options, |o| &o.brand_id, false)),
            "RCS_TPL" => self
                .sender_fault()
                .or_else(|| missing(&self.rcs_options, |o| &o.brand_id, true)),
            _ => Some("1025"),
        }
    }

    fn sender_fault(&self) -> Option<&'static str> {
        let Some(from) = &self.from else {
            return Some("1010");
        };
        let is_number = (8..=12).contains(&from.len()) && from.bytes().all(|b| b.is_ascii_digit());
        (!is_number).then_some("1062")
    }

    fn too_long(&self, most: usize) -> Option<&'static str> {
        let width = |text: &str| text.chars().map(|c| if c.is_ascii() { 1 } else { 2 }).sum();
        let text: usize = width(&self.text);
        let subject: usize = self.subject.as_deref().map_or(0, width);
        match (text > most, subject > 40) {
            (true, _) => Some("1031"),
            (_, true) => Some("1014"),
            _ => None,
        }
    }

    fn kakao_fault(&self, template: bool) -> Option<&'static str> {
        missing(&self.kakao_options, |o| &o.pf_id, template)
    }

    fn bms_fault(&self, free: bool) -> Option<&'static str> {
        let bms = self.kakao_options.as_ref().and_then(|o| o.bms.as_ref());
        let fits = bms.is_some_and(|bms| {
            matches!(bms.targeting.as_str(), "I" | "M" | "N")
                && bms.chat_bubble_type.is_some() == free
        });
        (!fits).then_some("1011")
    }
}

/// Whether the channel, or the template where one is needed, is missing.
fn missing(
    options: &Option<Options>,
    channel: fn(&Options) -> &Option<String>,
    template: bool,
) -> Option<&'static str> {
    let options = options.as_ref().filter(|o| channel(o).is_some());
    let Some(options) = options else {
        return Some("1041");
    };
    (template && options.template_id.is_none()).then_some("1042")
}

impl Options {
    /// It must not fall back to an SMS, and its variables have names the vendor can read.
    fn check(&self) -> bool {
        let named =
            |name: &String| name.starts_with("#{") && name.ends_with('}') && !name.contains('.');
        self.disable_sms && self.variables.keys().all(named)
    }
}
