//! How often one partner may ask.

use std::num::NonZeroU32;

use governor::clock::{Clock as _, DefaultClock};
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use pabal_common::domain::code::ErrorReason;
use pabal_common::domain::id::PartnerId;
use pabal_common::http::ApiError;

/// A limit for each partner; there are as many entries as partners that ever asked.
pub(super) struct Pace {
    limiter: RateLimiter<PartnerId, HashMapStateStore<PartnerId>, DefaultClock>,
    clock: DefaultClock,
}

impl Pace {
    pub(super) fn per_second(limit: NonZeroU32) -> Self {
        Self::of(Quota::per_second(limit))
    }

    pub(super) fn per_minute(limit: NonZeroU32) -> Self {
        Self::of(Quota::per_minute(limit))
    }

    fn of(quota: Quota) -> Self {
        let clock = DefaultClock::default();
        Self {
            limiter: RateLimiter::new(quota, HashMapStateStore::default(), clock.clone()),
            clock,
        }
    }

    /// One more request of `partner`.
    ///
    /// # Errors
    /// RATE_LIMITED, with the time to wait.
    pub(super) fn take(&self, partner: &PartnerId) -> Result<(), ApiError> {
        self.limiter.check_key(partner).map_err(|until| {
            let wait = until.wait_time_from(self.clock.now());
            ApiError::new(ErrorReason::RateLimited).retry_after(wait)
        })
    }
}
