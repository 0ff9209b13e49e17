//! Asking what became of messages.

use pabal_common::domain::id::{MessageId, SubmissionId};
use pabal_common::domain::kind::MessageType::Sms;
use pabal_common::domain::report::Verdict;
use pabal_provider::{Asked, Found};
use pabal_simulator::Family;

use crate::world::{World, asked};

fn known(found: &Found) -> &pabal_common::domain::report::Report {
    match found {
        Found::Known(report) => report,
        Found::NotFound => panic!("not found"),
    }
}

#[tokio::test]
async fn asking_finds_what_was_taken_and_does_not_find_what_was_not() {
    let world = World::new().await;
    let (unreported, _) = world.send(Sms, 63).await;
    let (not_taken, _) = world.send(Sms, 65).await;
    let (never, _) = world.send(Sms, 73).await;
    let ask = [unreported.clone(), not_taken, never.clone()];
    let found = world.provider.ask(&ask).await.unwrap();
    let ended = known(&found[0]);
    assert_eq!(ended.verdict, Verdict::Delivered);
    assert_eq!(ended.message, Some(unreported.id));
    assert_eq!(ended.submission, Some(unreported.submission));
    assert!(ended.vendor_id.is_some());
    assert_eq!(found[1], Found::NotFound);
    let open = known(&found[2]);
    assert_eq!(open.verdict, Verdict::Taken);
    assert_eq!(open.message, Some(never.id));
}

#[tokio::test]
async fn a_message_whose_vendor_id_is_known_is_found_by_it_whenever_it_was_sent() {
    let world = World::new().await;
    let (sent, vendor_id) = world.send_taken(Sms, 0).await;
    let by_id = Asked {
        submission: SubmissionId::from_number(5),
        vendor_id: Some(vendor_id.clone()),
        ..sent
    };
    let found = world.provider.ask(std::slice::from_ref(&by_id)).await;
    let found = found.unwrap();
    assert_eq!(known(&found[0]).vendor_id, Some(vendor_id));
    assert_eq!(known(&found[0]).submission, Some(by_id.submission));
}

#[tokio::test]
async fn a_message_of_another_call_is_not_taken_for_this_one() {
    let world = World::new().await;
    let (sent, _) = world.send_taken(Sms, 0).await;
    let other = world.call(Sms, &[]).submission;
    let found = world.provider.ask(&[asked(sent.id, other)]).await.unwrap();
    assert_eq!(found, [Found::NotFound]);
}

#[tokio::test]
async fn a_whole_lost_call_is_found_over_many_pages() {
    let world = World::new().await;
    let lost = world.call(Sms, &[63; 100]);
    world.provider.submit(&lost).await;
    // Newer ones push it off the first page.
    for _ in 0..6 {
        world.provider.submit(&world.call(Sms, &[73; 100])).await;
    }
    let asked: Vec<_> = lost
        .messages
        .iter()
        .map(|message| asked(message.id, lost.submission))
        .collect();
    let found = world.provider.ask(&asked).await.unwrap();
    assert_eq!(found.len(), 100);
    for (found, asked) in found.iter().zip(&asked) {
        assert_eq!(known(found).message, Some(asked.id));
    }
}

#[tokio::test]
async fn a_vendor_that_cannot_answer_leaves_asking_for_later() {
    let world = World::new().await;
    let door = world.simulator.door(Family::Solapi).unwrap();
    let ask = [asked(
        MessageId::from_number(1),
        SubmissionId::from_number(1),
    )];
    door.shut().await;
    assert!(world.provider.ask(&ask).await.is_err());
    assert!(world.provider.probe().await.is_err());
    door.open().await;
    assert_eq!(world.provider.ask(&ask).await.unwrap(), [Found::NotFound]);
    assert!(world.provider.probe().await.is_ok());
}
