//! Accounts, messages, and a simulator with an endpoint for its callbacks.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use pabal_common::clock::{Clock as _, SystemClock};
use pabal_common::domain::id::{MessageId, SubmissionId};
use pabal_common::domain::kind::{MessageType, Purpose};
use pabal_common::domain::message::{Content, Template};
use pabal_common::domain::report::{Report, VendorAccount, VendorMessageId};
use pabal_provider::adapter::{self, Account};
use pabal_provider::{Answer, Asked, Call, Outcome, Outgoing, Provider};
use pabal_simulator::{Family, Pace, Simulator, SimulatorConfig};
use secrecy::SecretString;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// No test waits longer for what must come.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);
/// The key of a Kakao sender profile has forty characters.
pub(crate) const SENDER_KEY: &str = "0123456789abcdef0123456789abcdef01234567";
pub(crate) const APP_KEY: &str = "simulator-app-key";
pub(crate) const SIGNATURE: &str = "simulator-secret";

/// A type of message and the product that carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Sms,
    Lms,
    Alimtalk,
    Brand,
}

impl Line {
    pub(crate) const ALL: [Self; 4] = [Self::Sms, Self::Lms, Self::Alimtalk, Self::Brand];

    pub(crate) const fn product(self) -> &'static str {
        match self {
            Self::Sms | Self::Lms => "sms",
            Self::Alimtalk | Self::Brand => "kakao",
        }
    }

    const fn kind(self) -> MessageType {
        match self {
            Self::Sms => MessageType::Sms,
            Self::Lms => MessageType::Lms,
            Self::Alimtalk => MessageType::KakaoAlimtalk,
            Self::Brand => MessageType::KakaoBrandMessage,
        }
    }
}

/// A message to a recipient that ends in `digits`.
pub(crate) fn message(line: Line, digits: u8) -> Outgoing {
    let mut content = Content {
        to: format!("010123456{digits:02}"),
        from: Some("15446859".to_owned()),
        text: "주문이 접수되었습니다 \"A\"\n".to_owned(),
        ..Content::default()
    };
    if line.product() == "kakao" {
        content.from = None;
        content.channel.sender_key = Some(SENDER_KEY.to_owned());
    }
    if line == Line::Alimtalk {
        content.template = Some(Template {
            code: "ORDER".to_owned(),
            variables: [("이름".to_owned(), "홍길동".to_owned())].into(),
        });
    }
    Outgoing {
        id: MessageId::from_number(number()),
        kind: line.kind(),
        purpose: Purpose::Info,
        content,
        attachments: Vec::new(),
    }
}

pub(crate) fn call(message: Outgoing) -> Call {
    Call {
        submission: SubmissionId::from_number(number()),
        messages: vec![message],
    }
}

fn number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1_000_000);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

pub(crate) fn asked(id: MessageId, vendor_id: Option<VendorMessageId>) -> Asked {
    Asked {
        id,
        submission: SubmissionId::from_number(5),
        vendor_id,
    }
}

/// An account of `product` at `base_url`, with more settings.
pub(crate) fn account(base_url: &str, product: &str, more: &str) -> Account {
    let settings = format!("product = \"{product}\"\napp_key = \"{APP_KEY}\"\n{more}");
    Account {
        account: VendorAccount::new("nhn", "main"),
        base_url: base_url.to_owned(),
        api_key: SecretString::from("simulator-key"),
        callback_secret: Some(SecretString::from(SIGNATURE)),
        settings: toml::from_str(&settings).unwrap(),
        connect_timeout: Duration::from_secs(1),
        answer_timeout: Duration::from_secs(2),
    }
}

pub(crate) fn provider(base_url: &str, product: &str, more: &str) -> Arc<dyn Provider> {
    adapter::build("nhn", account(base_url, product, more)).unwrap()
}

/// The answers of an answered call.
pub(crate) fn answers(outcome: &Outcome) -> &[Answer] {
    match outcome {
        Outcome::Answered(answers) => answers,
        other => panic!("not answered: {other:?}"),
    }
}

/// Times short enough for tests. What must not happen "before" is told apart by order, not time.
pub(crate) fn pace() -> Pace {
    Pace {
        report: Duration::from_millis(10),
        lost_report: Duration::from_millis(50),
        late_report: Duration::from_millis(300),
        door_shut: Duration::from_millis(1000),
        throttled: Duration::from_millis(400),
        slow: Duration::from_millis(100),
        too_slow: DEADLINE,
        early: DEADLINE,
        ..Pace::default()
    }
}

/// The simulator, set up for `product`.
pub(crate) fn config(product: &str, pace: Pace) -> SimulatorConfig {
    let mut config = SimulatorConfig::of(&[Family::Nhn]);
    config.pace = pace;
    let settings = &mut config.account_mut(Family::Nhn).settings;
    settings.insert("product".to_owned(), product.to_owned());
    config
}

/// A callback as it came in.
pub(crate) struct Received {
    pub(crate) path: String,
    headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        Some(self.headers.get(name)?.to_str().unwrap().to_owned())
    }
}

/// The simulator of one product, its adapter, and what it calls back.
pub(crate) struct World {
    pub(crate) simulator: Simulator,
    pub(crate) provider: Arc<dyn Provider>,
    callbacks: mpsc::UnboundedReceiver<Received>,
    waiting: VecDeque<Report>,
}

impl World {
    pub(crate) async fn new(line: Line) -> Self {
        Self::with(line, pace()).await
    }

    pub(crate) async fn with(line: Line, pace: Pace) -> Self {
        let config = config(line.product(), pace);
        let simulator = Simulator::start(config, CancellationToken::new()).await;
        let simulator = simulator.unwrap();
        let (arrived, callbacks) = mpsc::unbounded_channel();
        simulator.set_callback_base(&endpoint(arrived).await);
        Self {
            provider: provider(
                &simulator.base_url(Family::Nhn).unwrap(),
                line.product(),
                "",
            ),
            simulator,
            callbacks,
            waiting: VecDeque::new(),
        }
    }

    /// With an adapter that waits only briefly.
    pub(crate) async fn impatient(line: Line) -> Self {
        let mut world = Self::new(line).await;
        let base_url = world.simulator.base_url(Family::Nhn).unwrap();
        let mut account = account(&base_url, line.product(), "");
        account.connect_timeout = Duration::from_millis(500);
        account.answer_timeout = Duration::from_millis(100);
        world.provider = adapter::build("nhn", account).unwrap();
        world
    }

    /// Sends one message to a recipient that ends in `digits`.
    pub(crate) async fn send(&self, line: Line, digits: u8) -> (MessageId, Outcome) {
        let call = call(message(line, digits));
        let outcome = self.provider.submit(&call).await;
        (call.messages[0].id, outcome)
    }

    /// Sends a message that must be taken; its id and the vendor's.
    pub(crate) async fn send_taken(&self, line: Line, digits: u8) -> (MessageId, VendorMessageId) {
        let (id, outcome) = self.send(line, digits).await;
        let [Answer::Taken { vendor_id }] = answers(&outcome) else {
            panic!("{line:?} {digits}: {outcome:?}");
        };
        (id, vendor_id.clone().unwrap())
    }

    /// How often the vendor took a message.
    pub(crate) fn times_taken(&self, id: MessageId) -> usize {
        let taken = self.simulator.taken();
        taken.iter().filter(|taken| taken.message == id).count()
    }

    /// The next callback, unread.
    pub(crate) async fn next_callback(&mut self) -> Received {
        let received = timeout(DEADLINE, self.callbacks.recv()).await;
        received.expect("a callback comes").unwrap()
    }

    /// The next report.
    pub(crate) async fn next_report(&mut self) -> Report {
        while self.waiting.is_empty() {
            let received = self.next_callback().await;
            let header = |name: &str| received.header(name);
            let now = SystemClock.now();
            let reports = self.provider.read_callback(&header, &received.body, now);
            self.waiting.extend(reports.unwrap());
        }
        self.waiting.pop_front().unwrap()
    }
}

/// An HTTP endpoint that accepts every callback; its base URL.
async fn endpoint(arrived: mpsc::UnboundedSender<Received>) -> String {
    let receive = |State(arrived): State<mpsc::UnboundedSender<Received>>,
                   Path(path): Path<String>,
                   headers: HeaderMap,
                   body: Bytes| async move {
        let _ = arrived.send(Received {
            path,
            headers,
            body,
        });
        StatusCode::NO_CONTENT
    };
    let router = Router::new()
        .route("/callbacks/{*path}", post(receive))
        .with_state(arrived);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}
