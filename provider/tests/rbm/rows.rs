//! Every row of the simulator's table.

use std::pin::pin;
use std::time::Duration;

use pabal_common::domain::id::MessageId;
use pabal_common::domain::reason::Reason;
use pabal_common::domain::report::Verdict;
use pabal_provider::{Lost, NotConnected, Outcome};
use pabal_simulator::DoorState;
use tokio::time::sleep;

use crate::world::{World, call, taken};

/// Waits for a report sent after anything else could have been; nothing else may come before it.
async fn nothing_is_reported(world: &mut World) {
    let (_, vendor_id) = world.send_taken(70).await;
    assert_eq!(world.next_report().await.vendor_id, Some(vendor_id));
}

async fn delivered_all_the_same(world: &mut World, id: MessageId) {
    assert_eq!(world.times_taken(id), 1);
    let report = world.next_report().await;
    assert_eq!(report.verdict, Verdict::Delivered);
    assert_eq!(report.message, Some(id));
}

#[tokio::test]
async fn an_ordinary_message_is_taken_under_its_uuid_and_delivered() {
    let mut world = World::new().await;
    let (id, vendor_id) = world.send_taken(0).await;
    assert_eq!(world.times_taken(id), 1);
    let report = world.next_report().await;
    assert_eq!(report.verdict, Verdict::Delivered);
    assert_eq!(report.vendor_id, Some(vendor_id));
    assert_eq!(report.message, Some(id));
    assert_eq!(&report.account, world.provider.account());
}

#[tokio::test]
async fn rows_51_to_54_expire_undelivered_and_are_taken_back() {
    let mut world = World::new().await;
    for digits in 51..=54 {
        let (id, _) = world.send_taken(digits).await;
        let report = world.next_report().await;
        let unavailable = Verdict::Failed(Reason::RecipientUnavailable);
        assert_eq!(report.verdict, unavailable, "{digits}");
        assert_eq!(report.message, Some(id));
    }
}

#[tokio::test]
async fn row_55_has_no_rcs_and_is_not_taken() {
    let world = World::new().await;
    let (id, outcome) = world.send(55).await;
    let not_capable = Outcome::Refused {
        code: "NOT_FOUND".to_owned(),
        reason: Reason::NotCapable,
    };
    assert_eq!(outcome, not_capable);
    let listed = world.provider.capabilities().definitive("NOT_FOUND");
    assert_eq!(listed, Some(Reason::NotCapable));
    assert_eq!(world.times_taken(id), 0);
}

#[tokio::test]
async fn row_60_is_throttled_then_refused_by_the_operating_system_then_fine() {
    let world = World::new().await;
    let sent = call(60);
    let first = world.provider.submit(&sent).await;
    assert_eq!(first, Outcome::Throttled { retry_after: None });
    let second = world.provider.submit(&sent).await;
    assert_eq!(second, Outcome::NotConnected(NotConnected::Refused));
    assert!(world.provider.probe().await.is_err());
    assert_eq!(world.times_taken(sent.messages[0].id), 0);
    while world.door().state() == DoorState::Shut {
        sleep(Duration::from_millis(10)).await;
    }
    taken(&world.provider.submit(&sent).await);
    assert_eq!(world.times_taken(sent.messages[0].id), 1);
}

#[tokio::test]
async fn row_61_is_throttled_for_a_while_then_fine() {
    let world = World::new().await;
    let sent = call(61);
    let throttled = Outcome::Throttled {
        retry_after: Some(Duration::from_secs(1)),
    };
    assert_eq!(world.provider.submit(&sent).await, throttled);
    loop {
        let outcome = world.provider.submit(&sent).await;
        if outcome != throttled {
            taken(&outcome);
            break;
        }
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(world.times_taken(sent.messages[0].id), 1);
}

#[tokio::test]
async fn rows_62_64_and_66_are_unknown_and_delivered_all_the_same() {
    let mut world = World::new().await;
    for (digits, how) in [
        (62, Lost::Reset),
        (64, Lost::Status(500)),
        (66, Lost::Garbled),
    ] {
        let (id, outcome) = world.send(digits).await;
        assert_eq!(outcome, Outcome::Unknown(how), "{digits}");
        delivered_all_the_same(&mut world, id).await;
    }
}

#[tokio::test]
async fn rows_63_and_65_are_unknown_and_never_reported_taken_or_not() {
    let mut world = World::new().await;
    for (digits, how, taken) in [(63, Lost::Reset, 1), (65, Lost::Status(500), 0)] {
        let (id, outcome) = world.send(digits).await;
        assert_eq!(outcome, Outcome::Unknown(how), "{digits}");
        assert_eq!(world.times_taken(id), taken);
        nothing_is_reported(&mut world).await;
    }
}

#[tokio::test]
async fn row_70_is_reported_after_one_that_was_sent_later() {
    let mut world = World::new().await;
    let (_, late) = world.send_taken(70).await;
    let (_, soon) = world.send_taken(0).await;
    assert_eq!(world.next_report().await.vendor_id, Some(soon));
    assert_eq!(world.next_report().await.vendor_id, Some(late));
}

#[tokio::test]
async fn row_71_is_reported_twice_alike() {
    let mut world = World::new().await;
    let (id, _) = world.send_taken(71).await;
    for _ in 0..2 {
        let report = world.next_report().await;
        assert_eq!(report.message, Some(id));
        assert_eq!(report.verdict, Verdict::Delivered);
    }
}

#[tokio::test]
async fn row_72_is_reported_before_the_answer() {
    let mut world = World::new().await;
    let provider = world.provider.clone();
    let sent = call(72);
    let mut submit = pin!(provider.submit(&sent));
    let report = tokio::select! {
        biased;
        report = world.next_report() => report,
        outcome = &mut submit => panic!("answered before its report: {outcome:?}"),
    };
    assert_eq!(report.message, Some(sent.messages[0].id));
    assert_eq!(Some(taken(&submit.await)), report.vendor_id);
}

#[tokio::test]
async fn row_73_is_taken_and_never_reported() {
    let mut world = World::new().await;
    world.send_taken(73).await;
    nothing_is_reported(&mut world).await;
}

#[tokio::test]
async fn row_74_is_reported_under_an_id_nobody_knows_and_then_its_own() {
    let mut world = World::new().await;
    let (id, vendor_id) = world.send_taken(74).await;
    let unknown = world.next_report().await;
    assert_ne!(unknown.vendor_id, Some(vendor_id.clone()));
    assert_ne!(unknown.message, Some(id));
    assert_eq!(world.next_report().await.vendor_id, Some(vendor_id));
}

#[tokio::test]
async fn row_75_is_reported_in_capital_letters_under_the_same_id() {
    let mut world = World::new().await;
    let (id, vendor_id) = world.send_taken(75).await;
    let report = world.next_report().await;
    assert_eq!(report.vendor_id, Some(vendor_id));
    assert_eq!(report.message, Some(id));
}

#[tokio::test]
async fn row_80_is_answered_slowly_and_delivered() {
    let mut world = World::new().await;
    let (id, _) = world.send_taken(80).await;
    delivered_all_the_same(&mut world, id).await;
}

#[tokio::test]
async fn row_81_answers_too_late_and_is_delivered_all_the_same() {
    let mut world =
        World::with(|account| account.answer_timeout = Duration::from_millis(100)).await;
    // So that the time is the message's alone.
    world.provider.probe().await.unwrap();
    let (id, outcome) = world.send(81).await;
    assert_eq!(outcome, Outcome::Unknown(Lost::TimedOut));
    delivered_all_the_same(&mut world, id).await;
}
