//! `GET /v1/stats/daily`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use pabal_common::clock::Day;
use pabal_common::domain::code::ErrorReason;
use pabal_common::domain::kind::MessageType;
use pabal_common::http::{ApiError, Detail, ErrorBody, QueryParams};
use pabal_common::ledger::{DailyRow, StatsQuery};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Shared;
use super::caller::Caller;
use super::period::days;

/// Which days, at most 92, and of which type.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct DailyRequest {
    /// The first day in Korea, `yyyy-MM-dd`.
    #[param(example = "2026-11-01")]
    from: String,
    /// The last day in Korea, included.
    #[param(example = "2026-11-30")]
    to: String,
    /// Only this message type.
    #[serde(rename = "type")]
    #[param(value_type = Option<MessageType>)]
    kind: Option<String>,
}

/// One day's numbers of one type.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct DailyNumbers {
    /// The day in Korea on which the messages were accepted.
    #[schema(example = "2026-11-21")]
    date: String,
    /// The type.
    #[serde(rename = "type")]
    kind: MessageType,
    /// Messages that have ended: `success + failed`.
    total: u64,
    /// Delivered.
    success: u64,
    /// Failed or expired.
    failed: u64,
    /// Of those failed, expired.
    expired: u64,
    /// Whether the numbers can no longer change: the day is over and no message of it is under way.
    #[serde(rename = "final")]
    is_final: bool,
}

/// Daily numbers, by day and type.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct DailyAnswer {
    /// A row for every day and type that had messages.
    items: Vec<DailyNumbers>,
    /// Always null: one answer holds all the days that may be asked for.
    next_cursor: Option<String>,
}

/// Daily numbers
#[utoipa::path(
    get,
    path = "/v1/stats/daily",
    operation_id = "getDailyStatistics",
    tag = "Statistics",
    security(("token" = [])),
    params(DailyRequest),
    responses(
        (status = 200, description = "The numbers", body = DailyAnswer),
        (status = 400, description = "E001, E005", body = ErrorBody),
        (status = 401, description = "E002", body = ErrorBody),
        (status = 403, description = "E008", body = ErrorBody),
        (status = 404, description = "E007", body = ErrorBody),
        (status = 429, description = "E003", body = ErrorBody),
        (status = 500, description = "E100", body = ErrorBody),
        (status = 503, description = "E102", body = ErrorBody),
    ),
)]
pub(super) async fn daily(
    State(shared): State<Arc<Shared>>,
    Caller(partner): Caller,
    QueryParams(request): QueryParams<DailyRequest>,
) -> Result<Json<DailyAnswer>, ApiError> {
    let (from, to) = days(&request.from, &request.to)?;
    let query = StatsQuery {
        partner,
        from,
        to,
        kind: request.kind.as_deref().map(message_type).transpose()?,
    };
    let rows = shared.node.ledger.daily(&query).await;
    let today = shared.node.clock.now().kst_day();
    let numbers = |row| DailyNumbers::new(row, today);
    Ok(Json(DailyAnswer {
        items: rows
            .map_err(ApiError::ledger_unavailable)?
            .into_iter()
            .map(numbers)
            .collect(),
        next_cursor: None,
    }))
}

fn message_type(name: &str) -> Result<MessageType, ApiError> {
    MessageType::parse(name).ok_or_else(|| {
        let words = MessageType::ALL.map(MessageType::name).join(", ");
        ApiError::new(ErrorReason::UnknownMessageType)
            .detail(Detail::new("type", "oneOf").expected(words))
    })
}

impl DailyNumbers {
    fn new(row: DailyRow, today: Day) -> Self {
        let DailyRow { stats, in_flight } = row;
        Self {
            date: stats.day.to_string(),
            kind: stats.kind,
            total: stats.total,
            success: stats.success,
            failed: stats.failed,
            expired: stats.expired,
            is_final: stats.day < today && in_flight == 0,
        }
    }
}
