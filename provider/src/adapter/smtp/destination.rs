//! How a domain that mail goes to is doing, and how much it gets. Pure: the caller brings the time.
//!
//! - **OK**: a window of mails on their way at once. It grows by one for each window of good answers and
//!   shrinks by a part of one for each failure to connect, so that one bad host among several does not
//!   close the domain (the 1/N feedback of Postfix' SCHEDULER_README).
//! - **OVERLOAD**: the domain said that it has too much. The window is halved at once, nothing begins for a
//!   moment, and it does not grow before ten good answers in a row, or ten minutes.
//! - **FAIL**: nobody there to talk to, several windows long. Nothing goes but one mail as a probe after
//!   30 s, then 1, 2, 4 … 15 min; one good answer opens the domain again with a window of one.
//!
//! Mail that is not let in is told when its turn may come: as many mails later as wait before it.

use std::time::Duration;

use tokio::time::Instant;

/// Windows of failures in a row, from which on nobody is there. One would call a burst an outage.
const DEAD_AFTER: f64 = 3.0;
/// The first wait before a probe, doubled for every one that failed, and the longest.
const PROBE: Duration = Duration::from_secs(30);
const LONGEST_PROBE: Duration = Duration::from_secs(15 * 60);
/// How long nothing begins after the first word of overload, doubled for the next, and the longest.
const PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// What ends an overload.
const RECOVERED_AFTER: u32 = 10;
const OVERLOAD_LASTS: Duration = Duration::from_secs(10 * 60);
/// The shortest and the longest a mail is told to wait for its turn.
const SHORTEST_TURN: Duration = Duration::from_secs(1);
const LONGEST_TURN: Duration = Duration::from_secs(15 * 60);
/// What a mail is thought to take before one has been seen.
const USUAL: Duration = Duration::from_secs(1);

/// How large a domain's window is to begin with, and may become.
#[derive(Clone, Copy, Debug)]
pub(super) struct Windows {
    first: f64,
    most: f64,
}

impl Windows {
    /// At most `most` mails at once; five to begin with.
    pub(super) fn up_to(most: u32) -> Self {
        let most = f64::from(most);
        Self {
            first: most.min(5.0),
            most,
        }
    }
}

/// How a domain stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Health {
    Ok,
    Overload {
        until: Instant,
        good: u32,
        times: u32,
    },
    Fail {
        probe_at: Instant,
        failures: u32,
    },
}

impl Health {
    /// Its name, in the log.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Overload { .. } => "OVERLOAD",
            Self::Fail { .. } => "FAIL",
        }
    }
}

/// What became of a mail that was let in, as far as its domain is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Somebody answered, whatever they said of the mail.
    Good,
    /// They have too much.
    Overloaded,
    /// Nobody to talk to.
    Unreachable,
}

/// Whether a mail may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// Now; [`Destination::left`] has to follow.
    Go,
    /// Not before this long.
    Wait(Duration),
}

/// One domain.
#[derive(Clone, Debug)]
pub(super) struct Destination {
    windows: Windows,
    window: f64,
    under_way: u32,
    /// Failures in a row, each the part of a window that it is.
    failed: f64,
    health: Health,
    /// Nothing begins before.
    begins: Instant,
    /// When the last mail that was turned away may come again.
    turn: Instant,
    /// How long a mail takes.
    usual: Duration,
}

impl Destination {
    pub(super) fn new(windows: Windows, now: Instant) -> Self {
        Self {
            windows,
            window: windows.first,
            under_way: 0,
            failed: 0.0,
            health: Health::Ok,
            begins: now,
            turn: now,
            usual: USUAL,
        }
    }

    /// How it stands.
    pub(super) const fn health(&self) -> Health {
        self.health
    }

    /// Whether nothing need be remembered of it.
    pub(super) fn is_forgettable(&self) -> bool {
        self.under_way == 0 && self.health == Health::Ok
    }

    /// Lets a mail in, or tells when to ask again.
    pub(super) fn admit(&mut self, now: Instant) -> Admission {
        if let Health::Fail { probe_at, .. } = self.health {
            return match now < probe_at || self.under_way > 0 {
                true => self.turn_away(now, probe_at),
                false => self.let_in(),
            };
        }
        if now < self.begins {
            return self.turn_away(now, self.begins);
        }
        match f64::from(self.under_way) + 1.0 > self.window.max(1.0) {
            true => self.turn_away(now, now),
            false => self.let_in(),
        }
    }

    fn let_in(&mut self) -> Admission {
        self.under_way += 1;
        Admission::Go
    }

    /// Its turn is behind those who were turned away before it.
    fn turn_away(&mut self, now: Instant, opens: Instant) -> Admission {
        let each = self.usual.div_f64(self.window.max(1.0));
        let first = opens.max(now + SHORTEST_TURN);
        self.turn = (self.turn + each)
            .max(first)
            .min(now + LONGEST_TURN.max(opens - now));
        Admission::Wait(self.turn - now)
    }

    /// A mail that was let in has left after `took`.
    pub(super) fn left(&mut self, seen: Seen, took: Duration, now: Instant) {
        self.under_way = self.under_way.saturating_sub(1);
        match seen {
            Seen::Good => {
                self.usual = (self.usual * 7 + took) / 8;
                self.failed = 0.0;
                self.went_well(now);
            }
            Seen::Overloaded => {
                self.failed = 0.0;
                self.has_too_much(now);
            }
            Seen::Unreachable => self.was_away(now),
        }
    }

    fn went_well(&mut self, now: Instant) {
        self.health = match self.health {
            Health::Fail { .. } => {
                self.window = 1.0;
                Health::Ok
            }
            Health::Overload { until, good, .. } if now >= until || good + 1 >= RECOVERED_AFTER => {
                Health::Ok
            }
            Health::Overload { until, good, times } => Health::Overload {
                until,
                good: good + 1,
                times,
            },
            Health::Ok => {
                self.window = (self.window + 1.0 / self.window).min(self.windows.most);
                Health::Ok
            }
        };
    }

    fn has_too_much(&mut self, now: Instant) {
        // Those that were under way together say it together; that is one word.
        let is_echo = now < self.begins;
        let times = match self.health {
            Health::Overload { times, .. } if is_echo => times,
            Health::Overload { times, .. } => times + 1,
            _ => 0,
        };
        if !is_echo {
            self.window = (self.window / 2.0).max(1.0);
            self.begins = now + doubled(PAUSE, times, LONGEST_PAUSE);
        }
        self.health = Health::Overload {
            until: now + OVERLOAD_LASTS,
            good: 0,
            times,
        };
    }

    fn was_away(&mut self, now: Instant) {
        let part = 1.0 / self.window.max(1.0);
        self.failed += part;
        self.window = (self.window - part).max(1.0);
        self.health = match self.health {
            Health::Fail { probe_at, failures } if now >= probe_at => Health::Fail {
                probe_at: now + doubled(PROBE, failures, LONGEST_PROBE),
                failures: failures + 1,
            },
            Health::Ok | Health::Overload { .. } if self.failed >= DEAD_AFTER => Health::Fail {
                probe_at: now + PROBE,
                failures: 1,
            },
            as_before => as_before,
        };
    }
}

/// `base` doubled `times` times, at most `longest`.
fn doubled(base: Duration, times: u32, longest: Duration) -> Duration {
    base.saturating_mul(1 << times.min(16)).min(longest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn destination(most: u32) -> (Destination, Instant) {
        let now = Instant::now();
        (Destination::new(Windows::up_to(most), now), now)
    }

    fn lets_in(destination: &mut Destination, now: Instant) -> u32 {
        let mut count = 0;
        while count < 2000 && destination.admit(now) == Admission::Go {
            count += 1;
        }
        count
    }

    fn all_leave(destination: &mut Destination, seen: Seen, now: Instant) {
        for _ in 0..destination.under_way {
            destination.left(seen, SECOND, now);
        }
    }

    #[test]
    fn five_at_once_to_begin_with_then_one_more_for_each_window_that_went_well() {
        let (mut domain, now) = destination(8);
        for expected in [5, 5, 6, 7, 8, 8] {
            assert_eq!(lets_in(&mut domain, now), expected);
            all_leave(&mut domain, Seen::Good, now);
        }
        assert_eq!(lets_in(&mut domain, now), 8);
    }

    #[test]
    fn too_much_halves_the_window_at_once_and_pauses() {
        let (mut domain, now) = destination(20);
        assert_eq!(lets_in(&mut domain, now), 5);
        // All five say so, which is one word.
        all_leave(&mut domain, Seen::Overloaded, now);
        assert!(matches!(domain.health(), Health::Overload { .. }));
        let Admission::Wait(wait) = domain.admit(now) else {
            panic!("nothing begins during the pause");
        };
        assert!(wait >= PAUSE);
        assert_eq!(lets_in(&mut domain, now + PAUSE), 2);
    }

    #[test]
    fn ten_good_answers_in_a_row_end_an_overload() {
        let (mut domain, now) = destination(20);
        domain.admit(now);
        domain.left(Seen::Overloaded, SECOND, now);
        let later = now + PAUSE;
        for _ in 0..RECOVERED_AFTER {
            assert!(matches!(domain.health(), Health::Overload { .. }));
            assert_eq!(domain.admit(later), Admission::Go);
            domain.left(Seen::Good, SECOND, later);
        }
        assert_eq!(domain.health(), Health::Ok);
    }

    #[test]
    fn every_further_word_of_overload_doubles_the_pause() {
        let (mut domain, mut now) = destination(20);
        for seconds in [5, 10, 20, 40, 60, 60] {
            assert_eq!(domain.admit(now), Admission::Go);
            domain.left(Seen::Overloaded, SECOND, now);
            now += Duration::from_secs(seconds) - SECOND;
            assert!(matches!(domain.admit(now), Admission::Wait(_)), "{seconds}");
            now += SECOND;
        }
    }

    #[test]
    fn one_burst_of_failures_is_no_outage_and_three_windows_are() {
        let (mut domain, now) = destination(20);
        lets_in(&mut domain, now);
        all_leave(&mut domain, Seen::Unreachable, now);
        assert_eq!(domain.health(), Health::Ok);
        let mut rounds = 0;
        while domain.health() == Health::Ok {
            lets_in(&mut domain, now);
            all_leave(&mut domain, Seen::Unreachable, now);
            rounds += 1;
        }
        assert!((1..=3).contains(&rounds), "{rounds}");
    }

    #[test]
    fn a_dead_domain_gets_one_probe_and_one_good_answer_opens_it() {
        let (mut domain, mut now) = destination(20);
        while domain.health() == Health::Ok {
            domain.admit(now);
            domain.left(Seen::Unreachable, SECOND, now);
        }
        for seconds in [30, 60, 120, 240, 480, 900, 900] {
            let before = now + Duration::from_secs(seconds) - SECOND;
            assert!(
                matches!(domain.admit(before), Admission::Wait(_)),
                "{seconds}"
            );
            now += Duration::from_secs(seconds);
            assert_eq!(lets_in(&mut domain, now), 1, "{seconds}");
            domain.left(Seen::Unreachable, SECOND, now);
        }
        now += LONGEST_PROBE;
        assert_eq!(lets_in(&mut domain, now), 1);
        domain.left(Seen::Good, SECOND, now);
        assert_eq!(domain.health(), Health::Ok);
        assert_eq!(lets_in(&mut domain, now), 1);
    }

    #[test]
    fn mails_that_are_turned_away_come_one_after_another() {
        let (mut domain, now) = destination(4);
        lets_in(&mut domain, now);
        let waits: Vec<_> = (0..8).map(|_| domain.admit(now)).collect();
        let waits: Vec<_> = waits
            .into_iter()
            .map(|one| match one {
                Admission::Wait(wait) => wait,
                Admission::Go => panic!("the window is full"),
            })
            .collect();
        assert!(waits.windows(2).all(|pair| pair[0] <= pair[1]), "{waits:?}");
        assert!(waits[7] > waits[0], "{waits:?}");
    }

    fn seen() -> impl Strategy<Value = Seen> {
        prop_oneof![
            6 => Just(Seen::Good),
            1 => Just(Seen::Overloaded),
            2 => Just(Seen::Unreachable),
        ]
    }

    proptest! {
        #[test]
        fn never_more_than_the_most_at_once_and_never_closed_for_ever(
            most in 1_u32..30,
            events in prop::collection::vec((seen(), 0_u64..40), 0..300),
        ) {
            let (mut domain, mut now) = destination(most);
            for (seen, seconds) in events {
                now += Duration::from_secs(seconds);
                if let Admission::Wait(wait) = domain.admit(now) {
                    prop_assert!((SHORTEST_TURN..=LONGEST_TURN).contains(&wait));
                }
                prop_assert!(domain.under_way <= most);
                if seconds % 3 == 0 && domain.under_way > 0 {
                    domain.left(seen, SECOND, now);
                }
            }
            all_leave(&mut domain, Seen::Good, now);
            prop_assert_eq!(domain.admit(now + LONGEST_TURN), Admission::Go);
        }
    }
}
