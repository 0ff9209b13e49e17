//! A route's health: a pure state machine, fed with what came of its calls.
//!
//! *OK*: the configured rate. *OVERLOAD*: the vendor said "too much"; half the rate at once, then
//! more again by the second. *FAIL*: the vendor cannot be reached; nothing is sent, a probe asks
//! now and then. Times are passed in and must not run backwards.

use std::fmt;
use std::time::Duration;

use pabal_common::clock::Timestamp;
use serde::{Deserialize, Serialize};

use crate::provider::Closed;

/// Failed connects, with no answer between them, that close a route. One is not enough: a single
/// refused connection is an everyday thing behind a load balancer.
const CLOSING_CONNECTS: u32 = 3;
/// Lost answers in a row that close a route: each is a message with an unknown outcome.
const CLOSING_LOSSES: u32 = 10;
/// The wait before the first probe; it doubles with every further one.
const FIRST_PROBE: Duration = Duration::from_millis(500);
const LONGEST_PROBE_WAIT: Duration = Duration::from_secs(30);
/// The same where the vendor itself closed the account: a probe that is answered does not tell that
/// messages are taken again, and every message that finds out that they are not is one more refusal.
const FIRST_GENTLE_PROBE: Duration = Duration::from_secs(30);
const LONGEST_GENTLE_WAIT: Duration = Duration::from_secs(300);
/// The longest pause a vendor can ask for; a mistaken hint must not close a route for hours.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// From half the rate, +5 % of the configured rate a second: the whole rate takes 20 s.
const FULL_RECOVERY_MILLIS: u64 = 20_000;
/// Refusals within this time answer calls that left together: they halve the rate once, otherwise
/// a hundred calls in flight would bring any rate to one a second.
const ONE_WAVE: Duration = Duration::from_secs(1);
/// Two states closer than this are the same one, told again: times lose a millisecond each time
/// they are translated between the clocks of two senders.
const SAME_MOMENT: Duration = Duration::from_millis(10);

/// How well a route goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Health {
    /// The configured rate.
    Ok,
    /// Throttled by the vendor: less than the configured rate, or a pause.
    Overload,
    /// Closed: nothing is sent but a probe.
    Fail,
}

impl Health {
    /// The name in metrics and lists.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Overload => "OVERLOAD",
            Self::Fail => "FAIL",
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a call showed of its route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observation {
    /// The vendor answered, whatever it said of the messages.
    Answered,
    /// The vendor said that it is too much.
    Throttled {
        /// How long it asks us to wait.
        retry_after: Option<Duration>,
    },
    /// No connection.
    NotConnected,
    /// The answer was lost.
    Lost,
    /// The vendor takes nothing from the account until somebody acts.
    Closed(Closed),
}

/// A state that one sender tells the others; the newest wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedState {
    /// When it began.
    pub since: Timestamp,
    /// What it is.
    pub condition: Condition,
}

/// What a [`SharedState`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// Opened by a good probe.
    Open,
    /// Throttled: nothing before `from`, then `rate` messages a second and more by the second.
    Limited {
        /// Messages a second over all senders.
        rate: u32,
        /// When sending goes on.
        from: Timestamp,
    },
    /// Closed: because the vendor said so, or because it cannot be reached.
    Closed(Option<Closed>),
}

/// The health of one route.
#[derive(Clone, Debug)]
pub struct RouteHealth {
    configured: u32,
    created: Timestamp,
    /// The last change that is worth telling; `None` as long as nothing has happened, so that a
    /// process that has just started overrules nobody.
    changed: Option<Timestamp>,
    state: State,
    unconnected: u32,
    lost: u32,
    /// Probes since a message last got through: a route whose probe succeeds but whose messages
    /// do not must not swing open twice a second.
    setbacks: u32,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Open,
    Limited {
        rate: u32,
        from: Timestamp,
        halved: Timestamp,
    },
    Closed {
        why: Option<Closed>,
        probe_due: Timestamp,
        probing: bool,
    },
}

impl RouteHealth {
    /// A route in good health whose configured rate is `configured` messages a second.
    pub fn new(configured: u32, now: Timestamp) -> Self {
        Self {
            configured: configured.max(1),
            created: now,
            changed: None,
            state: State::Open,
            unconnected: 0,
            lost: 0,
            setbacks: 0,
        }
    }

    /// Sets the rate that is configured: messages a second.
    pub fn set_configured(&mut self, rate: u32) {
        self.configured = rate.max(1);
    }

    /// Why the vendor closed the account, as long as it has.
    pub fn closed_by_vendor(&self) -> Option<Closed> {
        match self.state {
            State::Closed { why, .. } => why,
            State::Open | State::Limited { .. } => None,
        }
    }

    /// The health now.
    pub fn health(&self, now: Timestamp) -> Health {
        match self.state {
            State::Open => Health::Ok,
            State::Limited { .. } if self.allowed_rate(now) == self.configured => Health::Ok,
            State::Limited { .. } => Health::Overload,
            State::Closed { .. } => Health::Fail,
        }
    }

    /// Messages a second that may be sent now over all senders: 0 while closed or paused by the
    /// vendor, otherwise between 1 and the configured rate.
    pub fn allowed_rate(&self, now: Timestamp) -> u32 {
        match self.state {
            State::Limited { from, .. } if now < from => 0,
            State::Closed { .. } => 0,
            State::Open | State::Limited { .. } => self.rate_at(now),
        }
    }

    /// When the health that holds now began.
    pub fn since(&self, now: Timestamp) -> Timestamp {
        match self.full_again() {
            Some(full) if full <= now => full,
            _ => self.changed.unwrap_or(self.created),
        }
    }

    /// When the health or the permission to send next changes by time alone, if it does.
    pub fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        match self.state {
            State::Limited { from, .. } if now < from => Some(from),
            _ => self.full_again().filter(|full| now < *full),
        }
    }

    /// When a pause the vendor asked for ends; `None` if there is none.
    pub fn paused_until(&self, now: Timestamp) -> Option<Timestamp> {
        match self.state {
            State::Limited { from, .. } if now < from => Some(from),
            _ => None,
        }
    }

    /// Takes note of what a call showed. Returns whether the rate was cut by it. A closed route
    /// learns nothing from calls that were still on their way: only a probe opens it.
    pub fn observe(&mut self, seen: Observation, now: Timestamp) -> bool {
        if matches!(self.state, State::Closed { .. }) {
            if let Observation::Closed(why) = seen {
                self.hear_why(Some(why));
            }
            return false;
        }
        match seen {
            Observation::Answered => {
                self.vendor_answers();
                false
            }
            Observation::Throttled { retry_after } => {
                self.vendor_answers();
                self.throttle(retry_after.unwrap_or_default(), now)
            }
            Observation::NotConnected => {
                self.unconnected += 1;
                self.close_if(self.unconnected >= CLOSING_CONNECTS, now)
            }
            Observation::Lost => {
                self.lost += 1;
                self.close_if(self.lost >= CLOSING_LOSSES, now)
            }
            Observation::Closed(why) => {
                self.state = self.closed(Some(why), now);
                self.changed = Some(now);
                true
            }
        }
    }

    /// When the next probe is due; `None` if none is needed or one is on its way.
    pub fn probe_due(&self) -> Option<Timestamp> {
        match self.state {
            State::Closed {
                probe_due,
                probing: false,
                ..
            } => Some(probe_due),
            _ => None,
        }
    }

    /// Takes the one probe that is due, if it is. Whoever got `true` says how it ended with
    /// [`probe_ended`](Self::probe_ended) or [`probe_abandoned`](Self::probe_abandoned).
    pub fn take_probe(&mut self, now: Timestamp) -> bool {
        match &mut self.state {
            State::Closed {
                probe_due, probing, ..
            } if !*probing && *probe_due <= now => {
                *probing = true;
                true
            }
            _ => false,
        }
    }

    /// A probe ended: a good one opens the route at once, after a bad one the next waits twice as
    /// long.
    pub fn probe_ended(&mut self, good: bool, now: Timestamp) {
        let State::Closed { why, .. } = self.state else {
            return;
        };
        self.setbacks = self.setbacks.saturating_add(1);
        if good {
            self.open();
            self.changed = Some(now);
        } else {
            self.state = self.closed(why, now);
        }
    }

    /// A probe was given up before it ended; it stays due.
    pub fn probe_abandoned(&mut self) {
        if let State::Closed { probing, .. } = &mut self.state {
            *probing = false;
        }
    }

    /// What to tell the other senders; `None` as long as there is nothing to tell.
    pub fn shared(&self) -> Option<SharedState> {
        Some(SharedState {
            since: self.changed?,
            condition: match self.state {
                State::Open => Condition::Open,
                State::Limited { rate, from, .. } => Condition::Limited { rate, from },
                State::Closed { why, .. } => Condition::Closed(why),
            },
        })
    }

    /// Takes over what another sender tells, if it is newer than what is known here. A closed
    /// route keeps its own probes.
    pub fn learn(&mut self, heard: SharedState, now: Timestamp) {
        // A sender whose clock is ahead must not overrule what happens here from now on.
        let since = heard.since.min(now);
        if self
            .changed
            .is_some_and(|known| since.since(known) <= SAME_MOMENT)
        {
            return;
        }
        match (self.state, heard.condition) {
            (State::Open, Condition::Open) => {}
            (State::Closed { .. }, Condition::Closed(told)) => self.hear_why(told),
            (_, Condition::Open) => self.open(),
            (_, Condition::Limited { rate, from }) => {
                self.open();
                self.state = State::Limited {
                    rate: rate.clamp(1, self.configured),
                    from: from.min(now.plus(LONGEST_PAUSE)),
                    halved: since,
                };
            }
            (_, Condition::Closed(why)) => self.state = self.closed(why, now),
        }
        self.changed = Some(since);
    }

    fn vendor_answers(&mut self) {
        self.unconnected = 0;
        self.lost = 0;
        self.setbacks = 0;
    }

    fn throttle(&mut self, pause: Duration, now: Timestamp) -> bool {
        let asked = now.plus(pause.min(LONGEST_PAUSE));
        let current = self.rate_at(now);
        let (rate, from, halved) = match self.state {
            State::Limited { from, halved, .. } if now < from || now.since(halved) < ONE_WAVE => {
                if asked <= from.max(now) {
                    return false;
                }
                (current, asked, halved)
            }
            _ => ((current / 2).max(1), asked, now),
        };
        self.state = State::Limited { rate, from, halved };
        self.changed = Some(now);
        true
    }

    /// Somebody else may know why the vendor closed the account.
    fn hear_why(&mut self, told: Option<Closed>) {
        if let State::Closed { why, .. } = &mut self.state {
            *why = told.or(*why);
        }
    }

    fn close_if(&mut self, enough: bool, now: Timestamp) -> bool {
        if enough {
            self.state = self.closed(None, now);
            self.changed = Some(now);
        }
        enough
    }

    fn closed(&self, why: Option<Closed>, now: Timestamp) -> State {
        let (first, longest) = match why {
            Some(_) => (FIRST_GENTLE_PROBE, LONGEST_GENTLE_WAIT),
            None => (FIRST_PROBE, LONGEST_PROBE_WAIT),
        };
        let wait = first.saturating_mul(1 << self.setbacks.min(16));
        State::Closed {
            why,
            probe_due: now.plus(wait.min(longest)),
            probing: false,
        }
    }

    fn open(&mut self) {
        self.state = State::Open;
        self.unconnected = 0;
        self.lost = 0;
    }

    fn rate_at(&self, now: Timestamp) -> u32 {
        match self.state {
            State::Limited { rate, from, .. } => {
                let passed = u64::try_from(now.since(from).as_millis()).unwrap_or(u64::MAX);
                let more = u64::from(self.configured)
                    .saturating_mul(passed)
                    .checked_div(FULL_RECOVERY_MILLIS)
                    .unwrap_or(0);
                let grown = u64::from(rate).saturating_add(more);
                u32::try_from(grown)
                    .unwrap_or(u32::MAX)
                    .min(self.configured)
            }
            State::Open | State::Closed { .. } => self.configured,
        }
    }

    /// When a throttled route has its whole rate again.
    fn full_again(&self) -> Option<Timestamp> {
        let State::Limited { rate, from, .. } = self.state else {
            return None;
        };
        let missing = u64::from(self.configured.saturating_sub(rate));
        let millis = (missing * FULL_RECOVERY_MILLIS).div_ceil(u64::from(self.configured));
        Some(from.plus(Duration::from_millis(millis)))
    }
}
