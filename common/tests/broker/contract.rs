//! What every broker does for one process.

use futures::FutureExt as _;
use pabal_common::broker::QueueName;
use pabal_common::domain::kind::{Lane, MessageType};

use crate::stack::{
    RCS, SMS, each, each_once, frame, next, nothing_comes, take, text, texts, until_dead,
    until_ready,
};

#[tokio::test]
async fn a_published_frame_is_delivered_and_leaves_the_queue_when_it_is_acknowledged() {
    each(|it| async move {
        it.publish(SMS, &["one"]).await;
        let mut subscription = it.subscribe(10).await;
        let delivery = next(&mut subscription).await;
        assert_eq!(text(delivery.as_ref()), "one");
        assert_eq!((delivery.queue(), delivery.redelivered()), (SMS, false));
        delivery.ack().await;
        assert!(nothing_comes(&it, &mut subscription).await);
        assert_eq!(it.ready(SMS).await, 0);
    })
    .await;
}

#[tokio::test]
async fn a_subscriber_that_waits_gets_a_frame_when_it_is_published() {
    each(|it| async move {
        let mut subscription = it.subscribe(10).await;
        let (delivery, ()) = tokio::join!(next(&mut subscription), it.publish(SMS, &["one"]));
        assert_eq!(text(delivery.as_ref()), "one");
    })
    .await;
}

#[tokio::test]
async fn frames_come_in_the_order_of_their_queue_and_from_no_other() {
    each(|it| async move {
        let [express, bulk] =
            [Lane::Express, Lane::Bulk].map(|lane| QueueName::of(MessageType::Sms, lane));
        let numbers: Vec<String> = (0..300).map(|number| number.to_string()).collect();
        for chunk in numbers.chunks(50) {
            let mut frames: Vec<_> = chunk.iter().map(|number| frame(SMS, number)).collect();
            frames.insert(1, frame(express, "express"));
            frames.insert(5, frame(bulk, "bulk"));
            frames.insert(9, frame(RCS, "rcs"));
            it.broker.publish(frames).await.unwrap();
        }
        assert_eq!(it.ready(SMS).await, 300);
        for other in [express, bulk, RCS] {
            assert_eq!(it.ready(other).await, 6);
        }
        let mut subscription = it.subscribe(1).await;
        let mut seen = Vec::new();
        for _ in 0..300 {
            let delivery = next(&mut subscription).await;
            seen.push(text(delivery.as_ref()));
            delivery.ack().await;
        }
        assert_eq!(seen, numbers);
    })
    .await;
}

#[tokio::test]
async fn frames_that_are_dropped_come_again_before_those_that_never_came() {
    each(|it| async move {
        it.publish(SMS, &["1", "2", "3", "4", "5"]).await;
        let mut subscription = it.subscribe(3).await;
        let taken = take(&mut subscription, 3).await;
        assert_eq!(texts(&taken), ["1", "2", "3"]);
        drop(taken);
        let mut again = take(&mut subscription, 3).await;
        assert_eq!(texts(&again), ["1", "2", "3"]);
        assert!(again.iter().all(|delivery| delivery.redelivered()));
        again.remove(1).ack().await;
        let fresh = next(&mut subscription).await;
        assert_eq!(
            (text(fresh.as_ref()), fresh.redelivered()),
            ("4".into(), false)
        );
        drop(again);
        let again = take(&mut subscription, 2).await;
        assert_eq!(texts(&again), ["1", "3"]);
        assert!(again.iter().all(|delivery| delivery.redelivered()));
    })
    .await;
}

#[tokio::test]
async fn no_more_frames_than_the_prefetch_are_in_hand_at_a_time() {
    each(|it| async move {
        it.publish(SMS, &["1", "2", "3", "4", "5"]).await;
        let mut subscription = it.subscribe(2).await;
        let mut taken = take(&mut subscription, 2).await;
        assert!(nothing_comes(&it, &mut subscription).await);
        taken.remove(0).ack().await;
        taken.push(next(&mut subscription).await);
        assert_eq!(texts(&taken), ["2", "3"]);
        assert!(nothing_comes(&it, &mut subscription).await);
        drop(taken.remove(0));
        assert_eq!(text(next(&mut subscription).await.as_ref()), "2");
    })
    .await;
}

#[tokio::test]
async fn subscribers_share_a_queue_and_no_frame_comes_to_two() {
    each(|it| async move {
        let numbers: Vec<String> = (0..400).map(|number| number.to_string()).collect();
        let frames: Vec<_> = numbers.iter().map(|number| frame(SMS, number)).collect();
        let mut subscriptions = Vec::new();
        for _ in 0..4 {
            subscriptions.push(it.subscribe(100).await);
        }
        let consume = subscriptions
            .iter_mut()
            .map(|subscription| take(subscription, 100));
        let (published, taken) = tokio::join!(
            it.broker.publish(frames),
            futures::future::join_all(consume)
        );
        published.unwrap();
        let seen: Vec<String> = taken.iter().flat_map(|taken| texts(taken)).collect();
        assert!(each_once(&seen, 400));
        assert_eq!(it.ready(SMS).await, 0);
    })
    .await;
}

#[tokio::test]
async fn ready_counts_what_waits_and_not_what_is_in_hand() {
    each(|it| async move {
        assert_eq!(it.ready(SMS).await, 0);
        it.publish(SMS, &["1", "2", "3"]).await;
        until_ready(it.broker.as_ref(), SMS, 3).await;
        let mut subscription = it.subscribe(2).await;
        let mut taken = take(&mut subscription, 2).await;
        until_ready(it.broker.as_ref(), SMS, 1).await;
        drop(subscription);
        taken.remove(0).ack().await;
        until_ready(it.broker.as_ref(), SMS, 1).await;
        drop(taken);
        until_ready(it.broker.as_ref(), SMS, 2).await;
        // A subscription that ends gives back what it had not handed out.
        let mut subscription = it.subscribe(2).await;
        let first = next(&mut subscription).await;
        drop(subscription);
        until_ready(it.broker.as_ref(), SMS, 1).await;
        drop(first);
        until_ready(it.broker.as_ref(), SMS, 2).await;
    })
    .await;
}

#[tokio::test]
async fn a_frame_in_hand_outlives_its_subscription() {
    each(|it| async move {
        it.publish(SMS, &["1", "2"]).await;
        let mut subscription = it.subscribe(2).await;
        let first = next(&mut subscription).await;
        drop(subscription);
        let mut successor = it.subscribe(2).await;
        let second = next(&mut successor).await;
        assert_eq!(text(second.as_ref()), "2");
        first.ack().await;
        second.ack().await;
        assert!(nothing_comes(&it, &mut successor).await);
    })
    .await;
}

#[tokio::test]
async fn a_call_for_the_next_frame_that_is_given_up_loses_none() {
    each(|it| async move {
        let mut subscription = it.subscribe(1).await;
        let numbers: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        let mut seen = Vec::new();
        for number in &numbers {
            // Given up at every point it can stop at: asleep, and after each of its first steps.
            assert!(subscription.next().now_or_never().is_none());
            it.publish(SMS, &[number]).await;
            let mut steps = 0;
            let delivery = loop {
                if let Some(delivery) = few_steps(subscription.next(), steps).await {
                    break delivery.unwrap();
                }
                steps += 1;
            };
            seen.push(text(delivery.as_ref()));
            delivery.ack().await;
        }
        assert_eq!(seen, numbers);
        assert_eq!(it.ready(SMS).await, 0);
    })
    .await;
}

/// Runs a future for a few steps; nothing if it needs more.
async fn few_steps<T>(future: impl Future<Output = T>, steps: usize) -> Option<T> {
    let given_up = async {
        for _ in 0..steps {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        done = future => Some(done),
        () = given_up => None,
    }
}

#[tokio::test]
async fn a_frame_is_counted_and_delivered_though_its_publisher_gave_up() {
    each(|it| async move {
        let mut subscription = it.subscribe(10).await;
        let mut asleep = tokio::spawn(async move {
            let first = next(&mut subscription).await;
            (subscription, first)
        });
        for steps in 0..4 {
            let published = it.broker.publish(vec![frame(SMS, &steps.to_string())]);
            few_steps(published, steps).await;
        }
        // Given up as soon as one has arrived.
        let first = tokio::select! {
            biased;
            first = &mut asleep => first,
            _ = it.broker.publish(vec![frame(SMS, "sure")]) => asleep.await,
        };
        let (mut subscription, mut delivery) = first.unwrap();
        // Confirmed after all of them, whatever became of those.
        it.publish(SMS, &["last"]).await;
        let mut seen = 1;
        while text(delivery.as_ref()) != "last" {
            delivery.ack().await;
            delivery = next(&mut subscription).await;
            seen += 1;
        }
        assert!(seen > 1);
        delivery.ack().await;
        drop(subscription);
        // Had one of them not been counted, it would be missing here.
        it.publish(SMS, &["more"; 10]).await;
        until_ready(it.broker.as_ref(), SMS, 10).await;
    })
    .await;
}

#[tokio::test]
async fn a_rejected_frame_waits_among_the_dead_until_it_is_acknowledged_there() {
    each(|it| async move {
        it.publish(SMS, &["bad", "good"]).await;
        it.publish(QueueName::Report, &["worse"]).await;
        let mut subscription = it.subscribe(10).await;
        next(&mut subscription).await.reject().await;
        assert_eq!(text(next(&mut subscription).await.as_ref()), "good");
        let mut reports = it.broker.subscribe(QueueName::Report, 1).await.unwrap();
        next(&mut reports).await.reject().await;

        let mut dead = until_dead(it.broker.as_ref(), 2).await;
        dead.sort_by_key(|delivery| text(delivery.as_ref()));
        assert_eq!(texts(&dead), ["bad", "worse"]);
        let from: Vec<_> = dead.iter().map(|delivery| delivery.queue()).collect();
        assert_eq!(from, [SMS, QueueName::Report]);
        dead.remove(0).ack().await;
        drop(dead);
        let left = until_dead(it.broker.as_ref(), 1).await;
        assert_eq!(texts(&left), ["worse"]);
        drop(left);
        assert_eq!(it.broker.dead_frames(0).await.unwrap().len(), 0);
        assert_eq!(it.ready(QueueName::Report).await, 0);
    })
    .await;
}

#[tokio::test]
async fn publishing_nothing_is_no_error() {
    each(|it| async move {
        it.broker.publish(vec![]).await.unwrap();
        assert_eq!(it.ready(SMS).await, 0);
    })
    .await;
}
