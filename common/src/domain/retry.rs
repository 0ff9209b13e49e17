//! How long to wait before trying again. Pure: the caller brings the randomness.

use std::time::Duration;

/// How many times a message is tried again after its first attempt could not connect
/// (requirement 2.1).
pub const MAX_RETRIES: u16 = 3;

/// The wait before vendor attempt `attempt` (1 = first retry): 1, 2, 4 s, up to a quarter more by
/// `jitter` in 0..1, so that an outage does not end in one stampede.
pub fn before_attempt(attempt: u16, jitter: f64) -> Duration {
    let doublings = u32::from(attempt.saturating_sub(1)).min(6);
    spread(Duration::from_secs(1 << doublings), jitter)
}

/// The shortest and the longest wait of a mail that was not taken yet.
const SHORTEST_MAIL: Duration = Duration::from_secs(60);
const LONGEST_MAIL: Duration = Duration::from_secs(30 * 60);

/// The wait of a mail that was not taken yet: as long as it is old, from a minute, in which most
/// greylisting has passed, to half an hour (RFC 5321 §4.5.4.1). Whoever sent it away may say how long
/// instead, up to an hour.
pub fn before_mail(age: Duration, hint: Option<Duration>, jitter: f64) -> Duration {
    let wait = match hint {
        Some(hint) => hint.min(2 * LONGEST_MAIL),
        None => age.clamp(SHORTEST_MAIL, LONGEST_MAIL),
    };
    spread(wait, jitter)
}

/// The waits between webhook attempts; after the last one the webhook is a dead letter.
pub const WEBHOOK_SCHEDULE: [Duration; 6] = [
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(2 * 60),
    Duration::from_secs(10 * 60),
    Duration::from_secs(3600),
    Duration::from_secs(6 * 3600),
];

/// The longest `Retry-After` of a partner's endpoint that is honoured.
pub const WEBHOOK_HINT_CAP: Duration = Duration::from_secs(6 * 3600);

/// The wait before the next webhook attempt after `failures` failed ones (from 1), or `None` if
/// the schedule is used up. The endpoint's own hint can lengthen a wait, never shorten it.
pub fn before_webhook(
    schedule: &[Duration],
    failures: u16,
    hint: Option<Duration>,
    jitter: f64,
) -> Option<Duration> {
    let base = *schedule.get(usize::from(failures.checked_sub(1)?))?;
    let wanted = hint.unwrap_or_default().min(WEBHOOK_HINT_CAP);
    Some(spread(base.max(wanted), jitter))
}

/// The wait before a parked report is matched again after `misses` misses: 1 s doubling to
/// 10 min.
pub fn before_match(misses: u32) -> Duration {
    Duration::from_secs(1 << misses.min(10)).min(Duration::from_secs(600))
}

/// `base` and up to a quarter more.
fn spread(base: Duration, jitter: f64) -> Duration {
    base + base.mul_f64(jitter.clamp(0.0, 1.0) / 4.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn retries_come_after_one_two_and_four_seconds() {
        let waits: Vec<_> = (1..=MAX_RETRIES)
            .map(|n| before_attempt(n, 0.0).as_secs())
            .collect();
        assert_eq!(waits, [1, 2, 4]);
    }

    #[test]
    fn a_webhook_is_given_up_after_the_last_wait() {
        let waits: Vec<_> = (1..=7)
            .map(|n| before_webhook(&WEBHOOK_SCHEDULE, n, None, 0.0))
            .collect();
        assert_eq!(waits[0], Some(Duration::from_secs(5)));
        assert_eq!(waits[5], Some(Duration::from_secs(21_600)));
        assert_eq!(waits[6], None);
    }

    proptest! {
        #[test]
        fn jitter_only_lengthens_and_by_a_quarter_at_most(attempt in 0_u16..50, jitter in -1.0..2.0_f64) {
            let base = before_attempt(attempt, 0.0);
            let wait = before_attempt(attempt, jitter);
            prop_assert!(wait >= base && wait <= base + base / 4);
        }

        #[test]
        fn a_hint_never_shortens_a_wait_and_never_passes_the_cap(failures in 1_u16..7, hint in 0_u64..1_000_000, jitter in 0.0..1.0_f64) {
            let plain = before_webhook(&WEBHOOK_SCHEDULE, failures, None, 0.0).unwrap();
            let hinted = before_webhook(&WEBHOOK_SCHEDULE, failures, Some(Duration::from_secs(hint)), jitter).unwrap();
            prop_assert!(hinted >= plain);
            prop_assert!(hinted <= WEBHOOK_HINT_CAP + WEBHOOK_HINT_CAP / 4);
        }

        #[test]
        fn a_parked_report_is_looked_at_at_least_every_ten_minutes(misses: u32) {
            prop_assert!(before_match(misses) <= Duration::from_secs(600));
            prop_assert!(before_match(misses) >= Duration::from_secs(1));
        }
    }
}
