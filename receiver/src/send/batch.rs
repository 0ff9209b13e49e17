//! `POST /v1/messages/batch`.

use std::fmt;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use pabal_common::domain::code::{Code, ErrorReason};
use pabal_common::domain::id::ClientMsgId;
use pabal_common::http::{ApiError, Detail, ErrorBody, JsonBody, parse_json};
use pabal_common::telemetry::metric;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::gate::{Admitted, draft, take_room};
use crate::config::MOST_BATCH_ITEMS;
use crate::message::MessageRequest;
use crate::receiver::Shared;

/// Messages to send.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BatchRequest {
    /// 1 to 1000 messages. Each is judged by itself: one that is refused does not keep the others
    /// from being accepted.
    #[schema(value_type = Vec<MessageRequest>)]
    messages: Items,
}

/// What became of a batch.
#[derive(Serialize, ToSchema)]
pub(crate) struct BatchAnswer {
    /// `0000`: the batch was judged.
    #[schema(example = "0000")]
    code: Code,
    /// How many messages were accepted.
    #[schema(example = 2)]
    accepted: usize,
    /// How many were not.
    #[schema(example = 1)]
    rejected: usize,
    /// Each message's own result, in the order of the request.
    results: Vec<BatchResult>,
}

/// What became of one message of a batch.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BatchResult {
    /// Its place in the request, from 0.
    #[schema(example = 0)]
    index: usize,
    /// `0000` if it was accepted.
    #[schema(example = "0000")]
    code: Code,
    /// Why it was not accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<ErrorReason>,
    /// Your id of it; absent where none could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "order-1001")]
    client_msg_id: Option<String>,
    /// Our id of it; for E004, that of the message accepted before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "0Q4JX2T7N8M9R")]
    message_id: Option<String>,
    /// What exactly is wrong; fields as in `messages[3].to`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    details: Vec<Detail>,
}

/// Send many messages
///
/// Each message is as in `POST /v1/messages` and is judged by itself. The batch costs as many
/// requests of your rate as it has messages.
#[utoipa::path(
    post,
    path = "/v1/messages/batch",
    operation_id = "sendMessages",
    tag = "Messages",
    security(("token" = [])),
    request_body = BatchRequest,
    responses(
        (status = 200, description = "Each message's own result", body = BatchAnswer),
        (status = 400, description = "E001: not a batch, empty, or more than 1000", body = ErrorBody),
        (status = 401, description = "E002", body = ErrorBody),
        (status = 403, description = "E008", body = ErrorBody),
        (status = 404, description = "E007", body = ErrorBody),
        (status = 408, description = "E001: the body did not arrive in time", body = ErrorBody),
        (status = 413, description = "E001: the body is too large", body = ErrorBody),
        (status = 415, description = "E001: the body is not of this type", body = ErrorBody),
        (status = 429, description = "E003", body = ErrorBody),
        (status = 500, description = "E100", body = ErrorBody),
        (status = 503, description = "E101, E102: no message was accepted", body = ErrorBody),
    ),
)]
pub(crate) async fn send(
    State(receiver): State<Arc<Shared>>,
    Admitted(member): Admitted,
    JsonBody(request): JsonBody<BatchRequest>,
) -> Result<Json<BatchAnswer>, ApiError> {
    let items = request.messages;
    check_size(items.count, receiver.config.batch_items)?;
    take_room(&receiver, &member.partner, items.count).await?;

    let requests: Vec<_> = items.kept.iter().map(|item| read(item)).collect();
    let (lookups, now) = (&receiver.lookups, receiver.node.clock.now());
    let readable = requests.iter().filter_map(|request| request.as_ref().ok());
    let known = lookups.known(&member.partner.id, readable, now).await?;

    let mut judged = Vec::with_capacity(items.count);
    let mut drafts = Vec::with_capacity(items.count);
    for (item, request) in items.kept.iter().zip(requests) {
        let judgement = request.and_then(|request| draft(&receiver, &member, request, &known));
        judged.push(match judgement {
            Ok(draft) => {
                drafts.push(draft);
                Ok(drafts.len() - 1)
            }
            Err(refused) => Err((refused, readable_client_msg_id(item))),
        });
    }
    lookups.hold(&drafts, &known, now).await?;
    let outcomes = receiver.intake.keep(&member.partner, &drafts).await;
    if let Some(failure) = failure_of_all(&outcomes) {
        return Err(failure);
    }

    let results: Vec<_> = judged
        .into_iter()
        .enumerate()
        .map(|(index, judgement)| match judgement {
            Err((refused, client)) => BatchResult::refused(index, client, &refused),
            Ok(place) => {
                let draft = &drafts[place];
                let client = Some(draft.client_msg_id.to_string());
                match &outcomes[place] {
                    Ok(kept) => BatchResult::accepted(index, client, kept.id.to_string()),
                    Err(refused) => BatchResult::refused(index, client, refused),
                }
            }
        })
        .collect();
    let accepted = results.iter().filter(|r| r.code == Code::Success).count();
    Ok(Json(BatchAnswer {
        code: Code::Success,
        accepted,
        rejected: results.len() - accepted,
        results,
    }))
}

impl BatchResult {
    fn accepted(index: usize, client_msg_id: Option<String>, message_id: String) -> Self {
        Self {
            index,
            code: Code::Success,
            reason: None,
            client_msg_id,
            message_id: Some(message_id),
            details: Vec::new(),
        }
    }

    fn refused(index: usize, client_msg_id: Option<String>, refused: &ApiError) -> Self {
        let (code, reason) = (refused.code(), refused.reason());
        tracing::debug!(
            index,
            code = code.name(),
            reason = reason.name(),
            "message refused"
        );
        metric::request_refused(code, reason);
        let in_batch = |detail: &Detail| {
            let mut detail = detail.clone();
            detail.field = if detail.field == "body" {
                format!("messages[{index}]").into()
            } else {
                format!("messages[{index}].{}", detail.field).into()
            };
            detail
        };
        Self {
            index,
            code,
            reason: Some(reason),
            client_msg_id,
            message_id: refused.known_message().map(|id| id.to_string()),
            details: refused.details().iter().map(in_batch).collect(),
        }
    }
}

fn check_size(count: usize, most: usize) -> Result<(), ApiError> {
    let sized = |reason, rule: &'static str, limit: usize| {
        ApiError::new(reason).detail(
            Detail::new("messages", rule)
                .limit(limit as u64)
                .actual(count as u64)
                .unit("ITEM"),
        )
    };
    if count == 0 {
        Err(sized(ErrorReason::BatchEmpty, "minItems", 1))
    } else if count > most {
        Err(sized(ErrorReason::BatchTooLarge, "maxItems", most))
    } else {
        Ok(())
    }
}

fn read(item: &RawValue) -> Result<MessageRequest, ApiError> {
    parse_json(item.get().as_bytes())
}

/// When our own trouble let no message through, the partner had better send the whole batch again.
fn failure_of_all<T>(outcomes: &[Result<T, ApiError>]) -> Option<ApiError> {
    if outcomes.iter().any(Result::is_ok) {
        return None;
    }
    let refused = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
    let mut ours = refused.filter(|error| error.status().is_server_error());
    ours.next().cloned()
}

/// The client id of a message that was refused, so that the partner can tell which it was.
fn readable_client_msg_id(item: &RawValue) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Named {
        client_msg_id: String,
    }
    let named: Named = serde_json::from_str(item.get()).ok()?;
    let id: ClientMsgId = named.client_msg_id.parse().ok()?;
    Some(id.to_string())
}

/// The items of a batch, unread. No more are kept than a batch may have, so that a body of millions
/// of tiny ones costs no memory; the rest is counted.
struct Items {
    kept: Vec<Box<RawValue>>,
    count: usize,
}

impl<'de> Deserialize<'de> for Items {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Counting;

        impl<'de> Visitor<'de> for Counting {
            type Value = Items;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of messages")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Items, A::Error> {
                let mut kept = Vec::new();
                while kept.len() < MOST_BATCH_ITEMS {
                    let Some(item) = items.next_element()? else {
                        break;
                    };
                    kept.push(item);
                }
                let mut count = kept.len();
                while items.next_element::<IgnoredAny>()?.is_some() {
                    count += 1;
                }
                Ok(Items { kept, count })
            }
        }

        deserializer.deserialize_seq(Counting)
    }
}
