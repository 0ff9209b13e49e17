//! An adapter that stays connected, a desk that collects what it reports, and messages to send.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use pabal_common::domain::id::{MessageId, SubmissionId};
use pabal_common::domain::kind::{MessageType, Purpose};
use pabal_common::domain::message::Content;
use pabal_common::domain::report::{Report, VendorAccount, VendorMessageId};
use pabal_provider::adapter::{self, Account};
use pabal_provider::{Answer, Call, Outcome, Outgoing, Provider, ReportDesk, ReportsNotKept};
use pabal_simulator::{Family, Pace, Simulator, SimulatorConfig};
use secrecy::SecretString;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// No test waits longer for what must come.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Hands every report over, unless it is told to refuse.
pub(crate) struct Desk {
    reports: mpsc::UnboundedSender<Report>,
    pub(crate) refuses: AtomicBool,
}

#[async_trait]
impl ReportDesk for Desk {
    async fn keep(
        &self,
        account: &VendorAccount,
        reports: Vec<Report>,
    ) -> Result<(), ReportsNotKept> {
        if self.refuses.load(Ordering::SeqCst) {
            return Err(ReportsNotKept("told to refuse".to_owned()));
        }
        for report in reports {
            assert_eq!(&report.account, account);
            self.reports.send(report).unwrap();
        }
        Ok(())
    }
}

/// An adapter, connected.
pub(crate) struct Line {
    pub(crate) provider: Arc<dyn Provider>,
    pub(crate) desk: Arc<Desk>,
    pub(crate) reports: mpsc::UnboundedReceiver<Report>,
    pub(crate) stop: CancellationToken,
    pub(crate) connected: JoinHandle<()>,
}

impl Line {
    /// At `base_url`, with these settings beside the name.
    pub(crate) fn to(base_url: &str, settings: &str) -> Self {
        Self::with(account(base_url, settings))
    }

    pub(crate) fn with(account: Account) -> Self {
        let provider = adapter::build("smpp", account).unwrap();
        let (sender, reports) = mpsc::unbounded_channel();
        let desk = Arc::new(Desk {
            reports: sender,
            refuses: AtomicBool::new(false),
        });
        let stop = CancellationToken::new();
        let connected = tokio::spawn({
            let (provider, desk, stop) = (Arc::clone(&provider), Arc::clone(&desk), stop.clone());
            async move { provider.stay_connected(desk, stop).await }
        });
        Self {
            provider,
            desk,
            reports,
            stop,
            connected,
        }
    }

    /// Waits until it is bound.
    pub(crate) async fn bound(&self) {
        self.until(true).await;
    }

    /// Waits until no bind is left.
    pub(crate) async fn unbound(&self) {
        self.until(false).await;
    }

    async fn until(&self, bound: bool) {
        let turned = async {
            while self.provider.probe().await.is_ok() != bound {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(DEADLINE, turned).await.expect("the bind turns");
    }

    /// Sends one message in a task of its own.
    pub(crate) fn sending(&self, message: Outgoing) -> JoinHandle<Outcome> {
        self.calling(call(vec![message]))
    }

    pub(crate) fn calling(&self, call: Call) -> JoinHandle<Outcome> {
        let provider = Arc::clone(&self.provider);
        tokio::spawn(async move { provider.submit(&call).await })
    }

    /// The next report.
    pub(crate) async fn report(&mut self) -> Report {
        timeout(DEADLINE, self.reports.recv())
            .await
            .expect("a report comes")
            .unwrap()
    }
}

/// An account with short times.
pub(crate) fn account(base_url: &str, settings: &str) -> Account {
    Account {
        account: VendorAccount::new("smpp", "main"),
        base_url: base_url.to_owned(),
        api_key: SecretString::from("simulate"),
        callback_secret: None,
        settings: format!("system_id = 'pabal'\n{settings}").parse().unwrap(),
        connect_timeout: Duration::from_secs(2),
        answer_timeout: Duration::from_secs(10),
    }
}

/// The simulated message centre and a line to it.
pub(crate) struct World {
    pub(crate) simulator: Simulator,
    pub(crate) line: Line,
}

const SIMULATED: &str = "reference_tag = 0x1401\nerrors = { 500 = 'SPAM' }\n";

/// Times short enough for tests. What must not happen "before" is told apart by order, not time.
fn pace() -> Pace {
    Pace {
        report: Duration::from_millis(10),
        lost_report: Duration::from_millis(50),
        late_report: Duration::from_millis(300),
        door_shut: Duration::from_millis(1000),
        throttled: Duration::from_millis(400),
        slow: Duration::from_millis(100),
        too_slow: DEADLINE,
        early: DEADLINE,
        callback_retry: Duration::from_millis(20),
        ..Pace::default()
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with("", Duration::from_secs(10)).await
    }

    /// With more settings, and so long to wait for an answer.
    pub(crate) async fn with(settings: &str, answer_timeout: Duration) -> Self {
        let config = SimulatorConfig {
            pace: pace(),
            ..SimulatorConfig::of(&[Family::Smpp])
        };
        let simulator = Simulator::start(config, CancellationToken::new()).await;
        let simulator = simulator.unwrap();
        let url = simulator.base_url(Family::Smpp).unwrap();
        let account = Account {
            answer_timeout,
            ..account(&url, &format!("{SIMULATED}{settings}"))
        };
        let line = Line::with(account);
        line.bound().await;
        Self { simulator, line }
    }

    /// Sends one message to a recipient that ends in `digits`.
    pub(crate) async fn send(&self, digits: u8) -> (MessageId, Outcome) {
        let call = call(vec![message(digits)]);
        let outcome = self.line.provider.submit(&call).await;
        (call.messages[0].id, outcome)
    }

    /// Sends one that must be taken; its id and the vendor's.
    pub(crate) async fn send_taken(&self, digits: u8) -> (MessageId, VendorMessageId) {
        let (id, outcome) = self.send(digits).await;
        (id, vendor_id(&outcome))
    }

    /// How often the message centre took a message.
    pub(crate) fn times_taken(&self, id: MessageId) -> usize {
        let taken = self.simulator.taken();
        taken.iter().filter(|taken| taken.message == id).count()
    }
}

/// The id of the one message that was taken.
pub(crate) fn vendor_id(outcome: &Outcome) -> VendorMessageId {
    match answers(outcome) {
        [Answer::Taken { vendor_id }] => vendor_id.clone().unwrap(),
        other => panic!("{other:?}"),
    }
}

/// The answers of an answered call.
pub(crate) fn answers(outcome: &Outcome) -> &[Answer] {
    match outcome {
        Outcome::Answered(answers) => answers,
        other => panic!("not answered: {other:?}"),
    }
}

fn number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1_000_000);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// An SMS to a recipient that ends in `digits`.
pub(crate) fn message(digits: u8) -> Outgoing {
    Outgoing {
        id: MessageId::from_number(number()),
        kind: MessageType::Sms,
        purpose: Purpose::Info,
        attachments: Vec::new(),
        content: Content {
            to: format!("010123456{digits:02}"),
            from: Some("0212345678".to_owned()),
            text: "가A".to_owned(),
            ..Content::default()
        },
    }
}

/// An LMS, delivered.
pub(crate) fn long_message(text: &str) -> Outgoing {
    let short = message(0);
    Outgoing {
        kind: MessageType::Lms,
        content: Content {
            text: text.to_owned(),
            ..short.content
        },
        ..short
    }
}

pub(crate) fn call(messages: Vec<Outgoing>) -> Call {
    Call {
        submission: SubmissionId::from_number(number()),
        messages,
    }
}
