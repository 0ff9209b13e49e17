//! Accepting messages.

use pabal_common::broker::{Member, QueueName, SendFrame};
use pabal_common::domain::id::MessageId;
use pabal_common::domain::kind::{Channel, Lane, MessageType, Purpose};
use pabal_common::domain::message::NewMessage;
use pabal_common::domain::phase::Phase;
use pabal_common::domain::status::Status;
use pabal_common::ledger::{Accepted, Duplicate};

use crate::stack::{YEAR, each, members, name, partner};

#[tokio::test]
async fn every_lane_has_its_queue_and_reads_back() {
    each(|it| async move {
        let messages = Lane::ALL.map(|lane| NewMessage {
            lane,
            ..it.new_message(MessageType::Sms)
        });
        let frames = it.accept(&messages).await.dispatch.unwrap().frames;
        for NewMessage { id, lane, .. } in messages {
            assert_eq!(it.view(id).await.lane, lane);
            let queue = QueueName::Send(Channel::Sms, lane);
            let mut found = frames.iter().filter(|frame| frame.queue == queue);
            let frame = SendFrame::decode(&found.next().unwrap().body).unwrap();
            assert_eq!(frame.members, [Member { id, attempt: 0 }]);
        }
    })
    .await;
}

#[tokio::test]
async fn a_kept_message_is_queued_and_reads_back() {
    each(|it| async move {
        let message = NewMessage {
            purpose: Purpose::Auth,
            lane: Lane::Express,
            ..it.new_message(MessageType::Rcs)
        };
        let batch = it.accept(std::slice::from_ref(&message)).await;
        assert_eq!(batch.outcomes, [Accepted::Kept]);
        let frames = batch.dispatch.unwrap().frames;
        assert_eq!(
            frames[0].queue,
            QueueName::Send(Channel::Rcs, Lane::Express)
        );
        let frame = SendFrame::decode(&frames[0].body).unwrap();
        assert_eq!((frame.kind, frame.queued_at), (MessageType::Rcs, it.now()));
        assert_eq!(
            frame.members,
            [Member {
                id: message.id,
                attempt: 0
            }]
        );

        let view = it.view(message.id).await;
        assert_eq!((view.status, view.phase), (Status::Received, Phase::Queued));
        assert_eq!((view.kind, view.purpose), (message.kind, message.purpose));
        assert_eq!((view.lane, view.digest), (message.lane, message.digest));
        assert_eq!(
            (view.metadata, view.partner),
            (message.metadata, message.partner.clone())
        );
        assert_eq!(
            (view.accepted_at, view.valid_until),
            (message.accepted_at, message.valid_until)
        );
        let found = it
            .ledger
            .message_by_client_id(&message.partner, &message.client_msg_id)
            .await;
        assert_eq!(found.unwrap().unwrap().id, message.id);
        assert_eq!(
            it.ledger.message(MessageId::from_number(1)).await.unwrap(),
            None
        );
    })
    .await;
}

#[tokio::test]
async fn a_repeated_client_id_names_the_first_message_and_tells_repeat_from_conflict() {
    each(|it| async move {
        let first = it.new_message(MessageType::Sms);
        it.accept(std::slice::from_ref(&first)).await;
        let same = NewMessage {
            id: it.ids.message(),
            ..first.clone()
        };
        let other = NewMessage {
            id: it.ids.message(),
            digest: [8; 16],
            ..first.clone()
        };
        let fresh = it.new_message(MessageType::Sms);
        let batch = it.accept(&[same.clone(), fresh.clone(), other]).await;
        assert_eq!(
            batch.outcomes,
            [
                Accepted::Repeated(first.id, Duplicate::Same),
                Accepted::Kept,
                Accepted::Repeated(first.id, Duplicate::Conflict),
            ]
        );
        let published = members(&batch.dispatch.unwrap().frames);
        assert_eq!(
            published,
            [Member {
                id: fresh.id,
                attempt: 0
            }]
        );
        assert_eq!(it.ledger.message(same.id).await.unwrap(), None);

        let batch = it.accept(&[same]).await;
        assert_eq!(
            batch.outcomes,
            [Accepted::Repeated(first.id, Duplicate::Same)]
        );
        assert_eq!(batch.dispatch, None);
    })
    .await;
}

#[tokio::test]
async fn of_two_with_the_same_client_id_in_one_batch_the_first_is_kept() {
    each(|it| async move {
        let first = it.new_message(MessageType::Sms);
        // A smaller id and digest, so that no order but the caller's puts the first one first.
        let id = MessageId::from_number(first.id.number() - 1);
        let second = NewMessage {
            id,
            digest: [1; 16],
            ..first.clone()
        };
        let batch = it.accept(&[first.clone(), second]).await;
        let conflict = Accepted::Repeated(first.id, Duplicate::Conflict);
        assert_eq!(batch.outcomes, [Accepted::Kept, conflict]);
    })
    .await;
}

#[tokio::test]
async fn the_same_client_id_of_another_partner_or_in_other_letters_is_another_message() {
    each(|it| async move {
        it.add_partner(partner("mall")).await;
        let lower = NewMessage {
            client_msg_id: "a".parse().unwrap(),
            ..it.new_message(MessageType::Sms)
        };
        let upper = NewMessage {
            client_msg_id: "A".parse().unwrap(),
            ..it.new_message(MessageType::Sms)
        };
        let theirs = NewMessage {
            partner: name("mall"),
            id: it.ids.message(),
            ..lower.clone()
        };
        let batch = it.accept(&[lower, upper, theirs]).await;
        assert_eq!(batch.outcomes, [Accepted::Kept; 3]);
    })
    .await;
}

#[tokio::test]
async fn a_message_id_that_is_taken_is_told_and_its_owner_is_left_alone() {
    each(|it| async move {
        let first = it.new_message(MessageType::Sms);
        it.accept(std::slice::from_ref(&first)).await;
        let clash = NewMessage {
            id: first.id,
            ..it.new_message(MessageType::Lms)
        };
        let batch = it.accept(std::slice::from_ref(&clash)).await;
        assert_eq!(batch.outcomes, [Accepted::IdTaken]);
        assert_eq!(batch.dispatch, None);
        assert_eq!(it.view(first.id).await.client_msg_id, first.client_msg_id);

        let again = NewMessage {
            id: it.ids.message(),
            ..clash
        };
        assert_eq!(it.accept(&[again]).await.outcomes, [Accepted::Kept]);
    })
    .await;
}

#[tokio::test]
async fn a_thousand_messages_make_eight_frames_in_the_order_of_the_batch() {
    each(|it| async move {
        let messages: Vec<_> = (0..1000)
            .map(|_| it.new_message(MessageType::Sms))
            .collect();
        let batch = it.accept(&messages).await;
        assert!(
            batch
                .outcomes
                .iter()
                .all(|outcome| *outcome == Accepted::Kept)
        );
        let dispatch = batch.dispatch.unwrap();
        assert_eq!(dispatch.frames.len(), 8);
        let published: Vec<_> = members(&dispatch.frames)
            .into_iter()
            .map(|member| member.id)
            .collect();
        let accepted: Vec<_> = messages.iter().map(|message| message.id).collect();
        assert_eq!(published, accepted);
    })
    .await;
}

#[tokio::test]
async fn a_batch_is_in_the_outbox_until_it_is_retired() {
    each(|it| async move {
        let first = it
            .accept(&[it.new_message(MessageType::Sms)])
            .await
            .dispatch
            .unwrap();
        it.clock.advance(crate::stack::seconds(5));
        let second = it
            .accept(&[it.new_message(MessageType::Lms)])
            .await
            .dispatch
            .unwrap();
        assert_eq!(it.outbox().await, [first.clone(), second.clone()]);
        let older = it
            .ledger
            .outbox_of(it.me, None, it.now(), 10)
            .await
            .unwrap();
        assert_eq!(older, std::slice::from_ref(&first));
        let (after, later) = (Some(first.outbox), it.now().plus(YEAR));
        let behind = it.ledger.outbox_of(it.me, after, later, 10).await.unwrap();
        assert_eq!(behind, std::slice::from_ref(&second));

        let retire = [first.outbox];
        let message = it.new_message(MessageType::Sms);
        let third = it
            .ledger
            .accept(it.me, it.ids.outbox(), &[message], &retire)
            .await
            .unwrap();
        let third = third.dispatch.unwrap();
        assert_eq!(it.outbox().await, [second.clone(), third.clone()]);
        it.ledger
            .retire(&[second.outbox, third.outbox])
            .await
            .unwrap();
        assert_eq!(it.outbox().await, []);
        assert_eq!(it.ledger.outbox_size().await.unwrap(), 0);
    })
    .await;
}

#[tokio::test]
async fn requests_repeated_after_a_lost_commit_find_what_was_kept_and_are_not_counted_twice() {
    each(|it| async move {
        let messages = [
            it.new_message(MessageType::Sms),
            it.new_message(MessageType::Sms),
        ];
        it.accept(&messages).await;
        let anew = messages.clone().map(|message| NewMessage {
            id: it.new_message(MessageType::Sms).id,
            ..message
        });
        let again = it.accept(&anew).await;
        let found = messages.map(|message| Accepted::Repeated(message.id, Duplicate::Same));
        assert_eq!(again.outcomes, found);
        assert!(again.dispatch.is_none());
        assert_eq!(it.back.count("SELECT count(*) FROM messages").await, 2);
        assert_eq!(it.ledger.reconcile().await.unwrap(), []);
    })
    .await;
}
