//! A simulated platform, the adapter to it, and an endpoint for its events.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use pabal_common::clock::{Clock as _, SystemClock};
use pabal_common::domain::id::{MessageId, SubmissionId};
use pabal_common::domain::kind::{MessageType, Purpose};
use pabal_common::domain::message::Content;
use pabal_common::domain::report::{Report, VendorMessageId};
use pabal_provider::adapter::{self, Account};
use pabal_provider::{Answer, Call, Outcome, Outgoing, Provider};
use pabal_simulator::{Door, Family, NextAnswer, Pace, Simulator, SimulatorConfig};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// No test waits longer for what must come.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A callback as it came in.
pub(crate) struct Received {
    pub(crate) signature: Option<String>,
    pub(crate) body: Bytes,
}

pub(crate) struct World {
    pub(crate) simulator: Simulator,
    pub(crate) provider: Arc<dyn Provider>,
    callbacks: mpsc::UnboundedReceiver<Received>,
    waiting: VecDeque<Report>,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// With an account that `change` has changed.
    pub(crate) async fn with(change: impl FnOnce(&mut Account)) -> Self {
        let mut config = SimulatorConfig::of(&[Family::Rbm]);
        config.pace = Pace {
            report: Duration::from_millis(10),
            lost_report: Duration::from_millis(50),
            late_report: Duration::from_millis(800),
            door_shut: Duration::from_millis(1000),
            throttled: Duration::from_millis(400),
            slow: Duration::from_millis(100),
            too_slow: DEADLINE,
            early: DEADLINE,
            ..Pace::default()
        };
        let simulator = Simulator::start(config, CancellationToken::new()).await;
        let simulator = simulator.unwrap();
        let (arrived, callbacks) = mpsc::unbounded_channel();
        simulator.set_callback_base(&endpoint(arrived).await);
        let mut account = account(&simulator.base_url(Family::Rbm).unwrap());
        change(&mut account);
        Self {
            provider: adapter::build("rbm", account).unwrap(),
            simulator,
            callbacks,
            waiting: VecDeque::new(),
        }
    }

    /// Sends a message to a number that ends in `digits`.
    pub(crate) async fn send(&self, digits: u8) -> (MessageId, Outcome) {
        let call = call(digits);
        (call.messages[0].id, self.provider.submit(&call).await)
    }

    /// Sends a message that must be taken; its id and the platform's.
    pub(crate) async fn send_taken(&self, digits: u8) -> (MessageId, VendorMessageId) {
        let (id, outcome) = self.send(digits).await;
        (id, taken(&outcome))
    }

    pub(crate) fn door(&self) -> Door {
        self.simulator.door(Family::Rbm).unwrap()
    }

    pub(crate) fn script(&self, answer: NextAnswer) {
        self.simulator.script(Family::Rbm, [answer]).unwrap();
    }

    /// How often the platform took a message.
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
        loop {
            if let Some(report) = self.waiting.pop_front() {
                return report;
            }
            let received = self.next_callback().await;
            let header = |name: &str| received.header(name);
            let reports = self
                .provider
                .read_callback(&header, &received.body, SystemClock.now());
            self.waiting.extend(reports.unwrap());
        }
    }
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        (name == "x-goog-signature").then(|| self.signature.clone())?
    }
}

/// The platform's id in the one answer of a call that was taken.
pub(crate) fn taken(outcome: &Outcome) -> VendorMessageId {
    match outcome {
        Outcome::Answered(answers) => match answers.as_slice() {
            [Answer::Taken { vendor_id }] => vendor_id.clone().unwrap(),
            other => panic!("not taken: {other:?}"),
        },
        other => panic!("not answered: {other:?}"),
    }
}

/// A call with one message, to a number that ends in `digits`.
pub(crate) fn call(digits: u8) -> Call {
    static NEXT: AtomicU64 = AtomicU64::new(1_000_000);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    Call {
        submission: SubmissionId::from_number(number),
        messages: vec![Outgoing {
            id: MessageId::from_number(number),
            kind: MessageType::Rcs,
            purpose: Purpose::Info,
            content: Content {
                to: format!("010223456{digits:02}"),
                from: Some("0212345678".to_owned()),
                text: "주문이 접수되었습니다 \"A\"\n".to_owned(),
                ..Content::default()
            },
            attachments: Vec::new(),
        }],
    }
}

/// An account at `base_url`, as the simulator knows it.
pub(crate) fn account(base_url: &str) -> Account {
    let config = SimulatorConfig::of(&[Family::Rbm]).account(Family::Rbm);
    let settings = config.settings.into_iter();
    Account {
        account: config.account,
        base_url: base_url.to_owned(),
        api_key: config.api_key,
        callback_secret: Some(config.callback_secret),
        settings: settings
            .map(|(name, value)| (name, toml::Value::String(value)))
            .collect(),
        connect_timeout: Duration::from_secs(4),
        answer_timeout: DEADLINE,
    }
}

/// An HTTP endpoint that accepts every callback; its base URL.
async fn endpoint(arrived: mpsc::UnboundedSender<Received>) -> String {
    let receive = |State(arrived): State<mpsc::UnboundedSender<Received>>,
                   headers: HeaderMap,
                   body: Bytes| async move {
        let signature = headers.get("x-goog-signature");
        let signature = signature.map(|value| value.to_str().unwrap().to_owned());
        let _ = arrived.send(Received { signature, body });
        StatusCode::OK
    };
    let router = Router::new()
        .route("/callbacks/rbm/main", post(receive))
        .with_state(arrived);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}
