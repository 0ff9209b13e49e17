//! When requests are due at a steady rate.

use std::time::Duration;

/// A steady rate over a time.
#[derive(Clone, Copy, Debug)]
pub(in crate::command::bench) struct Schedule {
    /// Requests a second.
    rate: u64,
    /// How many there are.
    count: u64,
}

impl Schedule {
    /// `rate` requests a second for as long as `lasts`.
    pub(in crate::command::bench) fn new(rate: u64, lasts: Duration) -> Self {
        let rate = rate.max(1);
        let nanos = lasts.as_nanos() * u128::from(rate);
        let count = u64::try_from(nanos / 1_000_000_000).unwrap_or(u64::MAX);
        Self { rate, count }
    }

    /// How many requests there are.
    pub(in crate::command::bench) const fn count(&self) -> u64 {
        self.count
    }

    /// When a request is due, from the beginning; the first, 0, at once.
    pub(super) fn due(&self, number: u64) -> Duration {
        let nanos = u128::from(number) * 1_000_000_000 / u128::from(self.rate);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// How many are due once so much time has passed.
    pub(super) fn due_by(&self, passed: Duration) -> u64 {
        let whole = passed.as_nanos() * u128::from(self.rate) / 1_000_000_000;
        // The last one counted may be due a fraction of a nanosecond later.
        let by = u64::try_from(whole).unwrap_or(u64::MAX).saturating_add(1);
        by.min(self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_makes_as_many_requests_as_it_says() {
        assert_eq!(Schedule::new(1_000, Duration::from_secs(3)).count(), 3_000);
        assert_eq!(Schedule::new(7, Duration::from_millis(1_500)).count(), 10);
        assert_eq!(Schedule::new(1_000, Duration::ZERO).count(), 0);
    }

    #[test]
    fn requests_are_due_at_even_distances_and_do_not_drift() {
        let schedule = Schedule::new(3, Duration::from_secs(1_000_000));
        assert_eq!(schedule.due(0), Duration::ZERO);
        assert_eq!(schedule.due(1), Duration::from_nanos(333_333_333));
        assert_eq!(schedule.due(3_000_000), Duration::from_secs(1_000_000));
    }

    #[test]
    fn what_is_due_by_a_time_is_what_was_due_before_it() {
        for rate in [1, 3, 7, 1_000, 99_991] {
            let schedule = Schedule::new(rate, Duration::from_secs(10));
            for number in (0..schedule.count()).step_by(1 + schedule.count() as usize / 100) {
                let due = schedule.due(number);
                assert!(schedule.due_by(due) >= number, "{rate} {number}");
                assert!(schedule.due_by(due) <= number + 1, "{rate} {number}");
            }
            assert_eq!(
                schedule.due_by(Duration::from_secs(3_600)),
                schedule.count()
            );
        }
        assert_eq!(Schedule::new(10, Duration::ZERO).due_by(Duration::ZERO), 0);
    }
}
