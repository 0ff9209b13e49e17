//! Reports go into the ledger in groups: whatever waits shares one transaction.

use std::sync::Arc;

use pabal_common::batch::{BatchError, BatchLimits, Batching, GroupCommit};
use pabal_common::domain::report::Report;
use pabal_common::ledger::{Applied, LedgerError};
use pabal_common::node::Node;
use pabal_common::telemetry::metric;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::answer::in_time;
use crate::config::Config;
use crate::webhook::WakeDelivery;

/// What a report weighs beside its texts.
const WEIGHT: usize = 64;

/// Why a report was not applied.
pub type ApplyError = BatchError<LedgerError>;

/// The way of reports into the ledger. Clones share it.
#[derive(Clone)]
pub struct Applier {
    commits: GroupCommit<Report, Applied, LedgerError>,
}

impl Applier {
    /// Starts applying in tasks that `tracker` waits for; `webhooks` is told when some were
    /// written. After `closing` nothing more is taken.
    pub fn start(
        node: &Node,
        config: &Config,
        webhooks: WakeDelivery,
        closing: CancellationToken,
        tracker: &TaskTracker,
    ) -> Self {
        let batching = Batching {
            name: "reports",
            limits: BatchLimits {
                items: config.commit_items,
                bytes: config.commit_bytes,
                parallel: config.commits_at_once,
                ..BatchLimits::default()
            },
            weight,
            splits: LedgerError::may_be_one_row,
        };
        let node = node.clone();
        let commit = move |reports: Arc<[Report]>| {
            let (node, webhooks) = (node.clone(), webhooks.clone());
            async move { apply(&node, &webhooks, &reports).await }
        };
        Self {
            commits: GroupCommit::start(batching, commit, closing, tracker),
        }
    }

    /// Waits until the task that applies has ended.
    pub fn ended(&self) -> impl Future<Output = ()> + Send + use<> {
        self.commits.ended()
    }

    /// Applies reports, and tells for each what it did, in order. Applying one again is safe.
    pub async fn apply(&self, reports: Vec<Report>) -> Vec<Result<Applied, ApplyError>> {
        let verdicts: Vec<_> = reports.iter().map(|report| report.verdict).collect();
        let outcomes = self.commits.submit_all(reports).await;
        for (verdict, outcome) in verdicts.into_iter().zip(&outcomes) {
            match outcome {
                Ok(Applied::Moved(_) | Applied::Nothing(_)) => metric::report(verdict),
                Ok(Applied::Stray(message)) => {
                    metric::report(verdict);
                    metric::report_late(verdict);
                    let verdict = verdict.name();
                    tracing::warn!(message_id = %message, verdict, "a final report came too late");
                }
                Ok(Applied::Unmatched) | Err(_) => {}
            }
        }
        outcomes
    }
}

impl std::fmt::Debug for Applier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Applier").finish_non_exhaustive()
    }
}

async fn apply(
    node: &Node,
    webhooks: &WakeDelivery,
    reports: &[Report],
) -> Result<Vec<Applied>, LedgerError> {
    let ids = node.instance.ids();
    let webhook_ids: Vec<_> = reports.iter().map(|_| ids.webhook()).collect();
    let now = node.clock.now();
    let applied = node
        .ledger
        .apply(node.instance.id(), reports, &webhook_ids, now);
    let outcome = in_time(applied).await?;
    if outcome.webhooks > 0 {
        webhooks.wake();
    }
    Ok(outcome.applied)
}

fn weight(report: &Report) -> usize {
    let vendor_id = report.vendor_id.as_ref().map_or(0, |id| id.as_str().len());
    let code = report.vendor_code.as_ref().map_or(0, String::len);
    WEIGHT + report.account.as_str().len() + vendor_id + code
}
