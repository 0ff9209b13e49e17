//! What is asked before a body is read, and before it is looked into.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use pabal_common::access::Member;
use pabal_common::domain::code::ErrorReason;
use pabal_common::domain::text;
use pabal_common::http::{ApiError, Detail};
use pabal_common::ledger::Partner;
use pabal_common::quota::{Meter, Room};

use crate::auth::Caller;
use crate::message::{Checked, Draft, Known, MessageRequest, check};
use crate::receiver::Shared;

/// A known and active partner, at a time at which messages are taken.
pub(crate) struct Admitted(pub(super) Arc<Member>);

impl FromRequestParts<Arc<Shared>> for Admitted {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut Parts,
        receiver: &Arc<Shared>,
    ) -> Result<Self, ApiError> {
        let Caller(member) = Caller::from_request_parts(parts, receiver).await?;
        receiver.intake.admit()?;
        Ok(Self(member))
    }
}

/// Takes room for `items` messages from the partner's rate.
///
/// # Errors
/// E003; E001 for a batch that no waiting makes room for.
pub(crate) async fn take_room(
    receiver: &Shared,
    partner: &Partner,
    items: usize,
) -> Result<(), ApiError> {
    let count = u32::try_from(items).unwrap_or(u32::MAX);
    let per_second = partner.per_second;
    let room = receiver
        .node
        .quota
        .take(&partner.id, Meter::Messages, per_second, count);
    match room.await {
        Room::Granted => Ok(()),
        Room::Wait(wait) => Err(ApiError::new(ErrorReason::RateLimited).retry_after(wait)),
        // Waiting would not help: the partner must send less at once.
        Room::TooMany => Err(ApiError::new(ErrorReason::BatchTooLarge).detail(
            Detail::new("messages", "maxPerSecond")
                .limit(u64::from(per_second))
                .actual(u64::from(count))
                .unit("ITEM"),
        )),
    }
}

/// A text that fits its type may still be longer than every route of the type carries.
fn check_routes(receiver: &Shared, checked: &Checked) -> Result<(), ApiError> {
    let kind = checked.kind;
    let Some(limit) = receiver.node.instance.text_limit(kind) else {
        return Ok(());
    };
    let actual = text::length(kind, &checked.content.text);
    if actual <= limit {
        return Ok(());
    }
    Err(ApiError::new(ErrorReason::TextTooLong).detail(
        Detail::new("text", "maxLength")
            .limit(limit as u64)
            .actual(actual as u64)
            .unit(text::limit(kind).unit.name())
            .limited_by("route"),
    ))
}

/// The message that a request asks for: type, content and sender are good. `known` is what the request
/// refers to.
///
/// # Errors
/// E005, E001, E006.
pub(super) fn draft(
    receiver: &Shared,
    member: &Member,
    request: MessageRequest,
    known: &Known,
) -> Result<Draft, ApiError> {
    let checked = check(request, member.partner.unencodable, known)?;
    check_routes(receiver, &checked)?;
    let is_allowed = checked
        .sender
        .as_ref()
        .is_none_or(|s| member.may_send_from(s));
    if !is_allowed {
        return Err(
            ApiError::new(ErrorReason::SenderNotAllowed).detail(Detail::new("from", "registered"))
        );
    }
    Draft::new(checked, &receiver.lookup)
}
