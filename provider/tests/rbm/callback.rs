//! Events as the platform posts them, and what only looks like one.

use pabal_common::clock::{Clock as _, SystemClock};
use pabal_provider::CallbackError;

use crate::world::World;

#[tokio::test]
async fn an_event_is_believed_only_with_the_platforms_signature_of_it() {
    let mut world = World::new().await;
    world.send_taken(0).await;
    world.send_taken(0).await;
    let (received, another) = (world.next_callback().await, world.next_callback().await);
    let read = |signature: Option<&str>, body: &[u8]| {
        let header =
            |name: &str| (name == "x-goog-signature").then(|| signature.map(str::to_owned))?;
        world
            .provider
            .read_callback(&header, body, SystemClock.now())
    };
    let signature = received.signature.as_deref();
    assert_eq!(read(signature, &received.body).unwrap().len(), 1);

    let refused = |signature: Option<&str>, body: &[u8]| {
        matches!(read(signature, body), Err(CallbackError::NotAuthentic(_)))
    };
    for wrong in [None, Some(""), Some("AAAA"), another.signature.as_deref()] {
        assert!(refused(wrong, &received.body), "{wrong:?}");
    }
    let upper = signature.unwrap().to_uppercase();
    assert!(refused(Some(&upper), &received.body));
    assert!(refused(signature, &another.body));
    assert!(refused(signature, b""));
    assert!(refused(signature, b"{}"));
}

#[tokio::test]
async fn what_surrounds_the_signed_event_may_be_written_anyhow() {
    let mut world = World::new().await;
    let (id, _) = world.send_taken(0).await;
    let received = world.next_callback().await;
    let mut envelope: serde_json::Value = serde_json::from_slice(&received.body).unwrap();
    envelope["message"]["attributes"] = serde_json::json!({ "type": "event" });
    envelope["message"]["publishTime"] = "2026-11-18T00:00:00Z".into();
    envelope["subscription"] = "projects/p/subscriptions/s".into();
    let header = |name: &str| received.header(name);
    let reports =
        world
            .provider
            .read_callback(&header, envelope.to_string().as_bytes(), SystemClock.now());
    assert_eq!(reports.unwrap()[0].message, Some(id));
}
