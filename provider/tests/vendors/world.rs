//! A simulator, an adapter for each of its vendors, and an endpoint for callbacks.

use std::collections::{HashMap, VecDeque};
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
use pabal_common::domain::report::{Report, VendorMessageId};
use pabal_provider::adapter::{self, Account};
use pabal_provider::{Answer, Call, Outcome, Outgoing, Provider};
use pabal_simulator::{Family, Pace, Simulator, SimulatorConfig};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// No test waits longer for what must come.
const DEADLINE: Duration = Duration::from_secs(30);

/// A vendor as one message type uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Carrier,
    Rcshub,
    Alimtalk,
    Brand,
    Talk,
}

impl Line {
    pub(crate) const ALL: [Self; 5] = [
        Self::Carrier,
        Self::Rcshub,
        Self::Alimtalk,
        Self::Brand,
        Self::Talk,
    ];

    /// The lines whose vendor reports at all.
    pub(crate) const REPORTING: [Self; 4] =
        [Self::Carrier, Self::Rcshub, Self::Alimtalk, Self::Brand];

    pub(crate) const fn family(self) -> Family {
        match self {
            Self::Carrier => Family::Carrier,
            Self::Rcshub => Family::Rcshub,
            Self::Alimtalk | Self::Brand => Family::Kakao,
            Self::Talk => Family::Talk,
        }
    }

    const fn kind(self) -> MessageType {
        match self {
            Self::Carrier => MessageType::Sms,
            Self::Rcshub => MessageType::Rcs,
            Self::Alimtalk => MessageType::KakaoAlimtalk,
            Self::Brand => MessageType::KakaoBrandMessage,
            Self::Talk => MessageType::NaverTalk,
        }
    }

    /// Whether the vendor's answer ends an ordinary message.
    pub(crate) const fn answers_finally(self) -> bool {
        matches!(self, Self::Alimtalk | Self::Talk)
    }

    /// Whether a report bears our id.
    pub(crate) const fn reports_bear_our_id(self) -> bool {
        !matches!(self, Self::Carrier)
    }
}

/// A callback as it came in.
pub(crate) struct Received {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        Some(self.headers.get(name)?.to_str().unwrap().to_owned())
    }
}

pub(crate) struct World {
    pub(crate) simulator: Simulator,
    providers: HashMap<Family, Arc<dyn Provider>>,
    callbacks: mpsc::UnboundedReceiver<Received>,
    waiting: VecDeque<Report>,
    cursor: Option<String>,
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

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(SimulatorConfig {
            pace: pace(),
            ..SimulatorConfig::default()
        })
        .await
    }

    pub(crate) async fn with(config: SimulatorConfig) -> Self {
        let simulator = Simulator::start(config, CancellationToken::new()).await;
        let simulator = simulator.unwrap();
        let (arrived, callbacks) = mpsc::unbounded_channel();
        simulator.set_callback_base(&endpoint(arrived).await);
        let provider = |family: Family| {
            let account = account(&simulator.base_url(family).unwrap(), family);
            (family, adapter::build(family.name(), account).unwrap())
        };
        Self {
            providers: Family::PLAIN.into_iter().map(provider).collect(),
            simulator,
            callbacks,
            waiting: VecDeque::new(),
            cursor: None,
        }
    }

    /// With adapters that wait only briefly.
    pub(crate) async fn impatient() -> Self {
        let mut world = Self::new().await;
        for (family, provider) in &mut world.providers {
            let mut account = account(&world.simulator.base_url(*family).unwrap(), *family);
            account.connect_timeout = Duration::from_millis(500);
            account.answer_timeout = Duration::from_millis(100);
            *provider = adapter::build(family.name(), account).unwrap();
        }
        world
    }

    pub(crate) fn provider(&self, line: Line) -> Arc<dyn Provider> {
        Arc::clone(&self.providers[&line.family()])
    }

    /// Sends one message to a recipient that ends in `digits`.
    pub(crate) async fn send(&self, line: Line, digits: u8) -> (MessageId, Outcome) {
        let call = call(line, &[digits]);
        let outcome = self.provider(line).submit(&call).await;
        (call.messages[0].id, outcome)
    }

    /// Sends an ordinary message that must be taken; its id and the vendor's.
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
        timeout(DEADLINE, self.callbacks.recv())
            .await
            .expect("a callback comes")
            .unwrap()
    }

    /// The next report on a line, by callback or by poll.
    pub(crate) async fn next_report(&mut self, line: Line) -> Report {
        timeout(DEADLINE, self.report(line))
            .await
            .expect("a report comes")
    }

    async fn report(&mut self, line: Line) -> Report {
        loop {
            if let Some(report) = self.waiting.pop_front() {
                return report;
            }
            let reports = if line.family() == Family::Kakao {
                let polled = self.provider(line).poll(self.cursor.as_deref()).await;
                let polled = polled.unwrap();
                self.cursor = polled.cursor;
                polled.reports
            } else {
                let received = self.callbacks.recv().await.unwrap();
                let header = |name: &str| received.header(name);
                self.provider(line)
                    .read_callback(&header, &received.body, SystemClock.now())
                    .unwrap()
            };
            self.waiting.extend(reports);
            if self.waiting.is_empty() {
                sleep(Duration::from_millis(5)).await;
            }
        }
    }
}

/// The answers of an answered call.
pub(crate) fn answers(outcome: &Outcome) -> &[Answer] {
    match outcome {
        Outcome::Answered(answers) => answers,
        other => panic!("not answered: {other:?}"),
    }
}

/// A call with one message for each pair of last digits.
pub(crate) fn call(line: Line, digits: &[u8]) -> Call {
    static NEXT: AtomicU64 = AtomicU64::new(1_000_000);
    let number = || NEXT.fetch_add(1, Ordering::Relaxed);
    let message = |digits: &u8| Outgoing {
        id: MessageId::from_number(number()),
        kind: line.kind(),
        purpose: Purpose::Info,
        content: Content {
            to: match line {
                Line::Talk => format!("user-a{digits:02}"),
                _ => format!("010123456{digits:02}"),
            },
            from: Some("0212345678".to_owned()),
            text: "주문이 접수되었습니다 \"A\"\n".to_owned(),
            template: (line == Line::Alimtalk).then(|| Template {
                code: "ORDER".to_owned(),
                variables: [("이름".to_owned(), "홍길동".to_owned())].into(),
            }),
            ..Content::default()
        },
        attachments: Vec::new(),
    };
    Call {
        submission: SubmissionId::from_number(number()),
        messages: digits.iter().map(message).collect(),
    }
}

/// An account at `base_url` with the simulator's default key and secret.
pub(crate) fn account(base_url: &str, family: Family) -> Account {
    let defaults = SimulatorConfig::default();
    let defaults = defaults.account(family);
    Account {
        account: defaults.account.clone(),
        base_url: base_url.to_owned(),
        api_key: defaults.api_key.clone(),
        callback_secret: Some(defaults.callback_secret.clone()),
        settings: Default::default(),
        connect_timeout: Duration::from_secs(1),
        answer_timeout: Duration::from_secs(2),
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
