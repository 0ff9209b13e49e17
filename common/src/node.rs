//! The parts that every service of a process shares.

use std::fmt;
use std::sync::Arc;

use crate::broker::SharedBroker;
use crate::clock::Clock;
use crate::crypto::Keyring;
use crate::files::FileStore;
use crate::http::health::Readiness;
use crate::instance::{Instance, JoinError, LeaseConfig};
use crate::ledger::SharedLedger;
use crate::quota::Quota;
use crate::relay::{Relay, RelayConfig};

/// The back-ends a process was configured with.
#[derive(Clone)]
pub struct Ports {
    /// Decides what may happen to a message.
    pub ledger: SharedLedger,
    /// The queues.
    pub broker: SharedBroker,
    /// Limits per partner.
    pub quota: Arc<dyn Quota>,
    /// The bytes of files.
    pub files: FileStore,
    /// Wall-clock time.
    pub clock: Arc<dyn Clock>,
    /// The installation's secrets.
    pub keyring: Arc<Keyring>,
}

/// What a service gets: the ports, and this process's place among the others. Clones share it.
#[derive(Clone)]
pub struct Node {
    /// Decides what may happen to a message.
    pub ledger: SharedLedger,
    /// The queues.
    pub broker: SharedBroker,
    /// Limits per partner.
    pub quota: Arc<dyn Quota>,
    /// The bytes of files.
    pub files: FileStore,
    /// Wall-clock time.
    pub clock: Arc<dyn Clock>,
    /// The installation's secrets.
    pub keyring: Arc<Keyring>,
    /// This process in the ledger. Whoever composes the services runs [`Instance::keep`] until all
    /// of them have stopped, and then leaves.
    pub instance: Arc<Instance>,
    /// The way from the outbox to the broker. Whoever composes the services runs [`Relay::run`]
    /// until all of them have stopped.
    pub relay: Arc<Relay>,
    /// What `/readyz` answers.
    pub readiness: Readiness,
}

impl Node {
    /// Joins the ledger with `role` (services, comma separated) and makes the process's relay.
    ///
    /// # Errors
    /// [`JoinError`].
    pub async fn join(
        ports: Ports,
        role: &str,
        lease: LeaseConfig,
        relay: RelayConfig,
        readiness: Readiness,
    ) -> Result<Self, JoinError> {
        let Ports {
            ledger,
            broker,
            quota,
            files,
            clock,
            keyring,
        } = ports;
        let instance = Instance::join(
            ledger.clone(),
            broker.clone(),
            clock.clone(),
            role,
            lease,
            readiness.part("lease renewals"),
        )
        .await?;
        let relay = Relay::new(
            ledger.clone(),
            broker.clone(),
            instance.clone(),
            clock.clone(),
            relay,
        );
        Ok(Self {
            ledger,
            broker,
            quota,
            files,
            clock,
            keyring,
            instance,
            relay: Arc::new(relay),
            readiness,
        })
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("instance", &self.instance)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::broker::{EmbeddedBroker, QueueName};
    use crate::clock::{ManualClock, Timestamp};
    use crate::domain::reason::Reason;
    use crate::domain::report::{Report, VendorAccount, VendorMessageId, Verdict};
    use crate::ledger::Dispatch;
    use crate::ledger::sqlite::SqliteLedger;
    use crate::quota::LocalQuota;

    struct House {
        ledger: SqliteLedger,
        broker: Arc<EmbeddedBroker>,
        clock: Arc<ManualClock>,
        _folder: tempfile::TempDir,
    }

    impl House {
        async fn open() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_795_000_000_000)));
            let ledger = SqliteLedger::open(&folder.path().join("ledger"), clock.clone())
                .await
                .unwrap();
            let mark = folder.path().join("mark");
            let broker = EmbeddedBroker::open(&ledger, Some(mark)).await.unwrap();
            Self {
                ledger,
                broker: Arc::new(broker),
                clock,
                _folder: folder,
            }
        }

        async fn join(&self) -> Node {
            let ports = Ports {
                ledger: Arc::new(self.ledger.clone()),
                broker: self.broker.clone(),
                quota: Arc::new(LocalQuota::new()),
                files: FileStore::none(),
                clock: self.clock.clone(),
                keyring: Arc::new(Keyring::generate()),
            };
            let relay = RelayConfig {
                period: Duration::from_millis(5),
                ..RelayConfig::default()
            };
            let readiness = Readiness::new(CancellationToken::new());
            Node::join(
                ports,
                "reporter",
                LeaseConfig::exclusive(),
                relay,
                readiness,
            )
            .await
            .unwrap()
        }
    }

    async fn keep_a_report(node: &Node) -> Dispatch {
        let report = Report {
            account: VendorAccount::new("carrier", "main"),
            vendor_id: VendorMessageId::new("C-1"),
            message: None,
            submission: None,
            verdict: Verdict::Failed(Reason::Spam),
            vendor_code: None,
            occurred_at: node.clock.now(),
        };
        let (me, outbox) = (node.instance.id(), node.instance.ids().outbox());
        let now = node.clock.now();
        let kept = node
            .ledger
            .keep_reports(me, outbox, &[report], None, now)
            .await;
        kept.unwrap().unwrap()
    }

    async fn run_until_the_outbox_is_empty(node: &Node) {
        let shutdown = CancellationToken::new();
        let run = tokio::spawn(node.relay.clone().run(shutdown.clone()));
        let emptied = async {
            while node.ledger.outbox_size().await.unwrap() > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), emptied)
            .await
            .unwrap();
        shutdown.cancel();
        run.await.unwrap();
    }

    #[tokio::test]
    async fn what_is_published_is_retired() {
        let house = House::open().await;
        let node = house.join().await;
        let dispatch = keep_a_report(&node).await;
        assert_eq!(node.ledger.outbox_size().await.unwrap(), 1);
        assert!(node.relay.publish(dispatch).await);
        assert_eq!(node.broker.ready(QueueName::Report).await.unwrap(), 1);
        run_until_the_outbox_is_empty(&node).await;
        assert_eq!(node.broker.ready(QueueName::Report).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn what_a_process_left_behind_the_next_one_publishes() {
        let house = House::open().await;
        let first = house.join().await;
        keep_a_report(&first).await;
        first.instance.leave().await;
        let second = house.join().await;
        assert_ne!(first.instance.id(), second.instance.id());
        run_until_the_outbox_is_empty(&second).await;
        assert_eq!(second.broker.ready(QueueName::Report).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn a_process_whose_row_is_gone_stops() {
        let house = House::open().await;
        let node = house.join().await;
        house.ledger.forget_instances().await.unwrap();
        let kept = node.instance.clone().keep(CancellationToken::new());
        let lost = tokio::time::timeout(Duration::from_secs(20), kept).await;
        assert!(lost.unwrap().is_err());
        assert!(!node.instance.alive());
    }
}
