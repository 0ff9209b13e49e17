//! `GET /v1/messages/{messageId}` and `GET /v1/messages?clientMsgId=`.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use pabal_common::clock::Timestamp;
use pabal_common::domain::code::ErrorReason;
use pabal_common::domain::id::{ClientMsgId, MessageId, PartnerId};
use pabal_common::domain::kind::{MessageType, Purpose};
use pabal_common::domain::reason::Reason;
use pabal_common::domain::status::Status;
use pabal_common::http::{ApiError, Detail, ErrorBody, QueryParams};
use pabal_common::ledger::MessageView;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::Shared;
use super::caller::Caller;
use super::timeline::{Step, timeline};

/// A message and what became of it. Neither recipient nor text.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct MessageAnswer {
    /// Our id of it.
    #[schema(example = "0Q4JX2T7N8M9R")]
    message_id: String,
    /// Your id of it.
    #[schema(example = "order-1001")]
    client_msg_id: String,
    /// Its type.
    #[serde(rename = "type")]
    kind: MessageType,
    /// What it is for.
    purpose: Purpose,
    /// Where it is.
    status: Status,
    /// Why it failed or expired.
    reason: Option<Reason>,
    /// The vendor's own code.
    #[schema(example = "4100")]
    vendor_code: Option<String>,
    /// When it was accepted.
    #[schema(example = "2026-11-21T04:15:30.123Z")]
    accepted_at: String,
    /// When a vendor took it.
    sent_at: Option<String>,
    /// When it ended.
    final_at: Option<String>,
    /// Your metadata.
    #[schema(value_type = Option<Object>)]
    metadata: Option<Box<RawValue>>,
    /// Its history.
    timeline: Vec<Step>,
}

/// Which message.
#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ByClientId {
    /// Your id of the message.
    client_msg_id: String,
}

/// Look up a message
///
/// Possible until 24 hours after its final status.
#[utoipa::path(
    get,
    path = "/v1/messages/{messageId}",
    operation_id = "getMessage",
    tag = "Messages",
    security(("token" = [])),
    params(("messageId" = String, Path, description = "Our id of the message")),
    responses(
        (status = 200, description = "The message", body = MessageAnswer),
        (status = 400, description = "E001", body = ErrorBody),
        (status = 401, description = "E002", body = ErrorBody),
        (status = 403, description = "E008", body = ErrorBody),
        (status = 404, description = "E001 MESSAGE_NOT_FOUND, E007", body = ErrorBody),
        (status = 410, description = "E001 QUERY_WINDOW_PASSED", body = ErrorBody),
        (status = 429, description = "E003", body = ErrorBody),
        (status = 500, description = "E100", body = ErrorBody),
        (status = 503, description = "E102", body = ErrorBody),
    ),
)]
pub(super) async fn by_id(
    State(shared): State<Arc<Shared>>,
    Caller(partner): Caller,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<MessageAnswer>, ApiError> {
    let Path(id) = id.map_err(|_| {
        ApiError::new(ErrorReason::InvalidValue)
            .detail(Detail::new("messageId", "encoding").expected("percent-encoded UTF-8"))
    })?;
    // What is no id of ours is no message either.
    let id: MessageId = id.parse().map_err(|_| not_found())?;
    let found = shared.node.ledger.message(id).await;
    let found = found.map_err(ApiError::ledger_unavailable)?;
    answer(&shared, &partner, found).await
}

/// Look up a message by your own id
///
/// Possible until 24 hours after its final status.
#[utoipa::path(
    get,
    path = "/v1/messages",
    operation_id = "findMessageByClientId",
    tag = "Messages",
    security(("token" = [])),
    params(ByClientId),
    responses(
        (status = 200, description = "The message", body = MessageAnswer),
        (status = 400, description = "E001", body = ErrorBody),
        (status = 401, description = "E002", body = ErrorBody),
        (status = 403, description = "E008", body = ErrorBody),
        (status = 404, description = "E001 MESSAGE_NOT_FOUND, E007", body = ErrorBody),
        (status = 410, description = "E001 QUERY_WINDOW_PASSED", body = ErrorBody),
        (status = 429, description = "E003", body = ErrorBody),
        (status = 500, description = "E100", body = ErrorBody),
        (status = 503, description = "E102", body = ErrorBody),
    ),
)]
pub(super) async fn by_client_id(
    State(shared): State<Arc<Shared>>,
    Caller(partner): Caller,
    QueryParams(query): QueryParams<ByClientId>,
) -> Result<Json<MessageAnswer>, ApiError> {
    let id: ClientMsgId = query.client_msg_id.parse().map_err(|_| {
        ApiError::new(ErrorReason::InvalidValue).detail(
            Detail::new("clientMsgId", "format").expected("1 to 64 visible ASCII characters"),
        )
    })?;
    let found = shared.node.ledger.message_by_client_id(&partner, &id).await;
    let found = found.map_err(ApiError::ledger_unavailable)?;
    answer(&shared, &partner, found).await
}

async fn answer(
    shared: &Shared,
    partner: &PartnerId,
    found: Option<MessageView>,
) -> Result<Json<MessageAnswer>, ApiError> {
    let message = found
        .filter(|message| message.partner == *partner)
        .ok_or_else(not_found)?;
    let now = shared.node.clock.now();
    if let Some(ended) = message.final_at
        && now > ended.plus(shared.config.window)
    {
        return Err(ApiError::new(ErrorReason::QueryWindowPassed));
    }
    let events = shared.node.ledger.events(message.id).await;
    let timeline = timeline(&message, events.map_err(ApiError::ledger_unavailable)?);
    Ok(Json(MessageAnswer::new(message, timeline)))
}

fn not_found() -> ApiError {
    ApiError::new(ErrorReason::MessageNotFound)
}

impl MessageAnswer {
    fn new(message: MessageView, timeline: Vec<Step>) -> Self {
        Self {
            message_id: message.id.to_string(),
            client_msg_id: message.client_msg_id.to_string(),
            kind: message.kind,
            purpose: message.purpose,
            status: message.status,
            reason: message.reason.filter(|_| message.status.is_final()),
            vendor_code: message.vendor_code,
            accepted_at: message.accepted_at.to_rfc3339(),
            sent_at: message.sent_at.map(Timestamp::to_rfc3339),
            final_at: message.final_at.map(Timestamp::to_rfc3339),
            metadata: message
                .metadata
                .and_then(|text| RawValue::from_string(text).ok()),
            timeline,
        }
    }
}
