//! Who the vendor lets in, and what an account needs.

use pabal_common::domain::kind::MessageType::Sms;
use pabal_provider::adapter::{self, Account, BuildError};
use pabal_provider::{Closed, Outcome};
use pabal_simulator::Family;
use secrecy::SecretString;

use crate::world::{World, account};

#[tokio::test]
async fn a_wrong_key_or_secret_closes_the_account_and_takes_nothing() {
    let world = World::new().await;
    let right = account(&world.simulator.base_url(Family::Solapi).unwrap());
    let wrong_secret = Account {
        api_key: SecretString::from("another-secret"),
        ..right.clone()
    };
    let wrong_key = Account {
        settings: toml::from_str("key_id = 'NCSANOTHERKEY000'").unwrap(),
        ..right
    };
    for (wrong, expected) in [
        (wrong_secret, "SignatureDoesNotMatch"),
        (wrong_key, "InvalidAPIKey"),
    ] {
        let provider = adapter::build("solapi", wrong).unwrap();
        let closed = Outcome::Closed {
            code: expected.to_owned(),
            why: Closed::Credentials,
        };
        assert_eq!(provider.submit(&world.call(Sms, &[0])).await, closed);
        let probed = provider.probe().await.unwrap_err().to_string();
        assert!(probed.contains(expected), "{probed}");
    }
    assert_eq!(world.simulator.taken_count(), 0);
}

#[tokio::test]
async fn every_request_bears_a_signature_of_its_own() {
    let world = World::new().await;
    for _ in 0..20 {
        world.provider.probe().await.unwrap();
    }
}

#[test]
fn settings_that_cannot_work_are_refused_by_name() {
    for (settings, named) in [
        ("", "key_id"),
        ("key_id = ''", "key_id"),
        ("key_id = 'A, salt=B'", "key_id"),
        ("key_id = 'A'\nsender = '02-123'", "sender"),
        ("key_id = 'A'\nbrand_targeting = 'X'", "X"),
        ("key_id = 'A'\nunknown = 1", "unknown"),
    ] {
        let account = Account {
            settings: toml::from_str(settings).unwrap(),
            ..account("http://127.0.0.1:1")
        };
        let error = adapter::build("solapi", account).err().unwrap();
        assert!(matches!(error, BuildError::Settings(_)), "{settings}");
        assert!(error.to_string().contains(named), "{error}");
    }
}

#[test]
fn a_callback_secret_is_needed_and_must_not_be_short() {
    let with = |secret: Option<&str>| {
        let account = Account {
            callback_secret: secret.map(SecretString::from),
            ..account("http://127.0.0.1:1")
        };
        adapter::build("solapi", account).err()
    };
    assert!(matches!(with(None), Some(BuildError::NoCallbackSecret)));
    let short = with(Some("short"));
    assert!(matches!(short, Some(BuildError::CallbackSecret(_))));
    assert!(with(Some("sixteen-bytes-ok")).is_none());
}
