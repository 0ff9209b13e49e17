//! A simulated TalkTalk and the adapter to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pabal_common::domain::id::{MessageId, SubmissionId};
use pabal_common::domain::kind::{MessageType, Purpose};
use pabal_common::domain::message::{Button, Content};
use pabal_provider::adapter::{self, Account};
use pabal_provider::{Answer, Call, Outcome, Outgoing, Provider};
use pabal_simulator::{Door, Family, NextAnswer, Pace, Simulator, SimulatorConfig};
use tokio_util::sync::CancellationToken;

/// No test waits longer for what must come.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) struct World {
    pub(crate) simulator: Simulator,
    pub(crate) provider: Arc<dyn Provider>,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::waiting(DEADLINE).await
    }

    /// With an adapter that waits so long for an answer.
    pub(crate) async fn waiting(answer_timeout: Duration) -> Self {
        let mut config = SimulatorConfig::of(&[Family::Navertalk]);
        config.pace = Pace {
            door_shut: Duration::from_millis(1000),
            throttled: Duration::from_millis(400),
            slow: Duration::from_millis(100),
            too_slow: DEADLINE,
            ..Pace::default()
        };
        let simulator = Simulator::start(config, CancellationToken::new()).await;
        let simulator = simulator.unwrap();
        let mut account = account(&simulator.base_url(Family::Navertalk).unwrap());
        account.answer_timeout = answer_timeout;
        Self {
            provider: adapter::build("navertalk", account).unwrap(),
            simulator,
        }
    }

    /// Sends a message to a user whose id ends in `digits`.
    pub(crate) async fn send(&self, digits: u8) -> (MessageId, Outcome) {
        let call = call(digits);
        (call.messages[0].id, self.provider.submit(&call).await)
    }

    pub(crate) fn door(&self) -> Door {
        self.simulator.door(Family::Navertalk).unwrap()
    }

    pub(crate) fn script(&self, answer: NextAnswer) {
        self.simulator.script(Family::Navertalk, [answer]).unwrap();
    }

    /// How often the vendor took a message.
    pub(crate) fn times_taken(&self, id: MessageId) -> usize {
        let taken = self.simulator.taken();
        taken.iter().filter(|taken| taken.message == id).count()
    }
}

/// The one answer of an answered call.
pub(crate) fn answer(outcome: &Outcome) -> &Answer {
    match outcome {
        Outcome::Answered(answers) if answers.len() == 1 => &answers[0],
        other => panic!("not one answer: {other:?}"),
    }
}

pub(crate) fn is_delivered(outcome: &Outcome) -> bool {
    matches!(answer(outcome), Answer::Delivered { .. })
}

/// A call with one message, to a user whose id ends in `digits`.
pub(crate) fn call(digits: u8) -> Call {
    static NEXT: AtomicU64 = AtomicU64::new(1_000_000);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    Call {
        submission: SubmissionId::from_number(number),
        messages: vec![Outgoing {
            id: MessageId::from_number(number),
            kind: MessageType::NaverTalk,
            purpose: Purpose::Info,
            content: Content {
                to: format!("al-2eGuGr5WQOnco1_V-F{digits:02}"),
                text: "주문이 접수되었습니다 \"A\"\n".to_owned(),
                ..Content::default()
            },
            attachments: Vec::new(),
        }],
    }
}

pub(crate) fn button(name: &str, url: &str) -> Button {
    Button {
        kind: "WL".to_owned(),
        name: name.to_owned(),
        url: Some(url.to_owned()),
    }
}

/// An account at `base_url` with the simulator's key.
pub(crate) fn account(base_url: &str) -> Account {
    let config = SimulatorConfig::of(&[Family::Navertalk]).account(Family::Navertalk);
    Account {
        account: config.account,
        base_url: base_url.to_owned(),
        api_key: config.api_key,
        callback_secret: None,
        settings: Default::default(),
        connect_timeout: Duration::from_secs(2),
        answer_timeout: DEADLINE,
    }
}
