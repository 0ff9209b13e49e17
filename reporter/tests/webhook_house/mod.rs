//! A reporter's surroundings: a ledger, partners, messages that end, and a partner's endpoint whose
//! answers are scripted.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::collections::{HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures::stream;
use pabal_common::broker::EmbeddedBroker;
use pabal_common::clock::{Clock, Timestamp};
use pabal_common::crypto::{Keyring, Sealer, WebhookSecret};
use pabal_common::domain::id::{MessageId, PartnerId};
use pabal_common::domain::kind::{Lane, MessageType, Purpose};
use pabal_common::domain::message::NewMessage;
use pabal_common::domain::report::{Report, VendorAccount, Verdict};
use pabal_common::domain::text::Unencodable;
use pabal_common::files::FileStore;
use pabal_common::http::health::Readiness;
use pabal_common::instance::LeaseConfig;
use pabal_common::ledger::sqlite::SqliteLedger;
use pabal_common::ledger::{
    DeadLetter, DeadLetterFilter, NewPartner, Partner, PartnerStatus, WebhookSettings,
};
use pabal_common::node::{Node, Ports};
use pabal_common::quota::LocalQuota;
use pabal_common::relay::RelayConfig;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Longer than anything a test waits for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A process's surroundings.
pub(crate) struct House {
    pub(crate) node: Node,
    pub(crate) secret: WebhookSecret,
    next: AtomicU64,
    _folder: tempfile::TempDir,
    _keeps: DropGuard,
}

impl House {
    pub(crate) async fn open(clock: Arc<dyn Clock>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ledger");
        let ledger = SqliteLedger::open(&file, clock.clone()).await.unwrap();
        let broker = EmbeddedBroker::open(&ledger, None).await.unwrap();
        let ports = Ports {
            ledger: Arc::new(ledger),
            broker: Arc::new(broker),
            quota: Arc::new(LocalQuota::new()),
            files: FileStore::none(),
            clock,
            keyring: Arc::new(Keyring::generate()),
        };
        let shutdown = CancellationToken::new();
        let node = Node::join(
            ports,
            "reporter",
            LeaseConfig::exclusive(),
            RelayConfig::default(),
            Readiness::new(shutdown.clone()),
        )
        .await
        .unwrap();
        tokio::spawn(node.instance.clone().keep(shutdown.clone()));
        Self {
            node,
            secret: WebhookSecret::generate(),
            next: AtomicU64::new(1),
            _folder: folder,
            _keeps: shutdown.drop_guard(),
        }
    }

    /// Adds a partner that is told results at `url`.
    pub(crate) async fn partner(&self, name: &str, url: Option<String>) -> PartnerId {
        let id: PartnerId = name.parse().unwrap();
        let sealer = Sealer::new(&self.node.keyring);
        let partner = Partner {
            id: id.clone(),
            name: name.to_owned(),
            status: PartnerStatus::Active,
            secret_hash: String::new(),
            credential_version: 1,
            per_second: 1000,
            express_per_second: 10,
            unencodable: Unencodable::Reject,
            webhook: WebhookSettings {
                url,
                secret: sealer.seal_secret(name, self.secret.expose().as_bytes()),
                batch: 1,
                ..WebhookSettings::default()
            },
            created_at: self.node.clock.now(),
        };
        let new = NewPartner {
            partner,
            senders: vec![],
        };
        assert!(self.node.ledger.add_partner(&new).await.unwrap());
        id
    }

    pub(crate) async fn change(&self, id: &PartnerId, change: impl FnOnce(&mut Partner)) {
        let read = self.node.ledger.partner(id).await.unwrap().unwrap();
        let mut partner = read.clone();
        change(&mut partner);
        let changed = self.node.ledger.update_partner(&read, &partner).await;
        assert!(changed.unwrap());
    }

    /// An accepted SMS; its clientMsgId is `order-` and a number.
    pub(crate) async fn message(&self, partner: &PartnerId) -> MessageId {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (node, now) = (&self.node, self.node.clock.now());
        let id = node.instance.ids().message();
        let message = NewMessage {
            id,
            partner: partner.clone(),
            client_msg_id: format!("order-{number}").parse().unwrap(),
            digest: [0; 16],
            kind: MessageType::Sms,
            purpose: Purpose::Info,
            lane: Lane::Ordinary,
            accepted_at: now,
            valid_until: now.plus(Duration::from_secs(3600)),
            metadata: Some(format!(r#"{{"order":{number}}}"#)),
            sealed: vec![1],
            recipient_hash: [0; 16],
        };
        let outbox = node.instance.ids().outbox();
        node.ledger
            .accept(node.instance.id(), outbox, &[message], &[])
            .await
            .unwrap();
        id
    }

    /// Ends a message as delivered; where its partner has an endpoint, a webhook is due.
    pub(crate) async fn end(&self, message: MessageId) {
        let (node, now) = (&self.node, self.node.clock.now());
        let report = Report {
            account: VendorAccount::new("carrier", "main"),
            vendor_id: None,
            message: Some(message),
            submission: None,
            verdict: Verdict::Delivered,
            vendor_code: Some("1000".to_owned()),
            occurred_at: now,
        };
        let ids = [node.instance.ids().webhook()];
        let applied = node
            .ledger
            .apply(node.instance.id(), &[report], &ids, now)
            .await;
        assert_eq!(applied.unwrap().ended, 1);
    }

    /// So many messages of a partner that have ended.
    pub(crate) async fn results(&self, partner: &PartnerId, count: usize) {
        for _ in 0..count {
            let message = self.message(partner).await;
            self.end(message).await;
        }
    }

    pub(crate) async fn dead_letters(&self) -> Vec<DeadLetter> {
        let filter = DeadLetterFilter {
            limit: 1000,
            ..DeadLetterFilter::default()
        };
        self.node.ledger.dead_letters(&filter).await.unwrap()
    }

    /// Waits until so many webhook rows are left.
    pub(crate) async fn until_waiting(&self, rows: u64) {
        let ledger = &self.node.ledger;
        until(async || ledger.webhooks_size().await.unwrap() == rows).await;
    }

    /// Waits for so many dead letters.
    pub(crate) async fn until_dead(&self, count: usize) -> Vec<DeadLetter> {
        until(async || self.dead_letters().await.len() >= count).await;
        self.dead_letters().await
    }
}

/// Waits for a condition; fails the test if it never comes.
pub(crate) async fn until(condition: impl AsyncFn() -> bool) {
    let wait = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait)
        .await
        .expect("the condition never came true");
}

/// What an endpoint answers.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Status(u16),
    /// A status with one header.
    With(u16, &'static str, String),
    /// Headers at once, a body without end.
    Endless(u16),
    /// Nothing, ever.
    Hang,
    /// 200 after a while.
    Slow(Duration),
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) at: Instant,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap().to_str().unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// A partner's endpoint on loopback.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    script: Arc<Mutex<Script>>,
}

struct Script {
    next: VecDeque<Answer>,
    always: Answer,
    seen: Vec<Seen>,
    connections: HashSet<SocketAddr>,
    streamed: Arc<AtomicU64>,
}

impl Endpoint {
    /// An endpoint that answers `always`.
    pub(crate) async fn start(always: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let script = Arc::new(Mutex::new(Script {
            next: VecDeque::new(),
            always,
            seen: Vec::new(),
            connections: HashSet::new(),
            streamed: Arc::default(),
        }));
        let endpoint = Self { address, script };
        let router = axum::Router::new()
            .fallback(answer)
            .with_state(endpoint.clone());
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, service).await });
        endpoint
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// Answers these first.
    pub(crate) fn first(self, answers: impl IntoIterator<Item = Answer>) -> Self {
        self.script().next.extend(answers);
        self
    }

    pub(crate) fn then(&self, always: Answer) {
        self.script().always = always;
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.script().seen.clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.script().connections.len()
    }

    /// Bytes of endless bodies handed out.
    pub(crate) fn streamed(&self) -> u64 {
        self.script().streamed.load(Ordering::Relaxed)
    }

    /// Waits until it has seen so many requests.
    pub(crate) async fn until_seen(&self, count: usize) -> Vec<Seen> {
        until(async || self.script().seen.len() >= count).await;
        self.seen()
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn answer(
    State(endpoint): State<Endpoint>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let answer = {
        let mut script = endpoint.script();
        script.connections.insert(from);
        script.seen.push(Seen {
            headers,
            body,
            at: Instant::now(),
        });
        let always = script.always.clone();
        script.next.pop_front().unwrap_or(always)
    };
    let status = |code| StatusCode::from_u16(code).unwrap();
    match answer {
        Answer::Status(code) => (status(code), "thanks").into_response(),
        Answer::With(code, name, value) => (status(code), [(name, value)]).into_response(),
        Answer::Endless(code) => {
            let streamed = Arc::clone(&endpoint.script().streamed);
            let body = Body::from_stream(stream::repeat_with(move || {
                streamed.fetch_add(65_536, Ordering::Relaxed);
                Ok::<_, std::io::Error>(Bytes::from_static(&[b'x'; 65_536]))
            }));
            (status(code), body).into_response()
        }
        Answer::Hang => std::future::pending().await,
        Answer::Slow(wait) => {
            tokio::time::sleep(wait).await;
            status(200).into_response()
        }
    }
}

/// The Timestamp of a header in unix seconds.
pub(crate) fn signed_at(seen: &Seen) -> Timestamp {
    let seconds: i64 = seen.header("x-timestamp").parse().unwrap();
    Timestamp::from_millis(seconds * 1000)
}
