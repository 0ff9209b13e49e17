//! What the platform refuses, and what it would be asked before.

use pabal_common::domain::message::Button;
use pabal_common::domain::reason::Reason;
use pabal_provider::{Answer, Closed, Lost, NotConnected, Outcome};
use pabal_simulator::NextAnswer;

use crate::world::{World, call, taken};

fn status(code: u16, status: &str) -> NextAnswer {
    NextAnswer::Raw {
        status: code,
        body: format!(r#"{{"error":{{"code":{code},"message":"m","status":"{status}"}}}}"#),
        taken: false,
    }
}

#[tokio::test]
async fn a_repeated_id_was_taken_before_and_is_not_taken_again() {
    let world = World::new().await;
    let sent = call(62);
    let lost = world.provider.submit(&sent).await;
    assert_eq!(lost, Outcome::Unknown(Lost::Reset));
    taken(&world.provider.submit(&sent).await);
    assert_eq!(world.times_taken(sent.messages[0].id), 1);
}

#[tokio::test]
async fn statuses_of_the_platform_mean_what_the_table_says() {
    let world = World::new().await;
    let refused = |code: &str, reason| Outcome::Refused {
        code: code.to_owned(),
        reason,
    };
    for (code, name, expected) in [
        (
            400,
            "INVALID_ARGUMENT",
            refused("INVALID_ARGUMENT", Reason::ContentRejected),
        ),
        (
            400,
            "FAILED_PRECONDITION",
            refused("FAILED_PRECONDITION", Reason::ProviderError),
        ),
        (404, "NOT_FOUND", refused("NOT_FOUND", Reason::NotCapable)),
        (
            403,
            "PERMISSION_DENIED",
            Outcome::Closed {
                code: "PERMISSION_DENIED".to_owned(),
                why: Closed::Credentials,
            },
        ),
        (
            429,
            "RESOURCE_EXHAUSTED",
            Outcome::Throttled { retry_after: None },
        ),
        (409, "ABORTED", Outcome::Unknown(Lost::Status(409))),
        (499, "CANCELLED", Outcome::Unknown(Lost::Status(499))),
        (500, "INTERNAL", Outcome::Unknown(Lost::Status(500))),
        (503, "UNAVAILABLE", Outcome::Unknown(Lost::Status(503))),
        (
            504,
            "DEADLINE_EXCEEDED",
            Outcome::Unknown(Lost::Status(504)),
        ),
        // A status that does not fit its meaning proves nothing.
        (500, "NOT_FOUND", Outcome::Unknown(Lost::Status(500))),
    ] {
        world.script(status(code, name));
        let (_, outcome) = world.send(0).await;
        assert_eq!(outcome, expected, "{code} {name}");
        if let Outcome::Refused { code, reason } = outcome {
            let listed = world.provider.capabilities().definitive(&code);
            assert_eq!(listed, Some(reason));
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_not_the_platforms_own_proves_nothing() {
    let world = World::new().await;
    for (status, body) in [
        (404, "<html>not found</html>"),
        (403, ""),
        (302, ""),
        (200, "{}"),
        (
            200,
            r#"{"name":"phones/+821022345600/agentMessages/another"}"#,
        ),
    ] {
        world.script(NextAnswer::Raw {
            status,
            body: body.to_owned(),
            taken: true,
        });
        let (_, outcome) = world.send(0).await;
        assert!(
            matches!(outcome, Outcome::Unknown(_)),
            "{status}: {outcome:?}"
        );
    }
}

#[tokio::test]
async fn a_recipient_that_is_no_number_is_refused_before_anything_is_sent() {
    let world = World::new().await;
    let mut sent = call(0);
    sent.messages[0].content.to = "+82/../1".to_owned();
    let outcome = world.provider.submit(&sent).await;
    let Outcome::Answered(answers) = outcome else {
        panic!("{outcome:?}");
    };
    let [Answer::Refused { code, reason }] = answers.as_slice() else {
        panic!("{answers:?}");
    };
    assert_eq!(*reason, Reason::InvalidRecipient);
    let listed = world.provider.capabilities().definitive(code);
    assert_eq!(listed, Some(*reason));
}

#[tokio::test]
async fn a_recipient_is_asked_for_only_if_the_account_wants_it() {
    let world = World::with(|account| {
        account
            .settings
            .insert("check_capability".to_owned(), true.into());
    })
    .await;
    world.send_taken(0).await;
    // The question is refused, so the forced answer waits for the next message.
    world.script(NextAnswer::Cut { taken: true });
    let (id, outcome) = world.send(55).await;
    let not_capable = Outcome::Refused {
        code: "NOT_FOUND".to_owned(),
        reason: Reason::NotCapable,
    };
    assert_eq!(outcome, not_capable);
    assert_eq!(world.times_taken(id), 0);
    assert_eq!(world.send(0).await.1, Outcome::Unknown(Lost::Reset));
}

#[tokio::test]
async fn content_beyond_what_the_platform_shows_is_refused() {
    let world = World::new().await;
    let button = |name: &str| Button {
        kind: "DL".to_owned(),
        name: name.to_owned(),
        url: Some("tel:02-1234-5678".to_owned()),
    };
    let of = |text: &str, buttons: Vec<Button>| {
        let mut call = call(0);
        call.messages[0].content.text = text.to_owned();
        call.messages[0].content.buttons = buttons;
        call
    };
    let (longest, label) = ("가".repeat(3072), "나".repeat(25));
    taken(
        &world
            .provider
            .submit(&of(&longest, vec![button(&label); 11]))
            .await,
    );
    let too_much = [
        of(&format!("{longest}."), vec![]),
        of("text", vec![button(&label); 12]),
        of("text", vec![button(&format!("{label}."))]),
        of("", vec![]),
    ];
    for sent in too_much {
        let invalid = Outcome::Refused {
            code: "INVALID_ARGUMENT".to_owned(),
            reason: Reason::ContentRejected,
        };
        assert_eq!(world.provider.submit(&sent).await, invalid);
        assert_eq!(world.times_taken(sent.messages[0].id), 0);
    }
}

#[tokio::test]
async fn it_takes_one_message_a_call_and_cannot_be_asked() {
    let world = World::new().await;
    let mut two = call(0);
    two.messages.extend(call(0).messages);
    let refused = Outcome::NotConnected(NotConnected::Refused);
    assert_eq!(world.provider.submit(&two).await, refused);
    assert_eq!(world.simulator.taken_count(), 0);
    assert!(world.provider.ask(&[]).await.is_err());
    assert!(world.provider.poll(None).await.is_err());
}
