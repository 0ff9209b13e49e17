//! The configuration of the whole: every service's settings, and the gateway's own.

use std::path::PathBuf;

use pabal_common::config::{ConfigError, Kind, Setting, Values};
use pabal_common::process::settings;
pub use pabal_common::process::settings::TABLES;

/// The gateway's own settings.
pub const SETTINGS: &[Setting] = &[
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
];

/// Every setting, service by service, in the order of the documentation.
pub const ALL: &[&[Setting]] = &[
    settings::SETTINGS,
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
    let environment = settings::environment(environment);
    let values = Values::load(ALL, TABLES, file, environment, flags)?;
    let mut problems = settings::check(&values);
    // The reporter would take calls that still run for orphaned.
    if let Err(error) = values.check_not_less("reporter.call_limit", "sender.call_limit") {
        problems.extend(error.problems);
    }
    problems.extend(pabal_sender::check(&values));
    settings::agreed(values, problems)
}

/// Whether the file has vendors of the operator's own.
pub fn has_vendors(values: &Values) -> bool {
    TABLES.iter().any(|table| !values.tables(table).is_empty())
}

/// Whether simulated vendors run: if enabled, and never beside vendors of the operator's own.
pub fn simulated(values: &Values) -> bool {
    values.flag("simulator.enabled") && !has_vendors(values)
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
