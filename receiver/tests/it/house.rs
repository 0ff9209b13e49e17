//! A receiver with everything it needs, in a folder of its own.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use pabal_common::breaker::BreakerRules;
use pabal_common::broker::{
    Broker, BrokerError, Delivery, EmbeddedBroker, Publication, QueueName, Subscription,
};
use pabal_common::clock::{Clock, ManualClock, SystemClock, Timestamp};
use pabal_common::config::Values;
use pabal_common::crypto::{ClientSecret, Keyring, Sealer, SecretHasher, TokenIssuer};
use pabal_common::domain::id::{ClientMsgId, MessageId, PartnerId};
use pabal_common::domain::message::Content;
use pabal_common::domain::text::Unencodable;
use pabal_common::files::FileStore;
use pabal_common::http::health::Readiness;
use pabal_common::http::{ServerLimits, finish, serve};
use pabal_common::instance::LeaseConfig;
use pabal_common::ledger::sqlite::SqliteLedger;
use pabal_common::ledger::{NewPartner, Partner, PartnerStatus, WebhookSettings};
use pabal_common::node::{Node, Ports};
use pabal_common::quota::{LocalQuota, Meter, Quota, Room};
use pabal_common::relay::RelayConfig;
use pabal_receiver::{Config, Receiver, SETTINGS};
use reqwest::header::{HeaderMap, HeaderValue};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// The clock shows this at first.
pub(crate) const START: Timestamp = Timestamp::from_millis(1_795_000_000_000);
/// The sender number of every partner here.
pub(crate) const SENDER: &str = "021234567";

pub(crate) struct House {
    pub(crate) base: String,
    pub(crate) client: reqwest::Client,
    pub(crate) node: Node,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) broker: Arc<FlakyBroker>,
    pub(crate) quota: Arc<ScriptedQuota>,
    pub(crate) receiver: Receiver,
    pub(crate) file: PathBuf,
    shutdown: CancellationToken,
    _folder: TempDir,
}

/// An answer, whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl House {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// A house whose receiver is set up otherwise.
    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::storing(FileStore::in_memory, change).await
    }

    /// A house with its files in a store of the test's.
    pub(crate) async fn storing(
        files: impl FnOnce(&Keyring) -> FileStore,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ledger.db");
        let ledger = SqliteLedger::open(&file, Arc::new(SystemClock))
            .await
            .unwrap();
        let embedded = EmbeddedBroker::open(&ledger, None).await.unwrap();
        let broker = Arc::new(FlakyBroker::over(embedded));
        let quota = Arc::new(ScriptedQuota::default());
        let clock = Arc::new(ManualClock::new(START));
        let shutdown = CancellationToken::new();
        let keyring = Keyring::generate();
        let ports = Ports {
            ledger: Arc::new(ledger),
            broker: broker.clone(),
            quota: quota.clone(),
            files: files(&keyring),
            clock: clock.clone(),
            keyring: Arc::new(keyring),
        };
        let relay = RelayConfig {
            period: Duration::from_millis(20),
            grace: Duration::ZERO,
            breaker: BreakerRules {
                failures: 3,
                pause: Duration::from_millis(20),
                longest_pause: Duration::from_millis(50),
                ..BreakerRules::default()
            },
            ..RelayConfig::default()
        };
        let lease = LeaseConfig::exclusive();
        let readiness = Readiness::new(shutdown.clone());
        let node = Node::join(ports, "receiver", lease, relay, readiness)
            .await
            .unwrap();
        tokio::spawn(node.instance.clone().keep(shutdown.clone()));
        tokio::spawn(node.relay.clone().run(shutdown.clone()));

        let values = Values::load(&[SETTINGS], &[], None, std::iter::empty(), &[]).unwrap();
        let mut config = Config::from_values(&values);
        change(&mut config);
        let receiver = Receiver::new(node.clone(), config);
        let (router, _) = receiver.router().split_for_parts();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let limits = ServerLimits::default();
        tokio::spawn(serve(listener, finish(router), limits, shutdown.clone()));
        Self {
            base,
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
            node,
            clock,
            broker,
            quota,
            receiver,
            file,
            shutdown,
            _folder: folder,
        }
    }

    /// Adds an active partner with one sender number and a secret that nobody knows.
    pub(crate) async fn partner(&self, id: &str) -> Partner {
        self.partner_with(id, |_| {}).await
    }

    pub(crate) async fn partner_with(
        &self,
        id: &str,
        change: impl FnOnce(&mut Partner),
    ) -> Partner {
        let mut partner = Partner {
            id: id.parse().unwrap(),
            name: id.to_owned(),
            status: PartnerStatus::Active,
            secret_hash: "none".to_owned(),
            credential_version: 1,
            per_second: 1000,
            express_per_second: 100,
            unencodable: Unencodable::Reject,
            webhook: WebhookSettings {
                batch: 1,
                ..WebhookSettings::default()
            },
            created_at: START,
        };
        change(&mut partner);
        let new = NewPartner {
            partner: partner.clone(),
            senders: vec![SENDER.to_owned(), "shop.example".to_owned()],
        };
        assert!(self.node.ledger.add_partner(&new).await.unwrap());
        partner
    }

    /// Changes a partner, in the ledger too.
    pub(crate) async fn change(&self, partner: &mut Partner, change: impl FnOnce(&mut Partner)) {
        let read = partner.clone();
        change(partner);
        let changed = self.node.ledger.update_partner(&read, partner).await;
        assert!(changed.unwrap());
    }

    /// Adds a partner that can log in.
    pub(crate) async fn partner_with_secret(&self, id: &str) -> (Partner, ClientSecret) {
        let secret = ClientSecret::generate();
        let hasher = SecretHasher::new(1, Duration::from_secs(60));
        let hash = hasher.hash(&secret).await.unwrap();
        let partner = self
            .partner_with(id, |partner| partner.secret_hash = hash)
            .await;
        (partner, secret)
    }

    /// An access token, without a login.
    pub(crate) fn token(&self, partner: &Partner) -> String {
        let issuer = TokenIssuer::new(&self.node.keyring);
        let (now, day) = (self.clock.now(), Duration::from_secs(86_400));
        issuer.issue(&partner.id, partner.credential_version, now, day)
    }

    pub(crate) async fn post(&self, path: &str, token: &str, body: &Value) -> Answer {
        self.post_text(path, token, body.to_string()).await
    }

    pub(crate) async fn post_text(&self, path: &str, token: &str, body: String) -> Answer {
        let request = self.client.post(format!("{}{path}", self.base));
        let request = request
            .bearer_auth(token)
            .header("content-type", "application/json")
            .body(body);
        Answer::to(request).await
    }

    /// Uploads a file; `query` says what it is for.
    pub(crate) async fn upload(
        &self,
        query: &str,
        token: &str,
        media_type: &str,
        bytes: Vec<u8>,
    ) -> Answer {
        let request = self.client.post(format!("{}/v1/files?{query}", self.base));
        let request = request
            .bearer_auth(token)
            .header("content-type", media_type);
        Answer::to(request.body(bytes)).await
    }

    pub(crate) async fn get(&self, path: &str, token: &str) -> Answer {
        let request = self.client.get(format!("{}{path}", self.base));
        Answer::to(request.bearer_auth(token)).await
    }

    /// The content of an accepted message.
    pub(crate) async fn content(&self, id: MessageId) -> Content {
        use sqlx::Connection as _;
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&self.file);
        let connection = sqlx::SqliteConnection::connect_with(&options);
        let mut connection = connection.await.unwrap();
        let sealed: Vec<u8> =
            sqlx::query_scalar("SELECT sealed FROM messages WHERE message_id = ?")
                .bind(id.to_column())
                .fetch_one(&mut connection)
                .await
                .unwrap();
        let plain = Sealer::new(&self.node.keyring).open(id, &sealed).unwrap();
        serde_json::from_slice(&plain).unwrap()
    }

    /// Posts without a token.
    pub(crate) async fn ask(&self, path: &str, body: &Value) -> Answer {
        Answer::to(self.client.post(format!("{}{path}", self.base)).json(body)).await
    }

    pub(crate) async fn form(&self, fields: &str) -> Answer {
        Answer::to(self.form_request(fields)).await
    }

    pub(crate) fn form_request(&self, fields: &str) -> reqwest::RequestBuilder {
        self.client
            .post(format!("{}/oauth2/token", self.base))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(fields.to_owned())
    }

    /// How many messages the ledger holds.
    pub(crate) async fn messages(&self) -> u64 {
        let totals = self.node.ledger.totals().await.unwrap();
        totals.iter().map(|totals| totals.accepted).sum()
    }

    pub(crate) async fn stored_under(&self, partner: &Partner, client: &str) -> Option<MessageId> {
        let client: ClientMsgId = client.parse().unwrap();
        let found = self
            .node
            .ledger
            .message_by_client_id(&partner.id, &client)
            .await;
        found.unwrap().map(|view| view.id)
    }

    /// Waits until every frame is confirmed and every outbox row retired.
    pub(crate) async fn outbox_is_empty(&self) {
        eventually(async || self.node.ledger.outbox_size().await.unwrap() == 0).await;
    }

    /// Why a part of the process is not ready.
    pub(crate) fn trouble(&self, part: &str) -> Option<String> {
        let mut report = self.node.readiness.report();
        report.not_ready.remove(part)
    }

    pub(crate) async fn ready(&self, queue: QueueName) -> u64 {
        self.broker.ready(queue).await.unwrap()
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl Answer {
    pub(crate) async fn to(request: reqwest::RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Self {
            status,
            headers,
            body,
        }
    }

    pub(crate) fn text(&self, field: &str) -> &str {
        self.body[field]
            .as_str()
            .unwrap_or_else(|| panic!("{field} in {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .get(name)
            .map(HeaderValue::to_str)
            .and_then(Result::ok)
    }

    #[track_caller]
    pub(crate) fn is_refused(&self, status: u16, code: &str, reason: &str) {
        let found = (self.status, &self.body["code"], &self.body["reason"]);
        assert_eq!(found, (status, &json!(code), &json!(reason)), "{self:?}");
        assert!(self.body["requestId"].is_string(), "{self:?}");
        assert!(self.body["details"].is_array(), "{self:?}");
    }

    #[track_caller]
    pub(crate) fn names(&self, field: &str) {
        let named = self.body["details"][0]["field"].as_str();
        assert_eq!(named, Some(field), "{self:?}");
    }

    pub(crate) fn retry_after(&self) -> Option<u64> {
        self.header("retry-after")
            .and_then(|seconds| seconds.parse().ok())
    }
}

/// A good SMS.
pub(crate) fn sms(client: &str) -> Value {
    json!({
        "clientMsgId": client,
        "type": "SMS",
        "to": "010-1234-5678",
        "from": "02-123-4567",
        "text": "안녕하세요",
    })
}

/// Waits for a condition, for ten seconds at most.
#[track_caller]
pub(crate) fn eventually(mut condition: impl AsyncFnMut() -> bool) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let until = Instant::now() + Duration::from_secs(10);
        while !condition().await {
            assert!(Instant::now() < until, "waited in vain at {caller}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// The embedded broker, which can be told to be away.
pub(crate) struct FlakyBroker {
    inner: EmbeddedBroker,
    away: AtomicBool,
    refusing: Mutex<Option<QueueName>>,
}

impl FlakyBroker {
    fn over(inner: EmbeddedBroker) -> Self {
        let away = AtomicBool::new(false);
        let refusing = Mutex::default();
        Self {
            inner,
            away,
            refusing,
        }
    }

    pub(crate) fn set_away(&self, away: bool) {
        self.away.store(away, Ordering::SeqCst);
    }

    /// One queue takes nothing; the others do.
    pub(crate) fn set_refusing(&self, queue: Option<QueueName>) {
        *self.refusing.lock().unwrap() = queue;
    }

    fn check(&self) -> Result<(), BrokerError> {
        if self.away.load(Ordering::SeqCst) {
            return Err(BrokerError::Unavailable("away, as told".to_owned()));
        }
        Ok(())
    }
}

#[async_trait]
impl Broker for FlakyBroker {
    async fn publish(&self, frames: Vec<Publication>) -> Result<(), BrokerError> {
        self.check()?;
        let refusing = *self.refusing.lock().unwrap();
        if let Some(frame) = frames.iter().find(|frame| Some(frame.queue) == refusing) {
            return Err(BrokerError::Refused(frame.queue));
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
        self.check()?;
        self.inner.remember_mark(counter).await
    }

    async fn recall_mark(&self) -> Result<u64, BrokerError> {
        self.inner.recall_mark().await
    }
}

/// Limits that say what they are told to, or else what the local ones say, and note what was asked.
#[derive(Default)]
pub(crate) struct ScriptedQuota {
    inner: LocalQuota,
    said: Mutex<Option<Room>>,
    forgetful: AtomicBool,
    taken: Mutex<Vec<(Meter, u32)>>,
}

impl ScriptedQuota {
    pub(crate) fn say(&self, room: Room) {
        *self.said.lock().unwrap() = Some(room);
    }

    pub(crate) fn taken(&self) -> Vec<(Meter, u32)> {
        self.taken.lock().unwrap().clone()
    }

    /// Remembers no accepted client id from now on.
    pub(crate) fn forget(&self) {
        self.forgetful.store(true, Ordering::SeqCst);
    }
}

#[async_trait]
impl Quota for ScriptedQuota {
    async fn take(&self, partner: &PartnerId, meter: Meter, per_second: u32, items: u32) -> Room {
        self.taken.lock().unwrap().push((meter, items));
        let said = *self.said.lock().unwrap();
        match said {
            Some(room) => room,
            None => self.inner.take(partner, meter, per_second, items).await,
        }
    }

    fn note_receivers(&self, _live: usize) {}

    async fn remember(&self, partner: &PartnerId, client: &ClientMsgId, message: MessageId) {
        self.inner.remember(partner, client, message).await;
    }

    async fn recall(&self, partner: &PartnerId, client: &ClientMsgId) -> Option<MessageId> {
        if self.forgetful.load(Ordering::SeqCst) {
            return None;
        }
        self.inner.recall(partner, client).await
    }
}
