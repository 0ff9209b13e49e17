//! Every row of the outcome table, over real binds.

use std::pin::pin;
use std::time::Duration;

use pabal_common::domain::id::MessageId;
use pabal_common::domain::reason::Reason;
use pabal_common::domain::report::Verdict;
use pabal_provider::{Answer, Lost, NotConnected, Outcome};
use pabal_simulator::{Family, NextAnswer, Outcome as Row};
use tokio::time::sleep;

use crate::world::{World, answers, call, message, vendor_id};

/// A message whose answer was lost is reported under an id nobody was told.
async fn delivered_all_the_same(world: &mut World, id: MessageId) {
    assert_eq!(world.times_taken(id), 1);
    let report = world.line.report().await;
    assert_eq!(report.verdict, Verdict::Delivered);
    let taken = world.simulator.taken();
    let taken = taken.iter().find(|taken| taken.message == id).unwrap();
    assert_eq!(report.vendor_id.unwrap().as_str(), taken.vendor_id);
}

/// Nothing more comes before what is sent now.
async fn nothing_is_reported(world: &mut World) {
    let (_, next) = world.send_taken(0).await;
    assert_eq!(world.line.report().await.vendor_id, Some(next));
}

#[tokio::test]
async fn an_ordinary_message_is_taken_once_and_reported_delivered() {
    let mut world = World::new().await;
    let (id, taken) = world.send_taken(0).await;
    assert_eq!(world.times_taken(id), 1);
    let report = world.line.report().await;
    assert_eq!(report.vendor_id, Some(taken));
    assert_eq!(report.verdict, Verdict::Delivered);
    assert_eq!(report.vendor_code.as_deref(), Some("DELIVRD"));
}

#[tokio::test]
async fn rows_51_to_54_fail_by_receipt_each_for_its_reason() {
    let mut world = World::new().await;
    for (digits, reason, code) in [
        (51, Reason::InvalidRecipient, "UNDELIV/001"),
        (52, Reason::RecipientUnavailable, "UNDELIV/027"),
        (53, Reason::RecipientBlocked, "UNDELIV/013"),
        (54, Reason::Spam, "REJECTD/500"),
    ] {
        let (_, taken) = world.send_taken(digits).await;
        let report = world.line.report().await;
        assert_eq!(report.vendor_id, Some(taken), "{digits}");
        assert_eq!(report.verdict, Verdict::Failed(reason), "{digits}");
        assert_eq!(report.vendor_code.as_deref(), Some(code));
    }
}

#[tokio::test]
async fn row_55_is_refused_and_not_taken() {
    let world = World::new().await;
    let (id, outcome) = world.send(55).await;
    let [Answer::Refused { code, reason }] = answers(&outcome) else {
        panic!("{outcome:?}");
    };
    assert_eq!((code.as_str(), *reason), ("0x0A", Reason::SenderRejected));
    let definitive = world.line.provider.capabilities().definitive(code);
    assert_eq!(definitive, Some(*reason));
    assert_eq!(world.times_taken(id), 0);
}

#[tokio::test]
async fn row_60_is_throttled_then_not_connected_then_fine() {
    let world = World::new().await;
    let sent = call(vec![message(60)]);
    let outcome = world.line.provider.submit(&sent).await;
    assert_eq!(answers(&outcome), [Answer::Throttled]);
    world.line.unbound().await;
    let outcome = world.line.provider.submit(&sent).await;
    assert_eq!(outcome, Outcome::NotConnected(NotConnected::Refused));
    world.line.bound().await;
    let outcome = world.line.provider.submit(&sent).await;
    vendor_id(&outcome);
    assert_eq!(world.times_taken(sent.messages[0].id), 1);
}

#[tokio::test]
async fn row_61_is_throttled_for_a_while() {
    let world = World::new().await;
    let sent = call(vec![message(61)]);
    let outcome = world.line.provider.submit(&sent).await;
    assert_eq!(answers(&outcome), [Answer::Throttled]);
    assert_eq!(world.times_taken(sent.messages[0].id), 0);
    loop {
        let outcome = world.line.provider.submit(&sent).await;
        if answers(&outcome) != [Answer::Throttled] {
            vendor_id(&outcome);
            return;
        }
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn row_62_is_unknown_and_delivered_all_the_same() {
    let mut world = World::new().await;
    let (id, outcome) = world.send(62).await;
    assert_eq!(outcome, Outcome::Unknown(Lost::Reset));
    delivered_all_the_same(&mut world, id).await;
}

#[tokio::test]
async fn row_63_is_unknown_and_never_reported() {
    let mut world = World::new().await;
    let (id, outcome) = world.send(63).await;
    assert_eq!(outcome, Outcome::Unknown(Lost::Reset));
    assert_eq!(world.times_taken(id), 1);
    world.line.bound().await;
    nothing_is_reported(&mut world).await;
}

#[tokio::test]
async fn row_64_is_unknown_and_delivered_all_the_same() {
    let mut world = World::new().await;
    let (id, outcome) = world.send(64).await;
    assert!(matches!(answers(&outcome), [Answer::Unknown { code }] if code == "0x08"));
    delivered_all_the_same(&mut world, id).await;
}

#[tokio::test]
async fn row_65_is_unknown_and_not_taken() {
    let mut world = World::new().await;
    let (id, outcome) = world.send(65).await;
    assert!(matches!(answers(&outcome), [Answer::Unknown { code }] if code == "0x08"));
    assert_eq!(world.times_taken(id), 0);
    nothing_is_reported(&mut world).await;
}

#[tokio::test]
async fn row_66_is_garbled_so_unknown_and_delivered_all_the_same() {
    let mut world = World::new().await;
    let (id, outcome) = world.send(66).await;
    assert_eq!(outcome, Outcome::Unknown(Lost::Reset));
    delivered_all_the_same(&mut world, id).await;
}

#[tokio::test]
async fn row_70_is_reported_after_what_was_sent_later() {
    let mut world = World::new().await;
    let (_, late) = world.send_taken(70).await;
    let (_, prompt) = world.send_taken(0).await;
    assert_eq!(world.line.report().await.vendor_id, Some(prompt));
    assert_eq!(world.line.report().await.vendor_id, Some(late));
}

#[tokio::test]
async fn row_71_is_reported_twice() {
    let mut world = World::new().await;
    let (_, taken) = world.send_taken(71).await;
    for _ in 0..2 {
        assert_eq!(world.line.report().await.vendor_id, Some(taken.clone()));
    }
}

#[tokio::test]
async fn row_72_is_reported_before_the_answer() {
    let mut world = World::new().await;
    let sent = call(vec![message(72)]);
    let provider = world.line.provider.clone();
    let mut submitting = pin!(provider.submit(&sent));
    let report = tokio::select! {
        biased;
        outcome = &mut submitting => panic!("answered first: {outcome:?}"),
        report = world.line.report() => report,
    };
    assert_eq!(report.verdict, Verdict::Delivered);
    assert_eq!(report.vendor_id, Some(vendor_id(&submitting.await)));
}

#[tokio::test]
async fn row_73_is_never_reported() {
    let mut world = World::new().await;
    let (id, _) = world.send_taken(73).await;
    assert_eq!(world.times_taken(id), 1);
    nothing_is_reported(&mut world).await;
}

#[tokio::test]
async fn row_74_is_first_reported_under_an_unknown_id() {
    let mut world = World::new().await;
    let (_, taken) = world.send_taken(74).await;
    assert_ne!(world.line.report().await.vendor_id, Some(taken.clone()));
    assert_eq!(world.line.report().await.vendor_id, Some(taken));
}

#[tokio::test]
async fn row_75_is_reported_in_another_notation_and_is_the_same_id() {
    let mut world = World::new().await;
    let (_, taken) = world.send_taken(75).await;
    assert_eq!(world.line.report().await.vendor_id, Some(taken));
}

#[tokio::test]
async fn row_80_is_slow_but_fine() {
    let world = World::new().await;
    let (id, _) = world.send_taken(80).await;
    assert_eq!(world.times_taken(id), 1);
}

#[tokio::test]
async fn row_81_is_slower_than_we_wait_and_delivered() {
    let mut world = World::with("", Duration::from_millis(100)).await;
    let (id, outcome) = world.send(81).await;
    assert_eq!(outcome, Outcome::Unknown(Lost::TimedOut));
    delivered_all_the_same(&mut world, id).await;
}

#[tokio::test]
async fn a_full_window_is_answered_in_order_and_reported_whole() {
    let mut world = World::new().await;
    let batch = world.line.provider.capabilities().batch;
    let digits = (0..batch).map(|at| if at % 2 == 0 { 0 } else { 55 });
    let sent = call(digits.map(message).collect());
    let outcome = world.line.provider.submit(&sent).await;
    let mut taken = Vec::new();
    for (at, answer) in answers(&outcome).iter().enumerate() {
        match answer {
            Answer::Taken { vendor_id } if at % 2 == 0 => taken.push(vendor_id.clone()),
            Answer::Refused { .. } if at % 2 == 1 => {}
            other => panic!("{at}: {other:?}"),
        }
    }
    for _ in 0..taken.len() {
        let report = world.line.report().await;
        assert!(taken.contains(&report.vendor_id));
    }
}

#[tokio::test]
async fn statuses_mean_what_the_table_says() {
    let world = World::new().await;
    let vendor = Family::Smpp;
    for (status, expected) in [
        (0x01, Some(Reason::ContentRejected)),
        (0x0B, Some(Reason::InvalidRecipient)),
        (0x45, Some(Reason::ProviderError)),
        (0xFF, None),
        (0x400, None),
    ] {
        let raw = NextAnswer::Raw {
            status,
            body: String::new(),
            taken: false,
        };
        world.simulator.script(vendor, [raw]).unwrap();
        let (_, outcome) = world.send(0).await;
        let reason = match answers(&outcome) {
            [Answer::Refused { reason, .. }] => Some(*reason),
            [Answer::Unknown { code }] => {
                assert_eq!(*code, format!("{status:#04X}"));
                None
            }
            other => panic!("{status}: {other:?}"),
        };
        assert_eq!(reason, expected, "{status}");
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
