//! The configuration of the whole: every service's settings, and the gateway's own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use pabal_common::config::{ConfigError, Kind, Problem, Setting, Values};
use pabal_common::http::ServerLimits;
use pabal_common::instance::LeaseConfig;
use pabal_common::telemetry::{LogFormat, TelemetryConfig};

/// The arrays of tables a configuration file may have beside the settings.
pub const TABLES: &[&str] = &["account", "route"];

/// Environment variables that begin like settings and are none.
const NOT_SETTINGS: &[&str] = &["PABAL_CONFIG"];

/// The gateway's own settings.
pub const SETTINGS: &[Setting] = &[
    Setting::new(
        "data.folder",
        Kind::Path,
        "./data",
        "Where the ledger and the key file are.",
    ),
    Setting::new(
        "http.address",
        Kind::Address,
        "127.0.0.1:8080",
        "Where the HTTP API listens; port 0 picks a free one.",
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
        "http.drain",
        Kind::Duration {
            min: Duration::from_millis(10),
            max: Duration::from_secs(60),
        },
        "3s",
        "How long requests on their way may take to end at shutdown.",
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
        "simulator.enabled",
        Kind::Flag,
        "true",
        "Whether simulated vendors run in this process where the file has no [[account]] and no \
         [[route]]: they then carry everything, and webhooks may go to this machine.",
    ),
    Setting::new(
        "demo.partner",
        Kind::Flag,
        "true",
        "Whether the first start with simulated vendors adds a partner named demo.",
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

/// Every setting, service by service, in the order of the documentation.
pub const ALL: &[&[Setting]] = &[
    SETTINGS,
    pabal_receiver::SETTINGS,
    pabal_sender::SETTINGS,
    pabal_webhook_receiver::SETTINGS,
    pabal_reporter::SETTINGS,
    pabal_reporter::webhook::config::SETTINGS,
    pabal_reporter::query::config::SETTINGS,
];

/// Reads the configuration: defaults, then the file, then `PABAL_…`, then `--set key=value`.
///
/// # Errors
/// [`ConfigError`] with every mistake.
pub fn load(
    file: Option<(PathBuf, String)>,
    environment: impl Iterator<Item = (String, String)>,
    flags: &[(String, String)],
) -> Result<Values, ConfigError> {
    let environment = environment.filter(|(name, _)| !NOT_SETTINGS.contains(&name.as_str()));
    let values = Values::load(ALL, TABLES, file, environment, flags)?;
    let checks = [
        // The reporter would take calls that still run for orphaned.
        values.check_not_less("reporter.call_limit", "sender.call_limit"),
        // Another process could take over from one that still acts.
        values.check_not_less("lease.length", "lease.dead_after"),
        check_first_byte_limit(&values),
    ];
    let problems: Vec<_> = checks
        .into_iter()
        .filter_map(Result::err)
        .flat_map(|error| error.problems)
        .collect();
    match problems.is_empty() {
        true => Ok(values),
        false => Err(ConfigError { problems }),
    }
}

/// A lease is up to one renewal old when a call is to begin: if what is left then were not more
/// than a call needs, calls would wait for ever.
fn check_first_byte_limit(values: &Values) -> Result<(), ConfigError> {
    const KEY: &str = "sender.first_byte_limit";
    const CEILING: &str = "lease.dead_after";
    let needed = values.duration(KEY) + lease(values).beat;
    if needed < values.duration(CEILING) {
        return Ok(());
    }
    let mut shown = values.effective();
    shown.retain(|one| [KEY, CEILING].contains(&one.key));
    let (limits, ceilings): (Vec<_>, Vec<_>) = shown.into_iter().partition(|one| one.key == KEY);
    let problems = limits.into_iter().zip(ceilings);
    let problems = problems.map(|(limit, ceiling)| Problem::NotAllowed {
        key: KEY,
        value: limit.value,
        from: limit.source,
        allowed: format!(
            "with the second between two renewals less than {CEILING} = {:?} (from {})",
            ceiling.value, ceiling.source
        ),
    });
    Err(ConfigError {
        problems: problems.collect(),
    })
}

/// Whether the file has vendors of the operator's own.
pub fn has_vendors(values: &Values) -> bool {
    TABLES.iter().any(|table| !values.tables(table).is_empty())
}

/// Whether simulated vendors run: if enabled, and never beside vendors of the operator's own.
pub fn simulated(values: &Values) -> bool {
    values.flag("simulator.enabled") && !has_vendors(values)
}

/// Where the HTTP API listens.
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

/// How the lease is kept: alone, because one process at a time has the data folder.
pub fn lease(values: &Values) -> LeaseConfig {
    LeaseConfig {
        dead_after: values.duration("lease.dead_after"),
        lease: values.duration("lease.length"),
        ..LeaseConfig::exclusive()
    }
}

/// What is logged and traced.
pub fn telemetry(values: &Values) -> TelemetryConfig {
    TelemetryConfig {
        filter: values.text("log.filter").to_owned(),
        format: LogFormat::parse(values.choice("log.format")).unwrap_or_default(),
        otlp_endpoint: values
            .optional_url("telemetry.otlp_endpoint")
            .map(ToOwned::to_owned),
        service: "pabal".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(flags: &[(&str, &str)]) -> Result<Values, ConfigError> {
        let owned = |&(key, value): &(&str, &str)| (key.to_owned(), value.to_owned());
        let flags: Vec<_> = flags.iter().map(owned).collect();
        super::load(None, std::iter::empty(), &flags)
    }

    #[test]
    fn a_vendor_call_may_not_last_longer_than_the_reporter_believes() {
        assert!(load(&[("sender.call_limit", "60s")]).is_ok());
        assert!(load(&[("sender.call_limit", "90s"), ("reporter.call_limit", "90s")]).is_ok());
        let error = load(&[("sender.call_limit", "61s")])
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "reporter.call_limit = \"60s\" (from default) must not be less than \
             sender.call_limit = \"61s\" (from --set)"
        );
    }

    #[test]
    fn a_lease_may_not_end_before_its_holder_acts_as_dead() {
        assert!(load(&[("lease.length", "7s")]).is_ok());
        let error = load(&[("lease.length", "6s")]).unwrap_err().to_string();
        assert_eq!(
            error,
            "lease.length = \"6s\" (from --set) must not be less than \
             lease.dead_after = \"7s\" (from default)"
        );
    }

    #[test]
    fn a_call_must_fit_into_what_is_left_of_a_lease_between_two_renewals() {
        assert!(load(&[("lease.dead_after", "5001ms")]).is_ok());
        assert!(load(&[("sender.first_byte_limit", "5999ms")]).is_ok());
        assert!(load(&[("sender.first_byte_limit", "6s")]).is_err());
        let error = load(&[("lease.dead_after", "5s")]).unwrap_err().to_string();
        assert_eq!(
            error,
            "sender.first_byte_limit = \"4s\" (from default) is not allowed: expected with the \
             second between two renewals less than lease.dead_after = \"5s\" (from --set)"
        );
    }

    #[test]
    fn every_pair_that_does_not_agree_is_named_at_once() {
        let settings = [("lease.dead_after", "11s"), ("sender.call_limit", "61s")];
        assert_eq!(load(&settings).unwrap_err().problems.len(), 2);
    }

    #[test]
    fn simulated_vendors_run_only_where_the_file_has_none_of_its_own() {
        let of = |text: &str| {
            let file = Some(("pabal.toml".into(), text.to_owned()));
            simulated(&super::load(file, std::iter::empty(), &[]).unwrap())
        };
        assert!(of(""));
        assert!(!of("[simulator]\nenabled = false"));
        assert!(!of("[[account]]\nname = \"main\""));
        assert!(!of(
            "[simulator]\nenabled = true\n[[route]]\nname = \"main\""
        ));
    }
}
