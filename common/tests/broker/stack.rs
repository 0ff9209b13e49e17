//! The implementations under test, and what every test needs of one.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::LocalBoxFuture;
use pabal_common::broker::{
    Broker, Delivery, EmbeddedBroker, Publication, QueueName, SharedBroker, Subscription,
};
use pabal_common::clock::SystemClock;
use pabal_common::domain::kind::{Lane, MessageType};
use pabal_common::ledger::sqlite::SqliteLedger;
use tempfile::TempDir;

use crate::server::Server;

/// Long enough for anything that will happen at all.
const DEADLINE: Duration = Duration::from_secs(10);

/// Every implementation.
pub(crate) fn stacks() -> Vec<fn() -> LocalBoxFuture<'static, Fixture>> {
    vec![|| Box::pin(embedded()), || Box::pin(rabbit())]
}

/// Runs a test against every implementation, each with queues of its own.
pub(crate) async fn each<Test, Running>(test: Test)
where
    Test: Fn(Fixture) -> Running,
    Running: Future<Output = ()>,
{
    for open in stacks() {
        test(open().await).await;
    }
}

/// How one implementation is started again on what it has kept.
#[async_trait(?Send)]
pub(crate) trait Kept {
    /// A broker of a new process. What the old one has in hand is as lost as if it was killed.
    async fn restart(&self) -> SharedBroker;

    /// Waits until the acknowledgements given to `Fixture::broker` are kept.
    async fn flush(&self);
}

/// Empty queues.
pub(crate) struct Fixture {
    pub(crate) broker: SharedBroker,
    pub(crate) kept: Box<dyn Kept>,
}

/// The queue most tests use, and another one.
pub(crate) const SMS: QueueName = QueueName::of(MessageType::Sms, Lane::Ordinary);
pub(crate) const RCS: QueueName = QueueName::of(MessageType::Rcs, Lane::Ordinary);

impl Fixture {
    /// Publishes one frame for each text.
    pub(crate) async fn publish(&self, queue: QueueName, texts: &[&str]) {
        let frames = texts.iter().map(|text| frame(queue, text)).collect();
        self.broker.publish(frames).await.unwrap();
    }

    pub(crate) async fn subscribe(&self, prefetch: u16) -> Box<dyn Subscription> {
        self.broker.subscribe(SMS, prefetch).await.unwrap()
    }

    pub(crate) async fn ready(&self, queue: QueueName) -> u64 {
        self.broker.ready(queue).await.unwrap()
    }
}

/// What will happen, and not so late that it would be of no use.
pub(crate) async fn in_time<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, what).await.unwrap()
}

pub(crate) fn frame(queue: QueueName, text: &str) -> Publication {
    Publication {
        queue,
        body: Bytes::copy_from_slice(text.as_bytes()),
    }
}

pub(crate) fn text(delivery: &dyn Delivery) -> String {
    String::from_utf8(delivery.body().to_vec()).unwrap()
}

/// The next frame, which must come.
pub(crate) async fn next(subscription: &mut Box<dyn Subscription>) -> Box<dyn Delivery> {
    tokio::time::timeout(DEADLINE, subscription.next())
        .await
        .unwrap()
        .unwrap()
}

/// The next frames, which must come, all kept in hand.
pub(crate) async fn take(
    subscription: &mut Box<dyn Subscription>,
    how_many: usize,
) -> Vec<Box<dyn Delivery>> {
    let mut taken = Vec::new();
    for _ in 0..how_many {
        taken.push(next(subscription).await);
    }
    taken
}

pub(crate) fn texts(deliveries: &[Box<dyn Delivery>]) -> Vec<String> {
    deliveries
        .iter()
        .map(|delivery| text(delivery.as_ref()))
        .collect()
}

/// Whether no frame comes, though the broker has had every chance to bring one: `other` is
/// published and delivered meanwhile on another queue.
pub(crate) async fn nothing_comes(it: &Fixture, subscription: &mut Box<dyn Subscription>) -> bool {
    let mut elsewhere = it.broker.subscribe(RCS, 1).await.unwrap();
    let meanwhile = async {
        for round in 0..20 {
            it.publish(RCS, &[&round.to_string()]).await;
            next(&mut elsewhere).await.ack().await;
        }
    };
    tokio::select! {
        biased;
        _ = subscription.next() => false,
        () = meanwhile => true,
    }
}

/// Waits until a queue has this many frames ready.
pub(crate) async fn until_ready(broker: &dyn Broker, queue: QueueName, wanted: u64) {
    let seen = async {
        while broker.ready(queue).await.unwrap() != wanted {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(DEADLINE, seen).await.unwrap();
}

/// Waits until this many dead frames can be taken.
pub(crate) async fn until_dead(broker: &dyn Broker, wanted: usize) -> Vec<Box<dyn Delivery>> {
    let seen = async {
        loop {
            let dead = broker.dead_frames(wanted + 1).await.unwrap();
            if dead.len() == wanted {
                return dead;
            }
            drop(dead);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(DEADLINE, seen).await.unwrap()
}

/// Whether these texts are all there, each once.
pub(crate) fn each_once(seen: &[String], wanted: usize) -> bool {
    seen.len() == wanted && seen.iter().collect::<HashSet<_>>().len() == wanted
}

async fn embedded() -> Fixture {
    // A folder in memory where the system has one: what is tested here is not the disk.
    let folder = tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap();
    let broker = open(folder.path()).await;
    Fixture {
        broker: Arc::new(broker.clone()),
        kept: Box::new(InFolder { folder, broker }),
    }
}

async fn rabbit() -> Fixture {
    let server = Server::empty().await;
    Fixture {
        broker: server.connect().await,
        kept: Box::new(server),
    }
}

async fn open(folder: &Path) -> EmbeddedBroker {
    let ledger = SqliteLedger::open(&folder.join("pabal.db"), Arc::new(SystemClock))
        .await
        .unwrap();
    EmbeddedBroker::open(&ledger, Some(folder.join("mark")))
        .await
        .unwrap()
}

struct InFolder {
    folder: TempDir,
    broker: EmbeddedBroker,
}

#[async_trait(?Send)]
impl Kept for InFolder {
    async fn restart(&self) -> SharedBroker {
        Arc::new(open(self.folder.path()).await)
    }

    async fn flush(&self) {
        self.broker.flush().await;
    }
}
