//! One test per row of the simulator's table, for every type of either product.

use std::pin::pin;
use std::time::Duration;

use pabal_common::domain::id::MessageId;
use pabal_common::domain::reason::Reason;
use pabal_common::domain::report::Verdict;
use pabal_provider::{Answer, Lost, NotConnected, Outcome};
use pabal_simulator::{DoorState, Family, Outcome as Row, Pace};

use crate::world::{Line, World, answers, call, message, pace};

/// Waits for a report sent after anything else could have been; nothing else may come before it.
async fn nothing_is_reported(world: &mut World, line: Line) {
    let (_, late) = world.send_taken(line, 70).await;
    assert_eq!(world.next_report().await.vendor_id, Some(late), "{line:?}");
}

/// The report of a message that was taken though its answer was lost: it bears both ids.
async fn delivered_all_the_same(world: &mut World, line: Line, id: MessageId) {
    assert_eq!(world.times_taken(id), 1, "{line:?}");
    let report = world.next_report().await;
    assert_eq!(report.verdict, Verdict::Delivered, "{line:?}");
    assert!(report.vendor_id.is_some());
    assert_eq!(report.message, Some(id), "{line:?}");
}

#[tokio::test]
async fn an_ordinary_message_is_delivered() {
    for line in Line::ALL {
        let mut world = World::new(line).await;
        let (id, vendor_id) = world.send_taken(line, 0).await;
        assert_eq!(world.times_taken(id), 1);
        assert_eq!(world.simulator.taken()[0].vendor_id, vendor_id.as_str());
        let report = world.next_report().await;
        assert_eq!(report.verdict, Verdict::Delivered);
        assert_eq!(report.vendor_id, Some(vendor_id));
        assert_eq!(report.message, Some(id));
        assert_eq!(&report.account, world.provider.account());
    }
}

#[tokio::test]
async fn rows_51_to_54_fail_for_their_reason() {
    for line in Line::ALL {
        let mut world = World::new(line).await;
        // Kakao has no code for spam; it sanctions the channel.
        let spam = match line.product() {
            "sms" => Reason::Spam,
            _ => Reason::SenderRejected,
        };
        for (digits, reason) in [
            (51, Reason::InvalidRecipient),
            (52, Reason::RecipientUnavailable),
            (53, Reason::RecipientBlocked),
            (54, spam),
        ] {
            let (_, vendor_id) = world.send_taken(line, digits).await;
            let report = world.next_report().await;
            assert_eq!(report.verdict, Verdict::Failed(reason), "{line:?}");
            assert_eq!(report.vendor_id, Some(vendor_id));
        }
    }
}

#[tokio::test]
async fn row_55_is_refused_by_a_listed_code_and_not_taken() {
    for line in Line::ALL {
        let world = World::new(line).await;
        let (id, outcome) = world.send(line, 55).await;
        let [Answer::Refused { code, reason }] = answers(&outcome) else {
            panic!("{line:?}: {outcome:?}");
        };
        assert_eq!(
            world.provider.capabilities().definitive(code),
            Some(*reason)
        );
        assert_eq!(world.times_taken(id), 0);
    }
}

#[tokio::test]
async fn row_60_is_throttled_then_refused_by_the_operating_system_then_fine() {
    for line in Line::ALL {
        let world = World::new(line).await;
        let sent = call(message(line, 60));
        let first = world.provider.submit(&sent).await;
        assert_eq!(first, Outcome::Throttled { retry_after: None }, "{line:?}");
        let second = world.provider.submit(&sent).await;
        let refused = Outcome::NotConnected(NotConnected::Refused);
        assert_eq!(second, refused, "{line:?}");
        assert!(world.provider.probe().await.is_err());
        assert_eq!(world.times_taken(sent.messages[0].id), 0);

        while world.simulator.door(Family::Nhn).unwrap().state() == DoorState::Shut {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let third = world.provider.submit(&sent).await;
        assert_eq!(answers(&third).len(), 1);
        assert_eq!(world.times_taken(sent.messages[0].id), 1, "{line:?}");
        assert!(world.provider.probe().await.is_ok());
    }
}

#[tokio::test]
async fn row_61_is_throttled_for_a_while_then_fine() {
    for line in Line::ALL {
        let world = World::new(line).await;
        let sent = call(message(line, 61));
        let throttled = Outcome::Throttled {
            retry_after: Some(Duration::from_secs(1)),
        };
        assert_eq!(world.provider.submit(&sent).await, throttled, "{line:?}");
        loop {
            let outcome = world.provider.submit(&sent).await;
            if outcome != throttled {
                assert_eq!(answers(&outcome).len(), 1);
                break;
            }
            assert_eq!(world.times_taken(sent.messages[0].id), 0);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(world.times_taken(sent.messages[0].id), 1, "{line:?}");
    }
}

#[tokio::test]
async fn row_62_loses_the_answer_and_is_delivered() {
    for line in Line::ALL {
        let mut world = World::new(line).await;
        let (id, outcome) = world.send(line, 62).await;
        assert_eq!(outcome, Outcome::Unknown(Lost::Reset), "{line:?}");
        delivered_all_the_same(&mut world, line, id).await;
    }
}

#[tokio::test]
async fn row_63_loses_the_answer_and_is_never_reported() {
    for line in Line::ALL {
        let mut world = World::new(line).await;
        let (id, outcome) = world.send(line, 63).await;
        assert_eq!(outcome, Outcome::Unknown(Lost::Reset), "{line:?}");
        assert_eq!(world.times_taken(id), 1);
        nothing_is_reported(&mut world, line).await;
    }
}

#[tokio::test]
async fn row_64_answers_500_and_is_delivered() {
    for line in Line::ALL {
        let mut world = World::new(line).await;
        let (id, outcome) = world.send(line, 64).await;
        assert_eq!(outcome, Outcome::Unknown(Lost::Status(500)), "{line:?}");
        delivered_all_the_same(&mut world, line, id).await;
    }
}

#[tokio::test]
async fn row_65_answers_500_and_is_neither_taken_nor_reported() {
    for line in Line::ALL {
        let mut world = World::new(line).await;
        let (id, outcome) = world.send(line, 65).await;
        assert_eq!(outcome, Outcome::Unknown(Lost::Status(500)), "{line:?}");
        assert_eq!(world.times_taken(id), 0);
        nothing_is_reported(&mut world, line).await;
    }
}

#[tokio::test]
async fn row_66_answers_garbage_and_is_delivered() {
    for line in Line::ALL {
        let mut world = World::new(line).await;
        let (id, outcome) = world.send(line, 66).await;
        assert_eq!(outcome, Outcome::Unknown(Lost::Garbled), "{line:?}");
        delivered_all_the_same(&mut world, line, id).await;
    }
}

#[tokio::test]
async fn row_70_is_reported_after_messages_that_came_later() {
    for line in Line::ALL {
        let mut world = World::new(line).await;
        let (_, late) = world.send_taken(line, 70).await;
        let (_, prompt) = world.send_taken(line, 75).await;
        assert_eq!(
            world.next_report().await.vendor_id,
            Some(prompt),
            "{line:?}"
        );
        assert_eq!(world.next_report().await.vendor_id, Some(late), "{line:?}");
    }
}

#[tokio::test]
async fn row_71_is_reported_twice() {
    for line in Line::ALL {
        let mut world = World::new(line).await;
        let (_, vendor_id) = world.send_taken(line, 71).await;
        for _ in 0..2 {
            let report = world.next_report().await;
            assert_eq!(report.vendor_id.as_ref(), Some(&vendor_id), "{line:?}");
            assert_eq!(report.verdict, Verdict::Delivered);
        }
    }
}

#[tokio::test]
async fn row_72_is_reported_before_the_answer() {
    for line in Line::ALL {
        let mut world = World::new(line).await;
        let provider = std::sync::Arc::clone(&world.provider);
        let sent = call(message(line, 72));
        let mut submitting = pin!(provider.submit(&sent));
        let report = tokio::select! {
            biased;
            outcome = &mut submitting => panic!("{line:?}: answered first: {outcome:?}"),
            report = world.next_report() => report,
        };
        let outcome = submitting.await;
        let [Answer::Taken { vendor_id }] = answers(&outcome) else {
            panic!("{line:?}: {outcome:?}");
        };
        assert_eq!(&report.vendor_id, vendor_id);
    }
}

#[tokio::test]
async fn row_73_is_never_reported() {
    for line in Line::ALL {
        let mut world = World::new(line).await;
        let (id, _) = world.send_taken(line, 73).await;
        assert_eq!(world.times_taken(id), 1);
        nothing_is_reported(&mut world, line).await;
    }
}

#[tokio::test]
async fn row_74_is_first_reported_under_an_unknown_id() {
    for line in Line::ALL {
        let mut world = World::new(line).await;
        let (id, vendor_id) = world.send_taken(line, 74).await;
        let unknown = world.next_report().await;
        assert_ne!(unknown.vendor_id.as_ref(), Some(&vendor_id), "{line:?}");
        assert_eq!(unknown.message, None);
        let right = world.next_report().await;
        assert_eq!(right.vendor_id, Some(vendor_id), "{line:?}");
        assert_eq!(right.message, Some(id));
    }
}

#[tokio::test]
async fn row_75_is_reported_in_another_notation_and_is_the_same_id() {
    for line in Line::ALL {
        let mut world = World::new(line).await;
        let (id, vendor_id) = world.send_taken(line, 75).await;
        let report = world.next_report().await;
        assert_eq!(report.vendor_id, Some(vendor_id), "{line:?}");
        assert_eq!(report.message, Some(id));
    }
}

#[tokio::test]
async fn row_80_is_slow_but_fine() {
    for line in Line::ALL {
        let world = World::new(line).await;
        let (id, outcome) = world.send(line, 80).await;
        assert_eq!(answers(&outcome).len(), 1, "{line:?}");
        assert_eq!(world.times_taken(id), 1);
    }
}

#[tokio::test]
async fn row_81_is_slower_than_we_wait_and_delivered() {
    for line in Line::ALL {
        let mut world = World::impatient(line).await;
        let (id, outcome) = world.send(line, 81).await;
        assert_eq!(outcome, Outcome::Unknown(Lost::TimedOut), "{line:?}");
        delivered_all_the_same(&mut world, line, id).await;
    }
}

#[tokio::test]
async fn row_81_is_answered_if_one_waits_long_enough() {
    let patient = Pace {
        too_slow: Duration::from_millis(200),
        ..pace()
    };
    for line in Line::ALL {
        let world = World::with(line, patient).await;
        let (id, outcome) = world.send(line, 81).await;
        assert_eq!(answers(&outcome).len(), 1, "{line:?}");
        assert_eq!(world.times_taken(id), 1);
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
