//! A circuit breaker: when to stop asking something that fails, and when to ask again.
//!
//! Pure: the time is passed in, as time since some fixed point on a clock that is never set
//! ([`crate::clock::boot_time`]).

use std::time::Duration;

/// When it opens and how long it stays open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerRules {
    /// Opens at this many failures in a row.
    pub failures: u32,
    /// Opens also at a failure this long after the first of a row, however few there were: where
    /// little happens, or each failure takes long, a number alone would be reached late.
    pub failing_for: Duration,
    /// How long it first stays open. Each trial that fails doubles it.
    pub pause: Duration,
    /// The longest it stays open between two trials.
    pub longest_pause: Duration,
    /// After this time a trial that told no result is given up, and another may be made.
    pub trial: Duration,
}

impl Default for BreakerRules {
    fn default() -> Self {
        Self {
            failures: 5,
            failing_for: Duration::from_secs(5),
            pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(30),
            trial: Duration::from_secs(10),
        }
    }
}

/// What may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Everything.
    Closed,
    /// Nothing.
    Open {
        /// When a trial may be made.
        retry_after: Duration,
    },
    /// One trial, which may be under way.
    HalfOpen,
}

/// Nothing may pass now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("closed to calls for another {retry_after:?}")]
pub struct Open {
    /// When to ask again.
    pub retry_after: Duration,
}

/// A circuit breaker.
#[derive(Clone, Debug)]
pub struct Breaker {
    rules: BreakerRules,
    position: Position,
    /// Since when it has not been closed.
    broken_since: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
enum Position {
    Closed { failures: u32, since: Duration },
    Open { until: Duration, pause: Duration },
    Trial { until: Duration, pause: Duration },
}

const CLOSED: Position = Position::Closed {
    failures: 0,
    since: Duration::ZERO,
};

impl Breaker {
    /// A closed breaker.
    pub const fn new(rules: BreakerRules) -> Self {
        Self {
            rules,
            position: CLOSED,
            broken_since: None,
        }
    }

    /// Asks to make a call. While half open exactly one call is let through: the trial, whose
    /// result must be told by [`succeeded`](Self::succeeded) or [`failed`](Self::failed).
    ///
    /// # Errors
    /// [`Open`] if the call must not be made.
    pub fn admit(&mut self, now: Duration) -> Result<(), Open> {
        let (until, pause) = match self.position {
            Position::Closed { .. } => return Ok(()),
            Position::Open { until, pause } | Position::Trial { until, pause } => (until, pause),
        };
        if now < until {
            let retry_after = until - now;
            return Err(Open { retry_after });
        }
        let until = now + self.rules.trial;
        self.position = Position::Trial { until, pause };
        Ok(())
    }

    /// A call succeeded. Returns whether that closed the breaker.
    pub fn succeeded(&mut self, _now: Duration) -> bool {
        match self.position {
            // A call from before it opened: the trial decides.
            Position::Open { .. } => false,
            Position::Closed { .. } => {
                self.position = CLOSED;
                false
            }
            Position::Trial { .. } => {
                self.position = CLOSED;
                self.broken_since = None;
                true
            }
        }
    }

    /// A call failed. Returns whether that opened the breaker; a trial that failed leaves it open.
    pub fn failed(&mut self, now: Duration) -> bool {
        match self.position {
            // A call from before it opened.
            Position::Open { .. } => false,
            Position::Trial { pause, .. } => {
                self.open(now, (pause * 2).min(self.rules.longest_pause));
                false
            }
            Position::Closed { failures, since } => {
                let since = if failures == 0 { now } else { since };
                let failures = failures + 1;
                let opens = failures >= self.rules.failures
                    || failures > 1 && now.saturating_sub(since) >= self.rules.failing_for;
                if opens {
                    self.broken_since = Some(now);
                    self.open(now, self.rules.pause.min(self.rules.longest_pause));
                } else {
                    self.position = Position::Closed { failures, since };
                }
                opens
            }
        }
    }

    /// What may pass now. Asking changes nothing.
    pub fn state(&self, now: Duration) -> State {
        match self.position {
            Position::Closed { .. } => State::Closed,
            Position::Open { until, .. } if now < until => State::Open {
                retry_after: until - now,
            },
            Position::Open { .. } | Position::Trial { .. } => State::HalfOpen,
        }
    }

    /// For how long it has not been closed; `None` while it is.
    pub fn broken_for(&self, now: Duration) -> Option<Duration> {
        self.broken_since.map(|since| now.saturating_sub(since))
    }

    fn open(&mut self, now: Duration, pause: Duration) {
        let until = now + pause;
        self.position = Position::Open { until, pause };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RULES: BreakerRules = BreakerRules {
        failures: 5,
        failing_for: Duration::from_secs(5),
        pause: Duration::from_secs(1),
        longest_pause: Duration::from_secs(30),
        trial: Duration::from_secs(10),
    };

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn opened() -> Breaker {
        let mut breaker = Breaker::new(RULES);
        for _ in 0..5 {
            breaker.failed(at(0));
        }
        breaker
    }

    #[test]
    fn five_failures_in_a_row_open_it_and_four_do_not() {
        let mut breaker = Breaker::new(RULES);
        for _ in 0..4 {
            assert!(!breaker.failed(at(0)));
        }
        assert_eq!(breaker.state(at(0)), State::Closed);
        assert!(breaker.failed(at(0)));
        let retry_after = at(1000);
        assert_eq!(breaker.state(at(0)), State::Open { retry_after });
    }

    #[test]
    fn a_success_between_failures_starts_the_count_anew() {
        let mut breaker = Breaker::new(RULES);
        for _ in 0..20 {
            assert!(!breaker.failed(at(0)));
            breaker.failed(at(0));
            breaker.succeeded(at(0));
        }
        assert_eq!(breaker.state(at(0)), State::Closed);
    }

    #[test]
    fn two_failures_far_apart_with_nothing_between_open_it() {
        let mut breaker = Breaker::new(RULES);
        assert!(!breaker.failed(at(0)));
        assert!(!breaker.failed(at(4_999)));
        assert!(breaker.failed(at(5_000)));
    }

    #[test]
    fn a_single_failure_after_a_long_quiet_time_does_not_open_it() {
        let mut breaker = Breaker::new(RULES);
        breaker.failed(at(0));
        breaker.succeeded(at(1));
        assert!(!breaker.failed(at(60_000)));
        assert_eq!(breaker.state(at(60_000)), State::Closed);
    }

    #[test]
    fn the_pause_doubles_with_each_failed_trial_up_to_half_a_minute() {
        let mut breaker = opened();
        let mut now = at(0);
        let mut pauses = Vec::new();
        for _ in 0..7 {
            let State::Open { retry_after } = breaker.state(now) else {
                panic!("not open");
            };
            pauses.push(retry_after.as_secs());
            now += retry_after;
            assert_eq!(breaker.admit(now), Ok(()));
            breaker.failed(now);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
    }

    #[test]
    fn after_it_has_closed_the_next_pause_is_short_again() {
        let mut breaker = opened();
        assert_eq!(breaker.admit(at(1_000)), Ok(()));
        breaker.failed(at(1_000));
        assert_eq!(breaker.admit(at(3_000)), Ok(()));
        assert!(breaker.succeeded(at(3_000)));
        assert_eq!(breaker.broken_for(at(3_000)), None);
        for _ in 0..5 {
            breaker.failed(at(4_000));
        }
        let retry_after = at(1_000);
        assert_eq!(breaker.state(at(4_000)), State::Open { retry_after });
    }

    #[test]
    fn late_results_from_before_it_opened_change_nothing() {
        let mut breaker = opened();
        assert!(!breaker.succeeded(at(500)));
        assert!(!breaker.failed(at(500)));
        let retry_after = at(500);
        assert_eq!(breaker.state(at(500)), State::Open { retry_after });
    }

    #[test]
    fn a_trial_without_a_result_is_given_up() {
        let mut breaker = opened();
        assert_eq!(breaker.admit(at(1_000)), Ok(()));
        let retry_after = at(1);
        assert_eq!(breaker.admit(at(10_999)), Err(Open { retry_after }));
        assert_eq!(breaker.admit(at(11_000)), Ok(()));
    }

    #[test]
    fn it_knows_for_how_long_it_has_been_broken_through_all_trials() {
        let mut breaker = opened();
        assert_eq!(breaker.admit(at(1_000)), Ok(()));
        breaker.failed(at(1_500));
        assert_eq!(breaker.broken_for(at(12_000)), Some(at(12_000)));
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Wait(u64),
        Admit,
        Succeed,
        Fail,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (0_u64..12_000).prop_map(Step::Wait),
            Just(Step::Admit),
            Just(Step::Succeed),
            Just(Step::Fail),
            Just(Step::Fail),
        ];
        proptest::collection::vec(step, 0..200)
    }

    proptest! {
        #[test]
        fn it_never_admits_while_open_and_one_trial_while_half_open(steps in steps()) {
            let mut breaker = Breaker::new(RULES);
            let mut now = Duration::ZERO;
            let mut trial: Option<Duration> = None;
            for step in steps {
                let before = breaker.state(now);
                match step {
                    Step::Wait(millis) => now += at(millis),
                    Step::Admit => {
                        let admitted = breaker.admit(now);
                        match before {
                            State::Closed => prop_assert_eq!(admitted, Ok(())),
                            State::Open { retry_after } => prop_assert_eq!(admitted, Err(Open { retry_after })),
                            State::HalfOpen => {
                                let under_way = trial.is_some_and(|since| now < since + RULES.trial);
                                prop_assert_eq!(admitted.is_err(), under_way);
                                if admitted.is_ok() { trial = Some(now); }
                            }
                        }
                    }
                    Step::Succeed => { breaker.succeeded(now); trial = None; }
                    Step::Fail => { breaker.failed(now); trial = None; }
                }
                if let State::Open { retry_after } = breaker.state(now) {
                    prop_assert!(retry_after <= RULES.longest_pause);
                    prop_assert!(trial.is_none());
                }
                prop_assert_eq!(breaker.broken_for(now).is_none(), breaker.state(now) == State::Closed);
            }
        }

        #[test]
        fn whatever_happened_one_good_trial_closes_it_again(steps in steps()) {
            let mut breaker = Breaker::new(RULES);
            let mut now = Duration::ZERO;
            for step in steps {
                match step {
                    Step::Wait(millis) => now += at(millis),
                    Step::Admit => drop(breaker.admit(now)),
                    Step::Succeed => drop(breaker.succeeded(now)),
                    Step::Fail => drop(breaker.failed(now)),
                }
            }
            now += RULES.longest_pause.max(RULES.trial);
            prop_assert_eq!(breaker.admit(now), Ok(()));
            breaker.succeeded(now);
            prop_assert_eq!(breaker.state(now), State::Closed);
            for _ in 0..10 {
                prop_assert_eq!(breaker.admit(now), Ok(()));
            }
        }
    }
}
