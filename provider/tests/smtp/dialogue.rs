//! Every step of a dialogue, failing in every way.

use pabal_common::domain::reason::Reason;
use pabal_provider::{Answer, Attachment, Closed, Lost, NotConnected, Outcome};

use crate::server::{Does, Script, Server};
use crate::world::{SMARTHOST, answer, impatient, mail, send, smtp};

const TO: &str = "kim@mail.example";
/// The steps before the end of the mail.
const BEFORE: [&str; 5] = ["GREETING", "EHLO", "MAIL", "RCPT", "DATA"];

async fn outcome(script: Script) -> (Outcome, Server) {
    let waits = script.iter().any(|(_, does)| matches!(does, Does::Hangs));
    let server = Server::new(script).await;
    let provider = match waits {
        true => impatient(&server.url(), SMARTHOST),
        false => smtp(&server.url(), SMARTHOST),
    };
    let outcome = send(&provider, mail(TO)).await;
    (outcome, server)
}

#[tokio::test]
async fn a_mail_that_the_server_takes_is_delivered() {
    let (outcome, server) = outcome(Vec::new()).await;
    let code = Some("2.0.0".to_owned());
    assert_eq!(
        answer(&outcome),
        &Answer::Delivered {
            vendor_id: None,
            code
        }
    );
    let lines = server.seen().lines;
    assert_eq!(lines[0], "EHLO pabal.example");
    assert!(
        lines[1].starts_with("MAIL FROM:<shop@shop.example> SIZE="),
        "{lines:?}"
    );
    assert_eq!(lines[2..], ["RCPT TO:<kim@mail.example>", "DATA"]);
}

#[tokio::test]
async fn a_connection_that_breaks_before_the_end_of_the_mail_has_surely_sent_nothing() {
    for step in BEFORE {
        let (outcome, server) = outcome(vec![(step, Does::Resets)]).await;
        assert_eq!(
            outcome,
            Outcome::NotConnected(NotConnected::Refused),
            "{step}"
        );
        assert!(server.seen().mails.is_empty(), "{step}");
    }
}

#[tokio::test]
async fn a_server_that_falls_silent_before_the_end_of_the_mail_has_surely_taken_nothing() {
    for step in BEFORE {
        let (outcome, server) = outcome(vec![(step, Does::Hangs)]).await;
        assert_eq!(
            outcome,
            Outcome::NotConnected(NotConnected::TimedOut),
            "{step}"
        );
        assert!(server.seen().mails.is_empty(), "{step}");
    }
}

#[tokio::test]
async fn a_mail_that_could_not_be_written_to_its_end_was_surely_not_taken() {
    // More than the buffers between the two ends hold.
    let large = Attachment {
        media_type: "application/pdf".to_owned(),
        name: None,
        bytes: vec![0; 16 << 20].into(),
    };
    for (does, why) in [
        (Does::Hangs, NotConnected::TimedOut),
        (Does::Resets, NotConnected::Refused),
    ] {
        let server = Server::with_extensions(&["HELP"], vec![("BODY", does)]).await;
        let mut outgoing = mail(TO);
        outgoing.attachments = vec![large.clone()];
        let outcome = send(&impatient(&server.url(), SMARTHOST), outgoing).await;
        assert_eq!(outcome, Outcome::NotConnected(why));
    }
}

#[tokio::test]
async fn an_answer_lost_after_the_end_of_the_mail_is_unknown() {
    for (does, lost) in [
        (Does::Resets, Lost::Reset),
        (Does::Hangs, Lost::TimedOut),
        (Does::Says("what?"), Lost::Garbled),
        (Does::Says("354 more"), Lost::Garbled),
    ] {
        let (outcome, server) = outcome(vec![("END", does.clone())]).await;
        assert_eq!(outcome, Outcome::Unknown(lost), "{does:?}");
        assert_eq!(server.seen().mails.len(), 1);
    }
}

#[tokio::test]
async fn a_4yz_answer_to_the_mail_defers_it_and_a_5yz_one_ends_it() {
    for step in ["MAIL", "RCPT", "DATA", "END"] {
        let (later, _) = outcome(vec![(step, Does::Says("451 4.7.1 greylisted"))]).await;
        let code = "4.7.1".to_owned();
        let retry_after = None;
        assert_eq!(
            answer(&later),
            &Answer::Deferred { code, retry_after },
            "{step}"
        );
        let (never, _) = outcome(vec![(step, Does::Says("550 5.1.1 no such user"))]).await;
        let code = "5.1.1".to_owned();
        let reason = Reason::InvalidRecipient;
        assert_eq!(answer(&never), &Answer::Refused { code, reason }, "{step}");
    }
}

#[tokio::test]
async fn a_server_that_has_too_much_slows_the_route_down() {
    for step in ["GREETING", "EHLO", "MAIL", "RCPT", "DATA", "END"] {
        let (outcome, _) = outcome(vec![(step, Does::Says("421 4.3.2 too much"))]).await;
        assert_eq!(outcome, Outcome::Throttled { retry_after: None }, "{step}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_know_us_closes_the_account() {
    let login = format!("{SMARTHOST}user = 'pabal'");
    for (step, line, code) in [
        ("AUTH", "535 5.7.8 wrong", "5.7.8"),
        ("MAIL", "530 5.7.0 log in first", "5.7.0"),
        ("MAIL", "530 log in first", "530"),
        ("GREETING", "554 5.7.1 not you", "5.7.1"),
    ] {
        let server = Server::new(vec![(step, Does::Says(line))]).await;
        let outcome = send(&smtp(&server.url(), &login), mail(TO)).await;
        let code = code.to_owned();
        let why = Closed::Credentials;
        assert_eq!(outcome, Outcome::Closed { code, why }, "{step}");
    }
    let server = Server::new(vec![("AUTH", Does::Says("454 4.7.0 later"))]).await;
    let outcome = send(&smtp(&server.url(), &login), mail(TO)).await;
    assert_eq!(outcome, Outcome::Throttled { retry_after: None });
}

#[tokio::test]
async fn name_and_password_are_said_in_the_way_the_server_knows() {
    let login = format!("{SMARTHOST}user = 'pabal'");
    let plain = Server::with_extensions(&["AUTH PLAIN"], Vec::new()).await;
    send(&smtp(&plain.url(), &login), mail(TO)).await;
    // "\0pabal\0password" in base64.
    assert_eq!(plain.seen().lines[1], "AUTH PLAIN AHBhYmFsAHBhc3N3b3Jk");
    let both = Server::new(vec![("AUTH", Does::Says("334 VXNlcm5hbWU6"))]).await;
    let outcome = send(&smtp(&both.url(), &login), mail(TO)).await;
    // A 334 to the initial response of PLAIN is no success.
    assert!(matches!(outcome, Outcome::Closed { .. }), "{outcome:?}");
}

#[tokio::test]
async fn a_mail_larger_than_the_server_takes_is_refused_before_it_is_sent() {
    let server = Server::with_extensions(&["SIZE 100"], Vec::new()).await;
    let outcome = send(&smtp(&server.url(), SMARTHOST), mail(TO)).await;
    let code = "5.3.4".to_owned();
    let reason = Reason::ContentRejected;
    assert_eq!(answer(&outcome), &Answer::Refused { code, reason });
    assert!(
        !server
            .seen()
            .lines
            .iter()
            .any(|line| line.starts_with("MAIL"))
    );
}

#[tokio::test]
async fn a_server_of_old_is_greeted_with_helo() {
    let server = Server::new(vec![("EHLO", Does::Says("502 what?"))]).await;
    let outcome = send(&smtp(&server.url(), SMARTHOST), mail(TO)).await;
    assert!(matches!(answer(&outcome), Answer::Delivered { .. }));
    assert_eq!(server.seen().lines[1], "HELO pabal.example");
}

#[tokio::test]
async fn connections_are_used_again_after_a_reset_whatever_became_of_the_last_mail() {
    let server = Server::new(vec![("RCPT", Does::Says("450 4.2.1 later"))]).await;
    let provider = smtp(&server.url(), SMARTHOST);
    for _ in 0..3 {
        send(&provider, mail(TO)).await;
    }
    let seen = server.seen();
    assert_eq!(seen.connections, 1);
    let resets = seen.lines.iter().filter(|line| *line == "RSET").count();
    assert_eq!(resets, 2);
}

#[tokio::test]
async fn an_idle_connection_that_is_of_no_more_use_costs_nothing() {
    let server = Server::new(vec![("RSET", Does::Resets)]).await;
    let provider = smtp(&server.url(), SMARTHOST);
    for _ in 0..2 {
        let outcome = send(&provider, mail(TO)).await;
        assert!(
            matches!(answer(&outcome), Answer::Delivered { .. }),
            "{outcome:?}"
        );
    }
    assert_eq!(server.seen().connections, 2);
}

#[tokio::test]
async fn a_connection_carries_only_so_many_mails() {
    let server = Server::new(Vec::new()).await;
    let provider = smtp(&server.url(), &format!("{SMARTHOST}per_connection = 2"));
    for _ in 0..4 {
        send(&provider, mail(TO)).await;
    }
    let seen = server.seen();
    assert_eq!((seen.connections, seen.mails.len()), (2, 4));
    assert_eq!(seen.lines.iter().filter(|line| *line == "QUIT").count(), 2);
}

#[tokio::test]
async fn without_tls_no_mail_goes_where_it_is_required() {
    let required = "mode = 'smarthost'\nehlo = 'pabal.example'\ntls = 'required'";
    let server = Server::new(Vec::new()).await;
    let outcome = send(&smtp(&server.url(), required), mail(TO)).await;
    assert_eq!(outcome, Outcome::NotConnected(NotConnected::Tls));
    let broken = Server::with_extensions(
        &["STARTTLS"],
        vec![("STARTTLS", Does::Says("220 2.0.0 go\r\n250 injected"))],
    )
    .await;
    let outcome = send(&smtp(&broken.url(), required), mail(TO)).await;
    assert_eq!(outcome, Outcome::NotConnected(NotConnected::Tls));
    assert!(broken.seen().mails.is_empty());
}

#[tokio::test]
async fn where_tls_is_welcome_but_broken_mail_goes_without_it() {
    let opportunistic = "mode = 'smarthost'\nehlo = 'pabal.example'\ntls = 'opportunistic'";
    let server = Server::with_extensions(
        &["STARTTLS"],
        vec![("STARTTLS", Does::Says("454 4.7.0 not now"))],
    )
    .await;
    let outcome = send(&smtp(&server.url(), opportunistic), mail(TO)).await;
    assert!(
        matches!(answer(&outcome), Answer::Delivered { .. }),
        "{outcome:?}"
    );
    assert_eq!(server.seen().connections, 2);
}

#[tokio::test]
async fn nobody_listening_is_not_connected() {
    let port = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let outcome = send(&smtp(&format!("smtp://{port}"), SMARTHOST), mail(TO)).await;
    assert_eq!(outcome, Outcome::NotConnected(NotConnected::Refused));
}

#[tokio::test]
async fn a_probe_goes_as_far_as_the_login_and_sends_nothing() {
    let login = format!("{SMARTHOST}user = 'pabal'");
    let server = Server::new(Vec::new()).await;
    smtp(&server.url(), &login).probe().await.unwrap();
    let words: Vec<_> = server
        .seen()
        .lines
        .iter()
        .map(|line| line[..4].to_owned())
        .collect();
    assert_eq!(words, ["EHLO", "AUTH", "QUIT"]);
    let server = Server::new(vec![("AUTH", Does::Says("535 5.7.8 wrong"))]).await;
    assert!(smtp(&server.url(), &login).probe().await.is_err());
}
