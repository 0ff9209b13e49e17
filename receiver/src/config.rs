//! The receiver's settings.

use std::time::Duration;

use pabal_common::config::{Kind, Setting, Values};

/// The most messages in one batch; the API's promise, which an operator may only lower.
pub(crate) const MOST_BATCH_ITEMS: usize = 1000;

/// How the receiver works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Tokens and logins.
    pub auth: AuthConfig,
    /// The largest body of a request, in bytes.
    pub body_bytes: usize,
    /// The largest body of a batch, in bytes.
    pub batch_body_bytes: usize,
    /// How long a body may take to arrive.
    pub body_deadline: Duration,
    /// The most messages in one batch, at most 1000.
    pub batch_items: usize,
    /// Messages a second of one partner that take the ordinary lane; those beyond take the bulk
    /// lane.
    pub fair_per_second: u32,
    /// The most messages in one transaction.
    pub commit_items: usize,
    /// The most bytes of messages in one transaction.
    pub commit_bytes: usize,
    /// The most messages that wait for a transaction.
    pub commit_queue: usize,
    /// How many transactions may be under way at once.
    pub commits_at_once: usize,
    /// How long a request waits for its transaction before it is E102.
    pub commit_wait: Duration,
    /// How many committed batches are brought to the broker at once; more are left to the sweep of
    /// the outbox.
    pub publications_at_once: usize,
    /// How long an uploaded file can be attached.
    pub file_lifetime: Duration,
    /// How many bytes the files of one partner may have together.
    pub file_space: u64,
    /// How long a file may take to arrive.
    pub file_deadline: Duration,
    /// How many uploads may be in memory at once; each takes up to 10 MiB, and its sealed copy as much.
    pub uploads_at_once: usize,
    /// What becomes of an Alimtalk whose template is not registered.
    pub templates: TemplatePolicy,
}

/// What becomes of an Alimtalk whose template is not registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TemplatePolicy {
    /// It is sent as it is written.
    Optional,
    /// It is refused.
    Required,
}

/// Tokens and logins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthConfig {
    /// How long an access token is good.
    pub access_ttl: Duration,
    /// How long a refresh token is good.
    pub refresh_ttl: Duration,
    /// How long a used refresh token may come again, because the answer may have been lost.
    pub refresh_grace: Duration,
    /// How many client secrets are checked at once; each check takes 19 MiB and a processor.
    pub logins_at_once: usize,
    /// How many more logins may wait; beyond them logins are refused.
    pub logins_waiting: usize,
    /// How long a login waits for its turn.
    pub login_wait: Duration,
}

const DAY: Duration = Duration::from_secs(86_400);

const ACCESS_TTL: &str = "auth.access_token_ttl";
const REFRESH_TTL: &str = "auth.refresh_token_ttl";
const REFRESH_GRACE: &str = "auth.refresh_grace";
const LOGINS_AT_ONCE: &str = "auth.logins_at_once";
const LOGINS_WAITING: &str = "auth.logins_waiting";
const LOGIN_WAIT: &str = "auth.login_wait";
const BODY_LIMIT: &str = "receiver.body_limit";
const BATCH_BODY_LIMIT: &str = "receiver.batch_body_limit";
const BODY_DEADLINE: &str = "receiver.body_deadline";
const BATCH_ITEMS: &str = "receiver.batch_items";
const FAIR_PER_SECOND: &str = "receiver.fair_per_second";
const COMMIT_ITEMS: &str = "receiver.commit_items";
const COMMIT_BYTES: &str = "receiver.commit_bytes";
const COMMIT_QUEUE: &str = "receiver.commit_queue";
const COMMITS_AT_ONCE: &str = "receiver.commits_at_once";
const COMMIT_WAIT: &str = "receiver.commit_wait";
const PUBLICATIONS_AT_ONCE: &str = "receiver.publications_at_once";
const FILE_LIFETIME: &str = "receiver.file_lifetime";
const FILE_SPACE: &str = "receiver.file_space";
const FILE_DEADLINE: &str = "receiver.file_deadline";
const UPLOADS_AT_ONCE: &str = "receiver.uploads_at_once";
const TEMPLATES: &str = "receiver.templates";
const REQUIRED: &str = "required";

/// The receiver's settings, for the one table of the program.
pub const SETTINGS: &[Setting] = &[
    Setting::new(
        ACCESS_TTL,
        duration(Duration::from_secs(60), DAY.saturating_mul(30)),
        "24h",
        "How long an access token is good.",
    ),
    Setting::new(
        REFRESH_TTL,
        duration(Duration::from_secs(3600), DAY.saturating_mul(366)),
        "30d",
        "How long a refresh token is good.",
    ),
    Setting::new(
        REFRESH_GRACE,
        duration(Duration::ZERO, Duration::from_secs(600)),
        "30s",
        "How long a used refresh token may come again, because the answer may have been lost.",
    ),
    Setting::new(
        LOGINS_AT_ONCE,
        count(1, 256),
        "2",
        "Client secrets checked at once; each takes 19 MiB and a processor.",
    ),
    Setting::new(
        LOGINS_WAITING,
        count(0, 10_000),
        "64",
        "Logins that may wait for their turn; beyond them logins are refused with 429.",
    ),
    Setting::new(
        LOGIN_WAIT,
        duration(Duration::from_millis(100), Duration::from_secs(60)),
        "5s",
        "How long a login waits for its turn before it is refused with 429.",
    ),
    Setting::new(
        BODY_LIMIT,
        bytes(16 << 10, 16 << 20),
        "256KiB",
        "The largest body of a request.",
    ),
    Setting::new(
        BATCH_BODY_LIMIT,
        bytes(64 << 10, 64 << 20),
        "8MiB",
        "The largest body of a batch.",
    ),
    Setting::new(
        BODY_DEADLINE,
        duration(Duration::from_millis(100), Duration::from_secs(300)),
        "10s",
        "How long a body may take to arrive.",
    ),
    Setting::new(
        BATCH_ITEMS,
        count(1, MOST_BATCH_ITEMS as u64),
        "1000",
        "The most messages in one batch.",
    ),
    Setting::new(
        FAIR_PER_SECOND,
        count(1, 100_000),
        "200",
        "Messages a second of one partner, over all receivers, that take the ordinary lane; a \
         second's worth may come at once. Those beyond take the bulk lane, which gives way to it.",
    ),
    Setting::new(
        COMMIT_ITEMS,
        count(1, 4096),
        "512",
        "The most messages accepted in one transaction.",
    ),
    Setting::new(
        COMMIT_BYTES,
        bytes(64 << 10, 64 << 20),
        "4MiB",
        "The most bytes of messages accepted in one transaction.",
    ),
    Setting::new(
        COMMIT_QUEUE,
        count(1, 100_000),
        "4096",
        "The most messages that wait for a transaction.",
    ),
    Setting::new(
        COMMITS_AT_ONCE,
        count(1, 64),
        "1",
        "Transactions under way at once; more than one is of use only where the database has more \
         than one writer.",
    ),
    Setting::new(
        COMMIT_WAIT,
        duration(Duration::from_millis(100), Duration::from_secs(60)),
        "10s",
        "How long a request waits for its transaction before it is answered E102.",
    ),
    Setting::new(
        PUBLICATIONS_AT_ONCE,
        count(1, 1024),
        "64",
        "Accepted batches brought to the queues at once; more are left to the sweep of the outbox.",
    ),
    Setting::new(
        FILE_LIFETIME,
        duration(Duration::from_secs(3600), DAY.saturating_mul(90)),
        "7d",
        "How long an uploaded file can be attached; it is kept longer for messages that need it.",
    ),
    Setting::new(
        FILE_SPACE,
        bytes(1 << 20, 1 << 40),
        "1GiB",
        "The most bytes that the files of one partner may have together.",
    ),
    Setting::new(
        FILE_DEADLINE,
        duration(Duration::from_millis(100), Duration::from_secs(300)),
        "60s",
        "How long an uploaded file may take to arrive.",
    ),
    Setting::new(
        UPLOADS_AT_ONCE,
        count(1, 1024),
        "8",
        "Uploads in memory at once, half of them one partner's at most; each takes up to 10 MiB and its \
         sealed copy as much.",
    ),
    Setting::new(
        TEMPLATES,
        Kind::Choice(&["optional", REQUIRED]),
        "optional",
        "Whether an Alimtalk is refused whose template is not registered; one that is registered is \
         always held to it.",
    ),
];

impl Config {
    /// The receiver's part of the settings.
    pub fn from_values(values: &Values) -> Self {
        // What a machine cannot count is more than it can hold; the bounds above are far below.
        let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        Self {
            auth: AuthConfig {
                access_ttl: values.duration(ACCESS_TTL),
                refresh_ttl: values.duration(REFRESH_TTL),
                refresh_grace: values.duration(REFRESH_GRACE),
                logins_at_once: size(values.count(LOGINS_AT_ONCE)),
                logins_waiting: size(values.count(LOGINS_WAITING)),
                login_wait: values.duration(LOGIN_WAIT),
            },
            body_bytes: size(values.bytes(BODY_LIMIT)),
            batch_body_bytes: size(values.bytes(BATCH_BODY_LIMIT)),
            body_deadline: values.duration(BODY_DEADLINE),
            batch_items: size(values.count(BATCH_ITEMS)),
            fair_per_second: u32::try_from(values.count(FAIR_PER_SECOND)).unwrap_or(u32::MAX),
            commit_items: size(values.count(COMMIT_ITEMS)),
            commit_bytes: size(values.bytes(COMMIT_BYTES)),
            commit_queue: size(values.count(COMMIT_QUEUE)),
            commits_at_once: size(values.count(COMMITS_AT_ONCE)),
            commit_wait: values.duration(COMMIT_WAIT),
            publications_at_once: size(values.count(PUBLICATIONS_AT_ONCE)),
            file_lifetime: values.duration(FILE_LIFETIME),
            file_space: values.bytes(FILE_SPACE),
            file_deadline: values.duration(FILE_DEADLINE),
            uploads_at_once: size(values.count(UPLOADS_AT_ONCE)),
            templates: match values.choice(TEMPLATES) {
                REQUIRED => TemplatePolicy::Required,
                _ => TemplatePolicy::Optional,
            },
        }
    }
}

const fn duration(min: Duration, max: Duration) -> Kind {
    Kind::Duration { min, max }
}

const fn count(min: u64, max: u64) -> Kind {
    Kind::Count { min, max }
}

const fn bytes(min: u64, max: u64) -> Kind {
    Kind::Bytes { min, max }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_the_api_promises() {
        let values = Values::load(&[SETTINGS], &[], None, std::iter::empty(), &[]).unwrap();
        let config = Config::from_values(&values);
        assert_eq!(config.auth.access_ttl, DAY);
        assert_eq!(config.auth.refresh_ttl, DAY * 30);
        assert_eq!(config.auth.refresh_grace, Duration::from_secs(30));
        assert_eq!(config.body_bytes, 256 * 1024);
        assert_eq!(config.batch_body_bytes, 8 * 1024 * 1024);
        assert_eq!(config.body_deadline, Duration::from_secs(10));
        assert_eq!(config.batch_items, 1000);
        assert_eq!(config.fair_per_second, 200);
        assert_eq!(config.file_lifetime, DAY * 7);
        assert_eq!(config.templates, TemplatePolicy::Optional);
    }

    #[test]
    fn a_batch_cannot_be_made_larger_than_the_api_promises() {
        let flags = [("receiver.batch_items".to_owned(), "1001".to_owned())];
        let loaded = Values::load(&[SETTINGS], &[], None, std::iter::empty(), &flags);
        assert!(
            loaded
                .unwrap_err()
                .to_string()
                .contains("receiver.batch_items")
        );
    }
}
