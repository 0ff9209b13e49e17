//! What a broker keeps over the end of its process.

use crate::stack::{RCS, SMS, each, next, take, texts, until_dead, until_ready};

#[tokio::test]
async fn after_a_restart_what_was_not_acknowledged_is_ready_again_in_its_order() {
    each(|it| async move {
        it.publish(SMS, &["1", "2", "3", "4"]).await;
        it.publish(RCS, &["5"]).await;
        let mut subscription = it.subscribe(10).await;
        let mut taken = take(&mut subscription, 3).await;
        taken.remove(1).ack().await;
        it.kept.flush().await;

        let after = it.kept.restart().await;
        until_ready(after.as_ref(), SMS, 3).await;
        until_ready(after.as_ref(), RCS, 1).await;
        let mut successor = after.subscribe(SMS, 10).await.unwrap();
        let again = take(&mut successor, 3).await;
        assert_eq!(texts(&again), ["1", "3", "4"]);
        // What was in a hand may have been worked on.
        assert!(again[0].redelivered() && again[1].redelivered());
        for delivery in again {
            delivery.ack().await;
        }
        assert_eq!(after.ready(SMS).await.unwrap(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_frame_published_after_a_restart_is_new() {
    each(|it| async move {
        it.publish(SMS, &["old"]).await;
        let after = it.kept.restart().await;
        after
            .publish(vec![crate::stack::frame(SMS, "new")])
            .await
            .unwrap();
        let mut subscription = after.subscribe(SMS, 10).await.unwrap();
        let taken = take(&mut subscription, 2).await;
        assert_eq!(texts(&taken), ["old", "new"]);
        assert!(!taken[1].redelivered());
    })
    .await;
}

#[tokio::test]
async fn dead_frames_stay_dead_over_a_restart() {
    each(|it| async move {
        it.publish(SMS, &["bad", "good"]).await;
        let mut subscription = it.subscribe(10).await;
        next(&mut subscription).await.reject().await;
        let after = it.kept.restart().await;
        until_ready(after.as_ref(), SMS, 1).await;
        assert_eq!(texts(&until_dead(after.as_ref(), 1).await), ["bad"]);
        let mut successor = after.subscribe(SMS, 10).await.unwrap();
        assert_eq!(texts(&take(&mut successor, 1).await), ["good"]);
    })
    .await;
}

#[tokio::test]
async fn the_highest_ledger_counter_is_remembered_over_a_restart() {
    each(|it| async move {
        assert_eq!(it.broker.recall_mark().await.unwrap(), 0);
        for counter in [7, 1_000_000, 1_000_001] {
            it.broker.remember_mark(counter).await.unwrap();
            assert_eq!(it.broker.recall_mark().await.unwrap(), counter);
        }
        let after = it.kept.restart().await;
        assert_eq!(after.recall_mark().await.unwrap(), 1_000_001);
    })
    .await;
}
