//! Every row of the simulator's table.

use std::sync::Arc;
use std::time::Duration;

use pabal_common::domain::id::MessageId;
use pabal_common::domain::reason::Reason;
use pabal_provider::{Answer, Lost, NotConnected, Outcome, Provider};
use pabal_simulator::{Family, Pace, Simulator, SimulatorConfig};
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use crate::world::{account, answer, mail, send};

async fn simulated() -> (Simulator, Arc<dyn Provider>) {
    let config = SimulatorConfig {
        pace: Pace {
            door_shut: Duration::from_millis(500),
            throttled: Duration::from_millis(300),
            slow: Duration::from_millis(50),
            too_slow: Duration::from_secs(30),
            ..Pace::default()
        },
        ..SimulatorConfig::of(&[Family::Smtp])
    };
    let simulator = Simulator::start(config, CancellationToken::new())
        .await
        .unwrap();
    let settings: String = Family::Smtp
        .settings()
        .iter()
        .map(|(name, value)| format!("{name} = '{value}'\n"))
        .collect();
    let mut account = account(&simulator.base_url(Family::Smtp).unwrap(), &settings);
    account.api_key = SecretString::from(Family::Smtp.api_key());
    account.connect_timeout = Duration::from_secs(1);
    account.answer_timeout = Duration::from_secs(2);
    let provider = pabal_provider::adapter::build("smtp", account).unwrap();
    (simulator, provider)
}

fn times_taken(simulator: &Simulator, id: MessageId) -> usize {
    simulator
        .taken()
        .iter()
        .filter(|taken| taken.message == id)
        .count()
}

async fn row(digits: u8) -> (Outcome, usize) {
    let (simulator, provider) = simulated().await;
    let outgoing = mail(&format!("kim{digits:02}@mail.example"));
    let id = outgoing.id;
    let outcome = send(&provider, outgoing).await;
    (outcome, times_taken(&simulator, id))
}

#[tokio::test]
async fn ordinary_mails_and_those_about_reports_are_delivered_once() {
    for digits in [0, 70, 71, 72, 73, 74, 75, 80] {
        let (outcome, taken) = row(digits).await;
        assert!(
            matches!(answer(&outcome), Answer::Delivered { .. }),
            "{digits}: {outcome:?}"
        );
        assert_eq!(taken, 1, "{digits}");
    }
}

#[tokio::test]
async fn refusals_have_their_reasons() {
    for (digits, reason) in [
        (51, Reason::InvalidRecipient),
        (52, Reason::RecipientUnavailable),
        (53, Reason::RecipientBlocked),
        (54, Reason::Spam),
        (55, Reason::ContentRejected),
    ] {
        let (outcome, _) = row(digits).await;
        let found = match answer(&outcome) {
            Answer::Refused { reason, .. } => *reason,
            other => panic!("{digits}: {other:?}"),
        };
        assert_eq!(found, reason, "{digits}");
    }
}

#[tokio::test]
async fn an_answer_that_is_lost_or_garbled_or_late_is_unknown_whether_it_was_taken_or_not() {
    for (digits, lost, times) in [
        (62, Lost::Reset, 1),
        (63, Lost::Reset, 1),
        (64, Lost::Reset, 1),
        (65, Lost::Reset, 0),
        (66, Lost::Garbled, 1),
        (81, Lost::TimedOut, 1),
    ] {
        assert_eq!(
            row(digits).await,
            (Outcome::Unknown(lost), times),
            "{digits}"
        );
    }
}

#[tokio::test]
async fn a_throttled_mail_was_not_taken_and_is_later() {
    let (simulator, provider) = simulated().await;
    let outgoing = mail("kim61@mail.example");
    let throttled = send(&provider, outgoing.clone()).await;
    assert_eq!(throttled, Outcome::Throttled { retry_after: None });
    let mut outcome = throttled;
    while outcome == (Outcome::Throttled { retry_after: None }) {
        outcome = send(&provider, outgoing.clone()).await;
    }
    assert!(
        matches!(answer(&outcome), Answer::Delivered { .. }),
        "{outcome:?}"
    );
    assert_eq!(times_taken(&simulator, outgoing.id), 1);
}

#[tokio::test]
async fn a_closed_port_is_not_connected_and_open_again_it_takes_the_mail() {
    let (simulator, provider) = simulated().await;
    let outgoing = mail("kim60@mail.example");
    let first = send(&provider, outgoing.clone()).await;
    assert_eq!(first, Outcome::Throttled { retry_after: None });
    let refused = send(&provider, outgoing.clone()).await;
    assert_eq!(refused, Outcome::NotConnected(NotConnected::Refused));
    let mut outcome = refused;
    while outcome == Outcome::NotConnected(NotConnected::Refused) {
        outcome = send(&provider, outgoing.clone()).await;
    }
    assert!(
        matches!(answer(&outcome), Answer::Delivered { .. }),
        "{outcome:?}"
    );
    assert_eq!(times_taken(&simulator, outgoing.id), 1);
}

#[tokio::test]
async fn one_connection_carries_one_mail_after_another() {
    let (simulator, provider) = simulated().await;
    for digits in [0, 51, 0, 55, 0] {
        let outcome = send(&provider, mail(&format!("kim{digits:02}@mail.example"))).await;
        assert!(matches!(outcome, Outcome::Answered(_)), "{outcome:?}");
    }
    assert_eq!(simulator.taken().len(), 4);
}

#[tokio::test]
async fn a_probe_is_let_in() {
    let (_simulator, provider) = simulated().await;
    provider.probe().await.unwrap();
}
