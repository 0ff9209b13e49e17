//! Results of attempts, written in groups.

use std::sync::Arc;
use std::time::Duration;

use pabal_common::batch::{BatchError, BatchLimits, Batching, GroupCommit};
use pabal_common::clock::Clock;
use pabal_common::domain::id::InstanceId;
use pabal_common::ledger::{DeliveryResult, DueWebhook, LedgerError, SharedLedger};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Tries to record a result before the webhook is left to be delivered again.
const TRIES: u32 = 8;
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

type Attempted = (DueWebhook, DeliveryResult);

/// Writes what came of attempts. Clones share it.
#[derive(Clone)]
pub(super) struct Recorder {
    commits: GroupCommit<Attempted, (), LedgerError>,
    shutdown: CancellationToken,
}

impl Recorder {
    /// Starts it for rows of `me`. Until `shutdown` a result the ledger does not take is offered
    /// again.
    pub(super) fn start(
        ledger: SharedLedger,
        clock: Arc<dyn Clock>,
        me: InstanceId,
        shutdown: CancellationToken,
        tracker: &TaskTracker,
    ) -> Self {
        let batching = Batching {
            name: "webhook_results",
            limits: BatchLimits::default(),
            weight: |(webhook, _): &Attempted| webhook.body.len(),
            splits: LedgerError::may_be_one_row,
        };
        let commit = move |results: Arc<[Attempted]>| {
            let (ledger, now) = (Arc::clone(&ledger), clock.now());
            async move {
                ledger.record_deliveries(me, &results, now).await?;
                Ok(vec![(); results.len()])
            }
        };
        let commits = GroupCommit::start(batching, commit, shutdown.clone(), tracker);
        Self { commits, shutdown }
    }

    /// Waits until the task that writes has ended.
    pub(super) fn ended(&self) -> impl Future<Output = ()> + Send + use<> {
        self.commits.ended()
    }

    /// Records one result. False if the ledger did not take it in the end: the row is still due, and
    /// the partner will see the same id again.
    pub(super) async fn record(&self, webhook: DueWebhook, result: DeliveryResult) -> bool {
        let mut wait = FIRST_WAIT;
        for _ in 1..TRIES {
            match self.commits.submit((webhook.clone(), result.clone())).await {
                Ok(()) => return true,
                Err(BatchError::Closed) => return false,
                Err(error) => {
                    tracing::warn!(webhook = %webhook.id, %error, "webhook result not recorded");
                }
            }
            tokio::select! {
                () = self.shutdown.cancelled() => return false,
                () = tokio::time::sleep(wait) => wait = (wait * 2).min(LONGEST_WAIT),
            }
        }
        self.commits.submit((webhook, result)).await.is_ok()
    }
}
