//! The settings that every process has, and how they belong together.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use axum::http::Uri;

use crate::config::{ConfigError, Kind, Problem, Setting, Values};
use crate::files::{FORMS, Named};
use crate::http::ServerLimits;
use crate::instance::LeaseConfig;
use crate::telemetry::{LogFormat, TelemetryConfig, check_filter};

/// The arrays of tables a configuration file may have beside the settings.
pub const TABLES: &[&str] = &["account", "route"];

/// The first words of the settings that single services declare. One file serves a whole cluster:
/// a process passes over what is another's.
pub const SERVICE_WORDS: &[&str] = &[
    "auth",
    "demo",
    "query",
    "receiver",
    "reporter",
    "sender",
    "simulator",
    "webhook_receiver",
    "webhooks",
];

/// Environment variables that begin like settings and are none.
const NOT_SETTINGS: &[&str] = &[
    "PABAL_CONFIG",
    "PABAL_SIMULATOR_API_KEY",
    "PABAL_SIMULATOR_CALLBACK_SECRET",
];

/// What the variables begin with that tell tests and trials where their servers are, or how to start
/// them; a shell that ran them may still have them.
const OF_TRIALS: [&str; 2] = ["PABAL_TEST_", "PABAL_BACKENDS"];

pub(super) const LEDGER_URL: &str = "ledger.url";
pub(super) const LEDGER_PASSWORD_FILE: &str = "ledger.password_file";
pub(super) const BROKER_URL: &str = "broker.url";
pub(super) const BROKER_PASSWORD_FILE: &str = "broker.password_file";
pub(super) const QUOTA_URL: &str = "quota.url";
pub(super) const QUOTA_PASSWORD_FILE: &str = "quota.password_file";
pub(super) const FILE_STORE: &str = "files.store";
pub(super) const S3_ENDPOINT: &str = "files.s3_endpoint";
pub(super) const S3_REGION: &str = "files.s3_region";
pub(super) const S3_KEY: &str = "files.s3_access_key";
pub(super) const S3_SECRET_FILE: &str = "files.s3_secret_file";

/// The settings of a process, whichever services run in it.
pub const SETTINGS: &[Setting] = &[
    Setting::new(
        "data.folder",
        Kind::Path,
        "./data",
        "Where the key file is and, without `ledger.url`, the ledger.",
    ),
    Setting::optional(
        "keys.file",
        Kind::Path,
        "The key file; `keys.json` in the data folder if not given. Every process on one ledger needs \
         the same.",
    ),
    Setting::optional(
        LEDGER_URL,
        Kind::Url,
        "The ledger on MySQL or MariaDB, `mysql://user@host:3306/schema`; without it the ledger is \
         SQLite in the data folder, for one process alone.",
    ),
    Setting::optional(
        LEDGER_PASSWORD_FILE,
        Kind::Path,
        "A file that holds the password for the ledger, if it is not part of the URL.",
    ),
    Setting::new(
        "ledger.connections",
        Kind::count(2, 1_000),
        "16",
        "The most connections of one process to the ledger.",
    ),
    Setting::optional(
        BROKER_URL,
        Kind::Url,
        "The queues on RabbitMQ, `amqp://user@host:5672/vhost` or `amqps://…`; goes together with \
         `ledger.url`.",
    ),
    Setting::optional(
        BROKER_PASSWORD_FILE,
        Kind::Path,
        "A file that holds the password for the broker, if it is not part of the URL.",
    ),
    Setting::optional(
        "broker.prefix",
        Kind::Text,
        "What every name at the broker begins with; needed only where others use its vhost too.",
    ),
    Setting::new(
        "broker.window",
        Kind::count(1, 10_000),
        "500",
        "The most frames of one queue that one process has published and the broker has not yet \
         confirmed.",
    ),
    Setting::optional(
        QUOTA_URL,
        Kind::Url,
        "Redis, `redis://user@host:6379/0` or `rediss://…`, to count limits over all receivers; \
         without it each receiver has its share of them.",
    ),
    Setting::optional(
        QUOTA_PASSWORD_FILE,
        Kind::Path,
        "A file that holds the password for Redis, if it is not part of the URL.",
    ),
    Setting::new(
        "quota.prefix",
        Kind::Text,
        "pabal:",
        "What every key in Redis begins with.",
    ),
    Setting::optional(
        FILE_STORE,
        Kind::Text,
        "Where uploaded files are kept: `folder:PATH`, or `s3://BUCKET/PREFIX`. Without it they are in the \
         data folder where the ledger is there too, and beside a ledger on a server none are taken: a \
         folder has to be one that every process sees.",
    ),
    Setting::optional(
        S3_ENDPOINT,
        Kind::Url,
        "The address of the service that has the bucket of `files.store`, if it is not Amazon's.",
    ),
    Setting::new(
        S3_REGION,
        Kind::Text,
        "us-east-1",
        "The region of the bucket of `files.store`.",
    ),
    Setting::optional(
        S3_KEY,
        Kind::Text,
        "The id of the access key to the bucket of `files.store`; without it, the role of the machine.",
    ),
    Setting::optional(
        S3_SECRET_FILE,
        Kind::Path,
        "A file that holds the secret of `files.s3_access_key`.",
    ),
    Setting::new(
        "http.address",
        Kind::Address,
        "127.0.0.1:8080",
        "Where HTTP is served: the API, `/healthz`, `/readyz` and `/metrics`; port 0 picks a free one.",
    ),
    Setting::new(
        "http.max_connections",
        Kind::Count {
            min: 1,
            max: 1_000_000,
        },
        "10240",
        "The most HTTP connections held at once.",
    ),
    Setting::new(
        "http.header_timeout",
        Kind::Duration {
            min: Duration::from_millis(50),
            max: Duration::from_secs(300),
        },
        "10s",
        "How long a client may take for a request's head, and how long a connection may be idle.",
    ),
    Setting::new(
        "http.unready_wait",
        Kind::Duration {
            min: Duration::ZERO,
            max: Duration::from_secs(120),
        },
        "0s",
        "How long a process that is asked to stop goes on while `/readyz` already says no, so that a \
         proxy in front of it turns away first.",
    ),
    Setting::new(
        "http.drain",
        Kind::Duration {
            min: Duration::from_millis(10),
            max: Duration::from_secs(60),
        },
        "3s",
        "How long requests on their way may take to end at shutdown.",
    ),
    Setting::new(
        "shutdown.deadline",
        Kind::Duration {
            min: Duration::from_secs(2),
            max: Duration::from_secs(300),
        },
        "10s",
        "How long a stop may take after `http.unready_wait`; what is not done then is left to the \
         next start.",
    ),
    Setting::new(
        "log.filter",
        Kind::Text,
        "info",
        "What is logged: a level, or directives such as `info,pabal_sender=debug`.",
    ),
    Setting::new(
        "log.format",
        Kind::Choice(LogFormat::WORDS),
        "auto",
        "How log lines look; `auto` is human on a terminal and JSON otherwise.",
    ),
    Setting::optional(
        "telemetry.otlp_endpoint",
        Kind::Url,
        "Where traces are sent by OTLP over HTTP; nothing is traced without it.",
    ),
    Setting::new(
        "lease.dead_after",
        Kind::Duration {
            min: Duration::from_millis(1_100),
            max: Duration::from_secs(60),
        },
        "7s",
        "After this long without a renewed lease, which is renewed every second, the process acts \
         as dead; longer than `sender.first_byte_limit` and that second.",
    ),
    Setting::new(
        "lease.length",
        Kind::Duration {
            min: Duration::from_millis(1_100),
            max: Duration::from_secs(120),
        },
        "10s",
        "How long the ledger holds a lease; at least `lease.dead_after`.",
    ),
];

/// The environment without the variables that only look like settings.
pub fn environment(
    all: impl Iterator<Item = (String, String)>,
) -> impl Iterator<Item = (String, String)> {
    let is_none = |name: &str| {
        NOT_SETTINGS.contains(&name) || OF_TRIALS.iter().any(|words| name.starts_with(words))
    };
    all.filter(move |(name, _)| !is_none(name))
}

/// Reads the configuration of a process that runs the service whose settings these are; what
/// belongs to other services is passed over.
///
/// # Errors
/// [`ConfigError`] with every mistake.
pub fn load_service(
    service: &[&'static [Setting]],
    file: Option<(PathBuf, String)>,
    all: impl Iterator<Item = (String, String)>,
    flags: &[(String, String)],
) -> Result<Values, ConfigError> {
    let settings = [&[SETTINGS], service].concat();
    let values = Values::load_part(
        &settings,
        SERVICE_WORDS,
        TABLES,
        file,
        environment(all),
        flags,
    )?;
    let problems = check(&values);
    agreed(values, problems)
}

/// The values, if nothing is wrong with how they belong together.
///
/// # Errors
/// [`ConfigError`] with these problems.
pub fn agreed(values: Values, problems: Vec<Problem>) -> Result<Values, ConfigError> {
    match problems.is_empty() {
        true => Ok(values),
        false => Err(ConfigError { problems }),
    }
}

/// What is wrong with how the settings of a process belong together.
pub fn check(values: &Values) -> Vec<Problem> {
    let mut problems = Vec::new();
    // Another process could take over from one that still acts.
    if let Err(error) = values.check_not_less("lease.length", "lease.dead_after") {
        problems.extend(error.problems);
    }
    if let Err(error) = check_filter(values.text("log.filter")) {
        let said = format!("a level, or a list of target=level: {error}");
        problems.push(values.not_allowed("log.filter", said));
    }
    problems.extend(check_servers(values));
    problems.extend(check_files(values));
    problems
}

/// The store of files, and what goes with it.
fn check_files(values: &Values) -> Vec<Problem> {
    let mut problems = Vec::new();
    let store = values.optional_text(FILE_STORE);
    let named = store.and_then(Named::parse);
    if store.is_some() && named.is_none() {
        problems.push(values.not_allowed(FILE_STORE, FORMS.to_owned()));
    }
    if !matches!(named, Some(Named::Bucket { .. })) {
        let lonely = [S3_ENDPOINT, S3_KEY, S3_SECRET_FILE].into_iter();
        let lonely = lonely.filter(|key| !values.shown(key).is_empty());
        let allowed = format!("nothing, unless {FILE_STORE} is a bucket");
        problems.extend(lonely.map(|key| values.not_allowed(key, allowed.as_str())));
    }
    let (key, secret) = (
        values.optional_text(S3_KEY),
        values.optional_path(S3_SECRET_FILE),
    );
    match (key, secret) {
        (Some(_), None) => problems.push(values.needs(S3_KEY, S3_SECRET_FILE)),
        (None, Some(_)) => problems.push(values.needs(S3_SECRET_FILE, S3_KEY)),
        _ => {}
    }
    problems
}

/// The URLs of the servers, and what goes with them.
fn check_servers(values: &Values) -> Vec<Problem> {
    const SCHEMES: [(&str, &[&str]); 3] = [
        (LEDGER_URL, &["mysql"]),
        (BROKER_URL, &["amqp", "amqps"]),
        (QUOTA_URL, &["redis", "rediss"]),
    ];
    const NEEDS: [(&str, &str); 2] = [(LEDGER_URL, BROKER_URL), (BROKER_URL, LEDGER_URL)];
    const FILES: [(&str, &str); 3] = [
        (LEDGER_PASSWORD_FILE, LEDGER_URL),
        (BROKER_PASSWORD_FILE, BROKER_URL),
        (QUOTA_PASSWORD_FILE, QUOTA_URL),
    ];
    let given = |key| values.optional_url(key).is_some();
    let schemes = SCHEMES.iter().filter_map(|(key, schemes)| {
        let url = values.optional_url(key)?;
        let known = schemes.iter().any(|one| scheme_of(url) == Some(*one));
        let begins: Vec<_> = schemes.iter().map(|one| format!("{one}://")).collect();
        let allowed = format!("a URL that begins with {}", begins.join(" or "));
        (!known).then(|| values.not_allowed(key, allowed))
    });
    let alone = NEEDS
        .iter()
        .filter(|(key, other)| given(key) && !given(other));
    let files = FILES
        .iter()
        .filter(|(file, url)| values.optional_path(file).is_some() && !given(url));
    let lonely = alone.chain(files);
    schemes
        .chain(lonely.map(|(key, other)| values.needs(key, other)))
        .collect()
}

fn scheme_of(url: &str) -> Option<&str> {
    url.split_once("://").map(|(scheme, _)| scheme)
}

/// Whether the ledger is on a server, for many processes.
pub fn is_shared(values: &Values) -> bool {
    values.optional_url(LEDGER_URL).is_some()
}

/// Where HTTP is served.
pub fn http_address(values: &Values) -> SocketAddr {
    values.address("http.address")
}

/// The HTTP server's limits.
pub fn server_limits(values: &Values) -> ServerLimits {
    ServerLimits {
        header_read: values.duration("http.header_timeout"),
        max_connections: usize::try_from(values.count("http.max_connections"))
            .unwrap_or(usize::MAX),
        drain: values.duration("http.drain"),
        ..ServerLimits::default()
    }
}

/// How the lease is kept: alone where one process at a time has the data folder.
pub fn lease(values: &Values) -> LeaseConfig {
    LeaseConfig {
        dead_after: values.duration("lease.dead_after"),
        lease: values.duration("lease.length"),
        exclusive: !is_shared(values),
        ..LeaseConfig::default()
    }
}

/// What the process `name` logs and traces.
pub fn telemetry(values: &Values, name: &str) -> TelemetryConfig {
    TelemetryConfig {
        filter: values.text("log.filter").to_owned(),
        format: LogFormat::parse(values.choice("log.format")).unwrap_or_default(),
        otlp_endpoint: values
            .optional_url("telemetry.otlp_endpoint")
            .map(ToOwned::to_owned),
        service: name.to_owned(),
    }
}

/// Host and port of a URL: what may be said of a server without its password.
pub(super) fn place_of(url: &str) -> String {
    let place = url.parse::<Uri>().ok().and_then(|uri| {
        let host = uri.host()?.to_owned();
        Some(
            uri.port_u16()
                .map_or(host.clone(), |port| format!("{host}:{port}")),
        )
    });
    place.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(flags: &[(&str, &str)]) -> Result<Values, ConfigError> {
        let owned = |&(key, value): &(&str, &str)| (key.to_owned(), value.to_owned());
        let flags: Vec<_> = flags.iter().map(owned).collect();
        load_service(&[], None, std::iter::empty(), &flags)
    }

    fn said(flags: &[(&str, &str)]) -> String {
        load(flags).unwrap_err().to_string()
    }

    #[test]
    fn a_variable_that_tells_tests_where_a_server_is_is_no_wrong_setting() {
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let of_trials = [
            ("PABAL_TEST_LEDGER_URL", "mysql://root@127.0.0.1:3306/"),
            ("PABAL_BACKENDS", "own"),
            ("PABAL_BACKENDS_BUFFER_POOL", "1G"),
        ];
        let wrong = ("PABAL_LEDGER_ULR", "mysql://root@127.0.0.1:3306/");
        assert!(load_service(&[], None, of_trials.map(owned).into_iter(), &[]).is_ok());
        assert!(load_service(&[], None, [wrong].map(owned).into_iter(), &[]).is_err());
    }

    const LEDGER: (&str, &str) = (LEDGER_URL, "mysql://pabal:hunter2@db:3306/pabal");
    const BROKER: (&str, &str) = (BROKER_URL, "amqp://pabal:hunter2@mq:5672/%2f");

    #[test]
    fn ledger_and_broker_are_on_servers_both_or_neither() {
        assert!(!is_shared(&load(&[]).unwrap()));
        assert!(is_shared(&load(&[LEDGER, BROKER]).unwrap()));
        assert_eq!(
            said(&[LEDGER]),
            "ledger.url (from --set) is given, but broker.url is not: give both, or neither"
        );
        assert_eq!(
            said(&[BROKER]),
            "broker.url (from --set) is given, but ledger.url is not: give both, or neither"
        );
    }

    #[test]
    fn limits_may_be_counted_in_redis_whatever_the_ledger_is_on() {
        let redis = (QUOTA_URL, "redis://cache:6379");
        assert!(load(&[redis]).is_ok());
        assert!(load(&[LEDGER, BROKER, redis]).is_ok());
    }

    #[test]
    fn a_url_of_another_kind_of_server_is_refused_without_its_password() {
        for (key, allowed) in [
            (LEDGER_URL, "mysql://"),
            (BROKER_URL, "amqp:// or amqps://"),
            (QUOTA_URL, "redis:// or rediss://"),
        ] {
            let said = said(&[LEDGER, BROKER, (key, "https://me:hunter2@host/")]);
            assert!(said.contains(&format!("begins with {allowed}")), "{said}");
            assert!(said.starts_with(key) && !said.contains("hunter2"), "{said}");
        }
    }

    #[test]
    fn a_password_without_its_server_is_refused() {
        for (file, url) in [
            (LEDGER_PASSWORD_FILE, LEDGER_URL),
            (BROKER_PASSWORD_FILE, BROKER_URL),
            (QUOTA_PASSWORD_FILE, QUOTA_URL),
        ] {
            let said = said(&[(file, "/run/secrets/password")]);
            assert!(said.contains(file) && said.contains(url), "{said}");
        }
    }

    #[test]
    fn a_bucket_may_have_a_key_with_its_secret_and_a_folder_has_neither() {
        let bucket = (FILE_STORE, "s3://files/pabal");
        let (key, secret) = ((S3_KEY, "AKID"), (S3_SECRET_FILE, "/run/secrets/s3"));
        let endpoint = (S3_ENDPOINT, "https://s3.example");
        for right in [
            &[(FILE_STORE, "folder:/srv/files")][..],
            &[bucket],
            &[bucket, endpoint, key, secret],
        ] {
            assert!(load(right).is_ok(), "{right:?}");
        }
        assert!(said(&[(FILE_STORE, "/srv/files")]).contains("folder:PATH or s3://BUCKET/PREFIX"));
        assert!(said(&[bucket, key]).contains(S3_SECRET_FILE));
        assert!(said(&[bucket, secret]).contains(S3_KEY));
        let folder = (FILE_STORE, "folder:/srv/files");
        assert!(said(&[folder, endpoint]).contains("unless files.store is a bucket"));
        assert!(said(&[endpoint]).contains("unless files.store is a bucket"));
    }

    #[test]
    fn no_url_is_shown_with_its_password() {
        let values = load(&[LEDGER, BROKER, (QUOTA_URL, "redis://:hunter2@cache:6379")]).unwrap();
        let shown = format!("{values:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("pabal:****@db:3306/pabal"), "{shown}");
        assert_eq!(place_of(LEDGER.1), "db:3306");
    }

    #[test]
    fn a_lease_is_exclusive_only_where_one_process_has_the_ledger() {
        assert!(lease(&load(&[]).unwrap()).exclusive);
        assert!(!lease(&load(&[LEDGER, BROKER]).unwrap()).exclusive);
    }

    #[test]
    fn a_lease_may_not_end_before_its_holder_acts_as_dead() {
        assert!(load(&[("lease.length", "7s")]).is_ok());
        assert_eq!(
            said(&[("lease.length", "6s")]),
            "lease.length = \"6s\" (from --set) must not be less than \
             lease.dead_after = \"7s\" (from default)"
        );
    }

    #[test]
    fn a_log_filter_that_cannot_be_read_is_refused_before_the_start() {
        assert!(load(&[("log.filter", "info,pabal_sender=debug")]).is_ok());
        let said = said(&[("log.filter", "info,pabal_sender=loud")]);
        assert!(said.starts_with("log.filter = "), "{said}");
        assert!(said.contains("target=level"), "{said}");
    }

    #[test]
    fn what_another_service_declares_is_passed_over_and_what_nobody_does_is_not() {
        assert!(load(&[("sender.call_limit", "20s")]).is_ok());
        let variable = ("PABAL_WEBHOOK_RECEIVER_POLL_INTERVAL", "1s");
        let of = |(name, value): (&str, &str)| {
            let environment = [(name.to_owned(), value.to_owned())];
            load_service(&[], None, environment.into_iter(), &[])
        };
        assert!(of(variable).is_ok());
        assert!(of(("PABAL_CONFIG", "pabal.toml")).is_ok());
        assert!(of(("PABAL_SENDERS_CALL_LIMIT", "1s")).is_err());
        let unknown = said(&[("senders.call_limit", "20s"), ("sender", "1")]);
        assert!(unknown.contains("senders.call_limit (from --set) is not a setting"));
        assert!(unknown.contains("sender (from --set) is not a setting"));
    }
}
