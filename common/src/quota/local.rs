//! Limits within one process.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use moka::future::Cache;

use super::bucket::{Bucket, Share};
use super::{Meter, Quota, Room};
use crate::domain::id::{ClientMsgId, MessageId, PartnerId};

/// How many partners' limits and how many repeats are kept.
pub(super) const PARTNERS: u64 = 100_000;
const REPEATS: u64 = 200_000;
/// How long a limit is kept that nobody asks for. Longer than the largest debt of one.
pub(super) const IDLE: Duration = Duration::from_secs(60);
/// How long an accepted client id is remembered.
pub(super) const REMEMBERED: Duration = Duration::from_secs(600);

/// Each process limits by itself; beside others it gives out its share of a limit. Client ids are
/// remembered in a bounded cache.
#[derive(Debug)]
pub struct LocalQuota {
    buckets: Cache<(PartnerId, Meter), Arc<Mutex<Bucket>>>,
    repeats: Cache<(PartnerId, ClientMsgId), MessageId>,
    receivers: Receivers,
}

impl Default for LocalQuota {
    fn default() -> Self {
        Self {
            buckets: Cache::builder()
                .max_capacity(PARTNERS)
                .time_to_idle(IDLE)
                .build(),
            repeats: Cache::builder()
                .max_capacity(REPEATS)
                .time_to_live(REMEMBERED)
                .build(),
            receivers: Receivers::default(),
        }
    }
}

impl LocalQuota {
    /// Limits for one process, until it is told that there are more.
    pub fn new() -> Self {
        Self::default()
    }
}

#[async_trait]
impl Quota for LocalQuota {
    async fn take(&self, partner: &PartnerId, meter: Meter, per_second: u32, items: u32) -> Room {
        let limit = match Limit::of(per_second, items) {
            Ok(limit) => limit,
            Err(room) => return room,
        };
        let full = async { Arc::new(Mutex::new(Bucket::full(Instant::now()))) };
        let bucket = self.buckets.get_with((partner.clone(), meter), full).await;
        let mut bucket = bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = bucket.take(Instant::now(), self.receivers.share(limit), items);
        taken.map_or_else(Room::Wait, |()| Room::Granted)
    }

    fn note_receivers(&self, live: usize) {
        self.receivers.note(live);
    }

    async fn remember(&self, partner: &PartnerId, client: &ClientMsgId, message: MessageId) {
        self.repeats
            .insert((partner.clone(), client.clone()), message)
            .await;
    }

    async fn recall(&self, partner: &PartnerId, client: &ClientMsgId) -> Option<MessageId> {
        self.repeats.get(&(partner.clone(), client.clone())).await
    }
}

/// A limit, in items a second, that so many items can keep to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit(pub(super) NonZeroU32);

impl Limit {
    /// # Errors
    /// The answer that needs no counting. It is the same however many processes there are: the
    /// whole limit says what is too many.
    pub(super) fn of(per_second: u32, items: u32) -> Result<Self, Room> {
        if items == 0 {
            return Err(Room::Granted);
        }
        match NonZeroU32::new(per_second) {
            Some(limit) if items <= per_second => Ok(Self(limit)),
            _ => Err(Room::TooMany),
        }
    }
}

/// How many processes take messages.
#[derive(Debug)]
pub(super) struct Receivers(AtomicU32);

impl Default for Receivers {
    fn default() -> Self {
        Self(AtomicU32::new(1))
    }
}

impl Receivers {
    /// `live` of them, this one included.
    pub(super) fn note(&self, live: usize) {
        let live = u32::try_from(live).unwrap_or(u32::MAX);
        self.0.store(live, Ordering::Relaxed);
    }

    /// This process's share of a limit.
    pub(super) fn share(&self, limit: Limit) -> Share {
        let receivers = NonZeroU32::new(self.0.load(Ordering::Relaxed));
        Share {
            per_second: limit.0,
            receivers: receivers.unwrap_or(NonZeroU32::MIN),
        }
    }
}
