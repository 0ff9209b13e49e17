//! Asking Kakao, and polling it with a cursor.

use pabal_common::domain::id::{MessageId, SubmissionId};
use pabal_common::domain::report::Verdict;
use pabal_provider::{Asked, Found};
use pabal_simulator::{NextAnswer, SimulatorConfig};

use crate::world::{Line, World, pace};

fn asked(id: MessageId) -> Asked {
    Asked {
        id,
        submission: SubmissionId::from_number(5),
        vendor_id: None,
    }
}

#[tokio::test]
async fn asking_finds_what_was_taken_and_does_not_find_what_was_not() {
    let world = World::new().await;
    for line in [Line::Alimtalk, Line::Brand] {
        let (unreported, _) = world.send(line, 63).await;
        let (not_taken, _) = world.send(line, 65).await;
        let (never, _) = world.send(line, 73).await;
        let ids = [unreported, not_taken, never];
        let found = world.provider(line).ask(&ids.map(asked)).await.unwrap();
        let [Found::Known(ended), Found::NotFound, Found::Known(open)] = found.as_slice() else {
            panic!("{line:?}: {found:?}");
        };
        assert_eq!(ended.verdict, Verdict::Delivered);
        assert_eq!(ended.message, Some(unreported));
        assert_eq!(ended.submission, Some(SubmissionId::from_number(5)));
        assert!(ended.vendor_id.is_some());
        assert_eq!(open.verdict, Verdict::Taken);
    }
}

#[tokio::test]
async fn more_messages_than_a_page_are_asked_for_in_order() {
    let world = World::new().await;
    let (known, _) = world.send(Line::Alimtalk, 0).await;
    let mut ids: Vec<_> = (1..=250).map(MessageId::from_number).collect();
    ids.push(known);
    let all: Vec<_> = ids.iter().copied().map(asked).collect();
    let found = world.provider(Line::Alimtalk).ask(&all).await.unwrap();
    assert_eq!(found.len(), 251);
    assert!(found[..250].iter().all(|found| *found == Found::NotFound));
    assert!(matches!(&found[250], Found::Known(_)));
}

#[tokio::test]
async fn only_kakao_can_be_asked_and_polled() {
    let world = World::new().await;
    for line in [Line::Carrier, Line::Rcshub, Line::Talk] {
        let provider = world.provider(line);
        assert!(!provider.capabilities().can_be_asked);
        assert!(provider.ask(&[]).await.is_err());
        assert!(provider.poll(None).await.is_err());
    }
}

#[tokio::test]
async fn a_poll_from_an_old_cursor_gives_the_same_results_again() {
    let mut world = World::new().await;
    let provider = world.provider(Line::Brand);
    let start = provider.poll(None).await.unwrap();
    assert!(start.reports.is_empty());
    world.send_taken(Line::Brand, 0).await;
    let first = world.next_report(Line::Brand).await;

    let again = provider.poll(start.cursor.as_deref()).await.unwrap();
    assert_eq!(again.reports, [first]);
    assert!(!again.more);
    let after = provider.poll(again.cursor.as_deref()).await.unwrap();
    assert!(after.reports.is_empty());
    assert_eq!(after.cursor, again.cursor);
}

#[tokio::test]
async fn a_vendor_that_cannot_answer_leaves_asking_and_polling_for_later() {
    let world = World::new().await;
    let provider = world.provider(Line::Brand);
    let door = world.simulator.door(Line::Brand.family()).unwrap();
    door.shut().await;
    assert!(provider.poll(None).await.is_err());
    assert!(
        provider
            .ask(&[asked(MessageId::from_number(1))])
            .await
            .is_err()
    );
    assert!(provider.probe().await.is_err());
    door.open().await;
    assert!(provider.poll(None).await.is_ok());
    assert!(provider.probe().await.is_ok());
}

#[tokio::test]
async fn a_cursor_stays_good_over_a_restart_and_owed_results_still_come() {
    let path = std::env::temp_dir().join(format!("pabal-record-{}", std::process::id()));
    let config = || SimulatorConfig {
        pace: pace(),
        record: Some(path.clone()),
        ..SimulatorConfig::default()
    };
    let _ = std::fs::remove_file(&path);
    let mut world = World::with(config()).await;
    let (_, told) = world.send_taken(Line::Brand, 0).await;
    assert_eq!(world.next_report(Line::Brand).await.vendor_id, Some(told));
    let cursor = world.provider(Line::Brand).poll(None).await.unwrap().cursor;
    let (owed, outcome) = world.send(Line::Brand, 70).await;
    assert_eq!(crate::world::answers(&outcome).len(), 1);
    world.simulator.stop().await;

    let world = World::with(config()).await;
    let polled = world.provider(Line::Brand).poll(cursor.as_deref()).await;
    let reports = polled.unwrap().reports;
    assert_eq!(reports.len(), 1, "{reports:?}");
    assert_eq!(reports[0].message, Some(owed));
    assert_eq!(world.simulator.taken_count(), 2);
    let _ = std::fs::remove_file(&path);
}

#[tokio::test]
async fn wrong_credentials_refuse_the_whole_call() {
    let world = World::new().await;
    for line in [Line::Carrier, Line::Rcshub, Line::Alimtalk] {
        let refuse = [NextAnswer::Refuse];
        world.simulator.script(line.family(), refuse).unwrap();
        let (id, outcome) = world.send(line, 0).await;
        let pabal_provider::Outcome::Refused { code, reason } = outcome else {
            panic!("{line:?}: {outcome:?}");
        };
        let provider = world.provider(line);
        assert_eq!(provider.capabilities().definitive(&code), Some(reason));
        assert_eq!(world.times_taken(id), 0);
    }
}
