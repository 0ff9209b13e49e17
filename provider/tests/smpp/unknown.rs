//! What surely was not sent, what may have been, and answers that come too late.

use std::time::Duration;

use pabal_common::domain::reason::Reason;
use pabal_common::domain::report::Verdict;
use pabal_provider::adapter::{self, Account};
use pabal_provider::{Answer, Closed, Lost, NotConnected, Outcome};
use tokio::net::TcpListener;

use crate::smsc::{BIND_TRANSCEIVER, RESPONSE, SUBMIT_SM, Smsc, UNBIND};
use crate::world::{Line, account, answers, call, message};

/// Waits only briefly for an answer.
fn impatient(smsc: &Smsc, settings: &str) -> Line {
    Line::with(Account {
        answer_timeout: Duration::from_millis(100),
        ..account(&smsc.url(), settings)
    })
}

#[tokio::test]
async fn before_it_stays_connected_nothing_leaves() {
    let smsc = Smsc::new().await;
    let provider = adapter::build("smpp", account(&smsc.url(), "")).unwrap();
    let outcome = provider.submit(&call(vec![message(0), message(0)])).await;
    assert_eq!(outcome, Outcome::NotConnected(NotConnected::Refused));
    assert!(provider.probe().await.is_err());
}

#[tokio::test]
async fn each_way_not_to_be_connected_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let silent = Smsc::new().await;
    for (url, expected) in [
        (format!("smpp://{address}"), NotConnected::Refused),
        (silent.url(), NotConnected::TimedOut),
        (
            silent.url().replace("smpp:", "smpps:"),
            NotConnected::TimedOut,
        ),
        ("smpp://smsc.invalid:2775".to_owned(), NotConnected::Dns),
    ] {
        let line = Line::with(Account {
            connect_timeout: Duration::from_millis(300),
            ..account(&url, "")
        });
        let said = loop {
            let outcome = line.provider.submit(&call(vec![message(0)])).await;
            let Outcome::NotConnected(why) = outcome else {
                panic!("{outcome:?}");
            };
            // Until the first try has ended.
            if why == expected {
                break line.provider.probe().await.unwrap_err().to_string();
            }
            // A resolver that cannot be reached takes longer than we wait.
            if expected == NotConnected::Dns && why == NotConnected::TimedOut {
                break why.to_string();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        assert!(!said.is_empty());
    }
}

#[tokio::test]
async fn a_failed_tls_handshake_is_not_connected() {
    let smsc = Smsc::new().await;
    let url = smsc.url().replace("smpp:", "smpps:");
    let line = Line::to(&url, "");
    drop(smsc.accept().await);
    loop {
        let outcome = line.provider.submit(&call(vec![message(0)])).await;
        if outcome == Outcome::NotConnected(NotConnected::Tls) {
            return;
        }
        assert_eq!(outcome, Outcome::NotConnected(NotConnected::Refused));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_refused_name_or_password_closes_the_account() {
    let smsc = Smsc::new().await;
    let line = Line::to(&smsc.url(), "");
    let mut peer = smsc.accept().await;
    let bind = peer.hear(BIND_TRANSCEIVER).await;
    peer.respond(&bind, 0x0E, b"").await;
    assert!(peer.next().await.is_none());
    let closed = Outcome::Closed {
        code: "0x0E".to_owned(),
        why: Closed::Credentials,
    };
    while line.provider.submit(&call(vec![message(0)])).await != closed {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let said = line.provider.probe().await.unwrap_err().to_string();
    assert!(said.contains("0x0E"), "{said}");
}

#[tokio::test]
async fn a_connection_that_breaks_after_the_first_byte_leaves_the_outcome_unknown() {
    let smsc = Smsc::new().await;
    let line = Line::to(&smsc.url(), "");
    for _ in 0..2 {
        let mut peer = smsc.bound().await;
        line.bound().await;
        let sending = line.sending(message(0));
        peer.hear(SUBMIT_SM).await;
        peer.reset();
        assert_eq!(sending.await.unwrap(), Outcome::Unknown(Lost::Reset));
        // And it is not sent again over the next one.
        line.unbound().await;
    }
    let mut peer = smsc.bound().await;
    line.bound().await;
    assert!(peer.hears_nothing().await);
}

#[tokio::test]
async fn what_comes_that_is_no_pdu_ends_the_session_and_leaves_the_outcome_unknown() {
    let smsc = Smsc::new().await;
    let line = Line::to(&smsc.url(), "");
    let mut peer = smsc.bound().await;
    line.bound().await;
    let sending = line.sending(message(0));
    peer.hear(SUBMIT_SM).await;
    peer.raw("FFFFFFFF 80000004 00000000 00000002").await;
    assert_eq!(sending.await.unwrap(), Outcome::Unknown(Lost::Reset));
}

#[tokio::test]
async fn a_late_answer_is_reported_under_our_id_and_a_late_refusal_too() {
    let smsc = Smsc::new().await;
    let mut line = impatient(&smsc, "");
    let mut peer = smsc.bound().await;
    line.bound().await;
    for (status, verdict, vendor_id) in [
        (0, Verdict::Taken, Some("7f")),
        (0x0B, Verdict::Failed(Reason::InvalidRecipient), None),
    ] {
        let sent = call(vec![message(0)]);
        let sending = line.calling(sent.clone());
        let submit = peer.hear(SUBMIT_SM).await;
        assert_eq!(sending.await.unwrap(), Outcome::Unknown(Lost::TimedOut));
        peer.respond(&submit, status, b"007F\0").await;
        let report = line.report().await;
        assert_eq!(report.message, Some(sent.messages[0].id));
        assert_eq!(report.submission, Some(sent.submission));
        assert_eq!(report.verdict, verdict);
        let id = report.vendor_id.as_ref().map(|id| id.as_str());
        assert_eq!(id, vendor_id);
    }
}

#[tokio::test]
async fn a_late_throttle_says_nothing_and_the_next_message_is_answered() {
    let smsc = Smsc::new().await;
    let mut line = Line::with(Account {
        answer_timeout: Duration::from_millis(200),
        ..account(&smsc.url(), "")
    });
    let mut peer = smsc.bound().await;
    line.bound().await;
    let sending = line.sending(message(0));
    let submit = peer.hear(SUBMIT_SM).await;
    assert_eq!(sending.await.unwrap(), Outcome::Unknown(Lost::TimedOut));
    peer.respond(&submit, 0x58, b"").await;
    let sending = line.sending(message(0));
    let submit = peer.hear(SUBMIT_SM).await;
    peer.respond(&submit, 0, b"8\0").await;
    answers(&sending.await.unwrap());
    peer.receipt(9, "id:8 stat:DELIVRD").await;
    assert_eq!(line.report().await.verdict, Verdict::Delivered);
}

#[tokio::test]
async fn a_bind_that_the_message_centre_forgot_is_bound_anew_and_the_message_waits() {
    let smsc = Smsc::new().await;
    let line = Line::to(&smsc.url(), "");
    let mut peer = smsc.bound().await;
    line.bound().await;
    let sending = line.sending(message(0));
    let submit = peer.hear(SUBMIT_SM).await;
    peer.respond(&submit, 0x04, b"").await;
    assert_eq!(answers(&sending.await.unwrap()), [Answer::Throttled]);
    assert!(peer.next().await.is_none());
    smsc.bound().await;
}

#[tokio::test]
async fn at_the_stop_answers_still_due_are_waited_for_and_the_bind_is_undone() {
    let smsc = Smsc::new().await;
    let line = Line::to(&smsc.url(), "");
    let mut peer = smsc.bound().await;
    line.bound().await;
    let sending = line.sending(message(0));
    let submit = peer.hear(SUBMIT_SM).await;
    line.stop.cancel();
    peer.respond(&submit, 0, b"8\0").await;
    answers(&sending.await.unwrap());
    let unbind = peer.hear(UNBIND).await;
    peer.respond(&unbind, 0, b"").await;
    line.connected.await.unwrap();
    let outcome = line.provider.submit(&call(vec![message(0)])).await;
    assert_eq!(outcome, Outcome::NotConnected(NotConnected::Refused));
}

#[tokio::test]
async fn a_message_centre_that_unbinds_still_answers_what_it_was_sent() {
    let smsc = Smsc::new().await;
    let line = Line::to(&smsc.url(), "");
    let mut peer = smsc.bound().await;
    line.bound().await;
    let sending = line.sending(message(0));
    let submit = peer.hear(SUBMIT_SM).await;
    peer.tell(UNBIND, 0, 7, b"").await;
    peer.respond(&submit, 0, b"8\0").await;
    answers(&sending.await.unwrap());
    let response = peer.hear(UNBIND | RESPONSE).await;
    assert_eq!(response.sequence, 7);
    assert!(peer.next().await.is_none());
    let _again = smsc.bound().await;
    line.bound().await;
}

#[tokio::test]
async fn of_a_broken_call_what_was_answered_stays_answered() {
    let smsc = Smsc::new().await;
    let line = Line::to(&smsc.url(), "");
    let mut peer = smsc.bound().await;
    line.bound().await;
    let sending = line.calling(call(vec![message(0), message(0)]));
    let first = peer.hear(SUBMIT_SM).await;
    peer.hear(SUBMIT_SM).await;
    peer.respond(&first, 0, b"8\0").await;
    drop(peer);
    let outcome = sending.await.unwrap();
    let [Answer::Taken { .. }, Answer::Unknown { code }] = answers(&outcome) else {
        panic!("{outcome:?}");
    };
    assert_eq!(code, "RESET");
}
