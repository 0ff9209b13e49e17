//! Callbacks: only what the vendor signed, and lately, is read.

use std::collections::HashMap;
use std::time::Duration;

use pabal_common::clock::{Clock as _, SystemClock, Timestamp};
use pabal_provider::{CallbackError, adapter};
use pabal_simulator::Family;

use crate::world::{Line, World, account};

fn refused(result: Result<Vec<pabal_common::domain::report::Report>, CallbackError>) -> bool {
    matches!(result, Err(CallbackError::NotAuthentic(_)))
}

#[tokio::test]
async fn a_callback_is_read_only_as_signed_and_within_five_minutes() {
    let mut world = World::new().await;
    for line in [Line::Carrier, Line::Rcshub] {
        let provider = world.provider(line);
        world.send_taken(line, 0).await;
        let received = world.next_callback().await;
        assert_eq!(received.path, provider.account().as_str());
        let header = |name: &str| received.header(name);
        let now = SystemClock.now();
        let read = |body: &[u8], now| provider.read_callback(&header, body, now);
        assert_eq!(read(&received.body, now).unwrap().len(), 1);

        let mut tampered = received.body.to_vec();
        *tampered.last_mut().unwrap() ^= 1;
        assert!(refused(read(&tampered, now)));
        assert!(refused(read(b"", now)));

        let signed = received.header("x-vendor-timestamp").unwrap();
        let signed = Timestamp::from_millis(signed.parse::<i64>().unwrap() * 1000);
        let within = Duration::from_secs(300);
        let outside = Duration::from_secs(301);
        assert!(read(&received.body, signed.plus(within)).is_ok());
        assert!(refused(read(&received.body, signed.plus(outside))));
        assert!(refused(read(&received.body, signed.minus(outside))));
    }
}

#[tokio::test]
async fn a_callback_without_or_with_other_headers_is_refused() {
    let mut world = World::new().await;
    world.send_taken(Line::Carrier, 0).await;
    let received = world.next_callback().await;
    let provider = world.provider(Line::Carrier);
    let now = SystemClock.now();
    for name in ["x-vendor-timestamp", "x-vendor-signature"] {
        for value in [None, Some(""), Some("0"), Some("zz"), Some("00ff")] {
            let header = |asked: &str| {
                if asked == name {
                    value.map(str::to_owned)
                } else {
                    received.header(asked)
                }
            };
            let read = provider.read_callback(&header, &received.body, now);
            assert!(refused(read), "{name}: {value:?}");
        }
    }
}

#[test]
fn a_signature_made_elsewhere_is_understood() {
    let account = account("http://127.0.0.1:1", Family::Carrier);
    let provider = adapter::build("carrier", account).unwrap();
    let headers = HashMap::from([
        ("x-vendor-timestamp", "1795000000"),
        (
            "x-vendor-signature",
            "12e6a8c6e6ea22b465c6b8a1f44f950c1c5a4e99565614797cf8dd4f1860d0ae",
        ),
    ]);
    let header = |name: &str| headers.get(name).map(|value| (*value).to_owned());
    let now = Timestamp::from_millis(1_795_000_000_000);
    assert_eq!(provider.read_callback(&header, b"[]", now), Ok(vec![]));
    let unreadable = provider.read_callback(&header, b"{}", now);
    assert!(refused(unreadable), "the signature is of another body");
}

#[tokio::test]
async fn vendors_that_do_not_call_back_refuse_every_callback() {
    let world = World::new().await;
    for line in [Line::Alimtalk, Line::Talk] {
        let read = world
            .provider(line)
            .read_callback(&|_| None, b"[]", SystemClock.now());
        assert_eq!(read, Err(CallbackError::NotExpected));
    }
}

#[tokio::test]
async fn a_callback_is_repeated_until_it_is_accepted() {
    use axum::http::StatusCode;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    let world = World::new().await;
    let calls = Arc::new(AtomicUsize::new(0));
    let (accepted, mut waiting) = tokio::sync::mpsc::channel(1);
    let answer = {
        let calls = Arc::clone(&calls);
        move || async move {
            if calls.fetch_add(1, Ordering::SeqCst) == 0 {
                return StatusCode::SERVICE_UNAVAILABLE;
            }
            accepted.send(()).await.unwrap();
            StatusCode::OK
        }
    };
    let router = axum::Router::new().fallback(answer);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });

    world.simulator.set_callback_base(&base);
    world.send_taken(Line::Carrier, 0).await;
    waiting.recv().await.unwrap();
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}
