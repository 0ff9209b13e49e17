//! One test per row of the simulator's table.

use std::pin::pin;
use std::time::Duration;

use pabal_common::domain::kind::MessageType::{self, Sms};
use pabal_common::domain::reason::Reason;
use pabal_common::domain::report::Verdict;
use pabal_provider::{Answer, Asked, Lost, NotConnected, Outcome};
use pabal_simulator::{DoorState, Family, Outcome as Row, Pace};

use crate::world::{KINDS, World, answers, pace};

/// Waits for a report sent after anything else could have been; nothing else may come before it.
async fn nothing_is_reported(world: &mut World) {
    let (late, _) = world.send_taken(Sms, 70).await;
    assert_eq!(world.next_report().await.message, Some(late.id));
}

/// The report of a message that was taken though its answer was lost.
async fn delivered_all_the_same(world: &mut World, kind: MessageType, asked: &Asked) {
    assert_eq!(world.times_taken(asked.id), 1, "{kind}");
    let report = world.next_report().await;
    assert_eq!(report.verdict, Verdict::Delivered, "{kind}");
    assert_eq!(report.message, Some(asked.id));
    assert_eq!(report.submission, Some(asked.submission));
    assert!(report.vendor_id.is_some());
}

#[tokio::test]
async fn an_ordinary_message_of_every_type_is_delivered() {
    let mut world = World::new().await;
    for kind in KINDS {
        let (asked, vendor_id) = world.send_taken(kind, 0).await;
        assert_eq!(world.times_taken(asked.id), 1);
        let report = world.next_report().await;
        assert_eq!(report.verdict, Verdict::Delivered);
        assert_eq!(report.vendor_id, Some(vendor_id));
        assert_eq!(report.message, Some(asked.id));
        assert_eq!(report.submission, Some(asked.submission));
        assert_eq!(&report.account, world.provider.account());
    }
}

#[tokio::test]
async fn rows_51_to_54_fail_for_their_reason() {
    let mut world = World::new().await;
    for (digits, reason) in [
        (51, Reason::InvalidRecipient),
        (52, Reason::RecipientUnavailable),
        (53, Reason::RecipientBlocked),
        (54, Reason::Spam),
    ] {
        let (asked, vendor_id) = world.send_taken(Sms, digits).await;
        let report = world.next_report().await;
        assert_eq!(report.verdict, Verdict::Failed(reason));
        assert_eq!(report.message, Some(asked.id));
        assert_eq!(report.vendor_id, Some(vendor_id));
    }
}

#[tokio::test]
async fn row_55_is_refused_by_a_listed_code_and_not_taken() {
    let world = World::new().await;
    for kind in KINDS {
        let (asked, outcome) = world.send(kind, 55).await;
        let [Answer::Refused { code, reason }] = answers(&outcome) else {
            panic!("{kind}: {outcome:?}");
        };
        assert_eq!(*reason, Reason::SenderRejected);
        assert_eq!(
            world.provider.capabilities().definitive(code),
            Some(*reason)
        );
        assert_eq!(world.times_taken(asked.id), 0);
    }
}

#[tokio::test]
async fn row_60_is_throttled_then_refused_by_the_operating_system_then_fine() {
    let world = World::new().await;
    let sent = world.call(Sms, &[60]);
    let first = world.provider.submit(&sent).await;
    assert_eq!(first, Outcome::Throttled { retry_after: None });
    let second = world.provider.submit(&sent).await;
    assert_eq!(second, Outcome::NotConnected(NotConnected::Refused));
    assert!(world.provider.probe().await.is_err());
    assert_eq!(world.times_taken(sent.messages[0].id), 0);

    while world.simulator.door(Family::Solapi).unwrap().state() == DoorState::Shut {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(world.provider.probe().await.is_ok());
    let third = world.provider.submit(&sent).await;
    assert!(matches!(answers(&third), [Answer::Taken { .. }]));
    assert_eq!(world.times_taken(sent.messages[0].id), 1);
}

#[tokio::test]
async fn row_61_is_throttled_for_a_while_then_fine() {
    let world = World::new().await;
    let sent = world.call(Sms, &[61]);
    let throttled = Outcome::Throttled {
        retry_after: Some(Duration::from_secs(1)),
    };
    assert_eq!(world.provider.submit(&sent).await, throttled);
    loop {
        let outcome = world.provider.submit(&sent).await;
        if outcome != throttled {
            assert!(matches!(answers(&outcome), [Answer::Taken { .. }]));
            break;
        }
        assert_eq!(world.times_taken(sent.messages[0].id), 0);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(world.times_taken(sent.messages[0].id), 1);
}

#[tokio::test]
async fn row_62_loses_the_answer_and_is_delivered() {
    let mut world = World::new().await;
    for kind in KINDS {
        let (asked, outcome) = world.send(kind, 62).await;
        assert_eq!(outcome, Outcome::Unknown(Lost::Reset), "{kind}");
        delivered_all_the_same(&mut world, kind, &asked).await;
    }
}

#[tokio::test]
async fn row_63_loses_the_answer_and_is_never_reported() {
    let mut world = World::new().await;
    let (asked, outcome) = world.send(Sms, 63).await;
    assert_eq!(outcome, Outcome::Unknown(Lost::Reset));
    assert_eq!(world.times_taken(asked.id), 1);
    nothing_is_reported(&mut world).await;
}

#[tokio::test]
async fn row_64_answers_500_and_is_delivered() {
    let mut world = World::new().await;
    let (asked, outcome) = world.send(Sms, 64).await;
    assert_eq!(outcome, Outcome::Unknown(Lost::Status(500)));
    delivered_all_the_same(&mut world, Sms, &asked).await;
}

#[tokio::test]
async fn row_65_answers_500_and_is_neither_taken_nor_reported() {
    let mut world = World::new().await;
    let (asked, outcome) = world.send(Sms, 65).await;
    assert_eq!(outcome, Outcome::Unknown(Lost::Status(500)));
    assert_eq!(world.times_taken(asked.id), 0);
    nothing_is_reported(&mut world).await;
}

#[tokio::test]
async fn row_66_answers_garbage_and_is_delivered() {
    let mut world = World::new().await;
    let (asked, outcome) = world.send(Sms, 66).await;
    assert_eq!(outcome, Outcome::Unknown(Lost::Garbled));
    delivered_all_the_same(&mut world, Sms, &asked).await;
}

#[tokio::test]
async fn row_70_is_reported_after_messages_that_came_later() {
    let mut world = World::new().await;
    let (_, late) = world.send_taken(Sms, 70).await;
    let (_, prompt) = world.send_taken(Sms, 75).await;
    assert_eq!(world.next_report().await.vendor_id, Some(prompt));
    assert_eq!(world.next_report().await.vendor_id, Some(late));
}

#[tokio::test]
async fn row_71_is_reported_twice() {
    let mut world = World::new().await;
    let (_, vendor_id) = world.send_taken(Sms, 71).await;
    for _ in 0..2 {
        let report = world.next_report().await;
        assert_eq!(report.vendor_id.as_ref(), Some(&vendor_id));
        assert_eq!(report.verdict, Verdict::Delivered);
    }
}

#[tokio::test]
async fn row_72_is_reported_before_the_answer() {
    let mut world = World::new().await;
    let provider = std::sync::Arc::clone(&world.provider);
    let sent = world.call(Sms, &[72]);
    let mut submitting = pin!(provider.submit(&sent));
    let report = tokio::select! {
        biased;
        outcome = &mut submitting => panic!("answered first: {outcome:?}"),
        report = world.next_report() => report,
    };
    let outcome = submitting.await;
    let [Answer::Taken { vendor_id }] = answers(&outcome) else {
        panic!("{outcome:?}");
    };
    assert_eq!(&report.vendor_id, vendor_id);
}

#[tokio::test]
async fn row_73_is_never_reported() {
    let mut world = World::new().await;
    let (asked, _) = world.send_taken(Sms, 73).await;
    assert_eq!(world.times_taken(asked.id), 1);
    nothing_is_reported(&mut world).await;
}

#[tokio::test]
async fn row_74_is_first_reported_under_an_unknown_id() {
    let mut world = World::new().await;
    let (asked, vendor_id) = world.send_taken(Sms, 74).await;
    let unknown = world.next_report().await;
    assert_ne!(unknown.vendor_id.as_ref(), Some(&vendor_id));
    assert_eq!(unknown.message, None);
    let right = world.next_report().await;
    assert_eq!(right.vendor_id, Some(vendor_id));
    assert_eq!(right.message, Some(asked.id));
}

#[tokio::test]
async fn row_75_is_reported_in_another_notation_and_is_the_same_id() {
    let mut world = World::new().await;
    let (asked, vendor_id) = world.send_taken(Sms, 75).await;
    let report = world.next_report().await;
    assert_eq!(report.vendor_id, Some(vendor_id));
    assert_eq!(report.message, Some(asked.id));
}

#[tokio::test]
async fn row_80_is_slow_but_fine() {
    let world = World::new().await;
    let (asked, _) = world.send_taken(Sms, 80).await;
    assert_eq!(world.times_taken(asked.id), 1);
}

#[tokio::test]
async fn row_81_is_slower_than_we_wait_and_delivered() {
    let mut world = World::with(pace(), Duration::from_millis(100)).await;
    let (asked, outcome) = world.send(Sms, 81).await;
    assert_eq!(outcome, Outcome::Unknown(Lost::TimedOut));
    delivered_all_the_same(&mut world, Sms, &asked).await;
}

#[tokio::test]
async fn row_81_is_answered_if_one_waits_long_enough() {
    let pace = Pace {
        too_slow: Duration::from_millis(200),
        ..pace()
    };
    let world = World::with(pace, Duration::from_secs(5)).await;
    let (asked, _) = world.send_taken(Sms, 81).await;
    assert_eq!(world.times_taken(asked.id), 1);
}

#[tokio::test]
async fn a_full_batch_is_answered_in_order_and_reported_whole() {
    let mut world = World::new().await;
    let batch = world.provider.capabilities().batch;
    let digits: Vec<u8> = (0..batch)
        .map(|at| if at % 2 == 0 { 0 } else { 55 })
        .collect();
    let sent = world.call(Sms, &digits);
    let outcome = world.provider.submit(&sent).await;
    let mut taken = Vec::new();
    for (at, answer) in answers(&outcome).iter().enumerate() {
        match answer {
            Answer::Taken { vendor_id } if at % 2 == 0 => taken.push(vendor_id.clone()),
            Answer::Refused { .. } if at % 2 == 1 => {}
            other => panic!("{at}: {other:?}"),
        }
    }
    // All to the same number: nothing is taken for a repeat.
    assert_eq!(taken.len(), batch / 2);
    for vendor_id in taken {
        let report = world.next_report().await;
        assert_eq!(report.verdict, Verdict::Delivered);
        assert_eq!(report.vendor_id, vendor_id);
    }
}

#[test]
fn every_row_has_a_test_here() {
    let source = include_str!("rows.rs");
    for row in &Row::TABLE {
        let named = source.contains(&format!("row_{}_", row.digits));
        assert!(named || (51..=54).contains(&row.digits), "{}", row.digits);
    }
}
