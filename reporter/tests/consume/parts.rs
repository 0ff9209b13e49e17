use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pabal_common::broker::{
    Broker, BrokerError, Delivery, Publication, QueueName, SharedBroker, Subscription,
};
use pabal_reporter::{Reporter, ReporterConfig};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::world::World;

/// Longer than anything here takes that comes to an end at all.
const PATIENCE: Duration = Duration::from_secs(20);

/// A broker whose queues nobody survives subscribing to.
struct Panicking(SharedBroker);

#[async_trait]
impl Broker for Panicking {
    async fn publish(&self, frames: Vec<Publication>) -> Result<(), BrokerError> {
        self.0.publish(frames).await
    }

    async fn subscribe(&self, _: QueueName, _: u16) -> Result<Box<dyn Subscription>, BrokerError> {
        panic!("on purpose");
    }

    async fn ready(&self, queue: QueueName) -> Result<u64, BrokerError> {
        self.0.ready(queue).await
    }

    async fn dead_frames(&self, limit: usize) -> Result<Vec<Box<dyn Delivery>>, BrokerError> {
        self.0.dead_frames(limit).await
    }

    async fn remember_mark(&self, counter: u64) -> Result<(), BrokerError> {
        self.0.remember_mark(counter).await
    }

    async fn recall_mark(&self) -> Result<u64, BrokerError> {
        self.0.recall_mark().await
    }
}

#[tokio::test]
async fn a_reporter_one_of_whose_parts_fails_ends() {
    let world = World::new().await;
    let mut node = world.node.clone();
    node.broker = Arc::new(Panicking(node.broker));
    let reporter = Reporter::new(node, ReporterConfig::default()).unwrap();
    let running = reporter.run(CancellationToken::new());
    timeout(PATIENCE, running).await.unwrap();
}
