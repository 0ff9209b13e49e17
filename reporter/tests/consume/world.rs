//! A ledger and queues in a temporary folder, on a clock the test turns, and a sender's moves.

use std::sync::Arc;
use std::time::Duration;

use pabal_common::broker::{
    Broker, Delivery, EmbeddedBroker, Member, Publication, QueueName, ReportFrame,
};
use pabal_common::clock::{Clock, Day, ManualClock, Timestamp};
use pabal_common::crypto::Keyring;
use pabal_common::domain::id::{InstanceId, MessageId, PartnerId, SubmissionId};
use pabal_common::domain::kind::{Lane, MessageType, Purpose};
use pabal_common::domain::message::NewMessage;
use pabal_common::domain::phase::Settled;
use pabal_common::domain::report::{Report, VendorAccount, VendorMessageId, Verdict};
use pabal_common::domain::text::Unencodable;
use pabal_common::files::FileStore;
use pabal_common::http::health::Readiness;
use pabal_common::instance::LeaseConfig;
use pabal_common::ledger::sqlite::SqliteLedger;
use pabal_common::ledger::{
    Claim, DeadLetter, DeadLetterFilter, DeadLetters, Instances, Intake, MessageView, NewPartner,
    Partner, PartnerStatus, Partners, Queries, Settlement, StatsQuery, Submissions,
    WebhookSettings,
};
use pabal_common::node::{Node, Ports};
use pabal_common::quota::LocalQuota;
use pabal_common::relay::RelayConfig;
use pabal_reporter::apply::Applier;
use pabal_reporter::config::Config;
use pabal_reporter::consume::Consumer;
use pabal_reporter::parked::Parked;
use pabal_reporter::patrol::Patrol;
use pabal_reporter::webhook::WakeDelivery;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Longer than anything in a test takes that comes to an end at all.
const PATIENCE: Duration = Duration::from_secs(20);
/// 2026-11-18T08:26:40Z, an afternoon in Korea.
const START: i64 = 1_795_000_000_000;

pub(crate) struct World {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) ledger: Arc<SqliteLedger>,
    pub(crate) broker: Arc<EmbeddedBroker>,
    pub(crate) node: Node,
    pub(crate) config: Config,
    pub(crate) sender: InstanceId,
    applier: Applier,
    pub(crate) shutdown: CancellationToken,
    dir: tempfile::TempDir,
}

pub(crate) fn account() -> VendorAccount {
    VendorAccount::new("carrier", "main")
}

pub(crate) fn partner() -> PartnerId {
    "acme".parse().unwrap()
}

pub(crate) fn vendor_id(text: &str) -> VendorMessageId {
    VendorMessageId::new(text).unwrap()
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(Config::default()).await
    }

    pub(crate) async fn with(config: Config) -> Self {
        // A long lease of its own: no test takes as long.
        Self::with_lease(config, Duration::from_secs(3_600)).await
    }

    /// A world whose process acts as dead after so long.
    pub(crate) async fn with_lease(config: Config, dead_after: Duration) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(START)));
        let file = dir.path().join("pabal.db");
        let ledger = Arc::new(SqliteLedger::open(&file, clock.clone()).await.unwrap());
        let broker = Arc::new(EmbeddedBroker::open(&ledger, None).await.unwrap());
        let shutdown = CancellationToken::new();
        let ports = Ports {
            ledger: ledger.clone(),
            broker: broker.clone(),
            quota: Arc::new(LocalQuota::new()),
            files: FileStore::none(),
            clock: clock.clone(),
            keyring: Arc::new(Keyring::generate()),
        };
        let lease = LeaseConfig {
            dead_after,
            ..LeaseConfig::exclusive()
        };
        let readiness = Readiness::new(shutdown.clone());
        let node = Node::join(ports, "reporter", lease, RelayConfig::default(), readiness)
            .await
            .unwrap();
        let sender = ledger
            .join("sender", Duration::from_secs(10))
            .await
            .unwrap();
        let added = ledger.add_partner(&acme(clock.now())).await.unwrap();
        assert!(added);
        let applier = Applier::start(
            &node,
            &config,
            WakeDelivery::default(),
            CancellationToken::new(),
            &TaskTracker::new(),
        );
        Self {
            clock,
            ledger,
            broker,
            node,
            config,
            sender: sender.instance,
            applier,
            shutdown,
            dir,
        }
    }

    /// Starts the consumer; it runs until [`stop`](Self::stop) or the end of the test.
    pub(crate) fn consume(&self) -> JoinHandle<()> {
        let consumer = Consumer::new(&self.node, &self.config, self.applier.clone());
        let shutdown = self.shutdown.clone();
        tokio::spawn(async move { consumer.run(shutdown).await })
    }

    pub(crate) fn stop(&self) {
        self.shutdown.cancel();
    }

    pub(crate) fn parked(&self) -> Parked {
        Parked::new(&self.node, &self.config, self.applier.clone())
    }

    pub(crate) fn patrol(&self) -> Patrol {
        Patrol::new(&self.node, &self.config, WakeDelivery::default())
    }

    /// Accepts `count` messages; their frames are not published.
    pub(crate) async fn accept(&self, count: usize) -> Vec<MessageId> {
        let now = self.clock.now();
        let ids = self.node.instance.ids();
        let messages: Vec<_> = (0..count)
            .map(|_| {
                let id = ids.message();
                NewMessage {
                    id,
                    partner: partner(),
                    client_msg_id: format!("c-{id}").parse().unwrap(),
                    digest: [0; 16],
                    kind: MessageType::Sms,
                    purpose: Purpose::Info,
                    lane: Lane::Ordinary,
                    accepted_at: now,
                    valid_until: now.plus(Purpose::Info.default_validity()),
                    metadata: None,
                    sealed: vec![1],
                    recipient_hash: [0; 16],
                }
            })
            .collect();
        let me = self.node.instance.id();
        let batch = self.ledger.accept(me, ids.outbox(), &messages, &[]).await;
        let dispatch = batch.unwrap().dispatch.unwrap();
        self.node.ledger.retire(&[dispatch.outbox]).await.unwrap();
        messages.iter().map(|message| message.id).collect()
    }

    pub(crate) async fn accept_one(&self) -> MessageId {
        self.accept(1).await[0]
    }

    /// The sender claims a message for a call.
    pub(crate) async fn claim(&self, id: MessageId) -> SubmissionId {
        let submission = self.node.instance.ids().submission();
        let claim = Claim {
            submission,
            route: "sms-1".into(),
            account: account(),
            members: vec![Member { id, attempt: 0 }],
        };
        let now = self.clock.now();
        let calls = self.ledger.claim(self.sender, &[claim], now).await.unwrap();
        assert_eq!(calls[0].messages.len(), 1);
        submission
    }

    /// The sender records how the call ended; what it wants published is lost on the way.
    pub(crate) async fn settle(&self, id: MessageId, submission: SubmissionId, settled: Settled) {
        let settlement = Settlement {
            id,
            submission,
            settled,
            account: account(),
            vendor_code: None,
            at: self.clock.now(),
            due: None,
            tell_sent: false,
        };
        let outbox = self.node.instance.ids().outbox();
        let settlements = [settlement];
        let settled = self.ledger.settle(self.sender, outbox, &settlements, &[]);
        if let Some(lost) = settled.await.unwrap() {
            self.node.ledger.retire(&[lost.outbox]).await.unwrap();
        }
    }

    /// A message that was taken by the vendor under this id.
    pub(crate) async fn sent(&self, vendor: &str) -> MessageId {
        let id = self.accept_one().await;
        let call = self.claim(id).await;
        self.settle(id, call, Settled::Taken(Some(vendor_id(vendor))))
            .await;
        id
    }

    /// A vendor's report under its own id.
    pub(crate) fn report(&self, vendor: &str, verdict: Verdict) -> Report {
        Report {
            account: account(),
            vendor_id: Some(vendor_id(vendor)),
            message: None,
            submission: None,
            verdict,
            vendor_code: Some("4410".into()),
            occurred_at: self.clock.now(),
        }
    }

    pub(crate) async fn publish(&self, reports: &[Report]) {
        let frames = ReportFrame::publications(reports, self.node.instance.frame_version());
        self.broker.publish(frames).await.unwrap();
    }

    pub(crate) async fn publish_bytes(&self, queue: QueueName, body: &'static [u8]) {
        let body = body.into();
        self.broker
            .publish(vec![Publication { queue, body }])
            .await
            .unwrap();
    }

    pub(crate) async fn message(&self, id: MessageId) -> MessageView {
        self.ledger.message(id).await.unwrap().unwrap()
    }

    /// The kinds of what unusual happened to a message.
    pub(crate) async fn events(&self, id: MessageId) -> Vec<String> {
        let events = self.ledger.events(id).await.unwrap();
        events.into_iter().map(|event| event.kind).collect()
    }

    pub(crate) async fn webhooks(&self) -> u64 {
        self.node.ledger.webhooks_size().await.unwrap()
    }

    /// Ended messages of the day: total, delivered, failed, of those expired.
    pub(crate) async fn day(&self) -> [u64; 4] {
        let query = StatsQuery {
            partner: partner(),
            from: Day::from_number(20_200_101),
            to: Day::from_number(20_991_231),
            kind: None,
        };
        let rows = self.ledger.daily(&query).await.unwrap();
        rows.iter().fold([0; 4], |sum, row| {
            let one = &row.stats;
            let counts = [one.total, one.success, one.failed, one.expired];
            std::array::from_fn(|place| sum[place] + counts[place])
        })
    }

    pub(crate) async fn books_agree(&self) {
        assert_eq!(self.ledger.reconcile().await.unwrap(), []);
    }

    pub(crate) async fn dead_letters(&self) -> Vec<DeadLetter> {
        let filter = DeadLetterFilter {
            limit: 100,
            ..DeadLetterFilter::default()
        };
        self.ledger.dead_letters(&filter).await.unwrap()
    }

    /// Parked reports in the ledger, due or not.
    pub(crate) async fn parked_reports(&self) -> usize {
        let (late, again) = (Timestamp::from_millis(i64::MAX), self.clock.now());
        let parked = self.node.ledger.take_parked(late, again, 1_000).await;
        parked.unwrap().len()
    }

    /// Changes the ledger's file behind its back.
    pub(crate) async fn meddle(&self, sql: &'static str) {
        let options = SqliteConnectOptions::new().filename(self.dir.path().join("pabal.db"));
        let mut connection = options.connect().await.unwrap();
        connection.execute(sql).await.unwrap();
        connection.close().await.unwrap();
    }

    /// The frames of a queue that are ready, all taken.
    pub(crate) async fn frames(&self, queue: QueueName) -> Vec<Box<dyn Delivery>> {
        let ready = self.broker.ready(queue).await.unwrap();
        let mut subscription = self.broker.subscribe(queue, 100).await.unwrap();
        let mut frames = Vec::new();
        for _ in 0..ready {
            frames.push(subscription.next().await.unwrap());
        }
        frames
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Waits until something is true.
pub(crate) async fn until<F>(what: &str, mut holds: impl FnMut() -> F)
where
    F: Future<Output = bool>,
{
    let wait = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, wait).await;
    assert!(in_time.is_ok(), "waited in vain: {what}");
}

fn acme(now: Timestamp) -> NewPartner {
    let partner = Partner {
        id: partner(),
        name: "Acme".into(),
        status: PartnerStatus::Active,
        secret_hash: String::new(),
        credential_version: 1,
        per_second: 1_000,
        express_per_second: 100,
        unencodable: Unencodable::default(),
        webhook: WebhookSettings {
            url: Some("https://acme.example/results".into()),
            secret: vec![1],
            batch: 1,
            ..WebhookSettings::default()
        },
        created_at: now,
    };
    NewPartner {
        partner,
        senders: vec![],
    }
}
