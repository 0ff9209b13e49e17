//! Accepting messages.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::{Dispatch, LedgerError, frames};
use crate::broker::{FrameVersion, Member, Publication, QueueName};
use crate::clock::Timestamp;
use crate::domain::id::{InstanceId, MessageId, OutboxId, PartnerId};
use crate::domain::message::NewMessage;

/// How a repeated client id compares with the message accepted under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duplicate {
    /// The same request again.
    Same,
    /// Another request under the same id.
    Conflict,
}

/// What became of one message of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// Kept. It is in the batch's [`Dispatch`].
    Kept,
    /// The client id is taken by this message.
    Repeated(MessageId, Duplicate),
    /// Another message has this message id: make a new id and offer it again.
    IdTaken,
}

/// A committed batch.
#[derive(Clone, Debug)]
pub struct AcceptedBatch {
    /// What became of each, in the caller's order.
    pub outcomes: Vec<Accepted>,
    /// The frames of those that were kept; `None` if none was.
    pub dispatch: Option<Dispatch>,
}

/// The intake room.
#[async_trait]
pub trait Intake: Send + Sync {
    /// Keeps messages and one outbox row for the whole batch in one transaction, and retires outbox
    /// rows whose frames are confirmed. Rows are inserted in the order of their unique key; what
    /// became of each is read back, never counted. Two of a batch with the same client id: the
    /// first in order is kept. A message id is offered once.
    ///
    /// # Errors
    /// [`LedgerError`]: nothing was kept, unless the commit's answer was lost. The same request under
    /// new message ids then finds what was kept, as repeated.
    async fn accept(
        &self,
        me: InstanceId,
        outbox: OutboxId,
        messages: &[NewMessage],
        retire: &[OutboxId],
    ) -> Result<AcceptedBatch, LedgerError>;
}

/// How many rows one statement inserts; the largest that fits is taken.
///
/// A batch takes one to three statements: each is a round trip during which all that wait for the
/// commit wait, and each size a prepared statement on every connection.
pub(super) const SIZES: [usize; 13] = [128, 96, 64, 48, 32, 24, 16, 12, 8, 6, 4, 2, 1];

/// Cuts rows into the pieces that one statement each inserts, and tells by which of [`SIZES`].
pub(super) fn pieces<T>(mut rest: &[T]) -> impl Iterator<Item = (usize, &[T])> {
    std::iter::from_fn(move || {
        let size = SIZES.iter().position(|size| *size <= rest.len())?;
        let (piece, after) = rest.split_at(SIZES[size]);
        rest = after;
        Some((size, piece))
    })
}

/// Messages in the order of the unique key: unsorted batches that overlap would wait for each other
/// where rows are locked. The sort is stable, so of two with the same key the caller's first is kept.
pub(super) fn in_key_order(messages: &[NewMessage]) -> Vec<&NewMessage> {
    let mut sorted: Vec<&NewMessage> = messages.iter().collect();
    sorted.sort_by(|a, b| (&a.partner, &a.client_msg_id).cmp(&(&b.partner, &b.client_msg_id)));
    sorted
}

/// The keys to read messages back by: their place in the batch, partner and client id.
pub(super) fn places(messages: &[NewMessage]) -> Vec<serde_json::Value> {
    let key = |(place, message): (usize, &NewMessage)| {
        serde_json::json!([
            place,
            message.partner.as_str(),
            message.client_msg_id.as_str()
        ])
    };
    messages.iter().enumerate().map(key).collect()
}

/// What became of each, by what is now found under its client id: place, message id and digest.
pub(super) fn outcomes(
    messages: &[NewMessage],
    found: Vec<(i64, MessageId, Vec<u8>)>,
) -> Vec<Accepted> {
    let mut outcomes = vec![Accepted::IdTaken; messages.len()];
    for (place, id, digest) in found {
        let Some((message, outcome)) = usize::try_from(place)
            .ok()
            .and_then(|place| Some((messages.get(place)?, outcomes.get_mut(place)?)))
        else {
            continue;
        };
        *outcome = if id == message.id {
            Accepted::Kept
        } else if digest == message.digest {
            Accepted::Repeated(id, Duplicate::Same)
        } else {
            Accepted::Repeated(id, Duplicate::Conflict)
        };
    }
    outcomes
}

/// When a batch was accepted.
pub(super) fn accepted_at(messages: &[NewMessage]) -> Timestamp {
    let first = messages.first().map(|first| first.accepted_at);
    first.unwrap_or_default()
}

/// Those that were kept.
pub(super) fn kept<'m>(
    messages: &'m [NewMessage],
    outcomes: &[Accepted],
) -> impl Iterator<Item = &'m NewMessage> {
    let both = messages.iter().zip(outcomes);
    both.filter_map(|(message, outcome)| (*outcome == Accepted::Kept).then_some(message))
}

/// The frames of those that were kept.
pub(super) fn kept_frames(
    messages: &[NewMessage],
    outcomes: &[Accepted],
    version: FrameVersion,
) -> Vec<Publication> {
    let kept = kept(messages, outcomes).map(|message| {
        let member = Member {
            id: message.id,
            attempt: 0,
        };
        let queue = QueueName::of(message.kind, message.lane);
        (queue, message.kind, member)
    });
    frames::send_frames(kept, accepted_at(messages), version)
}

/// How many messages there are per partner, day in Korea and number of the type.
pub(super) fn per_day<'m>(
    messages: impl IntoIterator<Item = &'m NewMessage>,
) -> BTreeMap<(&'m PartnerId, i32, u8), i64> {
    let mut days = BTreeMap::new();
    for message in messages {
        let day = message.accepted_at.kst_day().number();
        *days
            .entry((&message.partner, day, message.kind.number()))
            .or_default() += 1;
    }
    days
}
