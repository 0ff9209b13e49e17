//! Deadlines: what ends without a report, and what a deadline never ends.

use std::time::Duration;

use pabal_common::broker::Member;
use pabal_common::clock::{Clock as _, Timestamp};
use pabal_common::domain::id::MessageId;
use pabal_common::domain::kind::MessageType;
use pabal_common::domain::phase::{Phase, Settled};
use pabal_common::domain::reason::Reason;
use pabal_common::domain::report::{Report, VendorMessageId, Verdict};
use pabal_common::domain::status::Status;
use pabal_common::ledger::{Hold, Overdue, SharedHealth};

use crate::stack::{Fixture, LEASE, YEAR, each, seconds};

const MOMENT: Duration = Duration::from_millis(1);
const LIMITS: Overdue = Overdue {
    sms: seconds(100),
    others: seconds(300),
};

async fn expire(it: &Fixture, ids: &[MessageId], now: Timestamp) -> u32 {
    let webhooks = it.webhook_ids(ids.len());
    it.ledger
        .expire(it.me, ids, &webhooks, now, LIMITS)
        .await
        .unwrap()
}

/// How a message ended, if it has.
async fn end(it: &Fixture, id: MessageId) -> Option<(Status, Option<Reason>)> {
    let view = it.view(id).await;
    (view.phase == Phase::Done).then_some((view.status, view.reason))
}

const VALIDITY_PASSED: Option<(Status, Option<Reason>)> =
    Some((Status::Expired, Some(Reason::ValidityPassed)));
const ROUTE_DOWN: Option<(Status, Option<Reason>)> =
    Some((Status::Failed, Some(Reason::RouteDown)));

#[tokio::test]
async fn what_no_vendor_got_expires_at_the_end_of_its_validity() {
    each(|it| async move {
        let ids = it.queued(MessageType::Sms, 2).await;
        let call = it.claimed(&ids[1..]).await;
        let back = Settled::NotTaken { charged: true };
        it.settle(&[it.settlement(ids[1], call, back)]).await;
        let until = it.view(ids[0]).await.valid_until;
        assert_eq!(expire(&it, &ids, until.minus(MOMENT)).await, 0);
        assert_eq!(expire(&it, &ids, until).await, 2);
        for id in &ids {
            assert_eq!(end(&it, *id).await, VALIDITY_PASSED);
            assert_eq!(it.view(*id).await.final_at, Some(until));
        }
        assert_eq!(it.ledger.delays_size().await.unwrap(), 0);
        assert_eq!(it.told("shop").await.len(), 2);
        assert_eq!(
            it.back
                .count("SELECT expired FROM partner_daily_stats")
                .await,
            2
        );
        assert_eq!(
            it.back
                .count("SELECT failed FROM partner_daily_stats")
                .await,
            2
        );
        assert_eq!(expire(&it, &ids, until).await, 0);
        assert_eq!(it.ledger.reconcile().await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn what_waited_for_a_closed_route_fails_for_that_reason() {
    each(|it| async move {
        let ids = it.queued(MessageType::Sms, 2).await;
        let members = ids
            .iter()
            .map(|id| Member {
                id: *id,
                attempt: 0,
            })
            .collect::<Vec<_>>();
        it.ledger
            .hold(
                MessageType::Sms,
                &members,
                Hold::NoRoute,
                it.now(),
                it.now(),
            )
            .await
            .unwrap();
        it.release(it.now()).await.unwrap();
        // The second one found a route at last, but could not be sent for another reason.
        let call = it.claimed(&ids[1..]).await;
        let back = Settled::NotTaken { charged: false };
        it.settle(&[it.settlement(ids[1], call, back)]).await;
        let until = it.view(ids[0]).await.valid_until;
        assert_eq!(expire(&it, &ids, until).await, 2);
        assert_eq!(end(&it, ids[0]).await, ROUTE_DOWN);
        assert_eq!(end(&it, ids[1]).await, VALIDITY_PASSED);
    })
    .await;
}

#[tokio::test]
async fn what_was_quarantined_does_not_fail_for_want_of_a_route() {
    each(|it| async move {
        let id = it.one().await;
        let member = [Member { id, attempt: 0 }];
        it.ledger
            .hold(MessageType::Sms, &member, Hold::Faulty, it.now(), it.now())
            .await
            .unwrap();
        let until = it.view(id).await.valid_until;
        assert_eq!(expire(&it, &[id], until).await, 1);
        assert_eq!(end(&it, id).await, VALIDITY_PASSED);
    })
    .await;
}

#[tokio::test]
async fn what_stayed_in_the_queue_of_a_closed_type_fails_for_that_reason() {
    each(|it| async move {
        let sms = it.queued(MessageType::Sms, 1).await;
        let rcs = it.queued(MessageType::Rcs, 1).await;
        let until = it.view(sms[0]).await.valid_until;
        it.clock.set(until);
        let words = [
            SharedHealth::of_type(MessageType::Sms, false, None, it.now()),
            SharedHealth::of_type(MessageType::Rcs, true, None, it.now()),
        ];
        it.ledger
            .heartbeat(it.me, LEASE, &[], &words)
            .await
            .unwrap();
        expire(&it, &[sms[0], rcs[0]], until).await;
        assert_eq!(end(&it, sms[0]).await, ROUTE_DOWN);
        assert_eq!(end(&it, rcs[0]).await, VALIDITY_PASSED);
    })
    .await;
}

#[tokio::test]
async fn the_word_of_a_dead_sender_or_an_older_word_closes_no_type() {
    each(|it| async move {
        let id = it.one().await;
        let rcs = it.queued(MessageType::Rcs, 1).await[0];
        let other = it.join().await;
        let until = it.view(id).await.valid_until;
        let closed = [
            SharedHealth::of_type(MessageType::Sms, false, None, it.now()),
            SharedHealth::of_type(MessageType::Rcs, false, None, it.now()),
        ];
        it.ledger
            .heartbeat(other, LEASE, &[], &closed)
            .await
            .unwrap();
        it.clock.set(until);
        // `other` has not renewed its lease since.
        let open = SharedHealth::of_type(MessageType::Rcs, true, None, it.now());
        it.ledger
            .heartbeat(it.me, LEASE, &[], &[open])
            .await
            .unwrap();
        expire(&it, &[id, rcs], until).await;
        assert_eq!(end(&it, id).await, VALIDITY_PASSED);
        assert_eq!(end(&it, rcs).await, VALIDITY_PASSED);
    })
    .await;
}

#[tokio::test]
async fn what_a_vendor_may_have_waits_for_the_carriers_deadline_from_its_claim() {
    each(|it| async move {
        let unknown = it.queued(MessageType::Sms, 1).await[0];
        let other_type = it.queued(MessageType::Rcs, 1).await[0];
        it.clock.advance(seconds(1000));
        let sent = it.sent(MessageType::Sms, "V-1").await;
        for id in [unknown, other_type] {
            let call = it.claimed(&[id]).await;
            it.settle(&[it.settlement(id, call, Settled::Lost)]).await;
        }
        let ids = [unknown, sent, other_type];
        let claimed = it.now();
        assert_eq!(
            expire(&it, &ids, claimed.plus(seconds(100)).minus(MOMENT)).await,
            0
        );
        assert_eq!(expire(&it, &ids, claimed.plus(seconds(100))).await, 2);
        let lost = Some((Status::Expired, Some(Reason::UnknownOutcome)));
        assert_eq!(end(&it, unknown).await, lost);
        assert_eq!(
            end(&it, sent).await,
            Some((Status::Expired, Some(Reason::NoReport)))
        );
        assert_eq!(
            expire(&it, &ids, claimed.plus(seconds(300)).minus(MOMENT)).await,
            0
        );
        assert_eq!(expire(&it, &ids, claimed.plus(seconds(300))).await, 1);
        assert_eq!(end(&it, other_type).await, lost);
    })
    .await;
}

#[tokio::test]
async fn a_call_in_flight_is_never_ended_by_time() {
    each(|it| async move {
        let id = it.one().await;
        it.claimed(&[id]).await;
        assert_eq!(expire(&it, &[id], it.now().plus(YEAR)).await, 0);
        assert_eq!(it.view(id).await.phase, Phase::Submitting);
    })
    .await;
}

#[tokio::test]
async fn a_final_answer_on_the_row_wins_over_the_deadline() {
    each(|it| async move {
        let ids = it.queued(MessageType::Sms, 2).await;
        let call = it.claimed(&ids).await;
        let refused = Verdict::Failed(Reason::OptedOut);
        it.settle(&[
            it.settlement(ids[0], call, Settled::Final(refused, None)),
            it.settlement(ids[1], call, Settled::Final(Verdict::Delivered, None)),
        ])
        .await;
        assert_eq!(expire(&it, &ids, it.now().plus(YEAR)).await, 2);
        assert_eq!(
            end(&it, ids[0]).await,
            Some((Status::Failed, Some(Reason::OptedOut)))
        );
        assert_eq!(end(&it, ids[1]).await, Some((Status::Delivered, None)));
        assert_eq!(it.ledger.reconcile().await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn a_parked_report_wins_over_the_deadline() {
    each(|it| async move {
        let by_vendor_id = it.sent(MessageType::Sms, "V-1").await;
        let by_our_id = it.sent(MessageType::Sms, "V-2").await;
        let undecided = it.sent(MessageType::Sms, "V-3").await;
        let spam = Verdict::Failed(Reason::Spam);
        let parked = [
            it.report("V-1", spam),
            Report {
                vendor_id: VendorMessageId::new("V-2"),
                ..it.report_on(by_our_id, Verdict::Delivered)
            },
            it.report("V-3", Verdict::Taken),
            it.report("V-4", spam),
        ];
        it.ledger.park(&parked, it.now(), it.now()).await.unwrap();
        let ids = [by_vendor_id, by_our_id, undecided];
        assert_eq!(expire(&it, &ids, it.now().plus(YEAR)).await, 3);
        assert_eq!(
            end(&it, by_vendor_id).await,
            Some((Status::Failed, Some(Reason::Spam)))
        );
        assert_eq!(end(&it, by_our_id).await, Some((Status::Delivered, None)));
        let unheard = Some((Status::Expired, Some(Reason::NoReport)));
        assert_eq!(end(&it, undecided).await, unheard);
        let left = it.ledger.take_parked(it.now(), it.now(), 10).await.unwrap();
        let mut left: Vec<_> = left
            .into_iter()
            .map(|p| p.report.vendor_id.unwrap().to_string())
            .collect();
        left.sort();
        assert_eq!(left, ["V-3", "V-4"]);
    })
    .await;
}

#[tokio::test]
async fn a_row_of_a_restored_ledger_gets_the_whole_deadline_again() {
    each(|it| async move {
        let id = it.one().await;
        it.clock.advance(seconds(5000));
        assert!(it.view(id).await.valid_until < it.clock.now());
        it.ledger.restored(0, it.now()).await.unwrap();
        assert_eq!(
            expire(&it, &[id], it.now().plus(seconds(100)).minus(MOMENT)).await,
            0
        );
        assert_eq!(expire(&it, &[id], it.now().plus(seconds(100))).await, 1);
        let lost = Some((Status::Expired, Some(Reason::UnknownOutcome)));
        assert_eq!(end(&it, id).await, lost);
    })
    .await;
}

#[tokio::test]
async fn a_failure_report_by_our_id_ends_a_restored_message_that_no_backup_saw_claimed() {
    each(|it| async move {
        let id = it.one().await;
        it.ledger.restored(0, it.now()).await.unwrap();
        it.applied(it.report_on(id, Verdict::Failed(Reason::Spam)))
            .await;
        assert_eq!(
            end(&it, id).await,
            Some((Status::Failed, Some(Reason::Spam)))
        );
    })
    .await;
}
