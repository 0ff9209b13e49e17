//! A rate limit in one number (GCRA): until when what was taken is paid for.
//!
//! Pure: the time is passed in. One second's worth may be taken at once.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// How much may be taken at once, in time.
const BURST: Duration = Duration::from_secs(1);

/// The part of a limit that one process may give out by itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    /// The whole limit, in items a second.
    pub(super) per_second: NonZeroU32,
    /// Among how many processes it is divided.
    pub(super) receivers: NonZeroU32,
}

impl Share {
    /// The time in which the share makes up for so many items.
    fn cost(self, items: u32) -> Duration {
        let nanos = 1_000_000_000 * u128::from(items) * u128::from(self.receivers.get())
            / u128::from(self.per_second.get());
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// What one process has given out of a limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    paid_at: Instant,
}

impl Bucket {
    /// Nothing is taken yet.
    pub(super) const fn full(now: Instant) -> Self {
        Self { paid_at: now }
    }

    /// Takes `items`. What is more than the share of a second, though not more than the second's
    /// whole limit, is taken when nothing else is open, and paid for afterwards: otherwise dividing
    /// the limit would refuse a large batch for ever.
    ///
    /// # Errors
    /// When there will be room.
    pub(super) fn take(&mut self, now: Instant, share: Share, items: u32) -> Result<(), Duration> {
        let cost = share.cost(items);
        let from = self.paid_at.max(now);
        let wait = (from + cost.min(BURST)).saturating_duration_since(now + BURST);
        if wait > Duration::ZERO {
            return Err(wait);
        }
        self.paid_at = from + cost;
        Ok(())
    }

    /// Counts items that somebody else let pass; it leaves nothing to pay for afterwards.
    pub(super) fn charge(&mut self, now: Instant, share: Share, items: u32) {
        let paid_at = self.paid_at.max(now) + share.cost(items);
        self.paid_at = paid_at.min(self.paid_at.max(now + BURST));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn share(per_second: u32, receivers: u32) -> Share {
        Share {
            per_second: per_second.try_into().unwrap(),
            receivers: receivers.try_into().unwrap(),
        }
    }

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_second_s_worth_passes_at_once_and_the_next_after_its_interval() {
        let now = Instant::now();
        let mut bucket = Bucket::full(now);
        assert_eq!(bucket.take(now, share(10, 1), 10), Ok(()));
        assert_eq!(bucket.take(now, share(10, 1), 1), Err(millis(100)));
        assert_eq!(bucket.take(now, share(10, 1), 3), Err(millis(300)));
        assert_eq!(bucket.take(now + millis(100), share(10, 1), 1), Ok(()));
    }

    #[test]
    fn a_batch_beyond_the_share_passes_when_nothing_is_open_and_is_paid_for_afterwards() {
        let now = Instant::now();
        let mut bucket = Bucket::full(now);
        assert_eq!(bucket.take(now, share(1000, 4), 1000), Ok(()));
        assert_eq!(bucket.take(now, share(1000, 4), 1000), Err(millis(4000)));
        assert_eq!(bucket.take(now, share(1000, 4), 1), Err(millis(3004)));
        let later = now + millis(4000);
        assert_eq!(bucket.take(later, share(1000, 4), 1000), Ok(()));
    }

    #[test]
    fn less_than_one_a_second_for_each_is_still_something() {
        let now = Instant::now();
        let mut bucket = Bucket::full(now);
        assert_eq!(bucket.take(now, share(1, 3), 1), Ok(()));
        assert_eq!(bucket.take(now, share(1, 3), 1), Err(millis(3000)));
    }

    #[test]
    fn what_others_let_pass_empties_it_and_no_more() {
        let now = Instant::now();
        let mut bucket = Bucket::full(now);
        bucket.charge(now, share(10, 1), 500);
        assert_eq!(bucket.take(now, share(10, 1), 1), Err(millis(100)));
    }

    proptest! {
        #[test]
        fn it_never_gives_more_than_a_burst_and_the_rate(
            per_second in 1_u32..5_000,
            steps in proptest::collection::vec((0_u64..400, 1_u32..200), 1..200),
        ) {
            let start = Instant::now();
            let (mut now, mut bucket, mut given) = (start, Bucket::full(start), 0_u64);
            for (pause, items) in steps {
                now += millis(pause);
                let items = items.min(per_second);
                if bucket.take(now, share(per_second, 1), items).is_ok() {
                    given += u64::from(items);
                }
            }
            let elapsed = (now - start).as_secs_f64();
            let bound = f64::from(per_second) * (1.0 + elapsed) + 0.001;
            prop_assert!(given as f64 <= bound, "{given} > {bound}");
        }

        #[test]
        fn after_the_time_it_names_there_is_room(
            per_second in 1_u32..5_000,
            receivers in 1_u32..10,
            taken in proptest::collection::vec(1_u32..5_000, 0..5),
            items in 1_u32..5_000,
        ) {
            let (share, now) = (share(per_second, receivers), Instant::now());
            let mut bucket = Bucket::full(now);
            for items in taken {
                let _ = bucket.take(now, share, items.min(per_second));
            }
            let items = items.min(per_second);
            if let Err(wait) = bucket.take(now, share, items) {
                prop_assert_eq!(bucket.take(now + wait, share, items), Ok(()));
            }
        }
    }
}
