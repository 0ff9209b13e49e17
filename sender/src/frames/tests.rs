use std::sync::atomic::Ordering::SeqCst;

use pabal_common::clock::{Clock as _, Timestamp};
use pabal_common::crypto::{Keyring, Sealer};
use pabal_common::domain::kind::{Lane, MessageType};
use pabal_common::domain::phase::Phase;
use pabal_common::ledger::DueGroup;
use pabal_provider::route::Fit;

use super::*;
use crate::fake::{House, OUTLIVES, PANICS, members};
use crate::hand;

#[path = "../../../common/tests/support/spans.rs"]
mod spans;

use spans::{Spans, traceparent_before};

#[tokio::test]
async fn a_call_that_panics_leaves_the_others_of_its_frame_to_their_answers() {
    let house = House::open(1000, false).await;
    let (bad, good) = (house.accept(PANICS).await, house.accept(OUTLIVES).await);
    assert!(house.carry(&[bad, good]).await);
    assert_eq!(house.view(good).await.phase, Phase::Answered);
    // Its claim stands without a call, which left the hand.
    assert_eq!(house.view(bad).await.phase, Phase::Submitting);
    hand::give_up(&house.desk).await;
    assert_eq!(house.view(bad).await.phase, Phase::Unknown);
    assert_eq!(house.view(good).await.phase, Phase::Answered);
}

#[tokio::test]
async fn what_panics_before_its_claim_is_quarantined() {
    let house = House::open(1000, false).await;
    let id = house.accept("text").await;
    house.vendor.broken.store(true, SeqCst);
    assert!(house.carry(&[id]).await);
    assert_eq!(house.view(id).await.phase, Phase::Waiting);
    assert_eq!(house.events(id).await, ["QUARANTINED"]);
}

#[tokio::test]
async fn a_message_that_was_quarantined_again_and_again_is_given_up() {
    let house = House::open(1000, false).await;
    let (id, once) = (house.accept("text").await, house.accept("text").await);
    for _ in 0..5 {
        quarantined_and_released(&house, &[id]).await;
    }
    for _ in 0..4 {
        quarantined_and_released(&house, &[once]).await;
    }
    // The frame says that it came back: that alone counts for nothing.
    assert!(house.carry(&[id, once]).await);
    let (given_up, sent) = (house.view(id).await, house.view(once).await);
    assert_eq!(
        (given_up.phase, given_up.sent_at),
        (Phase::Answered, None),
        "its failure is on the way to the reporter"
    );
    assert_eq!(sent.phase, Phase::Answered);
    assert!(sent.sent_at.is_some());
}

#[tokio::test]
async fn a_process_that_acts_as_dead_claims_nothing_and_keeps_no_permit() {
    let house = House::open(1, false).await;
    let id = house.accept("text").await;
    house.desk.node.instance.leave().await;
    assert!(!house.carry(&[id]).await);
    assert_eq!(house.view(id).await.phase, Phase::Queued);
    assert_eq!(house.view(id).await.claimed_at, None);
    let permit = house
        .desk
        .routes
        .permit(MessageType::Sms, Fit::any(), Lane::Ordinary, 1);
    assert!(permit.now_or_never().is_some());
}

async fn quarantined_and_released(house: &House, ids: &[pabal_common::domain::id::MessageId]) {
    let (node, now) = (&house.desk.node, house.clock.now());
    let members = members(ids);
    let held = node
        .ledger
        .hold(MessageType::Sms, &members, Hold::Faulty, now, now);
    held.await.unwrap();
    release(house, now).await;
}

async fn release(house: &House, now: Timestamp) {
    let node = &house.desk.node;
    let (me, outbox) = (node.instance.id(), node.instance.ids().outbox());
    let groups = [DueGroup {
        kind: MessageType::Sms,
        limit: 10,
    }];
    let released = node.ledger.release_due(me, outbox, &groups, now).await;
    assert!(released.unwrap().is_some());
}

#[tokio::test]
async fn what_is_sealed_with_a_key_that_is_not_here_waits_for_one_who_has_it() {
    let house = House::open(1000, false).await;
    let others = Sealer::new(&Keyring::generate());
    let id = house.accept_sealed(&others, "text").await;
    for _ in 0..10 {
        assert!(house.carry(&[id]).await);
        let view = house.view(id).await;
        assert_eq!((view.phase, view.attempt), (Phase::Waiting, 0));
        house.clock.advance(Duration::from_secs(60));
        release(&house, house.clock.now()).await;
    }
    assert_eq!(house.view(id).await.phase, Phase::Queued);
}

#[tokio::test]
async fn a_frame_is_handled_in_the_trace_it_was_published_in() {
    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let spans = Spans::default();
    let _traced = tracing::subscriber::set_default(spans.subscriber());
    let house = House::open(1000, false).await;
    let (traced, untraced) = (house.accept("text").await, house.accept("text").await);
    assert!(house.carry_on(&[traced], Some(TRACE)).await);
    assert!(house.carry(&[untraced]).await);
    let [frame, alone] = spans.named("frame").try_into().unwrap();
    assert_eq!(traceparent_before(&frame).as_deref(), Some(TRACE));
    assert_eq!(traceparent_before(&alone), None);
    let called_in = house.vendor.called_in.lock().unwrap();
    assert_eq!(*called_in, [Some("frame"), Some("frame")]);
}
