//! Once a second: is the ledger there, how full are the queues, and how many receivers share the
//! limits.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::broker::QueueName;
use crate::deadline::in_time;
use crate::http::health::Part;
use crate::node::Node;
use crate::rounds::Rounds;
use crate::telemetry::metric;

const ROUND: Duration = Duration::from_secs(1);
/// Large tables are counted only every so many rounds.
const COUNT_EVERY: u32 = 15;
/// The service whose processes share the limits.
const RECEIVER: &str = "receiver";
/// After this long without an answer a part is not ready.
const PATIENCE: Duration = Duration::from_secs(2);

/// Watches until `shutdown`.
pub(super) async fn run(node: Node, shutdown: CancellationToken) {
    let mut watch = Watch::new(node);
    let mut rounds = Rounds::every(ROUND, shutdown);
    while rounds.next().await {
        // A part that does not answer must not hold the stop up.
        rounds.carry_out(watch.round()).await;
    }
}

/// Tells the limits among how many receivers they are divided.
pub(super) fn note_receivers(node: &Node) {
    let receivers = node.instance.live_with_role(RECEIVER);
    node.quota.note_receivers(receivers.max(1));
}

struct Watch {
    ledger: Part,
    broker: Part,
    lease: Part,
    node: Node,
    rounds: u32,
}

impl Watch {
    fn new(node: Node) -> Self {
        Self {
            ledger: node.readiness.part("ledger"),
            broker: node.readiness.part("broker"),
            lease: node.readiness.part("lease"),
            node,
            rounds: 0,
        }
    }

    async fn round(&mut self) {
        let node = &self.node;
        note_receivers(node);
        // A small table: whether the ledger answers must not depend on how much there is in it.
        match in_time(PATIENCE, node.ledger.taken()).await {
            Ok(_) => self.ledger.ready(),
            Err(error) => self.ledger.not_ready(error.to_string()),
        }
        // Counting costs as much as there is to count.
        if self.rounds.is_multiple_of(COUNT_EVERY) {
            if let Ok(rows) = in_time(PATIENCE, node.ledger.outbox_size()).await {
                metric::outbox_rows(rows);
            }
            if let Ok(rows) = in_time(PATIENCE, node.ledger.delays_size()).await {
                metric::delays_due(rows);
            }
            if let Ok(rows) = in_time(PATIENCE, node.ledger.parked_size()).await {
                metric::reports_parked(rows);
            }
        }
        self.rounds = self.rounds.wrapping_add(1);
        for queue in QueueName::all() {
            if let Ok(ready) = in_time(PATIENCE, node.broker.ready(queue)).await {
                metric::queue_ready(queue, ready);
            }
        }
        match node.relay.admit() {
            Ok(()) => self.broker.ready(),
            Err(_) => self.broker.not_ready("the circuit breaker is open"),
        }
        node.readiness.note_refusing(node.relay.refusing());
        match node.instance.alive() {
            true => self.lease.ready(),
            false => self.lease.not_ready("not renewed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::breaker::BreakerRules;
    use crate::broker::Publication;
    use crate::clock::SystemClock;
    use crate::crypto::Keyring;
    use crate::domain::id::OutboxId;
    use crate::files::FileStore;
    use crate::http::health::Readiness;
    use crate::instance::LeaseConfig;
    use crate::instance::fake::FakeBroker;
    use crate::ledger::Dispatch;
    use crate::ledger::sqlite::SqliteLedger;
    use crate::node::Ports;
    use crate::quota::LocalQuota;
    use crate::relay::RelayConfig;

    /// A process that leaves a queue alone after its first refusal, and tries it again at once.
    async fn node(folder: &tempfile::TempDir, broker: &Arc<FakeBroker>) -> Node {
        let clock = Arc::new(SystemClock);
        let ledger = SqliteLedger::open(&folder.path().join("ledger"), clock.clone()).await;
        let ports = Ports {
            ledger: Arc::new(ledger.unwrap()),
            broker: broker.clone(),
            quota: Arc::new(LocalQuota::new()),
            files: FileStore::none(),
            clock,
            keyring: Arc::new(Keyring::generate()),
        };
        let relay = RelayConfig {
            breaker: BreakerRules {
                failures: 1,
                pause: Duration::ZERO,
                longest_pause: Duration::ZERO,
                ..BreakerRules::default()
            },
            ..RelayConfig::default()
        };
        let readiness = Readiness::new(CancellationToken::new());
        let lease = LeaseConfig::exclusive();
        let joined = Node::join(ports, RECEIVER, lease, relay, readiness);
        joined.await.unwrap()
    }

    #[tokio::test]
    async fn a_queue_that_takes_no_frames_is_named_until_it_does_again() {
        let folder = tempfile::tempdir().unwrap();
        let broker = Arc::new(FakeBroker::default());
        let node = node(&folder, &broker).await;
        let mut watch = Watch::new(node.clone());
        let dispatch = || Dispatch {
            outbox: OutboxId::from_number(1),
            frames: vec![Publication {
                queue: QueueName::Report,
                body: "frame".into(),
            }],
        };

        *broker.refusing.lock().unwrap() = Some(QueueName::Report);
        assert!(!node.relay.publish(dispatch()).await);
        watch.round().await;
        let report = node.readiness.report();
        assert_eq!(report.refusing_queues, ["report.queue"]);
        assert!(report.ready, "{report:?}");

        *broker.refusing.lock().unwrap() = None;
        assert!(node.relay.publish(dispatch()).await);
        watch.round().await;
        assert!(node.readiness.report().refusing_queues.is_empty());
    }
}
