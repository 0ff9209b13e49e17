//! What surely left no byte, and what may have arrived.

use std::time::Duration;

use pabal_provider::adapter::{self, BuildError, PROTOCOLS};
use pabal_provider::{Lost, NotConnected, Outcome};
use pabal_simulator::{Family, NextAnswer};
use secrecy::SecretString;
use tokio::net::TcpListener;

use crate::world::{Line, World, account, answers, call};

#[tokio::test]
async fn a_shut_door_refuses_the_connection_and_an_opened_one_does_not() {
    let world = World::new().await;
    for line in Line::ALL {
        let door = world.simulator.door(line.family()).unwrap();
        // Leaves a kept-alive connection behind.
        let (_, outcome) = world.send(line, 0).await;
        assert_eq!(answers(&outcome).len(), 1);
        door.shut().await;
        let (id, outcome) = world.send(line, 0).await;
        let refused = Outcome::NotConnected(NotConnected::Refused);
        assert_eq!(outcome, refused, "{line:?}");
        assert_eq!(world.times_taken(id), 0);
        door.open().await;
        let (id, outcome) = world.send(line, 0).await;
        assert_eq!(answers(&outcome).len(), 1, "{line:?}");
        assert_eq!(world.times_taken(id), 1);
    }
}

#[tokio::test]
async fn a_vendor_that_hangs_leaves_the_outcome_unknown() {
    let world = World::impatient().await;
    let door = world.simulator.door(Family::Carrier).unwrap();
    door.hang().await;
    let (id, outcome) = world.send(Line::Carrier, 0).await;
    assert_eq!(outcome, Outcome::Unknown(Lost::TimedOut));
    assert_eq!(world.times_taken(id), 0);
    door.open().await;
    let (_, outcome) = world.send(Line::Carrier, 0).await;
    assert_eq!(answers(&outcome).len(), 1);
}

#[tokio::test]
async fn a_failed_tls_handshake_is_not_connected() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            drop(stream);
        }
    });
    let provider = adapter::build(
        "carrier",
        account(&format!("https://{address}"), Family::Carrier),
    );
    let outcome = provider.unwrap().submit(&call(Line::Carrier, &[0])).await;
    assert_eq!(outcome, Outcome::NotConnected(NotConnected::Tls));
}

#[tokio::test]
async fn a_tls_handshake_that_never_ends_times_out_before_connecting() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut silent = account(&format!("https://{address}"), Family::Carrier);
    silent.connect_timeout = Duration::from_millis(200);
    let provider = adapter::build("carrier", silent).unwrap();
    let outcome = provider.submit(&call(Line::Carrier, &[0])).await;
    assert_eq!(outcome, Outcome::NotConnected(NotConnected::TimedOut));
}

#[tokio::test]
async fn nobody_listening_over_tls_is_refused_not_a_tls_failure() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let base_url = format!("https://{address}");
    let provider = adapter::build("talk", account(&base_url, Family::Talk)).unwrap();
    let outcome = provider.submit(&call(Line::Talk, &[0])).await;
    assert_eq!(outcome, Outcome::NotConnected(NotConnected::Refused));
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_not_connected() {
    let nowhere = account("http://vendor.invalid", Family::Talk);
    let provider = adapter::build("talk", nowhere).unwrap();
    let outcome = provider.submit(&call(Line::Talk, &[0])).await;
    // A resolver that cannot be reached takes longer than we wait.
    let Outcome::NotConnected(NotConnected::Dns | NotConnected::TimedOut) = outcome else {
        panic!("{outcome:?}");
    };
}

#[tokio::test]
async fn statuses_that_prove_nothing_leave_the_outcome_unknown() {
    let world = World::new().await;
    for line in Line::ALL {
        for status in [201, 204, 302, 400, 404, 408, 502, 503, 504] {
            let raw = NextAnswer::Raw {
                status,
                body: String::new(),
                taken: false,
            };
            world.simulator.script(line.family(), [raw]).unwrap();
            let (_, outcome) = world.send(line, 0).await;
            let how = if status < 300 {
                Lost::Garbled
            } else {
                Lost::Status(status)
            };
            assert_eq!(outcome, Outcome::Unknown(how), "{line:?} {status}");
        }
    }
}

#[tokio::test]
async fn an_endless_answer_is_not_read_to_its_end() {
    let world = World::new().await;
    let raw = NextAnswer::Raw {
        status: 200,
        body: "[".repeat(2 << 20),
        taken: true,
    };
    world.simulator.script(Family::Kakao, [raw]).unwrap();
    let (_, outcome) = world.send(Line::Brand, 0).await;
    assert_eq!(outcome, Outcome::Unknown(Lost::Garbled));
}

#[tokio::test]
async fn a_wrong_key_fails_the_probe() {
    let world = World::new().await;
    for line in Line::ALL {
        assert!(world.provider(line).probe().await.is_ok(), "{line:?}");
        let family = line.family();
        let mut wrong = account(&world.simulator.base_url(family).unwrap(), family);
        wrong.api_key = SecretString::from("other");
        let provider = adapter::build(family.name(), wrong).unwrap();
        assert!(provider.probe().await.is_err(), "{line:?}");
    }
}

#[test]
fn an_unknown_protocol_is_named_with_those_allowed() {
    let error = adapter::build("pigeon", account("http://127.0.0.1:1", Family::Carrier));
    let Err(error) = error else {
        panic!("built");
    };
    let text = error.to_string();
    assert!(text.contains("pigeon"));
    for protocol in PROTOCOLS {
        assert!(text.contains(protocol), "{text}");
    }
    let mut account = account("http://127.0.0.1:1", Family::Carrier);
    account.api_key = SecretString::from("line\nbreak");
    let error = adapter::build("carrier", account).err();
    assert!(matches!(error, Some(BuildError::ApiKey)));
}
