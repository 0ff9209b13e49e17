//! The sender and the parts it is made of.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pabal_common::broker::{
    Broker, BrokerError, Delivery, EmbeddedBroker, Publication, QueueName, Subscription,
};
use pabal_common::clock::{Clock, SystemClock};
use pabal_common::config::Values;
use pabal_common::crypto::Keyring;
use pabal_common::files::FileStore;
use pabal_common::http::health::Readiness;
use pabal_common::instance::LeaseConfig;
use pabal_common::ledger::sqlite::SqliteLedger;
use pabal_common::node::{Node, Ports};
use pabal_common::quota::LocalQuota;
use pabal_common::relay::RelayConfig;
use pabal_provider::route::RouteBook;
use pabal_sender::{Config, SETTINGS};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Longer than anything here takes that comes to an end at all.
const PATIENCE: Duration = Duration::from_secs(20);

/// A broker that nobody survives.
struct Panicking;

#[async_trait]
impl Broker for Panicking {
    async fn publish(&self, _: Vec<Publication>) -> Result<(), BrokerError> {
        panic!("on purpose");
    }

    async fn subscribe(&self, _: QueueName, _: u16) -> Result<Box<dyn Subscription>, BrokerError> {
        panic!("on purpose");
    }

    async fn ready(&self, _: QueueName) -> Result<u64, BrokerError> {
        panic!("on purpose");
    }

    async fn dead_frames(&self, _: usize) -> Result<Vec<Box<dyn Delivery>>, BrokerError> {
        panic!("on purpose");
    }

    async fn remember_mark(&self, _: u64) -> Result<(), BrokerError> {
        panic!("on purpose");
    }

    async fn recall_mark(&self) -> Result<u64, BrokerError> {
        panic!("on purpose");
    }
}

async fn node(folder: &tempfile::TempDir) -> Node {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let path = folder.path().join("ledger");
    let ledger = SqliteLedger::open(&path, clock.clone()).await.unwrap();
    let broker = EmbeddedBroker::open(&ledger, None).await.unwrap();
    let ports = Ports {
        ledger: Arc::new(ledger),
        broker: Arc::new(broker),
        quota: Arc::new(LocalQuota::new()),
        files: FileStore::none(),
        clock,
        keyring: Arc::new(Keyring::generate()),
    };
    Node::join(
        ports,
        "sender",
        LeaseConfig::exclusive(),
        RelayConfig::default(),
        Readiness::new(CancellationToken::new()),
    )
    .await
    .unwrap()
}

#[tokio::test]
async fn a_sender_one_of_whose_parts_fails_ends() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = node(&folder).await;
    node.broker = Arc::new(Panicking);
    let values = Values::load(&[SETTINGS], &[], None, std::iter::empty(), &[]).unwrap();
    let routes = RouteBook::new(Vec::new(), Arc::clone(&node.clock)).unwrap();
    let config = Config::from_values(&values);
    let never = CancellationToken::new();
    let running = pabal_sender::run(node, routes, HashMap::new(), config, never);
    timeout(PATIENCE, running).await.unwrap();
}
