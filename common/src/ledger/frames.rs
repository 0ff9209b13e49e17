//! Outbox rows: how the frames of a dispatch are stored.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use prost::Message as _;

use super::{Dispatch, LedgerError};
use crate::broker::{FrameVersion, Member, Publication, QueueName, SendFrame};
use crate::clock::Timestamp;
use crate::domain::id::OutboxId;
use crate::domain::kind::MessageType;

/// The version in which this process writes frames; what everybody reads until it is told another.
/// Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct AgreedVersion(Arc<Mutex<FrameVersion>>);

impl AgreedVersion {
    pub(super) fn get(&self) -> FrameVersion {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set(&self, version: FrameVersion) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = version;
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct Stored {
    #[prost(message, repeated, tag = "1")]
    frames: Vec<StoredFrame>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredFrame {
    #[prost(uint32, tag = "1")]
    queue: u32,
    #[prost(bytes = "vec", tag = "2")]
    body: Vec<u8>,
}

/// The frames as an outbox row holds them.
pub(super) fn to_stored(frames: &[Publication]) -> Vec<u8> {
    let frames = frames
        .iter()
        .map(|frame| StoredFrame {
            queue: u32::from(frame.queue.number()),
            body: frame.body.to_vec(),
        })
        .collect();
    Stored { frames }.encode_to_vec()
}

/// Reads an outbox row back.
pub(super) fn read(outbox: OutboxId, frames: &[u8]) -> Result<Dispatch, LedgerError> {
    let corrupt = |what: String| LedgerError::Corrupt(format!("outbox row: {what}"));
    let stored = Stored::decode(frames).map_err(|error| corrupt(error.to_string()))?;
    let frames = stored
        .frames
        .into_iter()
        .map(|frame| {
            let queue = u8::try_from(frame.queue)
                .ok()
                .and_then(QueueName::from_number)
                .ok_or_else(|| corrupt(format!("queue {}", frame.queue)))?;
            Ok(Publication {
                queue,
                body: Bytes::from(frame.body),
            })
        })
        .collect::<Result<_, LedgerError>>()?;
    Ok(Dispatch { outbox, frames })
}

/// Groups members by queue and type, in order, and makes their frames.
pub(super) fn send_frames(
    members: impl IntoIterator<Item = (QueueName, MessageType, Member)>,
    queued_at: Timestamp,
    version: FrameVersion,
) -> Vec<Publication> {
    let mut groups: Vec<(QueueName, MessageType, Vec<Member>)> = Vec::new();
    for (queue, kind, member) in members {
        match groups
            .iter_mut()
            .find(|(q, k, _)| *q == queue && *k == kind)
        {
            Some((_, _, group)) => group.push(member),
            None => groups.push((queue, kind, vec![member])),
        }
    }
    groups
        .into_iter()
        .flat_map(|(queue, kind, group)| {
            SendFrame::publications(queue, kind, queued_at, &group, version)
        })
        .collect()
}
