//! Vendors' reports on their way to the report queue: many share one publish, and what the broker
//! does not confirm goes to the ledger's outbox instead.

use std::sync::Arc;
use std::time::Duration;

use crate::batch::{BatchError, BatchLimits, Batching, GroupCommit};
use crate::broker::{BrokerError, QueueName, ReportFrame};
use crate::deadline::in_time;
use crate::domain::report::{Report, VendorAccount, VendorMessageId};
use crate::ledger::{Dispatch, LedgerError};
use crate::node::Node;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::publisher::Publisher;
use super::tally::Tally;

/// What a report costs in a frame beside its texts, in bytes, roughly.
const REPORT: usize = 64;
/// The most outbox rows that are published at once behind the vendors' backs.
const LATER: usize = 16;

/// How long reports may be on their way, and how many.
#[derive(Clone, Copy, Debug)]
pub struct ForwarderConfig {
    /// How long the broker may take to confirm before they go to the outbox.
    pub publish_wait: Duration,
    /// The most groups of reports under way to the broker at once.
    pub publishes_at_once: usize,
    /// How long the ledger may take for one step.
    pub ledger_wait: Duration,
}

/// The reports are neither with the broker nor in the ledger, as far as is known.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NotKept {
    /// Neither took them.
    #[error("broker: {broker}; ledger: {ledger}")]
    Neither {
        /// Why not the broker.
        broker: BrokerError,
        /// Why not the ledger.
        ledger: LedgerError,
    },
    /// It took too long; they may be kept all the same.
    #[error("reports were not kept within {0:?}")]
    Late(Duration),
    /// The task that had them ended.
    #[error("it is not known whether reports were kept")]
    Lost,
}

/// The way to the report queue.
pub struct Forwarder {
    groups: GroupCommit<Report, (), NotKept>,
    longest_wait: Duration,
}

impl Forwarder {
    /// Starts forwarding, in a task that ends when the forwarder is dropped.
    pub fn start(node: Node, config: ForwarderConfig) -> Self {
        let batching = Batching {
            name: "reports",
            limits: BatchLimits {
                parallel: config.publishes_at_once,
                ..BatchLimits::default()
            },
            weight: |report: &Report| {
                let id = report.vendor_id.as_ref();
                let code = report.vendor_code.as_ref();
                REPORT
                    + report.account.as_str().len()
                    + id.map_or(0, |id: &VendorMessageId| id.as_str().len())
                    + code.map_or(0, String::len)
            },
            splits: |_| false,
        };
        let tracker = TaskTracker::new();
        let publisher = Publisher::new(Arc::clone(&node.relay), LATER, tracker.clone());
        let ways = Arc::new(Ways {
            node,
            publish_wait: config.publish_wait,
            ledger_wait: config.ledger_wait,
            publisher,
        });
        let bring = move |reports: Arc<[Report]>| {
            let ways = Arc::clone(&ways);
            async move {
                ways.bring(&reports).await?;
                Ok(vec![(); reports.len()])
            }
        };
        let groups = GroupCommit::start(batching, bring, CancellationToken::new(), &tracker);
        // A group waits for at most one before it, then takes its own way.
        let longest_wait = 2 * (config.publish_wait + config.ledger_wait);
        Self {
            groups,
            longest_wait,
        }
    }

    /// Returns once every report of `account` is with the broker or in the outbox.
    ///
    /// # Errors
    /// [`NotKept`]: some are surely or perhaps in neither.
    pub async fn forward(
        &self,
        account: &VendorAccount,
        reports: Vec<Report>,
    ) -> Result<(), NotKept> {
        let tally = Tally::of(&reports);
        let outcomes = timeout(self.longest_wait, self.groups.submit_all(reports))
            .await
            .map_err(|_| NotKept::Late(self.longest_wait))?;
        outcomes
            .into_iter()
            .collect::<Result<(), _>>()
            .map_err(|error| match error {
                BatchError::Failed(error) => error,
                BatchError::Closed | BatchError::Lost => NotKept::Lost,
            })?;
        tally.received(account);
        Ok(())
    }
}

/// The two ways a group can go.
struct Ways {
    node: Node,
    publish_wait: Duration,
    ledger_wait: Duration,
    publisher: Publisher,
}

impl Ways {
    async fn bring(&self, reports: &[Report]) -> Result<(), NotKept> {
        let Err(broker) = self.publish(reports).await else {
            return Ok(());
        };
        match self.keep(reports).await {
            Ok(dispatch) => {
                tracing::debug!(error = %broker, reports = reports.len(), "reports wait in the outbox");
                // Once more, without a vendor waiting for it: that also tells the relay's breaker
                // how the broker is.
                self.publisher.publish(dispatch);
                Ok(())
            }
            Err(ledger) => Err(NotKept::Neither { broker, ledger }),
        }
    }

    async fn publish(&self, reports: &[Report]) -> Result<(), BrokerError> {
        self.node
            .relay
            .admit_to(QueueName::Report)
            .map_err(|wait| BrokerError::Unavailable(format!("not asked for another {wait:?}")))?;
        let version = self.node.instance.frame_version();
        let frames = ReportFrame::publications(reports, version);
        in_time(self.publish_wait, self.node.broker.publish(frames)).await
    }

    async fn keep(&self, reports: &[Report]) -> Result<Option<Dispatch>, LedgerError> {
        let Node {
            ledger,
            instance,
            clock,
            ..
        } = &self.node;
        if !instance.alive() {
            // Another process may have its node id by now, and make the same outbox ids.
            let dead = "the lease of this instance is not alive";
            return Err(LedgerError::Unavailable(dead.into()));
        }
        let outbox = instance.ids().outbox();
        let kept = ledger.keep_reports(instance.id(), outbox, reports, None, clock.now());
        in_time(self.ledger_wait, kept).await
    }
}
