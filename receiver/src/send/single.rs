//! `POST /v1/messages`.

use std::iter::once;
use std::slice::from_ref;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use pabal_common::domain::code::Code;
use pabal_common::domain::status::Status;
use pabal_common::http::{ApiError, ErrorBody, JsonBody};
use serde::Serialize;
use utoipa::ToSchema;

use super::gate::{Admitted, draft, take_room};
use crate::message::{MessageRequest, SEND_DESCRIPTION};
use crate::receiver::Shared;

/// A message that was accepted.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SendAnswer {
    /// `0000`.
    #[schema(example = "0000")]
    code: Code,
    /// Our id of the message: 13 characters.
    #[schema(example = "0Q4JX2T7N8M9R")]
    message_id: String,
    /// Your id of it.
    #[schema(example = "order-1001")]
    client_msg_id: String,
    /// `RECEIVED`.
    #[schema(example = "RECEIVED")]
    status: Status,
    /// When it was accepted.
    #[schema(example = "2026-11-21T04:15:30.123Z")]
    accepted_at: String,
}

/// Send a message
///
/// As [`SEND_DESCRIPTION`] says.
#[utoipa::path(
    post,
    path = "/v1/messages",
    tag = "Messages",
    operation_id = "sendMessage",
    description = SEND_DESCRIPTION,
    security(("token" = [])),
    request_body = MessageRequest,
    responses(
        (status = 202, description = "Accepted", body = SendAnswer),
        (status = 400, description = "E001, E005, E006", body = ErrorBody),
        (status = 401, description = "E002", body = ErrorBody),
        (status = 403, description = "E008", body = ErrorBody),
        (status = 404, description = "E007", body = ErrorBody),
        (status = 408, description = "E001: the body did not arrive in time", body = ErrorBody),
        (status = 409, description = "E004: accepted before", body = ErrorBody),
        (status = 413, description = "E001: the body is too large", body = ErrorBody),
        (status = 415, description = "E001: the body is not of this type", body = ErrorBody),
        (status = 429, description = "E003", body = ErrorBody),
        (status = 500, description = "E100", body = ErrorBody),
        (status = 503, description = "E101, E102", body = ErrorBody),
    ),
)]
pub(crate) async fn send(
    State(receiver): State<Arc<Shared>>,
    Admitted(member): Admitted,
    JsonBody(request): JsonBody<MessageRequest>,
) -> Result<(StatusCode, Json<SendAnswer>), ApiError> {
    let partner = &member.partner;
    take_room(&receiver, partner, 1).await?;
    let (lookups, now) = (&receiver.lookups, receiver.node.clock.now());
    let known = lookups.known(&partner.id, once(&request), now).await?;
    let draft = draft(&receiver, &member, request, &known)?;
    if let Some(repeated) = receiver.intake.recall(&partner.id, &draft).await {
        return Err(repeated);
    }
    lookups.hold(from_ref(&draft), &known, now).await?;
    let mut outcomes = receiver.intake.keep(partner, from_ref(&draft)).await;
    let unsaid = || Err(ApiError::internal("the message was not offered"));
    let kept = outcomes.pop().unwrap_or_else(unsaid)?;
    let answer = SendAnswer {
        code: Code::Success,
        message_id: kept.id.to_string(),
        client_msg_id: draft.client_msg_id.to_string(),
        status: Status::Received,
        accepted_at: kept.accepted_at.to_rfc3339(),
    };
    Ok((StatusCode::ACCEPTED, Json(answer)))
}
