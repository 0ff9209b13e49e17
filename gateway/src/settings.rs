//! The configuration of the whole: every service's settings, and the gateway's own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use pabal_common::config::{ConfigError, Kind, Setting, Values};
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
        "Whether simulated vendors run in this process. Without a [[route]] they carry everything, \
         and webhooks may go to this machine.",
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
            min: Duration::from_millis(300),
            max: Duration::from_secs(60),
        },
        "7s",
        "After this long without a renewed lease the process acts as dead.",
    ),
    Setting::new(
        "lease.length",
        Kind::Duration {
            min: Duration::from_millis(500),
            max: Duration::from_secs(120),
        },
        "10s",
        "How long the ledger holds a lease; longer than `lease.dead_after`.",
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
    // The reporter would take calls that still run for orphaned.
    values.check_not_less("reporter.call_limit", "sender.call_limit")?;
    Ok(values)
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
    let dead_after = values.duration("lease.dead_after");
    LeaseConfig {
        dead_after,
        lease: values.duration("lease.length").max(dead_after),
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
}
