//! `GET /v1/webhooks/dead-letters` and `POST /v1/webhooks/dead-letters/replay`.

use std::collections::HashSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use pabal_common::clock::Timestamp;
use pabal_common::domain::code::ErrorReason;
use pabal_common::domain::id::{DeadLetterId, PartnerId};
use pabal_common::http::{ApiError, Detail, ErrorBody, JsonBody, QueryParams};
use pabal_common::ledger::{DeadLetter, DeadLetterFilter, DeadLetterKind};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::Shared;
use super::caller::Caller;
use super::period::{in_order, time};

/// Items in an answer that does not say how many it wants.
const USUAL_PAGE: u32 = 50;
/// The most items in one answer; each holds a whole webhook body.
const LARGEST_PAGE: u32 = 100;
/// The most ids in one replay.
const MOST_IDS: usize = 100;
/// The most dead letters one replay of a period sends again, a page at a time.
const MOST_REPLAYED: u32 = 1000;

/// A webhook your endpoint never took.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Letter {
    /// Its id among the dead letters.
    #[schema(example = "0Q4JX2T7N8M9R")]
    id: String,
    /// The `webhook-id` it had, and has again when it is sent again.
    webhook_id: String,
    /// Why it was given up.
    #[schema(example = "the endpoint answered HTTP 503, 7 times")]
    reason: String,
    /// Attempts that failed.
    attempts: u16,
    /// When it was given up.
    created_at: String,
    /// When it was last sent again.
    replayed_at: Option<String>,
    /// The webhook's body.
    #[schema(value_type = Object)]
    body: Option<Box<RawValue>>,
}

/// Which dead letters.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListRequest {
    /// The `nextCursor` of the answer before.
    cursor: Option<String>,
    /// How many, 1 to 100; 50 if not given.
    limit: Option<u32>,
    /// Given up at or after this time (RFC 3339).
    from: Option<String>,
    /// Given up before this time (RFC 3339).
    to: Option<String>,
}

/// Dead letters, oldest first.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListAnswer {
    /// The dead letters.
    items: Vec<Letter>,
    /// Ask with this for those that follow; null after the last.
    next_cursor: Option<String>,
}

/// Which dead letters to send again: either by id or by the time they were given up.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReplayRequest {
    /// These, at most 100, also if they were sent again before.
    ids: Option<Vec<String>>,
    /// Given up at or after this time (RFC 3339), and not sent again yet.
    from: Option<String>,
    /// Given up before this time (RFC 3339).
    to: Option<String>,
}

/// What was sent again.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReplayAnswer {
    /// How many.
    replayed: u32,
    /// Whether the period may hold more: ask again with the same period.
    more: bool,
}

/// List webhooks that were given up
#[utoipa::path(
    get,
    path = "/v1/webhooks/dead-letters",
    operation_id = "listDeadLetters",
    tag = "Webhooks",
    security(("token" = [])),
    params(ListRequest),
    responses(
        (status = 200, description = "Dead letters", body = ListAnswer),
        (status = 400, description = "E001", body = ErrorBody),
        (status = 401, description = "E002", body = ErrorBody),
        (status = 403, description = "E008", body = ErrorBody),
        (status = 404, description = "E007", body = ErrorBody),
        (status = 429, description = "E003", body = ErrorBody),
        (status = 500, description = "E100", body = ErrorBody),
        (status = 503, description = "E102", body = ErrorBody),
    ),
)]
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    Caller(partner): Caller,
    QueryParams(request): QueryParams<ListRequest>,
) -> Result<Json<ListAnswer>, ApiError> {
    let page = page(request.limit)?;
    let after = request.cursor.as_deref().map(cursor).transpose()?;
    let (from, to) = period(request.from.as_deref(), request.to.as_deref())?;
    let filter = DeadLetterFilter {
        from,
        to,
        after,
        // One more than asked for tells whether any follow.
        limit: page + 1,
        ..of(partner)
    };
    let found = shared.node.ledger.dead_letters(&filter).await;
    let mut found = found.map_err(ApiError::ledger_unavailable)?;
    let follow = found.len() > page as usize;
    found.truncate(page as usize);
    let last = found.last().map(|last| last.letter.id.to_string());
    Ok(Json(ListAnswer {
        next_cursor: last.filter(|_| follow),
        items: found.into_iter().map(Letter::from).collect(),
    }))
}

/// Send webhooks again
///
/// Each goes out under the `webhook-id` it had. By ids, all of them must be yours; by period, those
/// that were sent again before are passed over, at most 1000 in one request.
#[utoipa::path(
    post,
    path = "/v1/webhooks/dead-letters/replay",
    operation_id = "replayDeadLetters",
    tag = "Webhooks",
    security(("token" = [])),
    request_body = ReplayRequest,
    responses(
        (status = 200, description = "On their way again", body = ReplayAnswer),
        (status = 400, description = "E001", body = ErrorBody),
        (status = 401, description = "E002", body = ErrorBody),
        (status = 403, description = "E008", body = ErrorBody),
        (status = 404, description = "E001 DEAD_LETTER_NOT_FOUND, E007", body = ErrorBody),
        (status = 408, description = "E001: the body did not arrive in time", body = ErrorBody),
        (status = 413, description = "E001: the body is too large", body = ErrorBody),
        (status = 415, description = "E001: the body is not of this type", body = ErrorBody),
        (status = 429, description = "E003", body = ErrorBody),
        (status = 500, description = "E100", body = ErrorBody),
        (status = 503, description = "E102", body = ErrorBody),
    ),
)]
pub(super) async fn replay(
    State(shared): State<Arc<Shared>>,
    Caller(partner): Caller,
    JsonBody(request): JsonBody<ReplayRequest>,
) -> Result<Json<ReplayAnswer>, ApiError> {
    let which = Which::read(request)?;
    shared.replays.take(&partner)?;
    let answer = match which {
        Which::Ids(ids) => replay_ids(&shared, partner, ids).await,
        Which::Period(from, to) => replay_period(&shared, partner, from, to).await,
    };
    // Also after an error: what was replayed before it is due.
    shared.webhooks.wake();
    answer.map(Json)
}

enum Which {
    Ids(Vec<DeadLetterId>),
    Period(Timestamp, Timestamp),
}

impl Which {
    fn read(request: ReplayRequest) -> Result<Self, ApiError> {
        let (from, to) = period(request.from.as_deref(), request.to.as_deref())?;
        match (request.ids, from, to) {
            (Some(ids), None, None) => ids_of(&ids).map(Self::Ids),
            (Some(_), from, _) => {
                let field = if from.is_some() { "from" } else { "to" };
                Err(unclear(ErrorReason::FieldNotAllowed, field, "notAllowed"))
            }
            (None, Some(from), Some(to)) => Ok(Self::Period(from, to)),
            (None, None, None) => Err(unclear(ErrorReason::MissingField, "ids", "required")),
            (None, None, _) => Err(unclear(ErrorReason::MissingField, "from", "required")),
            (None, _, None) => Err(unclear(ErrorReason::MissingField, "to", "required")),
        }
    }
}

fn unclear(reason: ErrorReason, field: &'static str, rule: &'static str) -> ApiError {
    let expected = "either ids, or from and to";
    ApiError::new(reason).detail(Detail::new(field, rule).expected(expected))
}

fn ids_of(ids: &[String]) -> Result<Vec<DeadLetterId>, ApiError> {
    if !(1..=MOST_IDS).contains(&ids.len()) {
        let detail = Detail::new("ids", "items")
            .limit(MOST_IDS as u64)
            .actual(ids.len() as u64)
            .unit("ITEM");
        return Err(ApiError::new(ErrorReason::InvalidValue).detail(detail));
    }
    let one = |(index, id): (usize, &String)| id.parse().map_err(|_| not_found(index));
    ids.iter().enumerate().map(one).collect()
}

/// All of them or none: the caller's own are looked up first.
async fn replay_ids(
    shared: &Shared,
    partner: PartnerId,
    ids: Vec<DeadLetterId>,
) -> Result<ReplayAnswer, ApiError> {
    let filter = DeadLetterFilter {
        limit: u32::try_from(ids.len()).unwrap_or(u32::MAX),
        ids,
        ..of(partner)
    };
    let found = shared.node.ledger.dead_letters(&filter).await;
    let known: HashSet<_> = found
        .map_err(ApiError::ledger_unavailable)?
        .into_iter()
        .map(|found| found.letter.id)
        .collect();
    if let Some(index) = filter.ids.iter().position(|id| !known.contains(id)) {
        return Err(not_found(index));
    }
    let replayed = send_again(shared, &filter).await?;
    let more = false;
    Ok(ReplayAnswer { replayed, more })
}

async fn replay_period(
    shared: &Shared,
    partner: PartnerId,
    from: Timestamp,
    to: Timestamp,
) -> Result<ReplayAnswer, ApiError> {
    let mut page = DeadLetterFilter {
        from: Some(from),
        to: Some(to),
        limit: LARGEST_PAGE,
        ..of(partner.clone())
    };
    let mut replayed = 0;
    while replayed < MOST_REPLAYED {
        let found = shared.node.ledger.dead_letters(&page).await;
        let found = found.map_err(ApiError::ledger_unavailable)?;
        let waiting = found.iter().filter(|found| found.replayed_at.is_none());
        let ids: Vec<_> = waiting.map(|found| found.letter.id).collect();
        if !ids.is_empty() {
            let these = DeadLetterFilter {
                ids,
                limit: LARGEST_PAGE,
                ..of(partner.clone())
            };
            replayed += send_again(shared, &these).await?;
        }
        if found.len() < LARGEST_PAGE as usize {
            let more = false;
            return Ok(ReplayAnswer { replayed, more });
        }
        page.after = found.last().map(|last| last.letter.id);
    }
    let more = true;
    Ok(ReplayAnswer { replayed, more })
}

async fn send_again(shared: &Shared, filter: &DeadLetterFilter) -> Result<u32, ApiError> {
    let node = &shared.node;
    let (me, outbox) = (node.instance.id(), node.instance.ids().outbox());
    let done = node
        .ledger
        .replay(me, outbox, filter, node.clock.now())
        .await;
    // Webhooks are their own outbox: nothing of them is published.
    let (replayed, _) = done.map_err(ApiError::ledger_unavailable)?;
    Ok(replayed)
}

/// The partner's webhooks among the dead letters.
fn of(partner: PartnerId) -> DeadLetterFilter {
    DeadLetterFilter {
        partner: Some(partner),
        kind: Some(DeadLetterKind::Webhook),
        ..DeadLetterFilter::default()
    }
}

fn page(limit: Option<u32>) -> Result<u32, ApiError> {
    match limit {
        None => Ok(USUAL_PAGE),
        Some(limit @ 1..=LARGEST_PAGE) => Ok(limit),
        Some(other) => Err(ApiError::new(ErrorReason::InvalidValue).detail(
            Detail::new("limit", "range")
                .limit(u64::from(LARGEST_PAGE))
                .actual(u64::from(other))
                .expected("1..100"),
        )),
    }
}

fn cursor(text: &str) -> Result<DeadLetterId, ApiError> {
    text.parse()
        .map_err(|_| refused(ErrorReason::InvalidCursor, "cursor", "format"))
}

fn period(
    from: Option<&str>,
    to: Option<&str>,
) -> Result<(Option<Timestamp>, Option<Timestamp>), ApiError> {
    let (from, to) = (time("from", from)?, time("to", to)?);
    in_order(from, to)?;
    Ok((from, to))
}

fn refused(reason: ErrorReason, field: &'static str, rule: &'static str) -> ApiError {
    ApiError::new(reason).detail(Detail::new(field, rule))
}

fn not_found(index: usize) -> ApiError {
    ApiError::new(ErrorReason::DeadLetterNotFound)
        .detail(Detail::new(format!("ids[{index}]"), "known"))
}

impl From<DeadLetter> for Letter {
    fn from(dead: DeadLetter) -> Self {
        let body = String::from_utf8(dead.letter.payload).ok();
        Self {
            id: dead.letter.id.to_string(),
            webhook_id: dead.letter.subject,
            reason: dead.letter.reason,
            attempts: dead.letter.attempts,
            created_at: dead.created_at.to_rfc3339(),
            replayed_at: dead.replayed_at.map(Timestamp::to_rfc3339),
            body: body.and_then(|body| RawValue::from_string(body).ok()),
        }
    }
}
