//! Settings of webhook delivery.

use std::time::Duration;

use pabal_common::config::{ConfigError, Kind, Problem, Setting, Source, Values};
use pabal_common::domain::retry::WEBHOOK_SCHEDULE;

use crate::address::AddressPolicy;

/// The most waits a schedule may have.
const MOST_WAITS: usize = 20;
const WAITS: &str = "webhooks.waits";

/// The settings of webhook delivery.
pub const SETTINGS: &[Setting] = &[
    Setting::new(
        "webhooks.timeout",
        Kind::duration(Duration::from_millis(10), Duration::from_secs(60)),
        "10s",
        "How long one attempt may take, from looking up the name to the end of the answer.",
    ),
    Setting::new(
        "webhooks.concurrency",
        Kind::count(1, 10_000),
        "256",
        "The most webhooks under way at once.",
    ),
    Setting::new(
        "webhooks.endpoint_concurrency",
        Kind::count(1, 1_000),
        "8",
        "The most webhooks under way at once to one partner's endpoint.",
    ),
    Setting::new(
        WAITS,
        Kind::Text,
        "5s,30s,2m,10m,1h,6h",
        "The waits between attempts; after the attempt that follows the last one the webhook is a \
         dead letter.",
    ),
    Setting::new(
        "webhooks.allow_http",
        Kind::Flag,
        "false",
        "Whether endpoints may use plain HTTP.",
    ),
    Setting::new(
        "webhooks.allow_loopback",
        Kind::Flag,
        "false",
        "Whether endpoints may be on this machine, also with plain HTTP: for development alone.",
    ),
];

/// How webhooks are delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookConfig {
    /// How long one attempt may take.
    pub timeout: Duration,
    /// The most attempts at once.
    pub concurrency: usize,
    /// The most attempts at once at one endpoint.
    pub per_endpoint: usize,
    /// The waits between attempts.
    pub schedule: Vec<Duration>,
    /// Which addresses endpoints may have.
    pub addresses: AddressPolicy,
}

impl Default for WebhookConfig {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            concurrency: 256,
            per_endpoint: 8,
            schedule: WEBHOOK_SCHEDULE.to_vec(),
            addresses: AddressPolicy::default(),
        }
    }
}

impl WebhookConfig {
    /// From the settings in force.
    ///
    /// # Errors
    /// If the waits are not a list of durations.
    pub fn from_values(values: &Values) -> Result<Self, ConfigError> {
        let count = |key| usize::try_from(values.count(key)).unwrap_or(usize::MAX);
        Ok(Self {
            timeout: values.duration("webhooks.timeout"),
            concurrency: count("webhooks.concurrency"),
            per_endpoint: count("webhooks.endpoint_concurrency"),
            schedule: schedule(values)?,
            addresses: AddressPolicy {
                allow_http: values.flag("webhooks.allow_http"),
                allow_loopback: values.flag("webhooks.allow_loopback"),
            },
        })
    }
}

fn schedule(values: &Values) -> Result<Vec<Duration>, ConfigError> {
    let text = values.text(WAITS);
    let waits: Option<Vec<_>> = text
        .split(',')
        .map(|wait| parse_wait(wait.trim()))
        .collect();
    waits
        .filter(|waits| waits.len() <= MOST_WAITS)
        .ok_or_else(|| ConfigError {
            problems: vec![Problem::NotAllowed {
                key: WAITS,
                value: text.to_owned(),
                from: source(values),
                allowed: format!(
                    "up to {MOST_WAITS} durations separated by commas, such as 5s,30s,2m, each from 1ms to 7d"
                ),
            }],
        })
}

fn source(values: &Values) -> Source {
    let effective = values.effective().into_iter();
    let mut ours = effective.filter(|setting| setting.key == WAITS);
    ours.next()
        .map_or(Source::Default, |setting| setting.source)
}

fn parse_wait(text: &str) -> Option<Duration> {
    const LONGEST: Duration = Duration::from_secs(7 * 86_400);

    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let factor: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    let wait = Duration::from_millis(digits.parse::<u64>().ok()?.checked_mul(factor)?);
    (!wait.is_zero() && wait <= LONGEST).then_some(wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(flags: &[(&str, &str)]) -> Result<WebhookConfig, ConfigError> {
        let flags: Vec<_> = flags
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let values = Values::load(&[SETTINGS], &[], None, std::iter::empty(), &flags)?;
        WebhookConfig::from_values(&values)
    }

    #[test]
    fn the_defaults_of_the_settings_are_those_of_the_configuration() {
        assert_eq!(loaded(&[]).unwrap(), WebhookConfig::default());
    }

    #[test]
    fn waits_are_a_list_of_durations() {
        let config = loaded(&[(WAITS, "100ms, 2s,1m")]).unwrap();
        let millis: Vec<_> = config.schedule.iter().map(Duration::as_millis).collect();
        assert_eq!(millis, [100, 2000, 60_000]);
        for wrong in [
            "5",
            "5s,",
            "s",
            "0s",
            "-1s",
            "5s;10s",
            "8d",
            "99999999999999999999s",
        ] {
            let error = loaded(&[(WAITS, wrong)]).unwrap_err().to_string();
            assert!(error.contains(WAITS) && error.contains(wrong), "{error}");
        }
    }
}
