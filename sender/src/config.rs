use std::time::Duration;

use pabal_common::config::{Kind, Problem, Setting, Values};
use pabal_common::process::settings;
use pabal_provider::config::CallLimits;

/// The sender's settings.
pub const SETTINGS: &[Setting] = &[
    Setting::new(
        "sender.prefetch",
        Kind::Count {
            min: 1,
            max: 10_000,
        },
        "256",
        "The most frames of one queue in hand; lowered to two seconds of this sender's share \
         of the routes' rate.",
    ),
    Setting::new(
        "sender.call_limit",
        Kind::Duration {
            min: Duration::from_millis(100),
            max: Duration::from_secs(300),
        },
        "60s",
        "After this long a vendor call is given up as an unknown outcome, whatever its adapter says.",
    ),
    Setting::new(
        "sender.first_byte_limit",
        Kind::Duration {
            min: Duration::from_millis(50),
            max: Duration::from_secs(6),
        },
        "4s",
        "A call is begun only if the process's lease lasts longer than this: connecting and writing.",
    ),
    Setting::new(
        "sender.throttle_pause",
        Kind::Duration {
            min: Duration::from_millis(50),
            max: Duration::from_secs(60),
        },
        "1s",
        "How long a throttled message waits if the vendor does not say.",
    ),
    Setting::new(
        "sender.ask_after",
        Kind::Duration {
            min: Duration::from_millis(50),
            max: Duration::from_secs(3600),
        },
        "2s",
        "How long after a lost answer a vendor that can be asked is asked.",
    ),
    Setting::new(
        "sender.ask_again",
        Kind::Duration {
            min: Duration::from_millis(50),
            max: Duration::from_secs(86_400),
        },
        "30s",
        "How long between two questions about the same message.",
    ),
    Setting::new(
        "sender.drain",
        Kind::Duration {
            min: Duration::from_millis(100),
            max: Duration::from_secs(120),
        },
        "4s",
        "How long calls on their way may take to end at shutdown.",
    ),
];

/// How the sender works.
#[derive(Clone, Debug)]
pub struct Config {
    /// The most frames of one queue in hand.
    pub prefetch: u16,
    /// The hard limit of one vendor call.
    pub call_limit: Duration,
    /// What must be left of the lease for a call to begin.
    pub first_byte_limit: Duration,
    /// How long a throttled message waits if the vendor does not say.
    pub throttle_pause: Duration,
    /// How long after a lost answer a vendor is asked.
    pub ask_after: Duration,
    /// How long between two questions.
    pub ask_again: Duration,
    /// How long the drain at shutdown may take.
    pub drain: Duration,
}

/// A lease is up to one renewal old when a call is to begin: if what is left then were not more
/// than a call needs, calls would wait for ever.
pub fn check(values: &Values) -> Option<Problem> {
    const KEY: &str = "sender.first_byte_limit";
    const CEILING: &str = "lease.dead_after";
    let needed = values.duration(KEY) + settings::lease(values).beat;
    if needed < values.duration(CEILING) {
        return None;
    }
    let (ceiling, from) = (values.shown(CEILING), values.source(CEILING));
    let allowed = format!(
        "with the second between two renewals less than {CEILING} = {ceiling:?} (from {from})"
    );
    Some(values.not_allowed(KEY, allowed))
}

impl Config {
    /// What a vendor account's own times may be.
    pub const fn limits(&self) -> CallLimits {
        CallLimits {
            first_byte: self.first_byte_limit,
            call: self.call_limit,
        }
    }

    /// From values that were loaded with [`SETTINGS`].
    pub fn from_values(values: &Values) -> Self {
        Self {
            prefetch: u16::try_from(values.count("sender.prefetch")).unwrap_or(u16::MAX),
            call_limit: values.duration("sender.call_limit"),
            first_byte_limit: values.duration("sender.first_byte_limit"),
            throttle_pause: values.duration("sender.throttle_pause"),
            ask_after: values.duration("sender.ask_after"),
            ask_again: values.duration("sender.ask_again"),
            drain: values.duration("sender.drain"),
        }
    }
}
