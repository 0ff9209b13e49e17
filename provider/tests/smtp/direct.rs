//! Mail straight to the servers of the recipient's domain.

use std::net::Ipv4Addr;
use std::sync::Arc;

use pabal_common::domain::reason::Reason;
use pabal_provider::{Answer, Lost, Outcome, Provider};

use crate::nameserver::{self, Record, Zone};
use crate::server::{Does, Server};
use crate::world::{answer, mail, send, smtp};

const LOCAL: Record = Record::A(Ipv4Addr::LOCALHOST);

/// An adapter that asks for names in `zone` and finds every server at `server`'s port.
async fn direct(zone: Zone, server: &Server, more: &str) -> Arc<dyn Provider> {
    let nameserver = nameserver::serve(zone).await;
    let settings = format!(
        "mode = 'direct'\nehlo = 'pabal.example'\ntls = 'none'\nnameserver = '{nameserver}'\n{more}"
    );
    smtp(&format!("smtp://mx:{}", server.address.port()), &settings)
}

const PRIVATE: &str = "private_targets = true";

fn refused(code: &str, reason: Reason) -> Answer {
    Answer::Refused {
        code: code.to_owned(),
        reason,
    }
}

fn is_deferred(outcome: &Outcome, expected: &str) -> bool {
    matches!(answer(outcome), Answer::Deferred { code, .. } if code == expected)
}

#[tokio::test]
async fn mail_goes_to_the_server_of_its_domain() {
    let server = Server::new(Vec::new()).await;
    let zone = Zone::from([
        ("mail.example", vec![Record::Mx(10, "mx1.example.")]),
        ("mx1.example", vec![LOCAL]),
    ]);
    let provider = direct(zone, &server, PRIVATE).await;
    let outcome = send(&provider, mail("kim@mail.example")).await;
    assert!(
        matches!(answer(&outcome), Answer::Delivered { .. }),
        "{outcome:?}"
    );
    assert!(
        server.mail().contains("To: kim@mail.example")
            || server.mail().contains("To: <kim@mail.example>")
    );
}

#[tokio::test]
async fn a_domain_without_mx_is_its_own_server() {
    let server = Server::new(Vec::new()).await;
    let provider = direct(
        Zone::from([("mail.example", vec![LOCAL])]),
        &server,
        PRIVATE,
    )
    .await;
    let outcome = send(&provider, mail("kim@mail.example")).await;
    assert!(
        matches!(answer(&outcome), Answer::Delivered { .. }),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn the_next_server_is_tried_if_the_first_is_away() {
    let server = Server::new(Vec::new()).await;
    let zone = Zone::from([
        (
            "mail.example",
            vec![
                Record::Mx(20, "mx2.example."),
                Record::Mx(10, "mx1.example."),
            ],
        ),
        // An address of this machine at which nobody listens.
        ("mx1.example", vec![Record::A(Ipv4Addr::new(127, 9, 9, 9))]),
        ("mx2.example", vec![LOCAL]),
    ]);
    let provider = direct(zone, &server, PRIVATE).await;
    let outcome = send(&provider, mail("kim@mail.example")).await;
    assert!(
        matches!(answer(&outcome), Answer::Delivered { .. }),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn a_domain_that_is_not_there_or_takes_no_mail_refuses_for_good() {
    let server = Server::new(Vec::new()).await;
    let zone = Zone::from([
        ("null.example", vec![Record::Mx(0, ".")]),
        ("hollow.example", vec![Record::Mx(10, "nowhere.example.")]),
        ("empty.example", vec![Record::Nothing]),
    ]);
    let provider = direct(zone, &server, PRIVATE).await;
    for (to, code) in [
        ("kim@absent.example", "5.1.2"),
        ("kim@null.example", "5.1.10"),
        ("kim@hollow.example", "5.4.4"),
        ("kim@empty.example", "5.4.4"),
    ] {
        let outcome = send(&provider, mail(to)).await;
        assert_eq!(
            answer(&outcome),
            &refused(code, Reason::InvalidRecipient),
            "{to}"
        );
    }
    assert_eq!(server.seen().connections, 0);
}

#[tokio::test]
async fn a_failure_of_the_name_server_is_never_taken_for_a_missing_mx() {
    let server = Server::new(Vec::new()).await;
    let zone = Zone::from([
        // There would be an address to fall back to.
        ("mail.example", vec![LOCAL, Record::Failure]),
        ("half.example", vec![Record::Mx(10, "mx.half.example.")]),
        ("mx.half.example", vec![Record::Failure]),
    ]);
    let provider = direct(zone, &server, PRIVATE).await;
    for to in ["kim@mail.example", "kim@half.example"] {
        let outcome = send(&provider, mail(to)).await;
        assert!(is_deferred(&outcome, "DNS"), "{to}: {outcome:?}");
    }
    assert_eq!(server.seen().connections, 0);
}

#[tokio::test]
async fn a_server_at_an_address_of_a_house_is_not_connected_to() {
    let server = Server::new(Vec::new()).await;
    let zone = Zone::from([
        (
            "mail.example",
            vec![
                Record::Mx(10, "mx1.example."),
                Record::Mx(20, "mx2.example."),
            ],
        ),
        ("mx1.example", vec![LOCAL]),
        ("mx2.example", vec![Record::A(Ipv4Addr::new(10, 0, 0, 1))]),
    ]);
    let provider = direct(zone, &server, "").await;
    let outcome = send(&provider, mail("kim@mail.example")).await;
    assert_eq!(
        answer(&outcome),
        &refused("PRIVATE_TARGET", Reason::InvalidRecipient)
    );
    assert_eq!(server.seen().connections, 0);
}

#[tokio::test]
async fn trouble_of_a_domain_defers_its_mail_and_uses_up_no_attempt() {
    let zone = || {
        Zone::from([
            ("mail.example", vec![Record::Mx(10, "mx1.example.")]),
            ("mx1.example", vec![LOCAL]),
        ])
    };
    for (step, does, code) in [
        ("GREETING", Does::Resets, "DOMAIN_DOWN"),
        ("GREETING", Does::Says("421 4.3.2 too much"), "DOMAIN_BUSY"),
        ("GREETING", Does::Says("554 5.7.1 not you"), "DOMAIN_DOWN"),
        ("MAIL", Does::Resets, "DOMAIN_DOWN"),
        ("RCPT", Does::Says("421 4.3.2 too much"), "4.3.2"),
        ("RCPT", Does::Says("450 4.7.1 greylisted"), "4.7.1"),
    ] {
        let server = Server::new(vec![(step, does.clone())]).await;
        let provider = direct(zone(), &server, PRIVATE).await;
        let outcome = send(&provider, mail("kim@mail.example")).await;
        assert!(is_deferred(&outcome, code), "{step} {does:?}: {outcome:?}");
    }
    let server = Server::new(vec![("END", Does::Resets)]).await;
    let provider = direct(zone(), &server, PRIVATE).await;
    let outcome = send(&provider, mail("kim@mail.example")).await;
    assert_eq!(outcome, Outcome::Unknown(Lost::Reset));
}

#[tokio::test]
async fn a_domain_that_has_too_much_is_left_alone_for_a_while_and_others_are_not() {
    let server = Server::new(vec![("RCPT", Does::Says("421 4.7.0 too much"))]).await;
    let zone = Zone::from([
        ("mail.example", vec![Record::Mx(10, "mx1.example.")]),
        ("other.example", vec![Record::Mx(10, "mx1.example.")]),
        ("mx1.example", vec![LOCAL]),
    ]);
    let provider = direct(zone, &server, PRIVATE).await;
    send(&provider, mail("kim@mail.example")).await;
    let connections = server.seen().connections;
    let outcome = send(&provider, mail("lee@mail.example")).await;
    assert!(is_deferred(&outcome, "DOMAIN_BUSY"), "{outcome:?}");
    assert_eq!(server.seen().connections, connections);
    let outcome = send(&provider, mail("kim@other.example")).await;
    assert!(is_deferred(&outcome, "4.7.0"), "{outcome:?}");
}

#[tokio::test]
async fn a_recipients_server_that_wants_a_login_refuses_the_sender() {
    let server = Server::new(vec![("MAIL", Does::Says("530 5.7.8 log in"))]).await;
    let zone = Zone::from([("mail.example", vec![LOCAL])]);
    let provider = direct(zone, &server, PRIVATE).await;
    let outcome = send(&provider, mail("kim@mail.example")).await;
    assert_eq!(answer(&outcome), &refused("5.7.8", Reason::SenderRejected));
}
