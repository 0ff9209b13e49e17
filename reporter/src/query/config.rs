//! Settings of the query API.

use std::num::NonZeroU32;
use std::time::Duration;

use pabal_common::config::{Kind, Setting, Values};

/// The settings of the query API.
pub const SETTINGS: &[Setting] = &[
    Setting::new(
        "query.window",
        Kind::duration(Duration::from_secs(1), Duration::from_secs(90 * 86_400)),
        "24h",
        "How long a message can be queried after its final status.",
    ),
    Setting::new(
        "query.per_second",
        Kind::count(1, 100_000),
        "100",
        "The most queries a second of one partner, at each instance.",
    ),
    Setting::new(
        "query.replays_per_minute",
        Kind::count(1, 10_000),
        "10",
        "The most requests a minute of one partner to send dead letters again, at each instance.",
    ),
];

/// What may be asked, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryConfig {
    /// How long a message can be queried after its final status.
    pub window: Duration,
    /// Queries a second of one partner.
    pub per_second: NonZeroU32,
    /// Replays a minute of one partner.
    pub replays_per_minute: NonZeroU32,
}

impl Default for QueryConfig {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(86_400),
            per_second: at_least_one(100),
            replays_per_minute: at_least_one(10),
        }
    }
}

impl QueryConfig {
    /// From the settings in force.
    pub fn from_values(values: &Values) -> Self {
        Self {
            window: values.duration("query.window"),
            per_second: at_least_one(values.count("query.per_second")),
            replays_per_minute: at_least_one(values.count("query.replays_per_minute")),
        }
    }
}

fn at_least_one(count: u64) -> NonZeroU32 {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_of_the_settings_are_those_of_the_configuration() {
        let values = Values::load(&[SETTINGS], &[], None, std::iter::empty(), &[]).unwrap();
        assert_eq!(QueryConfig::from_values(&values), QueryConfig::default());
    }
}
