//! Limits per partner, and the fast path that tells a repeated request early.

use std::time::Duration;

use async_trait::async_trait;

use crate::domain::id::{ClientMsgId, MessageId, PartnerId};

mod local;

pub use local::LocalQuota;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Meter {
    /// Accepted items.
    Messages,
    /// AUTH messages on the express lane.
    Express,
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

/// Limits and the duplicate cache, over all receivers where the back-end can.
#[async_trait]
pub trait Quota: Send + Sync {
    /// Takes room for `items` at `per_second` items a second. Trouble of the back-end is not the
    /// partner's: it falls back to a local limit and never fails.
    async fn take(&self, partner: &PartnerId, meter: Meter, per_second: u32, items: u32) -> Room;

    /// Remembers that this client id was accepted. Called only after the commit; it may forget.
    async fn remember(&self, partner: &PartnerId, client: &ClientMsgId, message: MessageId);

    /// The message accepted under this client id, if remembered. A hit only points to a ledger row;
    /// a miss proves nothing.
    async fn recall(&self, partner: &PartnerId, client: &ClientMsgId) -> Option<MessageId>;
}
