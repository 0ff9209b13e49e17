//! Limits per partner, and the fast path that tells a repeated request early.

use std::time::Duration;

use async_trait::async_trait;

use crate::domain::id::{ClientMsgId, MessageId, PartnerId};

mod bucket;
mod local;
pub mod redis;

pub use local::LocalQuota;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Meter {
    /// Accepted items.
    Messages,
    /// AUTH messages on the express lane.
    Express,
    /// Messages on the ordinary lane.
    Fair,
}

/// The answer to a request for room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// Go on.
    Granted,
    /// Not now; there will be room after this time.
    Wait(Duration),
    /// Never: more items than a whole second's limit.
    TooMany,
}

/// Why limits are not counted for all receivers. No request fails by it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuotaError {
    /// The back-end cannot be reached, refuses for now, or does not answer in time.
    #[error("quota back-end unavailable: {0}")]
    Unavailable(String),
    /// A setting is wrong: the sentence names it and the remedy.
    #[error("{0}")]
    Misconfigured(String),
}

/// Limits and the duplicate cache, over all receivers where the back-end can.
#[async_trait]
pub trait Quota: Send + Sync {
    /// Takes room for `items` at `per_second` items a second, of which one second's worth may be
    /// taken at once. Trouble of the back-end is not the partner's: it falls back to a local limit
    /// and never fails.
    async fn take(&self, partner: &PartnerId, meter: Meter, per_second: u32, items: u32) -> Room;

    /// Tells how many live processes take messages, this one included: what a limit is divided by
    /// where, or while, nothing counts for all of them.
    fn note_receivers(&self, live: usize);

    /// Remembers that this client id was accepted. Called only after the commit; it may forget.
    async fn remember(&self, partner: &PartnerId, client: &ClientMsgId, message: MessageId);

    /// The message accepted under this client id, if remembered. A hit only points to a ledger row;
    /// a miss proves nothing.
    async fn recall(&self, partner: &PartnerId, client: &ClientMsgId) -> Option<MessageId>;
}
