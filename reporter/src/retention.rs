//! Old messages go, in small chunks, so that no one waits for a large transaction. Their day
//! totals are frozen first and stay.

use std::time::Duration;

use pabal_common::ledger::LedgerError;
use pabal_common::node::Node;
use pabal_common::rounds::Rounds;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::answer::in_time;
use crate::config::Config;

/// How many messages one transaction deletes, and how long the others have the ledger then.
const CHUNK: u32 = 500;
const BETWEEN: Duration = Duration::from_millis(50);

/// Deletes what is older than the retention.
#[derive(Clone, Debug)]
pub struct Retention {
    node: Node,
    keep: Duration,
    period: Duration,
}

impl Retention {
    /// Deletes from the node's ledger.
    pub fn new(node: &Node, config: &Config) -> Self {
        Self {
            node: node.clone(),
            keep: config.retention,
            period: config.retention_period,
        }
    }

    /// Deletes until `shutdown`.
    pub async fn run(&self, shutdown: CancellationToken) {
        let mut rounds = Rounds::every(self.period, shutdown);
        while rounds.next().await {
            let round = async {
                match self.round().await {
                    Ok(0) => {}
                    Ok(messages) => tracing::info!(messages, "old messages were deleted"),
                    Err(error) => tracing::warn!(%error, "old messages were not deleted"),
                }
            };
            rounds.carry_out(round).await;
        }
    }

    /// Deletes until nothing old is left; returns how many messages went.
    ///
    /// # Errors
    /// [`LedgerError`]: the rest goes in the next round.
    pub async fn round(&self) -> Result<u64, LedgerError> {
        let mut gone = 0;
        while self.node.instance.alive() {
            let before = self.node.clock.now().minus(self.keep);
            let chunk = in_time(self.node.ledger.retire_messages(before, CHUNK)).await?;
            gone += u64::from(chunk);
            if chunk < CHUNK {
                break;
            }
            sleep(BETWEEN).await;
        }
        Ok(gone)
    }
}
