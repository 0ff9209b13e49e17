//! A ledger, a broker that can be made to fail, and processes on them.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use pabal_common::broker::{
    Broker, BrokerError, Delivery, EmbeddedBroker, Publication, QueueName, ReportFrame,
    Subscription,
};
use pabal_common::clock::{Clock, ManualClock, Timestamp};
use pabal_common::crypto::Keyring;
use pabal_common::domain::report::Report;
use pabal_common::files::FileStore;
use pabal_common::http::health::Readiness;
use pabal_common::http::{ServerLimits, finish, serve};
use pabal_common::instance::LeaseConfig;
use pabal_common::ledger::sqlite::SqliteLedger;
use pabal_common::ledger::{LedgerError, Outbox as _};
use pabal_common::node::{Node, Ports};
use pabal_common::quota::LocalQuota;
use pabal_common::relay::RelayConfig;
use pabal_webhook_receiver::{Config, Vendors, router, run};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Executor as _};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

/// No test waits longer for what must come.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);
/// When the manual clock stands still.
pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_000);

/// What the broker does with a publish.
#[derive(Clone, Default)]
pub(crate) enum Mood {
    #[default]
    Well,
    Failing,
    Hanging,
    /// Publishes once it is told.
    Held(Arc<Notify>),
}

/// The embedded broker behind a mood.
pub(crate) struct MoodyBroker {
    inner: EmbeddedBroker,
    mood: Mutex<Mood>,
    publishes: AtomicUsize,
}

impl MoodyBroker {
    pub(crate) fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// How often it was asked to publish.
    pub(crate) fn publishes(&self) -> usize {
        self.publishes.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Broker for MoodyBroker {
    async fn publish(&self, frames: Vec<Publication>) -> Result<(), BrokerError> {
        self.publishes.fetch_add(1, Ordering::SeqCst);
        let mood = self.mood.lock().unwrap().clone();
        match mood {
            Mood::Well => {}
            Mood::Failing => return Err(BrokerError::Unavailable("out of order".into())),
            Mood::Hanging => std::future::pending().await,
            Mood::Held(told) => told.notified().await,
        }
        self.inner.publish(frames).await
    }

    async fn subscribe(
        &self,
        queue: QueueName,
        prefetch: u16,
    ) -> Result<Box<dyn Subscription>, BrokerError> {
        self.inner.subscribe(queue, prefetch).await
    }

    async fn ready(&self, queue: QueueName) -> Result<u64, BrokerError> {
        self.inner.ready(queue).await
    }

    async fn dead_frames(&self, limit: usize) -> Result<Vec<Box<dyn Delivery>>, BrokerError> {
        self.inner.dead_frames(limit).await
    }

    async fn remember_mark(&self, counter: u64) -> Result<(), BrokerError> {
        self.inner.remember_mark(counter).await
    }

    async fn recall_mark(&self) -> Result<u64, BrokerError> {
        self.inner.recall_mark().await
    }
}

/// What outlives a process.
pub(crate) struct House {
    pub(crate) ledger: SqliteLedger,
    pub(crate) broker: Arc<MoodyBroker>,
    clock: Arc<dyn Clock>,
    file: PathBuf,
    queue: tokio::sync::Mutex<Box<dyn Subscription>>,
    _folder: tempfile::TempDir,
}

impl House {
    pub(crate) async fn open() -> Self {
        Self::with_clock(Arc::new(ManualClock::new(NOW))).await
    }

    pub(crate) async fn with_clock(clock: Arc<dyn Clock>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ledger");
        let ledger = SqliteLedger::open(&file, clock.clone()).await.unwrap();
        let inner = EmbeddedBroker::open(&ledger, None).await.unwrap();
        let queue = inner.subscribe(QueueName::Report, 1000).await.unwrap();
        let broker = MoodyBroker {
            inner,
            mood: Mutex::default(),
            publishes: AtomicUsize::new(0),
        };
        Self {
            ledger,
            broker: Arc::new(broker),
            clock,
            file,
            queue: tokio::sync::Mutex::new(queue),
            _folder: folder,
        }
    }

    /// A process that nobody shares the ledger with.
    pub(crate) async fn process(&self) -> Process {
        self.process_with(LeaseConfig::exclusive(), RelayConfig::default())
            .await
    }

    pub(crate) async fn process_with(&self, lease: LeaseConfig, relay: RelayConfig) -> Process {
        let ports = Ports {
            ledger: Arc::new(self.ledger.clone()),
            broker: self.broker.clone(),
            quota: Arc::new(LocalQuota::new()),
            files: FileStore::none(),
            clock: self.clock.clone(),
            keyring: Arc::new(Keyring::generate()),
        };
        let stop = CancellationToken::new();
        let readiness = Readiness::new(stop.clone());
        let node = Node::join(ports, "webhook-receiver", lease, relay, readiness)
            .await
            .unwrap();
        Process {
            node,
            _stops: stop.clone().drop_guard(),
            stop,
        }
    }

    /// A connection to the ledger's file beside the ledger's own.
    pub(crate) async fn connection(&self) -> SqliteConnection {
        let options = SqliteConnectOptions::new().filename(&self.file);
        options.connect().await.unwrap()
    }

    pub(crate) async fn execute(&self, sql: &'static str) {
        self.connection().await.execute(sql).await.unwrap();
    }

    /// From now on the ledger takes no outbox row.
    pub(crate) async fn fill_the_outbox(&self) {
        self.execute(
            "CREATE TRIGGER outbox_full BEFORE INSERT ON outbox \
             BEGIN SELECT RAISE(ABORT, 'full'); END",
        )
        .await;
    }

    pub(crate) async fn mend_the_outbox(&self) {
        self.execute("DROP TRIGGER outbox_full").await;
    }

    pub(crate) async fn outbox(&self) -> u64 {
        self.ledger.outbox_size().await.unwrap()
    }

    pub(crate) async fn cursor(&self, source: &str) -> Result<Option<String>, LedgerError> {
        self.ledger.poll_cursor(source).await
    }

    /// Frames that nobody has taken from the report queue.
    pub(crate) async fn frames(&self) -> u64 {
        self.broker.ready(QueueName::Report).await.unwrap()
    }

    /// Takes frames from the report queue until there are so many reports.
    pub(crate) async fn reports(&self, count: usize) -> Vec<Report> {
        let mut queue = self.queue.lock().await;
        let mut reports = Vec::new();
        let taken = async {
            while reports.len() < count {
                let frame = queue.next().await.unwrap();
                reports.extend(ReportFrame::decode(frame.body()).unwrap().reports);
                frame.ack().await;
            }
        };
        tokio::time::timeout(DEADLINE, taken)
            .await
            .expect("the reports come");
        reports
    }

    /// The vendors' ids of so many reports from the queue, sorted.
    pub(crate) async fn report_ids(&self, count: usize) -> Vec<String> {
        let reports = self.reports(count).await;
        let mut ids: Vec<_> = reports
            .into_iter()
            .map(|report| report.vendor_id.unwrap().to_string())
            .collect();
        ids.sort();
        ids
    }
}

/// A process; what it runs ends when it is dropped.
pub(crate) struct Process {
    pub(crate) node: Node,
    pub(crate) stop: CancellationToken,
    _stops: DropGuard,
}

impl Process {
    /// Serves the callbacks on a free port; the base URL.
    pub(crate) async fn serve(&self, vendors: &Vendors, config: Config) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let router = finish(router(self.node.clone(), vendors, config));
        let limits = ServerLimits::default();
        tokio::spawn(serve(listener, router, limits, self.stop.clone()));
        base
    }

    pub(crate) fn poll(&self, vendors: &Vendors, config: Config) -> JoinHandle<()> {
        let stop = self.stop.clone();
        tokio::spawn(run(self.node.clone(), vendors.clone(), config, stop))
    }

    /// Keeps the lease.
    pub(crate) fn live(&self) {
        let instance = Arc::clone(&self.node.instance);
        tokio::spawn(instance.keep(self.stop.clone()));
    }

    pub(crate) fn relay(&self) {
        tokio::spawn(self.node.relay.clone().run(self.stop.clone()));
    }
}

/// Waits until `condition` holds.
pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let holds = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(DEADLINE, holds)
        .await
        .unwrap_or_else(|_| panic!("in time: {what}"));
}
