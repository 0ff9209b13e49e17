//! Claims: who gets a message for a vendor call.

use std::collections::HashSet;

use pabal_common::broker::Member;
use pabal_common::domain::kind::{Lane, MessageType, Purpose};
use pabal_common::domain::message::NewMessage;
use pabal_common::domain::phase::{Phase, Settled};
use pabal_common::domain::status::Status;
use pabal_common::ledger::{Claim, Hold};

use crate::stack::each;

#[tokio::test]
async fn a_claim_brings_the_sealed_content_in_its_own_order() {
    each(|it| async move {
        it.webhook("shop", |webhook| webhook.sent = true).await;
        let messages: Vec<_> = (0..3_u8)
            .map(|place| NewMessage {
                sealed: vec![place],
                purpose: Purpose::Auth,
                lane: Lane::Express,
                ..it.new_message(MessageType::Sms)
            })
            .collect();
        it.accept(&messages).await;
        let order = [messages[2].id, messages[0].id, messages[1].id];
        let wish = it.wish(&order);
        let call = it.claim(&wish).await;
        let got: Vec<_> = call
            .messages
            .iter()
            .map(|m| (m.id, m.sealed.clone()))
            .collect();
        assert_eq!(
            got,
            [
                (order[0], vec![2]),
                (order[1], vec![0]),
                (order[2], vec![1])
            ]
        );
        let first = &call.messages[0];
        assert_eq!(
            (first.kind, first.purpose, first.lane),
            (MessageType::Sms, Purpose::Auth, Lane::Express)
        );
        assert_eq!((first.attempt, first.poison, first.tell_sent), (0, 0, true));
        assert_eq!(first.valid_until, messages[2].valid_until);

        let view = it.view(order[0]).await;
        assert_eq!(
            (view.phase, view.status),
            (Phase::Submitting, Status::Processing)
        );
        assert_eq!(
            (view.owner, view.submission),
            (Some(it.me), Some(wish.submission))
        );
        assert_eq!(view.route.as_deref(), Some("sms-a"));
        assert_eq!(view.claimed_at, Some(it.now()));
    })
    .await;
}

#[tokio::test]
async fn sent_is_told_only_to_a_partner_with_an_endpoint_that_wants_it() {
    each(|it| async move {
        let unwanted = it.wish(&[it.one().await]);
        assert!(!it.claim(&unwanted).await.messages[0].tell_sent);
        it.webhook("shop", |webhook| (webhook.sent, webhook.url) = (true, None))
            .await;
        let nowhere = it.wish(&[it.one().await]);
        assert!(!it.claim(&nowhere).await.messages[0].tell_sent);
    })
    .await;
}

#[tokio::test]
async fn a_message_is_claimed_only_while_it_is_queued_at_the_attempt_of_the_frame() {
    each(|it| async move {
        let ids = it.queued(MessageType::Sms, 2).await;
        let mut late = it.wish(&ids);
        late.members[1].attempt = 1;
        let got = it.claim(&late).await;
        assert_eq!(
            got.messages.iter().map(|m| m.id).collect::<Vec<_>>(),
            [ids[0]]
        );
        assert_eq!(it.view(ids[1]).await.phase, Phase::Queued);
        assert_eq!(it.claim(&it.wish(&ids[..1])).await.messages, []);
        assert_eq!(it.view(ids[0]).await.submission, Some(late.submission));
    })
    .await;
}

#[tokio::test]
async fn a_message_is_not_claimed_from_the_end_of_its_validity_on() {
    each(|it| async move {
        let id = it.one().await;
        it.clock.set(it.view(id).await.valid_until);
        assert_eq!(it.claim(&it.wish(&[id])).await.messages, []);
        assert_eq!(it.view(id).await.phase, Phase::Queued);
        it.clock.set(
            it.view(id)
                .await
                .valid_until
                .minus(std::time::Duration::from_millis(1)),
        );
        assert_eq!(it.claim(&it.wish(&[id])).await.messages.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn of_claims_that_race_for_a_message_exactly_one_gets_it() {
    each(|it| async move {
        let other = it.join().await;
        let ids = it.queued(MessageType::Sms, 20).await;
        let wishes: Vec<Claim> = ids
            .iter()
            .flat_map(|id| [it.wish(&[*id]), it.wish(&[*id]), it.wish(&[*id])])
            .collect();
        let now = it.now();
        let races = wishes.chunks(1).enumerate().map(|(place, wish)| {
            let owner = if place % 2 == 0 { it.me } else { other };
            it.ledger.claim(owner, wish, now)
        });
        let calls = futures::future::join_all(races).await;
        let got: Vec<_> = calls
            .into_iter()
            .flat_map(|call| call.unwrap().remove(0).messages)
            .map(|m| m.id)
            .collect();
        assert_eq!(got.len(), 20);
        assert_eq!(
            got.into_iter().collect::<HashSet<_>>(),
            ids.into_iter().collect()
        );
    })
    .await;
}

#[tokio::test]
async fn of_two_claims_of_one_commit_the_first_gets_the_message() {
    each(|it| async move {
        let ids = it.queued(MessageType::Sms, 2).await;
        let wishes = [it.wish(&ids[..1]), it.wish(&ids)];
        let calls = it.ledger.claim(it.me, &wishes, it.now()).await.unwrap();
        let got: Vec<Vec<_>> = calls
            .iter()
            .map(|call| call.messages.iter().map(|m| m.id).collect())
            .collect();
        assert_eq!(got, [vec![ids[0]], vec![ids[1]]]);
    })
    .await;
}

#[tokio::test]
async fn quarantine_alone_raises_the_poison_of_a_message() {
    each(|it| async move {
        let id = it.one().await;
        let member = [Member { id, attempt: 0 }];
        for (why, event, poison) in [
            (Hold::Faulty, "QUARANTINED", 1),
            (Hold::NoRoute, "HELD", 1),
            (Hold::Faulty, "QUARANTINED", 2),
        ] {
            let now = it.now();
            it.ledger
                .hold(MessageType::Sms, &member, why, now, now)
                .await
                .unwrap();
            let waits = it.view(id).await;
            assert_eq!((waits.phase, waits.attempt), (Phase::Waiting, 0));
            assert!(it.events(id).await.contains(&event.to_owned()));
            it.release(now).await.unwrap();
            let wish = it.wish(&[id]);
            assert_eq!(it.claim(&wish).await.messages[0].poison, poison);
            let back = Settled::NotTaken { charged: false };
            it.settle(&[it.settlement(id, wish.submission, back)]).await;
            it.release(now).await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn only_what_is_still_queued_is_quarantined() {
    each(|it| async move {
        let id = it.one().await;
        it.claimed(&[id]).await;
        let member = [Member { id, attempt: 0 }];
        it.ledger
            .hold(MessageType::Sms, &member, Hold::Faulty, it.now(), it.now())
            .await
            .unwrap();
        assert_eq!(it.view(id).await.phase, Phase::Submitting);
        assert!(it.events(id).await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_claim_whose_commit_was_lost_reads_back_what_it_still_holds() {
    each(|it| async move {
        let ids = it.queued(MessageType::Sms, 2).await;
        let wish = it.wish(&ids);
        assert_eq!(it.ledger.reread(&wish).await.unwrap().messages, []);
        let call = it.claim(&wish).await;
        assert_eq!(
            it.ledger.reread(&wish).await.unwrap().messages,
            call.messages
        );
        it.settle(&[it.settlement(ids[0], wish.submission, Settled::Taken(None))])
            .await;
        assert_eq!(
            it.ledger.reread(&wish).await.unwrap().messages,
            call.messages[1..]
        );
    })
    .await;
}
