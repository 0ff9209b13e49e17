//! The arithmetic of a lease, as its holder sees it.
//!
//! All times are from [`crate::clock::boot_time`]. The holder counts from before a renewal was
//! sent, so it always thinks its lease older than the ledger does.

use std::time::Duration;

/// How long a lease is and how it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseConfig {
    /// How long the ledger holds the lease after a renewal.
    pub lease: Duration,
    /// How often it is renewed.
    pub beat: Duration,
    /// After this long without a renewal the process acts as dead. What is left of the lease is the
    /// margin for everything that cannot be measured.
    pub dead_after: Duration,
    /// Whether no other process can use the ledger while this one does. Then whatever others own
    /// may be taken over at once.
    pub exclusive: bool,
}

impl Default for LeaseConfig {
    /// 10 s, renewed every second, dead after 7 s, shared with other processes.
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(10),
            beat: Duration::from_secs(1),
            dead_after: Duration::from_secs(7),
            exclusive: false,
        }
    }
}

impl LeaseConfig {
    /// The usual times, for a ledger that one process at a time can use.
    pub fn exclusive() -> Self {
        Self {
            exclusive: true,
            ..Self::default()
        }
    }

    /// How long one call may take: two can fail before the process must act as dead.
    pub(super) fn call_limit(&self) -> Duration {
        self.dead_after / 3
    }
}

/// A lease in its holder's hand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lease {
    config: LeaseConfig,
    /// When the last renewal that succeeded was sent; `None` once the lease is given up or lost.
    sent: Option<Duration>,
    /// Since when the process has not acted as dead.
    alive_since: Duration,
}

impl Lease {
    /// A lease that was asked for at `sent`.
    pub(super) fn new(config: LeaseConfig, sent: Duration) -> Self {
        Self {
            config,
            sent: Some(sent),
            alive_since: sent,
        }
    }

    /// A renewal sent at `sent` was answered at `answered`.
    pub(super) fn renewed(&mut self, sent: Duration, answered: Duration) {
        let Some(before) = self.sent else { return };
        let dead_between = answered.saturating_sub(before) >= self.config.dead_after;
        if dead_between {
            self.alive_since = answered;
        }
        self.sent = Some(sent);
    }

    /// The lease is given up or lost, for good.
    pub(super) fn end(&mut self) {
        self.sent = None;
    }

    /// How long the process may still act; zero when it must act as dead.
    pub(super) fn remaining(&self, now: Duration) -> Duration {
        self.age(now).map_or(Duration::ZERO, |age| {
            self.config.dead_after.saturating_sub(age)
        })
    }

    /// How long ago the last renewal was sent; `None` once the lease is given up or lost.
    pub(super) fn age(&self, now: Duration) -> Option<Duration> {
        self.sent.map(|sent| now.saturating_sub(sent))
    }

    /// Whether the process has been alive for a whole lease without a gap. After a stall of the
    /// ledger everybody's lease has lapsed; who renews first must not take the others for dead.
    pub(super) fn unbroken(&self, now: Duration) -> bool {
        let long_enough = now.saturating_sub(self.alive_since) >= self.config.lease;
        !self.remaining(now).is_zero() && (self.config.exclusive || long_enough)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn lease() -> Lease {
        Lease::new(LeaseConfig::default(), at(0))
    }

    #[test]
    fn it_ages_from_when_the_renewal_was_sent() {
        let mut lease = lease();
        lease.renewed(at(1_000), at(4_000));
        assert_eq!(lease.remaining(at(4_000)), at(4_000));
        assert_eq!(lease.remaining(at(7_999)), at(1));
        assert_eq!(lease.remaining(at(8_000)), at(0));
    }

    #[test]
    fn it_is_unbroken_after_a_whole_period_of_renewals() {
        let mut lease = lease();
        for second in 1..=10 {
            assert!(!lease.unbroken(at(second * 1_000 - 1)));
            lease.renewed(at(second * 1_000), at(second * 1_000 + 5));
        }
        assert!(lease.unbroken(at(10_000)));
    }

    #[test]
    fn after_a_stall_the_period_starts_anew() {
        let mut lease = lease();
        for second in 1..=20 {
            lease.renewed(at(second * 1_000), at(second * 1_000 + 5));
        }
        assert!(lease.unbroken(at(20_500)));
        lease.renewed(at(21_000), at(27_000));
        assert!(!lease.unbroken(at(27_000)), "answered after it was dead");
        lease.renewed(at(27_500), at(27_505));
        for second in 28..=36 {
            lease.renewed(at(second * 1_000), at(second * 1_000 + 5));
        }
        assert!(!lease.unbroken(at(36_999)));
        assert!(lease.unbroken(at(37_000)));
    }

    #[test]
    fn where_no_other_can_be_there_a_start_takes_over_at_once() {
        let lease = Lease::new(LeaseConfig::exclusive(), at(0));
        assert!(lease.unbroken(at(1)));
        assert!(!lease.unbroken(at(7_000)), "but not when it acts as dead");
    }

    #[test]
    fn a_lease_that_ended_is_not_renewed_by_a_late_answer() {
        let mut lease = lease();
        lease.end();
        lease.renewed(at(1_000), at(1_001));
        assert_eq!(lease.remaining(at(1_001)), at(0));
        assert!(!lease.unbroken(at(20_000)));
    }

    proptest! {
        #[test]
        fn the_holder_never_thinks_it_alive_after_the_ledger_let_it_lapse(
            beats in proptest::collection::vec((0_u64..9_000, 0_u64..3_000, 0_u64..3_000, any::<bool>()), 0..30),
            later in 0_u64..20_000,
        ) {
            let mut lease = lease();
            let mut now = 0;
            let mut lapses = 10_000;
            for (pause, way, back, answered) in beats {
                let sent = now + pause;
                let effective = sent + way;
                lapses = effective + 10_000;
                now = effective + back;
                if answered { lease.renewed(at(sent), at(now)); }
            }
            let moment = now + later;
            if !lease.remaining(at(moment)).is_zero() {
                prop_assert!(moment < lapses);
            }
        }
    }
}
