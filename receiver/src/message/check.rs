//! Whether a request can be a message: type, fields, content, in this order; the first kind of fault
//! is told, with every field it concerns.

use std::collections::BTreeMap;
use std::time::Duration;

use pabal_common::domain::code::ErrorReason;
use pabal_common::domain::id::ClientMsgId;
use pabal_common::domain::kind::{MessageType, Purpose};
use pabal_common::domain::message::{ChannelIds, Content, Template};
use pabal_common::domain::phone::{
    Recipient, RecipientError, SenderNumber, SenderNumberError, TalkUserId,
};
use pabal_common::domain::sender::Sender;
use pabal_common::domain::text::{
    Prepared, SUBJECT_LIMIT, TextError, Unencodable, prepare, prepare_subject,
};
use pabal_common::http::{ApiError, Detail, MAX_JSON_DEPTH, json_depth};
use serde_json::value::RawValue;

use super::attachment::check_attachments;
use super::button::check_buttons;
use super::fields::{Field, Presence, presence};
use super::known::Known;
use super::limits::{
    LARGEST_METADATA, LONGEST_CHANNEL_ID, LONGEST_TEMPLATE_CODE, LONGEST_VARIABLE,
    LONGEST_VARIABLE_NAME, MOST_VARIABLES,
};
use super::request::{ChannelRequest, MessageRequest, TemplateRequest};
use super::{mail, template};

const SHORTEST_VALIDITY: i64 = 10;
const LONGEST_VALIDITY: i64 = 86_400;
/// A request whose every value is known to be good, as far as that can be seen without the partner.
pub(crate) struct Checked {
    pub(crate) client_msg_id: ClientMsgId,
    pub(crate) kind: MessageType,
    pub(crate) purpose: Purpose,
    pub(crate) validity: Duration,
    pub(crate) content: Content,
    /// The sender, which the partner must be allowed to use.
    pub(crate) sender: Option<Sender>,
    pub(crate) metadata: Option<Metadata>,
}

/// A partner's open metadata.
pub(crate) struct Metadata {
    /// As it was written.
    pub(crate) text: String,
    /// The same whatever the order of keys and the spaces between them.
    pub(crate) canonical: String,
}

/// Checks a request; `policy` is what the partner wants for characters that cannot be carried, and
/// `known` what it may refer to.
///
/// # Errors
/// E005 for the type; E001 or E006 for the content.
pub(crate) fn check(
    mut request: MessageRequest,
    policy: Unencodable,
    known: &Known,
) -> Result<Checked, ApiError> {
    let kind = check_type(request.kind.as_deref())?;
    check_fields(kind, &request, known)?;
    let client_msg_id = check_client_msg_id(&given(&mut request.client_msg_id))?;
    let purpose = check_purpose(request.purpose.as_deref())?;
    let validity = check_validity(request.validity_seconds, purpose)?;
    let metadata = request.metadata.as_deref();
    let metadata = metadata.map(check_metadata).transpose()?;
    let to = check_recipient(kind, &given(&mut request.to))?;
    let sender = request.from.as_deref();
    let sender = sender.map(|from| check_sender(kind, from)).transpose()?;
    let (from, sender) = sender.unzip();
    let channel = check_channel(request.channel.take().unwrap_or_default())?;
    let template = request.template.map(check_template).transpose()?;
    let buttons = check_buttons(kind, request.buttons.unwrap_or_default())?;
    let attachments = request.attachments.unwrap_or_default();
    let attachments = check_attachments(kind, &attachments, known)?;
    let subject = request.subject.as_deref();
    let subject = subject
        .map(|s| check_subject(kind, s, policy))
        .transpose()?;
    let html = request.html.as_deref().map(mail::check_html).transpose()?;
    let reply_to = request.reply_to.as_deref();
    let reply_to = reply_to.map(mail::check_reply_to).transpose()?;
    let headers = mail::check_headers(kind, request.headers.unwrap_or_default(), purpose)?;
    let text = request.text.as_deref();
    let text = text
        .map(|text| check_text(kind, text, policy))
        .transpose()?;
    let registered = template::registered(kind, &channel, template.as_ref(), known)?;
    let (text, buttons) = match registered {
        Some((form, values)) => template::held_to(form, values, text, buttons, policy)?,
        None => (text.unwrap_or_default(), buttons),
    };
    let content = Content {
        to,
        from,
        subject,
        text,
        template,
        buttons,
        channel,
        attachments,
        html,
        reply_to,
        headers,
    };
    Ok(Checked {
        client_msg_id,
        kind,
        purpose,
        validity,
        content,
        sender,
        metadata,
    })
}

/// The value of a field that [`check_fields`] has seen.
fn given(field: &mut Option<String>) -> String {
    field.take().unwrap_or_default()
}

fn check_type(name: Option<&str>) -> Result<MessageType, ApiError> {
    let name = name.ok_or_else(|| missing("type"))?;
    MessageType::parse(name).ok_or_else(|| {
        let names = MessageType::ALL.map(MessageType::name).join(", ");
        ApiError::new(ErrorReason::UnknownMessageType)
            .detail(Detail::new("type", "oneOf").expected(names))
    })
}

fn check_fields(
    kind: MessageType,
    request: &MessageRequest,
    known: &Known,
) -> Result<(), ApiError> {
    let has_text = request.text.is_some()
        || (kind == MessageType::Email && request.html.is_some())
        || template::has_text_of(kind, request, known);
    let always = [
        ("clientMsgId", request.client_msg_id.is_some()),
        ("to", request.to.is_some()),
        ("text", has_text),
    ];
    let always = always.into_iter().filter(|(_, is_there)| !is_there);
    let of_type = Field::ALL
        .into_iter()
        .filter(|&field| presence(kind, field) == Presence::Required && !field.is_in(request));
    let lacking = always.map(|(path, _)| path).chain(of_type.map(Field::path));
    refuse_all(ErrorReason::MissingField, "required", lacking)?;

    let foreign = Field::ALL
        .into_iter()
        .filter(|&field| presence(kind, field) == Presence::Refused && field.is_in(request))
        .map(Field::path);
    refuse_all(ErrorReason::FieldNotAllowed, "notAllowed", foreign)
}

fn refuse_all(
    reason: ErrorReason,
    rule: &'static str,
    fields: impl Iterator<Item = &'static str>,
) -> Result<(), ApiError> {
    let mut fields = fields.peekable();
    if fields.peek().is_none() {
        return Ok(());
    }
    Err(fields.fold(ApiError::new(reason), |error, field| {
        error.detail(Detail::new(field, rule))
    }))
}

fn check_client_msg_id(text: &str) -> Result<ClientMsgId, ApiError> {
    text.parse().map_err(|_| {
        invalid(
            Detail::new("clientMsgId", "format")
                .limit(ClientMsgId::MAX as u64)
                .actual(text.chars().count() as u64)
                .unit("CHARACTER")
                .expected("1 to 64 visible ASCII characters"),
        )
    })
}

fn check_purpose(name: Option<&str>) -> Result<Purpose, ApiError> {
    let Some(name) = name else {
        return Ok(Purpose::default());
    };
    Purpose::parse(name)
        .ok_or_else(|| invalid(Detail::new("purpose", "oneOf").expected("AUTH, INFO, AD")))
}

fn check_validity(seconds: Option<i64>, purpose: Purpose) -> Result<Duration, ApiError> {
    let Some(seconds) = seconds else {
        return Ok(purpose.default_validity());
    };
    let is_allowed = (SHORTEST_VALIDITY..=LONGEST_VALIDITY).contains(&seconds);
    match u64::try_from(seconds) {
        Ok(seconds) if is_allowed => Ok(Duration::from_secs(seconds)),
        seconds => {
            let detail = Detail::new("validitySeconds", "range")
                .limit(if seconds.is_ok_and(|s| s > SHORTEST_VALIDITY as u64) {
                    LONGEST_VALIDITY as u64
                } else {
                    SHORTEST_VALIDITY as u64
                })
                .unit("SECOND")
                .expected(format!("{SHORTEST_VALIDITY}..{LONGEST_VALIDITY}"));
            // A length below 0 is none.
            Err(invalid(match seconds {
                Ok(actual) => detail.actual(actual),
                Err(_) => detail,
            }))
        }
    }
}

fn check_metadata(raw: &RawValue) -> Result<Metadata, ApiError> {
    if raw.get().len() > LARGEST_METADATA {
        return Err(invalid(
            Detail::new("metadata", "maxLength")
                .limit(LARGEST_METADATA as u64)
                .actual(raw.get().len() as u64)
                .unit("BYTE"),
        ));
    }
    if !raw.get().starts_with('{') {
        return Err(invalid(Detail::new("metadata", "type").expected("object")));
    }
    // It has to be read again later, by us and by the partner.
    let depth = json_depth(raw.get().as_bytes());
    if depth > MAX_JSON_DEPTH {
        return Err(invalid(
            Detail::new("metadata", "maxDepth")
                .limit(MAX_JSON_DEPTH as u64)
                .actual(depth as u64)
                .unit("LEVEL"),
        ));
    }
    // A tree sorts its keys. Of an object, only its numbers can still be more than it holds.
    let tree: serde_json::Map<String, serde_json::Value> = serde_json::from_str(raw.get())
        .map_err(|_| {
            let expected = "numbers that a 64-bit floating-point value can hold";
            invalid(Detail::new("metadata", "range").expected(expected))
        })?;
    Ok(Metadata {
        canonical: serde_json::Value::Object(tree).to_string(),
        text: raw.get().to_owned(),
    })
}

/// What a recipient is, in the words of an answer.
const A_MOBILE_NUMBER: &str =
    "a Korean mobile number such as 010-1234-5678, or a safe number (050)";

fn check_recipient(kind: MessageType, text: &str) -> Result<String, ApiError> {
    let refused = |reason, expected: &'static str| {
        ApiError::new(reason).detail(Detail::new("to", "recipient").expected(expected))
    };
    if kind == MessageType::Email {
        return mail::check_recipient(text);
    }
    if kind == MessageType::NaverTalk {
        let id: Result<TalkUserId, _> = text.parse();
        let id = id.map_err(|_| {
            refused(
                ErrorReason::InvalidRecipient,
                "a TalkTalk user id of 1 to 64 visible ASCII characters",
            )
        })?;
        return Ok(id.expose().to_owned());
    }
    match text.parse::<Recipient>() {
        Ok(recipient) => Ok(recipient.national().to_owned()),
        Err(RecipientError::International) => Err(refused(
            ErrorReason::InternationalNotSupported,
            A_MOBILE_NUMBER,
        )),
        Err(RecipientError::Malformed | RecipientError::CannotReceive) => {
            Err(refused(ErrorReason::InvalidRecipient, A_MOBILE_NUMBER))
        }
    }
}

/// The sender as the vendor gets it, and what of it the partner must be allowed to use.
fn check_sender(kind: MessageType, text: &str) -> Result<(String, Sender), ApiError> {
    if kind == MessageType::Email {
        return mail::check_sender(text);
    }
    let number = check_number(kind, text)?;
    Ok((number.digits().to_owned(), Sender::Number(number)))
}

fn check_number(kind: MessageType, text: &str) -> Result<SenderNumber, ApiError> {
    let refused =
        |expected: &'static str| invalid(Detail::new("from", "sender").expected(expected));
    let sender: SenderNumber = text.parse().map_err(|error| {
        refused(match error {
            SenderNumberError::Malformed => {
                "a Korean telephone number in national digits such as 02-123-4567"
            }
            SenderNumberError::NoSuchRange => {
                "a number that does not begin with 010-0, 010-1, 070-0 or 070-1"
            }
        })
    })?;
    // An RCS chatroom hangs on a company's number; carriers register no mobile for it.
    if kind == MessageType::Rcs && sender.is_mobile() {
        return Err(refused("a number that is not a mobile number"));
    }
    Ok(sender)
}

fn check_channel(channel: ChannelRequest) -> Result<ChannelIds, ApiError> {
    let check = |field: Field, id: Option<String>| match id {
        Some(id) if !is_word(&id, LONGEST_CHANNEL_ID) => {
            Err(bad_word(field.path(), &id, LONGEST_CHANNEL_ID))
        }
        id => Ok(id),
    };
    Ok(ChannelIds {
        sender_key: check(Field::SenderKey, channel.sender_key)?,
        brand_id: check(Field::BrandId, channel.brand_id)?,
        chatbot_id: check(Field::ChatbotId, channel.chatbot_id)?,
        messagebase_id: check(Field::MessagebaseId, channel.messagebase_id)?,
        talk_id: check(Field::TalkId, channel.talk_id)?,
    })
}

fn check_template(template: TemplateRequest) -> Result<Template, ApiError> {
    let code = template.code.ok_or_else(|| missing("template.code"))?;
    if !is_word(&code, LONGEST_TEMPLATE_CODE) {
        return Err(bad_word("template.code", &code, LONGEST_TEMPLATE_CODE));
    }
    let variables = template.variables.unwrap_or_default();
    check_variables(&variables)?;
    Ok(Template { code, variables })
}

/// A fault of a variable is told without the variable's name, which may be as personal as its value.
pub(super) fn check_variables(variables: &BTreeMap<String, String>) -> Result<(), ApiError> {
    let detail = |rule, limit: usize, actual: usize, unit| {
        Detail::new("template.variables", rule)
            .limit(limit as u64)
            .actual(actual as u64)
            .unit(unit)
    };
    if variables.len() > MOST_VARIABLES {
        let actual = variables.len();
        return Err(invalid(detail("maxItems", MOST_VARIABLES, actual, "ITEM")));
    }
    for (place, (name, value)) in variables.iter().enumerate() {
        let at = |detail: Detail| invalid(detail.position(place as u64));
        let length = name.chars().count();
        if length == 0 || length > LONGEST_VARIABLE_NAME {
            let detail = detail("nameLength", LONGEST_VARIABLE_NAME, length, "CHARACTER");
            return Err(at(detail));
        }
        let length = value.chars().count();
        if length > LONGEST_VARIABLE {
            let detail = detail("maxLength", LONGEST_VARIABLE, length, "CHARACTER");
            return Err(at(detail));
        }
    }
    Ok(())
}

fn check_subject(kind: MessageType, text: &str, policy: Unencodable) -> Result<String, ApiError> {
    if text.trim().is_empty() {
        return Err(blank("subject"));
    }
    if kind == MessageType::Email {
        return mail::check_subject(text);
    }
    let prepared = if kind == MessageType::Rcs {
        rcs_subject(text)
    } else {
        prepare_subject(text, policy)
    };
    let told = |error| unfit("subject", ErrorReason::SubjectTooLong, error);
    prepared.map(|p| p.text).map_err(told)
}

/// RCS knows all of Unicode, in its title as in its text; for the rest it is a subject like others.
fn rcs_subject(text: &str) -> Result<Prepared, TextError> {
    let control = text.chars().enumerate().find(|(_, c)| c.is_control());
    if let Some((position, character)) = control {
        return Err(TextError::Unencodable {
            character,
            position,
        });
    }
    let too_long = |actual, unit| TextError::TooLong {
        limit: SUBJECT_LIMIT.max,
        actual,
        unit,
    };
    match prepare(MessageType::Rcs, text, Unencodable::Reject) {
        Ok(p) if p.length > SUBJECT_LIMIT.max => Err(too_long(p.length, p.unit)),
        Err(TextError::TooLong { actual, unit, .. }) => Err(too_long(actual, unit)),
        other => other,
    }
}

pub(super) fn check_text(
    kind: MessageType,
    text: &str,
    policy: Unencodable,
) -> Result<String, ApiError> {
    if text.trim().is_empty() {
        return Err(blank("text"));
    }
    let told = |error| unfit("text", ErrorReason::TextTooLong, error);
    let prepared = prepare(kind, text, policy).map_err(told)?;
    // What cannot be seen may be all that was there.
    if prepared.text.trim().is_empty() {
        return Err(blank("text"));
    }
    Ok(prepared.text)
}

fn unfit(field: &'static str, too_long: ErrorReason, error: TextError) -> ApiError {
    match error {
        TextError::TooLong {
            limit,
            actual,
            unit,
        } => ApiError::new(too_long).detail(
            Detail::new(field, "maxLength")
                .limit(limit as u64)
                .actual(actual as u64)
                .unit(unit.name()),
        ),
        TextError::Unencodable {
            character,
            position,
        } => ApiError::new(ErrorReason::UnencodableCharacter).detail(
            Detail::new(field, "encodable")
                .position(position as u64)
                .character(character),
        ),
    }
}

fn is_word(text: &str, longest: usize) -> bool {
    (1..=longest).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn bad_word(field: &'static str, text: &str, longest: usize) -> ApiError {
    invalid(
        Detail::new(field, "format")
            .limit(longest as u64)
            .actual(text.chars().count() as u64)
            .unit("CHARACTER")
            .expected(format!("1 to {longest} visible ASCII characters")),
    )
}

fn blank(field: &'static str) -> ApiError {
    invalid(Detail::new(field, "notBlank"))
}

fn missing(field: impl Into<std::borrow::Cow<'static, str>>) -> ApiError {
    ApiError::new(ErrorReason::MissingField).detail(Detail::new(field, "required"))
}

fn invalid(detail: Detail) -> ApiError {
    ApiError::new(ErrorReason::InvalidValue).detail(detail)
}
