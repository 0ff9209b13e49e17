//! Limits within one process.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota as Rate, RateLimiter};
use moka::future::Cache;

use super::{Meter, Quota, Room};
use crate::domain::id::{ClientMsgId, MessageId, PartnerId};

/// How many partners' limiters and how many repeats are kept.
const PARTNERS: u64 = 100_000;
const REPEATS: u64 = 200_000;

/// Limits by `governor`, one limiter per partner and meter, and a bounded cache of client ids.
#[derive(Debug)]
pub struct LocalQuota {
    limiters: Cache<(PartnerId, Meter, u32), Arc<DefaultDirectRateLimiter>>,
    repeats: Cache<(PartnerId, ClientMsgId), MessageId>,
    clock: DefaultClock,
}

impl Default for LocalQuota {
    fn default() -> Self {
        Self {
            // A changed limit is another key; the old limiter is idle and goes.
            limiters: Cache::builder()
                .max_capacity(PARTNERS)
                .time_to_idle(Duration::from_secs(60))
                .build(),
            repeats: Cache::builder()
                .max_capacity(REPEATS)
                .time_to_live(Duration::from_secs(600))
                .build(),
            clock: DefaultClock::default(),
        }
    }
}

impl LocalQuota {
    /// Limits for one process.
    pub fn new() -> Self {
        Self::default()
    }

    async fn limiter(
        &self,
        partner: &PartnerId,
        meter: Meter,
        per_second: NonZeroU32,
    ) -> Arc<DefaultDirectRateLimiter> {
        self.limiters
            .get_with((partner.clone(), meter, per_second.get()), async {
                Arc::new(RateLimiter::direct(Rate::per_second(per_second)))
            })
            .await
    }
}

#[async_trait]
impl Quota for LocalQuota {
    async fn take(&self, partner: &PartnerId, meter: Meter, per_second: u32, items: u32) -> Room {
        let Some(items) = NonZeroU32::new(items) else {
            return Room::Granted;
        };
        let Some(per_second) = NonZeroU32::new(per_second) else {
            return Room::TooMany;
        };
        let limiter = self.limiter(partner, meter, per_second).await;
        match limiter.check_n(items) {
            Ok(Ok(())) => Room::Granted,
            Ok(Err(until)) => Room::Wait(until.wait_time_from(self.clock.now())),
            Err(_) => Room::TooMany,
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn partner(name: &str) -> PartnerId {
        name.parse().unwrap()
    }

    #[tokio::test]
    async fn a_batch_costs_its_items() {
        let quota = LocalQuota::new();
        let take = |items| {
            let quota = &quota;
            async move {
                quota
                    .take(&partner("a"), Meter::Messages, 1000, items)
                    .await
            }
        };
        assert_eq!(take(990).await, Room::Granted);
        assert!(matches!(take(500).await, Room::Wait(wait) if wait <= Duration::from_secs(1)));
        assert_eq!(take(1001).await, Room::TooMany);
    }

    #[tokio::test]
    async fn one_partners_limit_is_not_anothers() {
        let quota = LocalQuota::new();
        assert_eq!(
            quota.take(&partner("a"), Meter::Messages, 5, 5).await,
            Room::Granted
        );
        assert_eq!(
            quota.take(&partner("b"), Meter::Messages, 5, 5).await,
            Room::Granted
        );
        assert!(matches!(
            quota.take(&partner("a"), Meter::Messages, 5, 1).await,
            Room::Wait(_)
        ));
        assert_eq!(
            quota.take(&partner("a"), Meter::Express, 5, 1).await,
            Room::Granted
        );
    }

    #[tokio::test]
    async fn an_accepted_client_id_is_recalled_for_its_partner_only() {
        let quota = LocalQuota::new();
        let (client, message) = ("m-1".parse().unwrap(), MessageId::from_number(7));
        quota.remember(&partner("a"), &client, message).await;
        assert_eq!(quota.recall(&partner("a"), &client).await, Some(message));
        assert_eq!(quota.recall(&partner("b"), &client).await, None);
    }
}
