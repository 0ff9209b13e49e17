//! What keeps the ledger moving when a process, a queue or a report was lost.

use std::time::Duration;

use pabal_common::broker::{Member, QueueName, SendFrame};
use pabal_common::domain::id::MessageId;
use pabal_common::domain::kind::{Lane, MessageType};
use pabal_common::domain::phase::{Phase, Settled};
use pabal_common::domain::reason::Reason;
use pabal_common::domain::report::Verdict;
use pabal_common::ledger::{
    DeadLetterFilter, DeadLetterKind, NewDeadLetter, RefreshToken, Settlement, StatsQuery,
    WatchedStatus,
};

use crate::stack::{Fixture, LEASE, each, members, name, reports, seconds};

async fn walk(
    it: &Fixture,
    part: WatchedStatus,
    after: Option<MessageId>,
    limit: u32,
) -> Vec<MessageId> {
    let walked = it.ledger.walk(part, after, limit).await.unwrap();
    walked.into_iter().map(|watched| watched.id).collect()
}

#[tokio::test]
async fn a_walk_goes_through_what_has_not_ended_in_order_and_a_few_at_a_time() {
    each(|it| async move {
        let ids = it.queued(MessageType::Sms, 5).await;
        let call = it.claimed(&ids[1..3]).await;
        let taken = |id| it.settlement(id, call, Settled::Taken(None));
        it.settle(&[taken(ids[1]), taken(ids[2])]).await;
        it.applied(it.report_on(ids[2], Verdict::Delivered)).await;
        let received = WatchedStatus::Received;
        assert_eq!(walk(&it, received, None, 2).await, [ids[0], ids[3]]);
        assert_eq!(walk(&it, received, Some(ids[3]), 2).await, [ids[4]]);
        assert_eq!(walk(&it, received, Some(ids[4]), 2).await, []);
        assert_eq!(walk(&it, WatchedStatus::Sent, None, 10).await, [ids[1]]);
    })
    .await;
}

#[tokio::test]
async fn only_the_very_claim_that_was_seen_is_taken_over() {
    each(|it| async move {
        let ids = it.queued(MessageType::Sms, 3).await;
        let call = it.claimed(&ids[..2]).await;
        let other = it.ids.submission();
        let due = Some(it.now());
        let claims = [
            (ids[0], call, due),
            (ids[1], other, due),
            (ids[2], call, due),
        ];
        assert_eq!(
            it.ledger
                .take_over(&claims, "its owner is gone", it.now())
                .await
                .unwrap(),
            1
        );
        assert_eq!(it.view(ids[0]).await.phase, Phase::Unknown);
        assert_eq!(it.view(ids[1]).await.phase, Phase::Submitting);
        assert_eq!(it.view(ids[2]).await.phase, Phase::Queued);
        let events = it.ledger.events(ids[0]).await.unwrap();
        assert_eq!(
            (&events[0].kind[..], &events[0].note[..]),
            ("TAKEN_OVER", "its owner is gone")
        );
        let asks = it.ledger.take_asks(it.now(), it.now(), 10).await.unwrap();
        assert_eq!(asks.iter().map(|ask| ask.id).collect::<Vec<_>>(), [ids[0]]);
        // A late answer by the same call still counts.
        it.settle(&[it.settlement(ids[0], call, Settled::Taken(None))])
            .await;
        assert_eq!(it.view(ids[0]).await.phase, Phase::Answered);
    })
    .await;
}

#[tokio::test]
async fn a_message_the_broker_lost_is_queued_again_once() {
    each(|it| async move {
        let ids = it.queued(MessageType::Rcs, 3).await;
        let queued_at = it.now();
        it.claimed(&ids[1..2]).await;
        it.clock.advance(seconds(200));
        let lost: Vec<_> = ids[..2].iter().map(|id| (*id, queued_at)).collect();
        let lost = [
            lost,
            vec![(ids[2], queued_at.minus(Duration::from_millis(1)))],
        ]
        .concat();
        let again = || {
            it.ledger
                .queue_again(it.me, it.ids.outbox(), &lost, it.now())
        };
        let dispatch = again().await.unwrap().unwrap();
        assert!(it.outbox().await.contains(&dispatch));
        assert_eq!(
            dispatch.frames[0].queue,
            QueueName::of(MessageType::Rcs, Lane::Ordinary)
        );
        let frame = SendFrame::decode(&dispatch.frames[0].body).unwrap();
        assert_eq!(
            frame.members,
            [Member {
                id: ids[0],
                attempt: 0
            }]
        );
        assert_eq!((frame.kind, frame.queued_at), (MessageType::Rcs, it.now()));
        assert_eq!(it.view(ids[0]).await.queued_at, it.now());
        assert_eq!(it.view(ids[2]).await.queued_at, queued_at);
        assert_eq!(again().await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn a_released_message_the_broker_lost_goes_to_the_retry_queue_again() {
    each(|it| async move {
        let id = it.one().await;
        let call = it.claimed(&[id]).await;
        let back = Settled::NotTaken { charged: true };
        it.settle(&[it.settlement(id, call, back)]).await;
        it.release(it.now()).await.unwrap();
        let lost = [(id, it.now())];
        let outbox = it.ids.outbox();
        let dispatch = it
            .ledger
            .queue_again(it.me, outbox, &lost, it.now())
            .await
            .unwrap();
        let frames = dispatch.unwrap().frames;
        assert_eq!(frames[0].queue, QueueName::Retry(Lane::Ordinary));
        assert_eq!(members(&frames), [Member { id, attempt: 1 }]);
    })
    .await;
}

#[tokio::test]
async fn a_final_answer_whose_report_was_lost_is_reported_again() {
    each(|it| async move {
        let ids = it.queued(MessageType::Sms, 3).await;
        let call = it.claimed(&ids).await;
        let refused = Verdict::Failed(Reason::OptedOut);
        let settlements = [
            it.settlement(ids[0], call, Settled::Final(refused, None)),
            it.settlement(ids[1], call, Settled::Taken(None)),
            it.settlement(ids[2], call, Settled::Final(Verdict::Delivered, None)),
        ];
        let first = reports(&it.settle(&settlements).await);
        it.applied(it.report_on(ids[2], Verdict::Delivered)).await;
        let answered: Vec<_> = ids.iter().map(|id| (*id, it.now())).collect();
        it.clock.advance(seconds(200));
        let report_again = async || {
            let outbox = it.ids.outbox();
            let again = it.ledger.report_again(it.me, outbox, &answered, it.now());
            again.await.unwrap()
        };
        let again = report_again().await;
        // Who saw the same and comes later finds that it was done.
        assert_eq!(report_again().await, None);
        assert!(it.outbox().await.contains(again.as_ref().unwrap()));
        let again = reports(&again);
        assert_eq!(again.len(), 1);
        assert_eq!(
            Some(&again[0]),
            first.iter().find(|report| report.message == Some(ids[0]))
        );
        let watched = it
            .ledger
            .walk(WatchedStatus::Received, None, 10)
            .await
            .unwrap();
        assert_eq!(watched[0].answered_at, Some(it.now()));
        it.apply(&again).await;
        assert_eq!(it.view(ids[0]).await.reason, Some(Reason::OptedOut));
    })
    .await;
}

#[tokio::test]
async fn after_the_ledger_went_back_everything_that_may_have_been_sent_is_unknown() {
    each(|it| async move {
        let ids = it.queued(MessageType::Sms, 5).await;
        let call = it.claimed(&ids[1..]).await;
        it.settle(&[
            it.settlement(ids[1], call, Settled::NotTaken { charged: true }),
            it.settlement(ids[2], call, Settled::Taken(None)),
            it.settlement(ids[3], call, Settled::Taken(None)),
        ])
        .await;
        it.applied(it.report_on(ids[3], Verdict::Delivered)).await;
        let counter = it
            .ledger
            .heartbeat(it.me, LEASE, &[], &[])
            .await
            .unwrap()
            .counter;
        assert_eq!(
            it.ledger.restored(counter + 1000, it.now()).await.unwrap(),
            3
        );
        let phases = [
            Phase::Unknown,
            Phase::Unknown,
            Phase::Answered,
            Phase::Done,
            Phase::Unknown,
        ];
        for (id, phase) in ids.iter().zip(phases) {
            assert_eq!(it.view(*id).await.phase, phase);
        }
        assert_eq!(it.events(ids[0]).await, ["UNKNOWN"]);
        assert_eq!(it.release(it.now().plus(seconds(99))).await, None);
        let after = it
            .ledger
            .heartbeat(it.me, LEASE, &[], &[])
            .await
            .unwrap()
            .counter;
        assert!(after > counter + 1000);
        // A counter that is ahead already stays ahead.
        it.ledger.restored(5, it.now()).await.unwrap();
        let later = it
            .ledger
            .heartbeat(it.me, LEASE, &[], &[])
            .await
            .unwrap()
            .counter;
        assert!(later > after);
        assert_eq!(it.ledger.reconcile().await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn retention_deletes_what_has_ended_and_keeps_the_numbers_of_its_day() {
    each(|it| async move {
        let old = it.queued(MessageType::Sms, 3).await;
        let open = it.one().await;
        for id in &old {
            let call = it.claimed(&[*id]).await;
            it.settle(&[it.settlement(*id, call, Settled::Lost)]).await;
            it.applied(it.report_on(*id, Verdict::Delivered)).await;
        }
        let letter = NewDeadLetter {
            id: it.ids.dead_letter(),
            kind: DeadLetterKind::Report,
            partner: None,
            subject: "V-1".into(),
            reason: "gave up".into(),
            attempts: 1,
            payload: vec![],
        };
        it.ledger.bury(&[letter], it.now()).await.unwrap();
        let token = RefreshToken {
            hash: [1; 32],
            family: [1; 16],
            partner: name("shop"),
            expires_at: it.now().plus(seconds(60)),
        };
        it.ledger.keep_refresh(&token, it.now()).await.unwrap();
        let day = it.now().kst_day();
        let numbers = StatsQuery {
            partner: name("shop"),
            from: day,
            to: day,
            kind: None,
        };
        let before = it.ledger.daily(&numbers).await.unwrap();

        it.clock.advance(seconds(3600));
        let young = it.one().await;
        it.applied(it.report_on(young, Verdict::Delivered)).await;
        let limit = it.now();
        let nothing = it
            .ledger
            .retire_messages(limit.minus(seconds(3600)), 10)
            .await
            .unwrap();
        assert_eq!(nothing, 0);
        assert_eq!(it.ledger.retire_messages(limit, 2).await.unwrap(), 2);
        assert_eq!(it.ledger.retire_messages(limit, 10).await.unwrap(), 1);
        assert_eq!(it.ledger.retire_messages(limit, 10).await.unwrap(), 0);
        for id in &old {
            assert_eq!(it.ledger.message(*id).await.unwrap(), None);
            assert_eq!(it.events(*id).await, [""; 0]);
        }
        assert_eq!(it.view(open).await.phase, Phase::Queued);
        assert_eq!(it.view(young).await.phase, Phase::Done);
        assert_eq!(
            it.told("shop").await,
            [(young.to_string(), "DELIVERED".to_owned())]
        );
        let letters = DeadLetterFilter {
            limit: 10,
            ..DeadLetterFilter::default()
        };
        assert_eq!(it.ledger.dead_letters(&letters).await.unwrap(), []);
        assert_eq!(
            it.back.count("SELECT count(*) FROM refresh_tokens").await,
            0
        );

        let after = it.ledger.daily(&numbers).await.unwrap();
        assert_eq!(after[0].stats.total, before[0].stats.total + 1);
        assert_eq!(after[0].stats.total, 4);
        assert_eq!(it.ledger.reconcile().await.unwrap(), []);
        // What ends later is still counted.
        it.applied(it.report_on(open, Verdict::Delivered)).await;
        assert_eq!(it.ledger.daily(&numbers).await.unwrap()[0].stats.total, 5);
    })
    .await;
}

#[tokio::test]
async fn settling_for_a_message_that_is_gone_does_nothing() {
    each(|it| async move {
        let (id, call) = (it.ids.message(), it.ids.submission());
        let all = [
            Settled::Taken(None),
            Settled::Final(Verdict::Delivered, None),
            Settled::NotTaken { charged: true },
            Settled::Lost,
        ];
        let due = Some(it.now());
        let settlements = all.map(|settled| Settlement {
            due,
            ..it.settlement(id, call, settled)
        });
        assert_eq!(it.settle(&settlements).await, None);
        assert_eq!(it.ledger.delays_size().await.unwrap(), 0);
    })
    .await;
}
