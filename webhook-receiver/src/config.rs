//! Settings of the webhook receiver.

use std::time::Duration;

use pabal_common::config::{Kind, Setting, Values};
use pabal_common::relay::ForwarderConfig;

const MILLI: Duration = Duration::from_millis(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// The settings of the webhook receiver.
pub const SETTINGS: &[Setting] = &[
    Setting::new(
        "webhook_receiver.body_bytes",
        Kind::Bytes {
            min: 1 << 10,
            max: 64 << 20,
        },
        "1MiB",
        "The largest callback of a vendor.",
    ),
    Setting::new(
        "webhook_receiver.body_deadline",
        Kind::duration(MILLI, MINUTE),
        "10s",
        "How long the body of a callback may take to arrive.",
    ),
    Setting::new(
        "webhook_receiver.callbacks_at_once",
        Kind::count(1, 10_000),
        "64",
        "The most callbacks of one vendor account that are read at once; more wait a moment and \
         are then asked to come again.",
    ),
    Setting::new(
        "webhook_receiver.publish_wait",
        Kind::duration(MILLI, MINUTE),
        "2s",
        "How long the broker may take to confirm reports before they go to the ledger's outbox.",
    ),
    Setting::new(
        "webhook_receiver.publishes_at_once",
        Kind::count(1, 64),
        "2",
        "The most groups of reports that are under way to the broker at once.",
    ),
    Setting::new(
        "webhook_receiver.ledger_wait",
        Kind::duration(MILLI, MINUTE),
        "3s",
        "How long the ledger may take for one step.",
    ),
    Setting::new(
        "webhook_receiver.retry_after",
        Kind::duration(Duration::from_secs(1), HOUR),
        "5s",
        "When a vendor is asked to repeat a callback that could not be kept.",
    ),
    Setting::new(
        "webhook_receiver.poll_interval",
        Kind::duration(MILLI, MINUTE),
        "1s",
        "The pause between two polls of a vendor that has nothing more; also the first pause \
         after a poll that failed.",
    ),
    Setting::new(
        "webhook_receiver.poll_longest_pause",
        Kind::duration(MILLI, HOUR),
        "30s",
        "The longest pause between polls that fail; each failure doubles the pause up to it.",
    ),
    Setting::new(
        "webhook_receiver.poll_timeout",
        Kind::duration(MILLI, Duration::from_secs(300)),
        "10s",
        "How long one poll may take.",
    ),
];

/// How callbacks are taken and vendors are polled; the fields are the [`SETTINGS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// The largest callback, in bytes.
    pub body_bytes: usize,
    /// How long its body may take to arrive.
    pub body_deadline: Duration,
    /// The most callbacks of one account that are read at once.
    pub callbacks_at_once: usize,
    /// How long the broker may take to confirm.
    pub publish_wait: Duration,
    /// The most groups of reports under way to the broker.
    pub publishes_at_once: usize,
    /// How long the ledger may take for one step.
    pub ledger_wait: Duration,
    /// When a vendor is asked to repeat what could not be kept.
    pub retry_after: Duration,
    /// The pause between two polls.
    pub poll_interval: Duration,
    /// The longest pause between polls that fail.
    pub poll_longest_pause: Duration,
    /// How long one poll may take.
    pub poll_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            body_bytes: 1 << 20,
            body_deadline: Duration::from_secs(10),
            callbacks_at_once: 64,
            publish_wait: Duration::from_secs(2),
            publishes_at_once: 2,
            ledger_wait: Duration::from_secs(3),
            retry_after: Duration::from_secs(5),
            poll_interval: Duration::from_secs(1),
            poll_longest_pause: Duration::from_secs(30),
            poll_timeout: Duration::from_secs(10),
        }
    }
}

impl Config {
    /// How reports are brought to their queue.
    pub(crate) const fn forwarder(&self) -> ForwarderConfig {
        ForwarderConfig {
            publish_wait: self.publish_wait,
            publishes_at_once: self.publishes_at_once,
            ledger_wait: self.ledger_wait,
        }
    }

    /// From the settings in force.
    pub fn from_values(values: &Values) -> Self {
        let count = |key| usize::try_from(values.count(key)).unwrap_or(usize::MAX);
        let bytes = values.bytes("webhook_receiver.body_bytes");
        Self {
            body_bytes: usize::try_from(bytes).unwrap_or(usize::MAX),
            body_deadline: values.duration("webhook_receiver.body_deadline"),
            callbacks_at_once: count("webhook_receiver.callbacks_at_once"),
            publish_wait: values.duration("webhook_receiver.publish_wait"),
            publishes_at_once: count("webhook_receiver.publishes_at_once"),
            ledger_wait: values.duration("webhook_receiver.ledger_wait"),
            retry_after: values.duration("webhook_receiver.retry_after"),
            poll_interval: values.duration("webhook_receiver.poll_interval"),
            poll_longest_pause: values.duration("webhook_receiver.poll_longest_pause"),
            poll_timeout: values.duration("webhook_receiver.poll_timeout"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_of_the_settings_are_those_of_the_configuration() {
        let values = Values::load(&[SETTINGS], &[], None, std::iter::empty(), &[]).unwrap();
        assert_eq!(Config::from_values(&values), Config::default());
    }

    #[test]
    fn every_setting_reaches_its_field() {
        let given = [
            ("body_bytes", "2KiB"),
            ("body_deadline", "11ms"),
            ("callbacks_at_once", "12"),
            ("publish_wait", "13ms"),
            ("publishes_at_once", "14"),
            ("ledger_wait", "15ms"),
            ("retry_after", "16s"),
            ("poll_interval", "17ms"),
            ("poll_longest_pause", "18ms"),
            ("poll_timeout", "19ms"),
        ];
        assert_eq!(given.len(), SETTINGS.len());
        let flags = given.map(|(key, value)| (format!("webhook_receiver.{key}"), value.to_owned()));
        let values = Values::load(&[SETTINGS], &[], None, std::iter::empty(), &flags).unwrap();
        let expected = Config {
            body_bytes: 2048,
            body_deadline: Duration::from_millis(11),
            callbacks_at_once: 12,
            publish_wait: Duration::from_millis(13),
            publishes_at_once: 14,
            ledger_wait: Duration::from_millis(15),
            retry_after: Duration::from_secs(16),
            poll_interval: Duration::from_millis(17),
            poll_longest_pause: Duration::from_millis(18),
            poll_timeout: Duration::from_millis(19),
        };
        assert_eq!(Config::from_values(&values), expected);
    }
}
