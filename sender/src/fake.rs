//! A sender's desk on a real ledger, and a vendor that does what a message's text says.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use pabal_common::broker::{Delivery, EmbeddedBroker, Member, QueueName, SendFrame};
use pabal_common::clock::{Clock as _, ManualClock, Timestamp};
use pabal_common::config::Values;
use pabal_common::crypto::{Keyring, Sealer};
use pabal_common::domain::file::FileRef;
use pabal_common::domain::id::MessageId;
use pabal_common::domain::kind::{Channel, Lane, MessageType, Purpose};
use pabal_common::domain::message::{Content, NewMessage};
use pabal_common::domain::reason::Reason;
use pabal_common::domain::report::VendorAccount;
use pabal_common::files::FileStore;
use pabal_common::http::health::Readiness;
use pabal_common::instance::LeaseConfig;
use pabal_common::ledger::sqlite::SqliteLedger;
use pabal_common::ledger::{Instances as _, MessageView};
use pabal_common::node::{Node, Ports};
use pabal_common::quota::LocalQuota;
use pabal_common::relay::RelayConfig;
use pabal_provider::route::{Carries, RouteBook, RouteSettings, RouteSpec};
use pabal_provider::{Answer, Call, Capabilities, Outcome, ProbeError, Provider, ReportPath};
use tokio::sync::{Barrier, Notify};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{Config, SETTINGS};
use crate::desk::Desk;
use crate::frames;

/// The queue of every frame here.
pub(crate) const SMS: QueueName = QueueName::Send(Channel::Sms, Lane::Ordinary);
/// The sender number of every message here.
pub(crate) const SENDER: &str = "021234567";
/// The call with this text panics once the other one is under way.
pub(crate) const PANICS: &str = "panics";
/// The call with this text is answered after the other one has panicked.
pub(crate) const OUTLIVES: &str = "outlives";

/// The vendor refuses a call with this text for its sender number.
pub(crate) const UNREGISTERED: &str = "unregistered";

/// Takes one message a call, a second.
pub(crate) struct Vendor {
    account: VendorAccount,
    capabilities: Capabilities,
    /// Panics as soon as it is spoken to, before a claim.
    pub(crate) broken: AtomicBool,
    /// The spans in which it was called.
    pub(crate) called_in: Mutex<Vec<Option<&'static str>>>,
    both: Barrier,
    panicked: Notify,
}

impl Vendor {
    fn new(can_be_asked: bool) -> Self {
        Self {
            account: VendorAccount::new("fake", "main"),
            capabilities: Capabilities {
                batch: 1,
                duplicate_window: None,
                can_be_asked,
                answers_finally: false,
                reports: ReportPath::None,
                definitive: &[],
            },
            broken: AtomicBool::new(false),
            called_in: Mutex::default(),
            both: Barrier::new(2),
            panicked: Notify::new(),
        }
    }
}

#[async_trait]
impl Provider for Vendor {
    fn account(&self) -> &VendorAccount {
        assert!(!self.broken.load(SeqCst), "broken on purpose");
        &self.account
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn submit(&self, call: &Call) -> Outcome {
        let span = tracing::Span::current();
        let name = span.metadata().map(|metadata| metadata.name());
        self.called_in.lock().unwrap().push(name);
        match call.messages[0].content.text.as_str() {
            PANICS => {
                self.both.wait().await;
                self.panicked.notify_one();
                panic!("on purpose");
            }
            OUTLIVES => {
                self.both.wait().await;
                self.panicked.notified().await;
                tokio::task::yield_now().await;
            }
            UNREGISTERED => {
                return Outcome::Refused {
                    code: "3011".into(),
                    reason: Reason::SenderRejected,
                };
            }
            _ => {}
        }
        Outcome::Answered(vec![Answer::Taken { vendor_id: None }])
    }

    async fn probe(&self) -> Result<(), ProbeError> {
        Ok(())
    }
}

pub(crate) struct House {
    pub(crate) desk: Arc<Desk>,
    pub(crate) vendor: Arc<Vendor>,
    pub(crate) clock: Arc<ManualClock>,
    _folder: tempfile::TempDir,
}

impl House {
    /// With one route of `tps` messages a second.
    pub(crate) async fn open(tps: u32, can_be_asked: bool) -> Self {
        Self::beside(0, tps, can_be_asked).await
    }

    /// The same, where so many other senders live already.
    pub(crate) async fn beside(others: usize, tps: u32, can_be_asked: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_795_000_000_000)));
        let path = folder.path().join("ledger");
        let ledger = SqliteLedger::open(&path, clock.clone()).await.unwrap();
        for _ in 0..others {
            let lease = Duration::from_secs(3_600);
            ledger.join("sender", lease).await.unwrap();
        }
        let broker = EmbeddedBroker::open(&ledger, None).await.unwrap();
        let keyring = Keyring::generate();
        let ports = Ports {
            ledger: Arc::new(ledger),
            broker: Arc::new(broker),
            quota: Arc::new(LocalQuota::new()),
            files: FileStore::in_memory(&keyring),
            clock: clock.clone(),
            keyring: Arc::new(keyring),
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
        let vendor = Arc::new(Vendor::new(can_be_asked));
        let provider: Arc<dyn Provider> = vendor.clone();
        let spec = RouteSpec::new(RouteSettings {
            name: "sms-a".into(),
            kinds: vec![MessageType::Sms],
            weight: 1,
            priority: 1,
            tps,
            concurrency: 4,
            carries: Carries::default(),
        });
        let routes = vec![(spec.unwrap(), provider.clone())];
        let routes = RouteBook::new(routes, clock.clone()).unwrap();
        let vendors = HashMap::from([(vendor.account.clone(), provider)]);
        let values = Values::load(&[SETTINGS], &[], None, std::iter::empty(), &[]).unwrap();
        let config = Config::from_values(&values);
        let (closing, tracker) = (CancellationToken::new(), TaskTracker::new());
        let desk = Desk::new(node, routes, vendors, config, &closing, &tracker);
        Self {
            desk: Arc::new(desk),
            vendor,
            clock,
            _folder: folder,
        }
    }

    /// Accepts a message; it is QUEUED.
    pub(crate) async fn accept(&self, text: &str) -> MessageId {
        self.accept_sealed(&self.desk.sealer, text).await
    }

    /// Accepts a message that somebody else has sealed.
    pub(crate) async fn accept_sealed(&self, sealer: &Sealer, text: &str) -> MessageId {
        self.accept_content(sealer, text, Vec::new()).await
    }

    /// Accepts a message that refers to these files.
    pub(crate) async fn accept_with(&self, attachments: Vec<FileRef>) -> MessageId {
        self.accept_content(&self.desk.sealer, "text", attachments)
            .await
    }

    async fn accept_content(
        &self,
        sealer: &Sealer,
        text: &str,
        attachments: Vec<FileRef>,
    ) -> MessageId {
        let node = &self.desk.node;
        let (id, now) = (node.instance.ids().message(), node.clock.now());
        let content = Content {
            to: "01012345678".into(),
            from: Some(SENDER.into()),
            text: text.into(),
            attachments,
            ..Content::default()
        };
        let message = NewMessage {
            id,
            partner: "shop".parse().unwrap(),
            client_msg_id: format!("order-{}", id.number()).parse().unwrap(),
            digest: [7; 16],
            kind: MessageType::Sms,
            purpose: Purpose::Info,
            lane: Lane::Ordinary,
            accepted_at: now,
            valid_until: now.plus(Duration::from_secs(3600)),
            metadata: None,
            sealed: sealer.seal(id, &serde_json::to_vec(&content).unwrap()),
            recipient_hash: [9; 16],
        };
        let (me, outbox) = (node.instance.id(), node.instance.ids().outbox());
        let kept = node.ledger.accept(me, outbox, &[message], &[]).await;
        kept.unwrap();
        id
    }

    /// Carries one frame with these messages; whether it was acknowledged.
    pub(crate) async fn carry(&self, ids: &[MessageId]) -> bool {
        self.carry_on(ids, None).await
    }

    /// The same with a frame that was published in this trace.
    pub(crate) async fn carry_on(
        &self,
        ids: &[MessageId],
        traceparent: Option<&'static str>,
    ) -> bool {
        let frame = SendFrame {
            kind: MessageType::Sms,
            queued_at: self.clock.now(),
            members: members(ids),
        };
        let acknowledged = Arc::new(Mutex::new(false));
        let delivery = Box::new(Frame {
            body: frame.encode(self.desk.node.instance.frame_version()),
            acknowledged: Arc::clone(&acknowledged),
            traceparent,
        });
        let never = CancellationToken::new();
        let carried = frames::carry(Arc::clone(&self.desk), SMS, delivery, never);
        tokio::time::timeout(Duration::from_secs(20), carried)
            .await
            .unwrap();
        let acknowledged = acknowledged.lock().unwrap();
        *acknowledged
    }

    pub(crate) async fn view(&self, id: MessageId) -> MessageView {
        self.desk.node.ledger.message(id).await.unwrap().unwrap()
    }

    pub(crate) async fn events(&self, id: MessageId) -> Vec<String> {
        let events = self.desk.node.ledger.events(id).await.unwrap();
        events.into_iter().map(|event| event.kind).collect()
    }
}

/// Members at their first attempt.
pub(crate) fn members(ids: &[MessageId]) -> Vec<Member> {
    ids.iter()
        .map(|id| Member {
            id: *id,
            attempt: 0,
        })
        .collect()
}

struct Frame {
    body: Bytes,
    acknowledged: Arc<Mutex<bool>>,
    traceparent: Option<&'static str>,
}

#[async_trait]
impl Delivery for Frame {
    fn body(&self) -> &Bytes {
        &self.body
    }

    fn queue(&self) -> QueueName {
        SMS
    }

    fn redelivered(&self) -> bool {
        true
    }

    fn traceparent(&self) -> Option<&str> {
        self.traceparent
    }

    async fn ack(self: Box<Self>) {
        *self.acknowledged.lock().unwrap() = true;
    }

    async fn reject(self: Box<Self>) {
        panic!("an unreadable frame");
    }
}
