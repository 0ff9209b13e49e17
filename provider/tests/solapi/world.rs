//! A simulated Solapi, an adapter for it, and an endpoint for its callbacks.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use pabal_common::clock::{Clock as _, SystemClock};
use pabal_common::domain::id::{Ids, MessageId, SubmissionId};
use pabal_common::domain::kind::{MessageType, Purpose};
use pabal_common::domain::message::{ChannelIds, Content, Template};
use pabal_common::domain::report::{Report, VendorAccount, VendorMessageId};
use pabal_provider::adapter::{self, Account};
use pabal_provider::{Answer, Asked, Call, Outcome, Outgoing, Provider};
use pabal_simulator::{Family, Pace, Simulator, SimulatorConfig};
use secrecy::SecretString;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// No test waits longer for what must come.
const DEADLINE: Duration = Duration::from_secs(30);

/// What the adapter carries.
pub(crate) const KINDS: [MessageType; 6] = [
    MessageType::Sms,
    MessageType::Lms,
    MessageType::KakaoAlimtalk,
    MessageType::KakaoBrandMessage,
    MessageType::NaverTalk,
    MessageType::Rcs,
];

/// A callback as it came in.
pub(crate) struct Received {
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
    pub(crate) provider: Arc<dyn Provider>,
    ids: Ids,
    callbacks: mpsc::UnboundedReceiver<Received>,
    waiting: VecDeque<Report>,
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
        Self::with(pace(), Duration::from_secs(5)).await
    }

    /// With an adapter that waits so long for an answer.
    pub(crate) async fn with(pace: Pace, answer_timeout: Duration) -> Self {
        let config = SimulatorConfig {
            pace,
            ..SimulatorConfig::of(&[Family::Solapi])
        };
        let simulator = Simulator::start(config, CancellationToken::new()).await;
        let simulator = simulator.unwrap();
        let (arrived, callbacks) = mpsc::unbounded_channel();
        simulator.set_callback_base(&endpoint(arrived).await);
        let account = Account {
            answer_timeout,
            ..account(&simulator.base_url(Family::Solapi).unwrap())
        };
        Self {
            provider: adapter::build("solapi", account).unwrap(),
            ids: Ids::new(Arc::new(SystemClock), 1),
            simulator,
            callbacks,
            waiting: VecDeque::new(),
        }
    }

    /// A call with one message for each pair of last digits.
    pub(crate) fn call(&self, kind: MessageType, digits: &[u8]) -> Call {
        let message = |digits: &u8| Outgoing {
            id: self.ids.message(),
            kind,
            purpose: Purpose::Info,
            content: content(kind, &format!("010123456{digits:02}")),
            attachments: Vec::new(),
        };
        Call {
            submission: self.ids.submission(),
            messages: digits.iter().map(message).collect(),
        }
    }

    /// Sends one message to a recipient that ends in `digits`.
    pub(crate) async fn send(&self, kind: MessageType, digits: u8) -> (Asked, Outcome) {
        let call = self.call(kind, &[digits]);
        let outcome = self.provider.submit(&call).await;
        (asked(call.messages[0].id, call.submission), outcome)
    }

    /// Sends a message that must be taken; which it is, and the vendor's id.
    pub(crate) async fn send_taken(
        &self,
        kind: MessageType,
        digits: u8,
    ) -> (Asked, VendorMessageId) {
        let (asked, outcome) = self.send(kind, digits).await;
        let [Answer::Taken { vendor_id }] = answers(&outcome) else {
            panic!("{kind} {digits}: {outcome:?}");
        };
        (asked, vendor_id.clone().unwrap())
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
        loop {
            if let Some(report) = self.waiting.pop_front() {
                return report;
            }
            let received = self.next_callback().await;
            let header = |name: &str| received.header(name);
            let now = SystemClock.now();
            let reports = self.provider.read_callback(&header, &received.body, now);
            self.waiting.extend(reports.unwrap());
        }
    }
}

/// A question about a message whose vendor id nobody knows.
pub(crate) const fn asked(id: MessageId, submission: SubmissionId) -> Asked {
    Asked {
        id,
        submission,
        vendor_id: None,
    }
}

/// The answers of an answered call.
pub(crate) fn answers(outcome: &Outcome) -> &[Answer] {
    match outcome {
        Outcome::Answered(answers) => answers,
        other => panic!("not answered: {other:?}"),
    }
}

/// What a message of `kind` needs and no more.
pub(crate) fn content(kind: MessageType, to: &str) -> Content {
    let with = |is: bool, text: &str| is.then(|| text.to_owned());
    let of = |kinds: &[MessageType]| kinds.contains(&kind);
    use MessageType as T;
    Content {
        to: to.to_owned(),
        from: with(of(&[T::Sms, T::Lms, T::Mms, T::Rcs]), "0212345678"),
        text: "주문이 접수되었습니다 \"A\"\n".to_owned(),
        template: of(&[T::KakaoAlimtalk, T::NaverTalk]).then(|| Template {
            code: "ORDER".to_owned(),
            variables: [("이름".to_owned(), "홍길동".to_owned())].into(),
        }),
        channel: ChannelIds {
            sender_key: with(of(&[T::KakaoAlimtalk, T::KakaoBrandMessage]), "PF01"),
            brand_id: with(of(&[T::Rcs]), "BR.01"),
            chatbot_id: with(of(&[T::Rcs]), "0212345678"),
            messagebase_id: with(of(&[T::Rcs]), "SS000000"),
            talk_id: with(of(&[T::NaverTalk]), "w1a2b3"),
        },
        ..Content::default()
    }
}

/// An account at `base_url` with the simulator's key and secrets.
pub(crate) fn account(base_url: &str) -> Account {
    Account {
        account: VendorAccount::new("solapi", "main"),
        base_url: base_url.to_owned(),
        api_key: SecretString::from("simulator-key"),
        callback_secret: Some(SecretString::from("simulator-secret")),
        connect_timeout: Duration::from_secs(1),
        answer_timeout: Duration::from_secs(5),
        settings: toml::from_str("key_id = 'NCSSIMULATORKEYS'").unwrap(),
    }
}

/// An HTTP endpoint that accepts every callback; its base URL.
async fn endpoint(arrived: mpsc::UnboundedSender<Received>) -> String {
    let receive = |State(arrived): State<mpsc::UnboundedSender<Received>>,
                   headers: HeaderMap,
                   body: Bytes| async move {
        let _ = arrived.send(Received { headers, body });
        StatusCode::NO_CONTENT
    };
    let router = Router::new()
        .route("/callbacks/solapi/main", post(receive))
        .with_state(arrived);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}
