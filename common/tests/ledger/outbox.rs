//! The outbox: who may publish what is not confirmed yet; and what polling leaves in it.

use pabal_common::broker::QueueName;
use pabal_common::domain::kind::MessageType;
use pabal_common::domain::report::Verdict;
use pabal_common::ledger::Dispatch;

use crate::stack::{LEASE, YEAR, each, reports, seconds};

#[tokio::test]
async fn rows_are_adopted_only_from_owners_without_a_lease_oldest_first() {
    each(|it| async move {
        let (dead, live) = (it.join().await, it.join().await);
        let mut rows = Vec::new();
        for owner in [dead, live, dead, dead] {
            let message = it.new_message(MessageType::Sms);
            let outbox = it.ids.outbox();
            let batch = it
                .ledger
                .accept(owner, outbox, &[message], &[])
                .await
                .unwrap();
            rows.push(batch.dispatch.unwrap());
        }
        assert_eq!(it.ledger.adopt_outbox(it.me, 10).await.unwrap(), []);
        it.clock.advance(LEASE);
        for owner in [it.me, live] {
            it.ledger.heartbeat(owner, LEASE, &[], &[]).await.unwrap();
        }
        let adopted = it.ledger.adopt_outbox(it.me, 2).await.unwrap();
        assert_eq!(adopted, [rows[0].clone(), rows[2].clone()]);
        assert_eq!(
            it.ledger.adopt_outbox(live, 10).await.unwrap(),
            [rows[3].clone()]
        );
        assert_eq!(it.ledger.adopt_outbox(it.me, 10).await.unwrap(), []);
        assert_eq!(it.outbox().await, adopted);
        let of_dead = it
            .ledger
            .outbox_of(dead, None, it.now().plus(YEAR), 10)
            .await
            .unwrap();
        assert_eq!(of_dead, []);
    })
    .await;
}

#[tokio::test]
async fn of_several_that_adopt_at_once_one_gets_each_row() {
    each(|it| async move {
        let adopters = [it.me, it.join().await, it.join().await];
        // Many rounds, because they must meet between looking and taking.
        for _ in 0..20 {
            let dead = it.join().await;
            for _ in 0..5 {
                let (message, outbox) = (it.new_message(MessageType::Sms), it.ids.outbox());
                it.ledger
                    .accept(dead, outbox, &[message], &[])
                    .await
                    .unwrap();
            }
            it.ledger.leave(dead).await.unwrap();
            let adopting = adopters.map(|adopter| it.ledger.adopt_outbox(adopter, 10));
            let adopted = futures::future::join_all(adopting).await;
            let rows: usize = adopted.into_iter().map(|rows| rows.unwrap().len()).sum();
            assert_eq!(rows, 5);
        }
    })
    .await;
}

#[tokio::test]
async fn an_owner_that_cannot_publish_leaves_its_rows_to_anybody() {
    each(|it| async move {
        let other = it.join().await;
        it.one().await;
        it.one().await;
        assert_eq!(it.ledger.release_outbox(it.me).await.unwrap(), 2);
        assert_eq!(it.outbox().await, []);
        assert_eq!(it.ledger.adopt_outbox(other, 1).await.unwrap().len(), 1);
        assert_eq!(it.ledger.adopt_outbox(it.me, 10).await.unwrap().len(), 1);
        assert_eq!(it.ledger.outbox_size().await.unwrap(), 2);
    })
    .await;
}

#[tokio::test]
async fn an_outbox_row_reads_back_as_it_was_written() {
    each(|it| async move {
        let messages: Vec<_> = [MessageType::Sms, MessageType::Rcs, MessageType::Sms]
            .map(|kind| it.new_message(kind))
            .into();
        let dispatch = it.accept(&messages).await.dispatch.unwrap();
        assert_eq!(dispatch.frames.len(), 2);
        assert_eq!(it.outbox().await, [dispatch]);
    })
    .await;
}

#[tokio::test]
async fn the_cursor_of_a_poll_moves_with_the_reports_it_brought() {
    each(|it| async move {
        assert_eq!(it.ledger.poll_cursor("kakao").await.unwrap(), None);
        let polled = [
            it.report("V-1", Verdict::Delivered),
            it.report("V-2", Verdict::Taken),
        ];
        let outbox = it.ids.outbox();
        let keep = |outbox, reports, cursor| {
            it.ledger
                .keep_reports(it.me, outbox, reports, cursor, it.now())
        };
        let dispatch = keep(outbox, &polled, Some(("kakao", "page-2")))
            .await
            .unwrap();
        assert_eq!(reports(&dispatch), polled);
        assert!(
            dispatch
                .iter()
                .flat_map(|d| &d.frames)
                .all(|f| f.queue == QueueName::Report)
        );
        assert_eq!(
            it.outbox().await,
            dispatch.into_iter().collect::<Vec<Dispatch>>()
        );
        assert_eq!(
            it.ledger.poll_cursor("kakao").await.unwrap().as_deref(),
            Some("page-2")
        );
        assert_eq!(it.ledger.poll_cursor("naver").await.unwrap(), None);

        // The reports cannot be kept, so the cursor stays.
        assert!(
            keep(outbox, &polled, Some(("kakao", "page-3")))
                .await
                .is_err()
        );
        assert_eq!(
            it.ledger.poll_cursor("kakao").await.unwrap().as_deref(),
            Some("page-2")
        );

        // An empty page moves it, and leaves nothing to publish.
        let empty = keep(it.ids.outbox(), &[], Some(("kakao", "page-3")))
            .await
            .unwrap();
        assert_eq!(empty, None);
        assert_eq!(
            it.ledger.poll_cursor("kakao").await.unwrap().as_deref(),
            Some("page-3")
        );
        assert_eq!(it.ledger.outbox_size().await.unwrap(), 1);
    })
    .await;
}

#[tokio::test]
async fn one_live_process_at_a_time_polls_a_source() {
    each(|it| async move {
        let other = it.join().await;
        let until = it.now().plus(seconds(5));
        let lease = async |who, until| {
            it.ledger
                .lease_poll(who, "kakao", it.now(), until)
                .await
                .unwrap()
        };
        assert!(lease(it.me, until).await);
        assert!(!lease(other, until).await);
        assert!(lease(it.me, until).await);
        // Another source is another right, and the cursor is untouched by it all.
        assert!(
            it.ledger
                .lease_poll(other, "naver", it.now(), until)
                .await
                .unwrap()
        );
        let cursor = [it.report("V-1", Verdict::Delivered)];
        let kept = Some(("kakao", "page-2"));
        it.ledger
            .keep_reports(it.me, it.ids.outbox(), &cursor, kept, it.now())
            .await
            .unwrap();
        it.clock.set(until);
        assert!(lease(other, until.plus(seconds(5))).await);
        assert!(!lease(it.me, until.plus(seconds(5))).await);
        assert_eq!(
            it.ledger.poll_cursor("kakao").await.unwrap().as_deref(),
            Some("page-2")
        );
        it.ledger.leave(other).await.unwrap();
        assert!(lease(it.me, until.plus(seconds(5))).await);
    })
    .await;
}
