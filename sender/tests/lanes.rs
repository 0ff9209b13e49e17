//! The lanes, from their queues to the vendor. Calls are counted, not timed: the vendor ends as many
//! as it is told to, and for each that ends one begins.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use pabal_common::broker::{EmbeddedBroker, QueueName};
use pabal_common::clock::SystemClock;
use pabal_common::config::Values;
use pabal_common::crypto::{Keyring, Sealer};
use pabal_common::domain::kind::{Lane, MessageType, Purpose};
use pabal_common::domain::message::{Content, NewMessage};
use pabal_common::domain::report::VendorAccount;
use pabal_common::files::FileStore;
use pabal_common::http::health::Readiness;
use pabal_common::instance::LeaseConfig;
use pabal_common::ledger::sqlite::SqliteLedger;
use pabal_common::node::{Node, Ports};
use pabal_common::quota::LocalQuota;
use pabal_common::relay::RelayConfig;
use pabal_provider::route::{Carries, RouteBook, RouteSettings, RouteSpec};
use pabal_provider::{Answer, Call, Capabilities, Outcome, ProbeError, Provider, ReportPath};
use pabal_sender::{Config, SETTINGS};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Longer than anything here takes that comes to an end at all.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many calls are under way at a time.
const AT_ONCE: usize = 4;

/// Takes one message a call, and answers when it is told to.
struct Vendor {
    account: VendorAccount,
    capabilities: Capabilities,
    /// The texts it was called for.
    called_for: Mutex<Vec<String>>,
    ending: Semaphore,
}

#[async_trait]
impl Provider for Vendor {
    fn account(&self) -> &VendorAccount {
        &self.account
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn submit(&self, call: &Call) -> Outcome {
        let text = call.messages[0].content.text.clone();
        self.called_for.lock().unwrap().push(text);
        self.ending.acquire().await.unwrap().forget();
        Outcome::Answered(vec![Answer::Taken { vendor_id: None }])
    }

    async fn probe(&self) -> Result<(), ProbeError> {
        Ok(())
    }
}

/// A running sender with one route.
struct House {
    node: Node,
    vendor: Arc<Vendor>,
    shutdown: CancellationToken,
    _folder: tempfile::TempDir,
}

impl House {
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(SystemClock);
        let path = folder.path().join("ledger");
        let ledger = SqliteLedger::open(&path, clock.clone()).await.unwrap();
        let broker = EmbeddedBroker::open(&ledger, None).await.unwrap();
        let ports = Ports {
            ledger: Arc::new(ledger),
            broker: Arc::new(broker),
            quota: Arc::new(LocalQuota::new()),
            files: FileStore::none(),
            clock: clock.clone(),
            keyring: Arc::new(Keyring::generate()),
        };
        // Nobody renews it here.
        let lease = LeaseConfig {
            lease: Duration::from_secs(600),
            dead_after: Duration::from_secs(500),
            ..LeaseConfig::exclusive()
        };
        let readiness = Readiness::new(CancellationToken::new());
        let node = Node::join(ports, "sender", lease, RelayConfig::default(), readiness);
        let node = node.await.unwrap();
        let vendor = Arc::new(Vendor {
            account: VendorAccount::new("fake", "main"),
            capabilities: Capabilities {
                batch: 1,
                duplicate_window: None,
                can_be_asked: false,
                answers_finally: false,
                reports: ReportPath::None,
                definitive: &[],
            },
            called_for: Mutex::default(),
            ending: Semaphore::new(0),
        });
        let spec = RouteSpec::new(RouteSettings {
            name: "sms-a".into(),
            kinds: vec![MessageType::Sms],
            weight: 1,
            priority: 1,
            tps: 10_000,
            concurrency: AT_ONCE as u32,
            carries: Carries::default(),
        });
        let provider: Arc<dyn Provider> = vendor.clone();
        let routes = RouteBook::new(vec![(spec.unwrap(), provider.clone())], clock).unwrap();
        let vendors = HashMap::from([(vendor.account.clone(), provider)]);
        let values = Values::load(&[SETTINGS], &[], None, std::iter::empty(), &[]).unwrap();
        let (config, shutdown) = (Config::from_values(&values), CancellationToken::new());
        let running = pabal_sender::run(node.clone(), routes, vendors, config, shutdown.clone());
        tokio::spawn(running);
        Self {
            node,
            vendor,
            shutdown,
            _folder: folder,
        }
    }

    /// Queues so many messages of a lane, and waits until all their frames wait for a call.
    async fn queue(&self, lane: Lane, text: &str, count: usize) {
        let Node {
            instance, ledger, ..
        } = &self.node;
        let messages: Vec<_> = (0..count).map(|_| self.message(lane, text)).collect();
        for some in messages.chunks(500) {
            let (me, outbox) = (instance.id(), instance.ids().outbox());
            let kept = ledger.accept(me, outbox, some, &[]).await.unwrap();
            let frames = kept.dispatch.unwrap().frames;
            self.node.broker.publish(frames).await.unwrap();
        }
        let queue = QueueName::of(MessageType::Sms, lane);
        until(async || self.node.broker.ready(queue).await.unwrap() == 0).await;
        // Everything runs on this one thread: whoever took a frame has had its turn after these.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }

    fn message(&self, lane: Lane, text: &str) -> NewMessage {
        let (id, now) = (self.node.instance.ids().message(), self.node.clock.now());
        let content = Content {
            to: "01012345678".into(),
            text: text.into(),
            ..Content::default()
        };
        let sealer = Sealer::new(&self.node.keyring);
        NewMessage {
            id,
            partner: "shop".parse().unwrap(),
            client_msg_id: format!("order-{}", id.number()).parse().unwrap(),
            digest: [7; 16],
            kind: MessageType::Sms,
            purpose: Purpose::Info,
            lane,
            accepted_at: now,
            valid_until: now.plus(Duration::from_secs(3600)),
            metadata: None,
            sealed: sealer.seal(id, &serde_json::to_vec(&content).unwrap()),
            recipient_hash: [9; 16],
        }
    }

    /// Waits until the vendor was called so often in all.
    async fn called(&self, times: usize) -> Vec<String> {
        until(async || self.vendor.called_for.lock().unwrap().len() >= times).await;
        self.vendor.called_for.lock().unwrap().clone()
    }

    /// Ends so many calls, for each of which another begins: these.
    async fn end(&self, calls: usize) -> Vec<String> {
        let before = self.called(AT_ONCE).await.len();
        self.vendor.ending.add_permits(calls);
        self.called(before + calls).await.split_off(before)
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, waiting).await.expect("it never came");
}

#[tokio::test]
async fn with_thousands_of_bulk_messages_waiting_an_ordinary_one_is_among_the_next_calls() {
    let house = House::open().await;
    house.queue(Lane::Bulk, "bulk", 5_000).await;
    assert_eq!(house.called(AT_ONCE).await, ["bulk"; AT_ONCE]);
    house.queue(Lane::Ordinary, "ordinary", 1).await;
    let next = house.end(AT_ONCE).await;
    assert!(next.iter().any(|text| text == "ordinary"), "{next:?}");
}

#[tokio::test]
async fn with_thousands_of_both_waiting_an_express_one_is_among_the_next_calls() {
    let house = House::open().await;
    house.queue(Lane::Bulk, "bulk", 2_500).await;
    house.queue(Lane::Ordinary, "ordinary", 2_500).await;
    house.queue(Lane::Express, "express", 1).await;
    let next = house.end(AT_ONCE).await;
    assert!(next.iter().any(|text| text == "express"), "{next:?}");
}

#[tokio::test]
async fn with_thousands_of_ordinary_messages_waiting_one_call_in_five_is_bulk() {
    let house = House::open().await;
    house.queue(Lane::Ordinary, "ordinary", 5_000).await;
    house.called(AT_ONCE).await;
    house.queue(Lane::Bulk, "bulk", 500).await;
    let next = house.end(100).await;
    let bulk = next.iter().filter(|text| *text == "bulk").count();
    assert_eq!(bulk, 20);
}
