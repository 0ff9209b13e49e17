//! `GET /v1/templates`.
//!
//! Partners read their templates and do not write them: what counts is what the channel approved, which
//! the operator knows who has the contract with it. A message checked against its sender's own word would
//! prove nothing.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pabal_common::deadline::in_time;
use pabal_common::domain::code::ErrorReason;
use pabal_common::domain::message::Button;
use pabal_common::domain::template::{TemplateKey, TemplateState};
use pabal_common::http::{ApiError, Detail, ErrorBody, QueryParams};
use pabal_common::ledger::KeptTemplate;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::auth::Caller;
use crate::receiver::{LEDGER_LIMIT, Shared};
use crate::send::take_room;

/// Items in an answer that does not say how many it wants.
const USUAL_PAGE: u32 = 50;
const LARGEST_PAGE: u32 = 100;

/// Which templates.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListRequest {
    /// The `nextCursor` of the answer before.
    cursor: Option<String>,
    /// How many, 1 to 100; 50 if not given.
    limit: Option<u32>,
}

/// Templates, in the order of sender profile and code.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListAnswer {
    /// The templates.
    items: Vec<TemplateItem>,
    /// Ask with this for those that follow; null after the last.
    next_cursor: Option<String>,
}

/// A registered template.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TemplateItem {
    /// The key of the sender profile.
    sender_key: String,
    /// The template's code.
    #[schema(example = "ORDER_SHIPPED")]
    code: String,
    /// What it says; variables as `#{name}`.
    #[schema(example = "#{name}님, 주문하신 상품이 발송되었습니다.")]
    text: String,
    /// The names of its variables: all of them have to be given, and no others.
    variables: Vec<String>,
    /// Its buttons.
    buttons: Vec<TemplateButton>,
    /// Whether messages may use it.
    state: TemplateState,
    /// When it was added or changed.
    updated_at: String,
}

/// A button of a template.
#[derive(Serialize, ToSchema)]
pub(crate) struct TemplateButton {
    /// Its type.
    #[serde(rename = "type")]
    #[schema(example = "WL")]
    kind: String,
    /// What is written on it.
    name: String,
    /// Where it leads; variables may stand in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
}

/// List your registered templates
///
/// An Alimtalk that names one of these must say what it says: its variables are filled in, and a text or
/// buttons that are given must be the same.
#[utoipa::path(
    get,
    path = "/v1/templates",
    operation_id = "listTemplates",
    tag = "Templates",
    security(("token" = [])),
    params(ListRequest),
    responses(
        (status = 200, description = "Templates", body = ListAnswer),
        (status = 400, description = "E001", body = ErrorBody),
        (status = 401, description = "E002", body = ErrorBody),
        (status = 403, description = "E008", body = ErrorBody),
        (status = 404, description = "E007", body = ErrorBody),
        (status = 429, description = "E003", body = ErrorBody),
        (status = 500, description = "E100", body = ErrorBody),
        (status = 503, description = "E102", body = ErrorBody),
    ),
)]
pub(crate) async fn list(
    State(receiver): State<Arc<Shared>>,
    Caller(member): Caller,
    QueryParams(request): QueryParams<ListRequest>,
) -> Result<Json<ListAnswer>, ApiError> {
    let page = page(request.limit)?;
    let after = request.cursor.as_deref().map(after).transpose()?;
    take_room(&receiver, &member.partner, 1).await?;
    // One more than asked for tells whether any follow.
    let ledger = &receiver.node.ledger;
    let found = ledger.list_templates(&member.partner.id, after.as_ref(), page + 1);
    let found = in_time(LEDGER_LIMIT, found).await;
    let mut found = found.map_err(ApiError::ledger_unavailable)?;
    let follow = found.len() > page as usize;
    found.truncate(page as usize);
    let last = found.last().map(|last| cursor(&last.template.key));
    Ok(Json(ListAnswer {
        next_cursor: last.filter(|_| follow),
        items: found.into_iter().map(TemplateItem::from).collect(),
    }))
}

fn page(limit: Option<u32>) -> Result<u32, ApiError> {
    let limit = limit.unwrap_or(USUAL_PAGE);
    if (1..=LARGEST_PAGE).contains(&limit) {
        return Ok(limit);
    }
    Err(ApiError::new(ErrorReason::InvalidValue).detail(
        Detail::new("limit", "range")
            .limit(u64::from(LARGEST_PAGE))
            .actual(u64::from(limit))
            .unit("ITEM")
            .expected(format!("1..{LARGEST_PAGE}")),
    ))
}

/// Neither part of a key has a space.
fn cursor(key: &TemplateKey) -> String {
    URL_SAFE_NO_PAD.encode(format!("{} {}", key.sender_key, key.code))
}

fn after(cursor: &str) -> Result<TemplateKey, ApiError> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    let key = text.as_deref().and_then(|text| text.split_once(' '));
    let key = key.map(|(sender_key, code)| TemplateKey {
        sender_key: sender_key.to_owned(),
        code: code.to_owned(),
    });
    key.ok_or_else(|| {
        ApiError::new(ErrorReason::InvalidCursor).detail(Detail::new("cursor", "format"))
    })
}

impl From<KeptTemplate> for TemplateItem {
    fn from(kept: KeptTemplate) -> Self {
        let template = kept.template;
        let variables = template.form.variables();
        Self {
            variables: variables.into_iter().map(ToOwned::to_owned).collect(),
            sender_key: template.key.sender_key,
            code: template.key.code,
            state: template.state,
            updated_at: kept.updated_at.to_rfc3339(),
            buttons: template
                .form
                .buttons
                .into_iter()
                .map(TemplateButton::from)
                .collect(),
            text: template.form.text,
        }
    }
}

impl From<Button> for TemplateButton {
    fn from(button: Button) -> Self {
        Self {
            kind: button.kind,
            name: button.name,
            url: button.url,
        }
    }
}
