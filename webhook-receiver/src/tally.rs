//! Reports are handed on before they are known to be safe, and counted only then.

use pabal_common::domain::report::{Report, VendorAccount, Verdict};
use pabal_common::telemetry::metric;

/// The verdicts of some reports.
#[derive(Clone, Debug)]
pub(crate) struct Tally(Vec<Verdict>);

impl Tally {
    pub(crate) fn of(reports: &[Report]) -> Self {
        Self(reports.iter().map(|report| report.verdict).collect())
    }

    /// They were received from `account` and are safe.
    pub(crate) fn received(self, account: &VendorAccount) {
        let Self(mut verdicts) = self;
        verdicts.sort_unstable_by_key(|verdict| verdict.name());
        for same in verdicts.chunk_by(|one, next| one.name() == next.name()) {
            metric::vendor_reports(account, same[0], same.len() as u64);
        }
    }
}
