//! A partner's webhook endpoint on loopback: its answers are scripted and can change at any time,
//! it checks both signatures of whatever comes, and remembers it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use futures::stream;
use pabal_common::clock::{Clock as _, SystemClock};
use pabal_common::crypto::{WebhookSecret, verify_standard_webhook, verify_x_signature};
use serde_json::Value;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;

/// How old a signature may be.
const TOLERANCE: Duration = Duration::from_secs(300);
/// Room for connections that are not accepted yet.
const BACKLOG: u32 = 64;

/// What an endpoint answers.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Status(u16),
    /// 302 to another address.
    Redirect(String),
    /// A status at once, then a body without end.
    Endless(u16),
    /// Nothing, ever.
    Hang,
}

/// A webhook as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Its `webhook-id`.
    pub(crate) id: String,
    pub(crate) body: Value,
    /// Whether both signatures are right.
    authentic: bool,
    /// Whether it was answered with 2xx.
    taken: bool,
}

impl Seen {
    /// The results it holds.
    pub(crate) fn events(&self) -> impl Iterator<Item = &Value> {
        self.body["events"].as_array().into_iter().flatten()
    }
}

/// The endpoint. Clones share it.
#[derive(Clone)]
pub(crate) struct Endpoint {
    address: SocketAddr,
    inner: Arc<Mutex<Inner>>,
    changed: Arc<watch::Sender<()>>,
    streamed: Arc<AtomicU64>,
}

struct Inner {
    secret: Option<WebhookSecret>,
    next: VecDeque<Answer>,
    always: Answer,
    seen: Vec<Seen>,
    /// The bound port, as long as nobody listens there.
    reserved: Option<TcpSocket>,
}

impl Endpoint {
    /// An endpoint that takes everything.
    pub(crate) fn start() -> Self {
        let endpoint = Self::refusing();
        endpoint.listen();
        endpoint
    }

    /// An endpoint that refuses connections until [`listen`](Self::listen): its port is bound, so
    /// that nobody else gets it, and nobody listens.
    pub(crate) fn refusing() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let inner = Inner {
            secret: None,
            next: VecDeque::new(),
            always: Answer::Status(204),
            seen: Vec::new(),
            reserved: None,
        };
        let address = socket.local_addr().unwrap();
        let endpoint = Self {
            address,
            inner: Arc::new(Mutex::new(inner)),
            changed: Arc::new(watch::channel(()).0),
            streamed: Arc::default(),
        };
        endpoint.lock().reserved = Some(socket);
        endpoint
    }

    /// Accepts connections from now on.
    pub(crate) fn listen(&self) {
        let socket = self.lock().reserved.take().expect("not listening yet");
        let listener: TcpListener = socket.listen(BACKLOG).unwrap();
        let router = Router::new().fallback(answer).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
    }

    /// Tells it what webhooks are signed with.
    pub(crate) fn trust(&self, secret: WebhookSecret) {
        self.lock().secret = Some(secret);
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// Its URL under another host name.
    pub(crate) fn url_at(&self, host: &str) -> String {
        format!("http://{host}:{}/hook", self.address.port())
    }

    /// Answers these first.
    pub(crate) fn answer_next(&self, answers: impl IntoIterator<Item = Answer>) {
        self.lock().next.extend(answers);
    }

    /// Answers so from now on.
    pub(crate) fn answer(&self, always: Answer) {
        self.lock().always = always;
    }

    /// Everything that came, oldest first.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.lock().seen.clone()
    }

    /// What came and was taken.
    pub(crate) fn taken(&self) -> Vec<Seen> {
        let mut seen = self.seen();
        seen.retain(|one| one.taken);
        seen
    }

    /// How many requests were not signed as they should be.
    pub(crate) fn forged(&self) -> usize {
        self.lock().seen.iter().filter(|one| !one.authentic).count()
    }

    /// Bytes of endless bodies handed out.
    pub(crate) fn streamed(&self) -> u64 {
        self.streamed.load(Ordering::Relaxed)
    }

    /// Changes whenever something came.
    pub(crate) fn arrivals(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_authentic(&self, headers: &HeaderMap, body: &[u8]) -> bool {
        let secret = self.lock().secret.clone();
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let now = SystemClock.now();
        secret.is_some_and(|secret| {
            verify_x_signature(&secret, header, body, now, TOLERANCE).is_ok()
                && verify_standard_webhook(&secret, header, body, now, TOLERANCE).is_ok()
        })
    }

    fn take(&self, headers: &HeaderMap, body: &[u8]) -> Answer {
        let authentic = self.is_authentic(headers, body);
        let id = headers.get("webhook-id").and_then(|id| id.to_str().ok());
        let mut inner = self.lock();
        let always = inner.always.clone();
        let answer = inner.next.pop_front().unwrap_or(always);
        let taken = matches!(
            answer,
            Answer::Status(200..=299) | Answer::Endless(200..=299)
        );
        inner.seen.push(Seen {
            id: id.unwrap_or_default().to_owned(),
            body: serde_json::from_slice(body).unwrap_or_default(),
            authentic,
            taken,
        });
        drop(inner);
        self.changed.send_replace(());
        answer
    }
}

async fn answer(State(endpoint): State<Endpoint>, headers: HeaderMap, body: Bytes) -> Response {
    let status = |code| StatusCode::from_u16(code).unwrap();
    match endpoint.take(&headers, &body) {
        Answer::Status(code) => status(code).into_response(),
        Answer::Redirect(to) => (StatusCode::FOUND, [("location", to)]).into_response(),
        Answer::Endless(code) => {
            let streamed = Arc::clone(&endpoint.streamed);
            let body = Body::from_stream(stream::repeat_with(move || {
                streamed.fetch_add(65_536, Ordering::Relaxed);
                Ok::<_, std::io::Error>(Bytes::from_static(&[b'x'; 65_536]))
            }));
            (status(code), body).into_response()
        }
        Answer::Hang => std::future::pending().await,
    }
}
