//! Messages whose time has not come.

use std::time::Duration;

use pabal_common::broker::{Member, QueueName, SendFrame};
use pabal_common::clock::Timestamp;
use pabal_common::domain::id::MessageId;
use pabal_common::domain::kind::{Lane, MessageType};
use pabal_common::domain::message::NewMessage;
use pabal_common::domain::phase::{Phase, Settled};
use pabal_common::domain::report::Verdict;
use pabal_common::ledger::{DueGroup, Hold, Settlement, WatchedStatus};

use crate::stack::{Fixture, each, members, seconds};

/// Lets a message wait until then.
async fn wait(it: &Fixture, id: MessageId, charged: bool, due: Timestamp) {
    let call = it.claimed(&[id]).await;
    let settled = Settled::NotTaken { charged };
    it.settle(&[Settlement {
        due: Some(due),
        ..it.settlement(id, call, settled)
    }])
    .await;
}

async fn release(it: &Fixture, kind: MessageType, limit: u32, now: Timestamp) -> Vec<Member> {
    let groups = [DueGroup { kind, limit }];
    let dispatch = it
        .ledger
        .release_due(it.me, it.ids.outbox(), &groups, now)
        .await
        .unwrap();
    members(&dispatch.map(|dispatch| dispatch.frames).unwrap_or_default())
}

#[tokio::test]
async fn only_what_is_due_in_the_given_groups_is_released() {
    each(|it| async move {
        let sms = it.one().await;
        let rcs = it.queued(MessageType::Rcs, 1).await[0];
        let late = it.one().await;
        let due = it.now().plus(seconds(2));
        wait(&it, sms, true, due).await;
        wait(&it, rcs, true, due).await;
        wait(&it, late, true, due.plus(Duration::from_millis(1))).await;
        assert_eq!(
            release(&it, MessageType::Sms, 10, due.minus(seconds(1))).await,
            []
        );
        assert_eq!(release(&it, MessageType::Lms, 10, due).await, []);
        let released = release(&it, MessageType::Sms, 10, due).await;
        assert_eq!(
            released,
            [Member {
                id: sms,
                attempt: 1
            }]
        );
        assert_eq!(it.view(rcs).await.phase, Phase::Waiting);
        assert_eq!(it.view(late).await.phase, Phase::Waiting);
        assert_eq!(it.ledger.delays_size().await.unwrap(), 2);
        let kinds = [MessageType::Sms, MessageType::Rcs, MessageType::Mms];
        assert_eq!(it.ledger.next_due(&kinds).await.unwrap(), Some(due));
        let sms_due = it.ledger.next_due(&kinds[..1]).await.unwrap();
        assert_eq!(sms_due, Some(due.plus(Duration::from_millis(1))));
        assert_eq!(it.ledger.next_due(&kinds[2..]).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn no_more_than_the_limit_is_released_and_the_longest_due_first() {
    each(|it| async move {
        let ids = it.queued(MessageType::Sms, 5).await;
        // Due in the opposite order of their ids.
        for (place, id) in ids.iter().enumerate() {
            wait(&it, *id, false, it.now().plus(seconds(10 - place as u64))).await;
        }
        let now = it.now().plus(seconds(60));
        let of = |places: &[usize]| -> Vec<Member> {
            places
                .iter()
                .map(|place| Member {
                    id: ids[*place],
                    attempt: 0,
                })
                .collect()
        };
        assert_eq!(release(&it, MessageType::Sms, 2, now).await, of(&[4, 3]));
        assert_eq!(
            release(&it, MessageType::Sms, 10, now).await,
            of(&[2, 1, 0])
        );
    })
    .await;
}

#[tokio::test]
async fn a_released_message_goes_through_the_retry_queue_of_its_lane() {
    each(|it| async move {
        let messages = Lane::ALL.map(|lane| NewMessage {
            lane,
            ..it.new_message(MessageType::Sms)
        });
        it.accept(&messages).await;
        for message in &messages {
            wait(&it, message.id, true, it.now()).await;
        }
        it.clock.advance(seconds(2));
        let dispatch = it.release(it.now()).await.unwrap();
        assert!(it.outbox().await.contains(&dispatch));
        for NewMessage { id, lane, .. } in messages {
            let queue = QueueName::Retry(lane);
            let frame = dispatch
                .frames
                .iter()
                .find(|frame| frame.queue == queue)
                .unwrap();
            let frame = SendFrame::decode(&frame.body).unwrap();
            assert_eq!(frame.members, [Member { id, attempt: 1 }]);
            assert_eq!((frame.kind, frame.queued_at), (MessageType::Sms, it.now()));
            assert_eq!(it.view(id).await.queued_at, it.now());
            let walked = it
                .ledger
                .walk(WatchedStatus::Received, None, 10)
                .await
                .unwrap();
            let watched = walked.into_iter().find(|watched| watched.id == id).unwrap();
            assert_eq!(watched.queue, queue);
        }
    })
    .await;
}

#[tokio::test]
async fn a_delay_whose_message_went_on_is_deleted_and_publishes_nothing() {
    each(|it| async move {
        let ended = it.one().await;
        wait(&it, ended, true, it.now()).await;
        it.applied(it.report_on(ended, Verdict::Delivered)).await;
        let elsewhere = it.one().await;
        wait(&it, elsewhere, true, it.now()).await;
        let id = it.back.id(elsewhere);
        it.back
            .run(&format!(
                "UPDATE messages SET attempt = 2 WHERE message_id = {id}"
            ))
            .await;
        assert_eq!(it.ledger.delays_size().await.unwrap(), 2);
        let before = it.ledger.outbox_size().await.unwrap();
        assert_eq!(it.release(it.now()).await, None);
        assert_eq!(it.ledger.delays_size().await.unwrap(), 0);
        assert_eq!(it.ledger.outbox_size().await.unwrap(), before);
        assert_eq!(it.view(elsewhere).await.phase, Phase::Waiting);
    })
    .await;
}

#[tokio::test]
async fn a_message_without_a_route_waits_at_the_same_attempt() {
    each(|it| async move {
        let ids = it.queued(MessageType::Sms, 2).await;
        let due = it.now().plus(seconds(5));
        let held = [
            Member {
                id: ids[0],
                attempt: 0,
            },
            Member {
                id: ids[1],
                attempt: 3,
            },
        ];
        it.ledger
            .hold(MessageType::Sms, &held, Hold::NoRoute, due, it.now())
            .await
            .unwrap();
        let view = it.view(ids[0]).await;
        assert_eq!((view.phase, view.attempt), (Phase::Waiting, 0));
        assert_eq!(it.events(ids[0]).await, ["HELD"]);
        assert_eq!(it.view(ids[1]).await.phase, Phase::Queued);
        assert_eq!(
            it.ledger.next_due(&[MessageType::Sms]).await.unwrap(),
            Some(due)
        );
        assert_eq!(it.ledger.delays_size().await.unwrap(), 1);
    })
    .await;
}

#[tokio::test]
async fn an_ask_that_was_taken_comes_again_only_at_its_new_time() {
    each(|it| async move {
        let ids = it.queued(MessageType::Sms, 3).await;
        let call = it.claimed(&ids).await;
        for (place, id) in ids.iter().enumerate() {
            let due = Some(it.now().plus(seconds(10 - place as u64)));
            it.settle(&[Settlement {
                due,
                ..it.settlement(*id, call, Settled::Lost)
            }])
            .await;
        }
        let (now, again) = (it.now().plus(seconds(20)), it.now().plus(seconds(80)));
        let asked = async |now, limit| {
            let asks = it.ledger.take_asks(now, again, limit).await.unwrap();
            asks.into_iter().map(|ask| ask.id).collect::<Vec<_>>()
        };
        assert_eq!(asked(now, 2).await, [ids[2], ids[1]]);
        assert_eq!(asked(now, 2).await, [ids[0]]);
        assert_eq!(asked(now, 2).await, []);
        assert_eq!(asked(again, 10).await.len(), 3);
    })
    .await;
}

#[tokio::test]
async fn asks_of_messages_whose_answer_was_found_are_deleted() {
    each(|it| async move {
        let ids = it.queued(MessageType::Sms, 2).await;
        let call = it.claimed(&ids).await;
        let lost = |id| Settlement {
            due: Some(it.now()),
            ..it.settlement(id, call, Settled::Lost)
        };
        it.settle(&[lost(ids[0]), lost(ids[1])]).await;
        it.settle(&[it.settlement(ids[0], call, Settled::Taken(None))])
            .await;
        let asks = it
            .ledger
            .take_asks(it.now(), it.now().plus(seconds(9)), 10)
            .await
            .unwrap();
        assert_eq!(asks.iter().map(|ask| ask.id).collect::<Vec<_>>(), [ids[1]]);
        assert_eq!(it.ledger.delays_size().await.unwrap(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_waiting_message_that_lost_its_delay_gets_one_again() {
    each(|it| async move {
        let ids = it.queued(MessageType::Sms, 3).await;
        wait(&it, ids[0], true, it.now().plus(seconds(9))).await;
        wait(&it, ids[1], true, it.now().plus(seconds(9))).await;
        let id = it.back.id(ids[0]);
        it.back
            .run(&format!("DELETE FROM delays WHERE message_id = {id}"))
            .await;
        assert_eq!(it.ledger.delay_again(&ids, it.now()).await.unwrap(), 1);
        let released = release(&it, MessageType::Sms, 10, it.now()).await;
        assert_eq!(
            released,
            [Member {
                id: ids[0],
                attempt: 1
            }]
        );
    })
    .await;
}

#[tokio::test]
async fn a_message_without_a_result_is_asked_for_once_more_and_an_ended_one_is_not() {
    each(|it| async move {
        let taken = it.sent(MessageType::KakaoBrandMessage, "v-1").await;
        let ended = it.sent(MessageType::KakaoBrandMessage, "v-2").await;
        it.applied(it.report("v-2", Verdict::Delivered)).await;
        let (now, again) = (it.now(), it.now().plus(seconds(30)));
        let once_more = it.ledger.ask_once_more(&[taken, ended], now).await;
        assert_eq!(once_more.unwrap(), 1);
        let asks = it.ledger.take_asks(now, again, 10).await.unwrap();
        assert_eq!(asks.len(), 1);
        assert_eq!(asks[0].id, taken);

        it.ledger.drop_asks(&[taken]).await.unwrap();
        let asks = it.ledger.take_asks(again, again, 10).await.unwrap();
        assert_eq!(asks, []);
    })
    .await;
}
