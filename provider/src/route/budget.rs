//! A route's messages a second: a token bucket whose rate may change at any time.
//!
//! The bottom of the bucket is kept for the express lane and is filled first. So an express
//! message that comes while ordinary traffic takes all it can get still finds a token, and none is
//! wasted while there is no express traffic.

use std::time::Duration;

use pabal_common::clock::Timestamp;
use pabal_common::domain::kind::Lane;

/// Tokens are counted in billionths, so that a small share of a small rate loses nothing.
const TOKEN: u64 = 1_000_000_000;
/// The bucket holds this much of the rate: 0.1 s.
const BURST_PART: u64 = 10;
/// A tenth of that, and at least one token, is for the express lane alone. It does not grow with
/// the batch: a slow route must not fill a large reserve before anything else goes.
const EXPRESS_PART: u64 = 10 * BURST_PART;
/// An empty bucket is not emptied again token by token: a call waits until 10 ms of the rate are
/// there, otherwise a busy route would make a call for each message.
const WORTH_A_CALL: u64 = 100;

/// The token bucket of one route in this process; a token is a message.
#[derive(Clone, Debug)]
pub struct Budget {
    /// Messages a second over all senders.
    rate: u64,
    /// How many senders share the rate.
    senders: u64,
    /// The most messages in one call of the route's adapter.
    batch: u64,
    /// In billionths of a token.
    tokens: u64,
    /// Up to when the tokens are counted.
    counted: Timestamp,
}

impl Budget {
    /// A full bucket for one sender: `rate` messages a second, calls of up to `batch` messages.
    pub fn new(rate: u32, batch: usize, now: Timestamp) -> Self {
        let mut budget = Self {
            rate: rate.into(),
            senders: 1,
            batch: u64::try_from(batch).unwrap_or(u64::MAX).clamp(1, 100_000),
            tokens: 0,
            counted: now,
        };
        budget.tokens = budget.capacity();
        budget
    }

    /// The most tokens the bucket can hold: 0.1 s of this sender's share, at least one whole
    /// call, and the express reserve beneath; 0 while the rate is 0.
    pub fn burst(&self) -> u64 {
        match self.rate {
            0 => 0,
            _ => self.ordinary_burst() + self.reserve(),
        }
    }

    /// Sets the rate of all senders together; what was saved up beyond the new burst is lost.
    pub fn set_rate(&mut self, rate: u32, now: Timestamp) {
        self.refill(now);
        self.rate = rate.into();
        self.tokens = self.tokens.min(self.capacity());
    }

    /// Sets how many senders share the rate (at least one).
    pub fn set_share(&mut self, senders: u32, now: Timestamp) {
        self.refill(now);
        self.senders = senders.max(1).into();
        self.tokens = self.tokens.min(self.capacity());
    }

    /// Takes between 0 and `up_to` tokens; 0 if what is there is not worth a call.
    pub fn take(&mut self, lane: Lane, up_to: usize, now: Timestamp) -> usize {
        self.refill(now);
        if !self.has_enough(lane, up_to) {
            return 0;
        }
        let wanted = u64::try_from(up_to).unwrap_or(u64::MAX);
        let granted = wanted.min(self.open_to(lane) / TOKEN);
        self.tokens -= granted * TOKEN;
        usize::try_from(granted).unwrap_or(up_to)
    }

    /// Whether [`take`](Self::take) would grant anything now.
    pub fn would_grant(&mut self, lane: Lane, up_to: usize, now: Timestamp) -> bool {
        self.refill(now);
        self.has_enough(lane, up_to)
    }

    /// How long until [`take`](Self::take) grants something, to the millisecond; `None` if at
    /// this rate never.
    pub fn wait(&mut self, lane: Lane, up_to: usize, now: Timestamp) -> Option<Duration> {
        self.refill(now);
        if self.rate == 0 || up_to == 0 {
            return None;
        }
        let needed = (self.least(lane, up_to) + self.closed_to(lane)) * TOKEN;
        let missing = needed.saturating_sub(self.tokens);
        // A rate of one a second is a millionth of a billion a millisecond.
        let per_milli = u128::from(self.rate * (TOKEN / 1000));
        let millis = (u128::from(missing) * u128::from(self.senders)).div_ceil(per_milli);
        Some(Duration::from_millis(
            u64::try_from(millis).unwrap_or(u64::MAX),
        ))
    }

    /// Brings back tokens of messages that were not sent.
    pub fn give_back(&mut self, tokens: usize) {
        let tokens = u64::try_from(tokens).unwrap_or(u64::MAX);
        self.tokens = self
            .tokens
            .saturating_add(tokens.saturating_mul(TOKEN))
            .min(self.capacity());
    }

    /// Throws away what was saved up: the vendor has just said that it is too much.
    pub fn empty(&mut self, now: Timestamp) {
        self.refill(now);
        self.tokens = 0;
    }

    fn refill(&mut self, now: Timestamp) {
        let passed = now.since(self.counted).as_millis();
        self.counted = self.counted.max(now);
        let grown = u128::from(self.rate * (TOKEN / 1000)).saturating_mul(passed)
            / u128::from(self.senders);
        let full = u128::from(self.tokens).saturating_add(grown);
        self.tokens = u64::try_from(full).unwrap_or(u64::MAX).min(self.capacity());
    }

    fn has_enough(&self, lane: Lane, up_to: usize) -> bool {
        up_to > 0 && self.open_to(lane) >= self.least(lane, up_to) * TOKEN
    }

    /// The fewest tokens a call starts with. Express messages do not wait for company.
    fn least(&self, lane: Lane, up_to: usize) -> u64 {
        let most = u64::try_from(up_to).unwrap_or(u64::MAX).min(self.batch);
        match lane {
            Lane::Express => 1,
            Lane::Ordinary | Lane::Bulk => {
                (self.rate / self.senders / WORTH_A_CALL).clamp(1, most.max(1))
            }
        }
    }

    fn open_to(&self, lane: Lane) -> u64 {
        self.tokens.saturating_sub(self.closed_to(lane) * TOKEN)
    }

    fn closed_to(&self, lane: Lane) -> u64 {
        match lane {
            Lane::Express => 0,
            Lane::Ordinary | Lane::Bulk => self.reserve(),
        }
    }

    fn capacity(&self) -> u64 {
        self.burst() * TOKEN
    }

    fn ordinary_burst(&self) -> u64 {
        (self.rate / self.senders / BURST_PART).max(self.batch)
    }

    fn reserve(&self) -> u64 {
        (self.rate / self.senders / EXPRESS_PART).max(1)
    }
}
