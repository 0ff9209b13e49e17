//! The recorder behind [`metric`].

use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::metric;

/// Seconds: from a cache hit to a call that nobody waits for any more.
const SECONDS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0,
];

/// Things: the sizes a group commit takes, up to its 512.
const SIZES: &[f64] = &[
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0,
];

/// The process's recorder, installed at the first call; every call gives the same handle.
pub fn prometheus() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(install).clone()
}

fn install() -> PrometheusHandle {
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)
        .and_then(|builder| {
            builder.set_buckets_for_metric(Matcher::Suffix("_size".to_owned()), SIZES)
        })
        .unwrap_or_default()
        .build_recorder();
    let handle = recorder.handle();
    if metrics::set_global_recorder(recorder).is_err() {
        tracing::warn!("another metrics recorder was installed before; ours stays empty");
    }
    metric::describe();
    metric::begin_at_zero();
    fold_regularly(handle.clone());
    handle
}

/// Histograms keep every sample until they are folded. Reading `/metrics` folds them, but nobody
/// need read it, and memory has to stay flat then too. The thread lives as long as the process.
fn fold_regularly(handle: PrometheusHandle) {
    const EVERY: Duration = Duration::from_secs(5);

    let thread = std::thread::Builder::new()
        .name("metrics-fold".to_owned())
        .spawn(move || {
            loop {
                std::thread::sleep(EVERY);
                handle.run_upkeep();
            }
        });
    if let Err(error) = thread {
        tracing::warn!(%error, "histograms are folded only when /metrics is read");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::code::{Code, ErrorReason};
    use crate::domain::report::VendorAccount;

    #[test]
    fn installing_twice_gives_the_same_numbers() {
        let (first, second) = (prometheus(), prometheus());
        metric::request_refused(Code::SystemError, ErrorReason::Overloaded);
        let line = r#"pabal_requests_refused_total{code="E100",reason="OVERLOADED"} 1"#;
        assert!(first.render().contains(line) && second.render().contains(line));
    }

    #[test]
    fn every_counter_begins_at_zero() {
        let handle = prometheus();
        metric::route_usable("born", 1.0);
        metric::account_known(&VendorAccount::new("born", "main"));
        let text = handle.render();
        let counters = text.lines().filter_map(|line| {
            let (name, kind) = line.strip_prefix("# TYPE ")?.split_once(' ')?;
            (kind == "counter").then_some(name)
        });
        assert_eq!(counters.count(), metric::COUNTERS.len(), "{text}");
        for line in [
            r#"pabal_messages_ended_total{type="RCS",status="EXPIRED",reason="NO_REPORT"} 0"#,
            r#"pabal_messages_ended_total{type="SMS",status="DELIVERED",reason=""} 0"#,
            r#"pabal_requests_refused_total{code="E101",reason="QUEUE_UNAVAILABLE"} 0"#,
            r#"pabal_dead_letters_total{kind="webhook"} 0"#,
            r#"pabal_webhooks_total{outcome="exhausted"} 0"#,
            r#"pabal_vendor_calls_total{route="born",outcome="unknown"} 0"#,
            r#"pabal_vendor_reports_total{account="born/main",verdict="FAILED"} 0"#,
            r#"pabal_vendor_callbacks_refused_total{account="born/main",why="busy"} 0"#,
            r#"pabal_vendor_poll_failures_total{account="born/main"} 0"#,
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }

    #[test]
    fn times_and_sizes_have_buckets_of_their_own() {
        let handle = prometheus();
        metric::ledger_commit(Duration::from_millis(3));
        metric::batch_size("test", 100);
        let text = handle.render();
        assert!(text.contains(r#"pabal_ledger_commit_seconds_bucket{le="0.005"}"#));
        assert!(text.contains(r#"pabal_batch_size_bucket{batch="test",le="128"} 1"#));
        assert!(text.contains("# HELP pabal_ledger_commit_seconds "));
    }
}
