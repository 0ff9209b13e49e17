//! Reports are handed on before they are known to be safe, and counted only then.

use crate::domain::report::{Report, VendorAccount, Verdict};
use crate::telemetry::metric;

/// The verdicts of some reports.
#[derive(Clone, Debug)]
pub struct Tally(Vec<Verdict>);

impl Tally {
    /// Of these reports.
    pub fn of(reports: &[Report]) -> Self {
        Self(reports.iter().map(|report| report.verdict).collect())
    }

    /// They were received from `account` and are safe.
    pub fn received(self, account: &VendorAccount) {
        let Self(mut verdicts) = self;
        verdicts.sort_unstable_by_key(|verdict| verdict.name());
        for same in verdicts.chunk_by(|one, next| one.name() == next.name()) {
            metric::vendor_reports(account, same[0], same.len() as u64);
        }
    }
}
