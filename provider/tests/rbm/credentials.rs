//! Tokens and keys, as far as the platform lets them be seen.

use std::time::Duration;

use pabal_provider::adapter;
use pabal_provider::{Closed, NotConnected, Outcome};
use pabal_simulator::NextAnswer;
use tokio::net::TcpListener;

use crate::world::{World, account, call, taken};

const THROTTLED: Outcome = Outcome::Throttled { retry_after: None };

#[tokio::test]
async fn a_token_that_is_refused_defers_the_message_and_the_next_call_has_another() {
    let world = World::new().await;
    world.send_taken(0).await;
    // Refusing revokes every token, so that only a new one can be believed.
    world.script(NextAnswer::Refuse);
    let sent = call(0);
    assert_eq!(world.provider.submit(&sent).await, THROTTLED);
    assert_eq!(world.times_taken(sent.messages[0].id), 0);
    taken(&world.provider.submit(&sent).await);
    assert_eq!(world.times_taken(sent.messages[0].id), 1);
}

#[tokio::test]
async fn tokens_that_are_refused_one_after_the_other_close_the_account() {
    let world = World::new().await;
    let closed = Outcome::Closed {
        code: "UNAUTHENTICATED".to_owned(),
        why: Closed::Credentials,
    };
    for expected in [&THROTTLED, &closed, &closed] {
        world.script(NextAnswer::Refuse);
        let (id, outcome) = world.send(0).await;
        assert_eq!(&outcome, expected);
        assert_eq!(world.times_taken(id), 0);
    }
    world.send_taken(0).await;
    world.script(NextAnswer::Refuse);
    assert_eq!(world.send(0).await.1, THROTTLED);
}

#[tokio::test]
async fn an_account_that_the_token_server_does_not_know_is_closed() {
    let world = World::with(|account| {
        let stranger = "stranger@simulated.iam.gserviceaccount.com".into();
        account.settings.insert("client_email".to_owned(), stranger);
    })
    .await;
    let (id, outcome) = world.send(0).await;
    let closed = Outcome::Closed {
        code: "invalid_client".to_owned(),
        why: Closed::Credentials,
    };
    assert_eq!(outcome, closed);
    assert_eq!(world.times_taken(id), 0);
    assert!(world.provider.probe().await.is_err());
}

#[tokio::test]
async fn an_agent_that_the_account_may_not_use_closes_it() {
    let world = World::with(|account| {
        account
            .settings
            .insert("agent_id".to_owned(), "other".into());
    })
    .await;
    let closed = Outcome::Closed {
        code: "PERMISSION_DENIED".to_owned(),
        why: Closed::Credentials,
    };
    assert_eq!(world.send(0).await.1, closed);
    assert!(world.provider.probe().await.is_err());
}

#[tokio::test]
async fn a_probe_sends_nothing() {
    let world = World::new().await;
    world.provider.probe().await.unwrap();
    assert_eq!(world.simulator.taken_count(), 0);
}

#[tokio::test]
async fn a_token_server_that_does_not_answer_in_time_is_not_connected() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = format!("http://{}/token", silent.local_addr().unwrap());
    let world = World::with(|account| {
        account
            .settings
            .insert("token_url".to_owned(), silent.into());
        account.connect_timeout = Duration::from_millis(200);
    })
    .await;
    let (id, outcome) = world.send(0).await;
    let timed_out = Outcome::NotConnected(NotConnected::TimedOut);
    assert_eq!(outcome, timed_out);
    assert_eq!(world.times_taken(id), 0);
}

#[test]
fn settings_that_are_missing_or_unknown_are_named() {
    let mut lacking = account("https://vendor.example");
    lacking.settings.remove("agent_id");
    let mut unknown = account("https://vendor.example");
    unknown.settings.insert("agent".to_owned(), "a".into());
    let mut unsigned = account("https://vendor.example");
    unsigned.callback_secret = None;
    for (account, named) in [
        (lacking, "agent_id"),
        (unknown, "agent"),
        (unsigned, "callback_secret"),
    ] {
        let error = adapter::build("rbm", account).err().unwrap().to_string();
        assert!(error.contains(named), "{error}");
    }
}
