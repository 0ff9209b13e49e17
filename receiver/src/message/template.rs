//! A message against its registered template: its variables are filled in, and what the partner wrote
//! itself must be the same.

use std::collections::BTreeMap;

use pabal_common::domain::code::ErrorReason;
use pabal_common::domain::kind::MessageType;
use pabal_common::domain::message::{Button, ChannelIds, Template};
use pabal_common::domain::template::{
    RegisteredTemplate, RenderError, Rendered, TemplateForm, TemplateKey, TemplateState,
    first_difference,
};
use pabal_common::domain::text::Unencodable;
use pabal_common::http::{ApiError, Detail};

use super::button::check_buttons;
use super::check::{check_text, check_variables};
use super::known::Known;
use super::request::{ButtonRequest, MessageRequest};

/// The template that a request names, as far as it is registered. Whether the type has templates is not
/// looked at.
pub(crate) fn named(request: &MessageRequest) -> Option<TemplateKey> {
    Some(TemplateKey {
        sender_key: request.channel.as_ref()?.sender_key.clone()?,
        code: request.template.as_ref()?.code.clone()?,
    })
}

/// Whether a message without a text has that of a registered template.
pub(super) fn has_text_of(kind: MessageType, request: &MessageRequest, known: &Known) -> bool {
    kind == MessageType::KakaoAlimtalk
        && named(request).is_some_and(|key| known.templates.contains_key(&key))
}

/// A registered template, with the values of its variables.
type Filled<'k, 't> = (&'k TemplateForm, &'t BTreeMap<String, String>);

/// The registered template that a message is held to.
pub(super) fn registered<'k, 't>(
    kind: MessageType,
    channel: &ChannelIds,
    template: Option<&'t Template>,
    known: &'k Known,
) -> Result<Option<Filled<'k, 't>>, ApiError> {
    let (MessageType::KakaoAlimtalk, Some(sender_key), Some(template)) =
        (kind, &channel.sender_key, template)
    else {
        return Ok(None);
    };
    let key = TemplateKey {
        sender_key: sender_key.clone(),
        code: template.code.clone(),
    };
    let usable = usable(&key, known)?;
    Ok(usable.map(|registered| (&registered.form, &template.variables)))
}

/// Whether an Alimtalk can be made of this template, with a character for each variable.
///
/// # Errors
/// E001 or E006, as for a message that says what the template says.
pub fn check_template_form(form: &TemplateForm) -> Result<(), ApiError> {
    let names = form.variables().into_iter();
    let values = names
        .map(|name| (name.to_owned(), "x".to_owned()))
        .collect();
    check_variables(&values)?;
    held_to(form, &values, None, Vec::new(), Unencodable::Reject).map(|_| ())
}

/// Text and buttons of an Alimtalk, filled in from its template; what was given must be the same.
pub(super) fn held_to(
    form: &TemplateForm,
    values: &BTreeMap<String, String>,
    text: Option<String>,
    buttons: Vec<Button>,
    policy: Unencodable,
) -> Result<(String, Vec<Button>), ApiError> {
    let kind = MessageType::KakaoAlimtalk;
    let rendered = form.render(values).map_err(unfilled)?;
    let rendered = Rendered {
        text: check_text(kind, &rendered.text, policy)?,
        buttons: check_buttons(kind, requests(&rendered.buttons))?,
    };
    compare(text.as_deref(), &buttons, &rendered)?;
    Ok((rendered.text, rendered.buttons))
}

/// The registered template under this key, if it may be used, or need not be registered.
///
/// # Errors
/// TEMPLATE_NOT_FOUND, TEMPLATE_SUSPENDED.
fn usable<'k>(
    key: &TemplateKey,
    known: &'k Known,
) -> Result<Option<&'k RegisteredTemplate>, ApiError> {
    let refused = |reason, rule: &'static str| {
        ApiError::new(reason).detail(Detail::new("template.code", rule))
    };
    match known.templates.get(key) {
        Some(template) if template.state == TemplateState::Approved => Ok(Some(template)),
        Some(_) => Err(refused(ErrorReason::TemplateSuspended, "approved")),
        None if known.templates_required => {
            Err(refused(ErrorReason::TemplateNotFound, "registered"))
        }
        None => Ok(None),
    }
}

/// Tells which variables are missing, by the names the template gives them, or which are too many, by
/// their place: their names are the partner's own words, which may be as personal as their values.
fn unfilled(error: RenderError) -> ApiError {
    let at = |rule: &'static str| Detail::new("template.variables", rule);
    match error {
        RenderError::Missing(names) => names
            .into_iter()
            .fold(ApiError::new(ErrorReason::MissingField), |told, name| {
                told.detail(at("required").expected(name))
            }),
        RenderError::Unknown(places) => places
            .into_iter()
            .fold(ApiError::new(ErrorReason::InvalidValue), |told, place| {
                told.detail(at("unknown").position(place as u64))
            }),
    }
}

/// What the template's buttons ask for, to be checked as if the partner had.
fn requests(buttons: &[Button]) -> Vec<ButtonRequest> {
    let request = |button: &Button| ButtonRequest {
        kind: Some(button.kind.clone()),
        name: Some(button.name.clone()),
        url: button.url.clone(),
    };
    buttons.iter().map(request).collect()
}

/// Whether what was given is what the template says; a text that is left out, or buttons, cannot differ.
///
/// # Errors
/// TEMPLATE_MISMATCH with the place of the first difference.
fn compare(text: Option<&str>, buttons: &[Button], rendered: &Rendered) -> Result<(), ApiError> {
    if let Some(place) = text.and_then(|text| first_difference(text, &rendered.text)) {
        return Err(differs(
            Detail::new("text", "template").position(place as u64),
        ));
    }
    if buttons.is_empty() {
        return Ok(());
    }
    if buttons.len() != rendered.buttons.len() {
        let detail = Detail::new("buttons", "template")
            .limit(rendered.buttons.len() as u64)
            .actual(buttons.len() as u64);
        return Err(differs(detail.unit("ITEM")));
    }
    let pairs = buttons.iter().zip(&rendered.buttons).enumerate();
    pairs
        .filter_map(|(place, (given, expected))| button_differs(place, given, expected))
        .take(1)
        .try_for_each(|detail| Err(differs(detail)))
}

fn button_differs(place: usize, given: &Button, expected: &Button) -> Option<Detail> {
    let url = |button: &Button| button.url.clone().unwrap_or_default();
    let fields = [
        ("type", given.kind.clone(), expected.kind.clone()),
        ("name", given.name.clone(), expected.name.clone()),
        ("url", url(given), url(expected)),
    ];
    fields.into_iter().find_map(|(field, given, expected)| {
        let position = first_difference(&given, &expected)?;
        let field = format!("buttons[{place}].{field}");
        Some(Detail::new(field, "template").position(position as u64))
    })
}

fn differs(detail: Detail) -> ApiError {
    ApiError::new(ErrorReason::TemplateMismatch).detail(detail)
}
