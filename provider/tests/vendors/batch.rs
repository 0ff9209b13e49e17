//! Whole batches: every message gets its own answer, and one faulty recipient spoils the call.

use bytes::Bytes;
use pabal_common::domain::reason::Reason;
use pabal_common::domain::report::Verdict;
use pabal_provider::{Answer, Attachment, Lost, Outcome};
use pabal_simulator::NextAnswer;

use crate::world::{Line, World, answers, call};

#[tokio::test]
async fn a_full_batch_is_answered_in_order_and_reported_whole() {
    let mut world = World::new().await;
    for line in Line::REPORTING {
        let provider = world.provider(line);
        let batch = provider.capabilities().batch;
        let digits: Vec<u8> = (0..batch)
            .map(|at| if at % 2 == 0 { 70 } else { 55 })
            .collect();
        let sent = call(line, &digits);
        let outcome = provider.submit(&sent).await;
        let mut taken = Vec::new();
        for (at, answer) in answers(&outcome).iter().enumerate() {
            match answer {
                Answer::Taken { vendor_id } if at % 2 == 0 => taken.push(vendor_id.clone()),
                Answer::Refused { .. } if at % 2 == 1 => {}
                other => panic!("{line:?} {at}: {other:?}"),
            }
        }
        assert_eq!(taken.len(), batch / 2);
        for vendor_id in taken {
            let report = world.next_report(line).await;
            assert_eq!(report.verdict, Verdict::Delivered);
            assert_eq!(report.vendor_id, vendor_id, "{line:?}");
        }
    }
}

#[tokio::test]
async fn a_message_with_pictures_is_refused_by_a_carrier_and_those_beside_it_are_sent() {
    let world = World::new().await;
    let mut sent = call(Line::Carrier, &[70, 70, 55, 70]);
    for pictured in [0, 3] {
        sent.messages[pictured].attachments.push(Attachment {
            media_type: "image/jpeg".to_owned(),
            name: None,
            bytes: Bytes::from_static(b"picture"),
        });
    }
    let outcome = world.provider(Line::Carrier).submit(&sent).await;
    let [first, second, third, last] = answers(&outcome) else {
        panic!("{outcome:?}");
    };
    let pictures = |answer: &Answer| matches!(answer, Answer::Refused { code, reason: Reason::ContentRejected } if code == "PICTURES");
    assert!(pictures(first) && pictures(last), "{outcome:?}");
    assert!(matches!(second, Answer::Taken { .. }));
    assert!(matches!(third, Answer::Refused { code, .. } if code != "PICTURES"));
    let taken = sent.messages.iter().map(|one| world.times_taken(one.id));
    assert_eq!(taken.collect::<Vec<_>>(), [0, 1, 0, 0]);

    sent.messages.truncate(1);
    let outcome = world.provider(Line::Carrier).submit(&sent).await;
    assert!(pictures(&answers(&outcome)[0]) && answers(&outcome).len() == 1);
}

#[tokio::test]
async fn one_lost_answer_leaves_the_whole_call_unknown_and_taken() {
    let world = World::new().await;
    let sent = call(Line::Carrier, &[0, 62, 1, 51]);
    let outcome = world.provider(Line::Carrier).submit(&sent).await;
    assert_eq!(outcome, Outcome::Unknown(Lost::Reset));
    for message in &sent.messages {
        assert_eq!(world.times_taken(message.id), 1);
    }
}

#[tokio::test]
async fn a_fault_that_takes_nothing_wins_over_one_that_takes() {
    let world = World::new().await;
    let sent = call(Line::Carrier, &[62, 61, 0]);
    let outcome = world.provider(Line::Carrier).submit(&sent).await;
    assert!(matches!(outcome, Outcome::Throttled { .. }));
    assert_eq!(world.simulator.taken_count(), 0);
}

#[tokio::test]
async fn a_message_sent_twice_is_seen_by_the_witness() {
    let world = World::new().await;
    let provider = world.provider(Line::Carrier);
    let sent = call(Line::Carrier, &[0, 1]);
    provider.submit(&sent).await;
    assert!(world.simulator.duplicates().is_empty());
    provider.submit(&sent).await;
    let duplicates = world.simulator.duplicates();
    assert_eq!(duplicates.len(), 2);
    assert!(duplicates.iter().all(|duplicate| duplicate.times == 2));
}

#[tokio::test]
async fn answers_that_miss_an_entry_leave_only_that_message_unknown() {
    let world = World::new().await;
    let sent = call(Line::Carrier, &[0, 0]);
    let body = r#"{"results":[{"index":1,"code":"1000","id":"0A"}]}"#.to_owned();
    let short = NextAnswer::Raw {
        status: 200,
        body,
        taken: true,
    };
    let family = Line::Carrier.family();
    world.simulator.script(family, [short]).unwrap();
    let outcome = world.provider(Line::Carrier).submit(&sent).await;
    let [Answer::Unknown { .. }, Answer::Taken { .. }] = answers(&outcome) else {
        panic!("{outcome:?}");
    };
}

#[tokio::test]
async fn talktalk_sends_nothing_of_a_batch() {
    let world = World::new().await;
    let sent = call(Line::Talk, &[0, 0]);
    let outcome = world.provider(Line::Talk).submit(&sent).await;
    assert!(matches!(outcome, Outcome::NotConnected(_)));
    assert_eq!(world.simulator.taken_count(), 0);
}
