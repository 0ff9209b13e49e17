//! Reports: which message they are about, and what they may still change.

use pabal_common::broker::Member;
use pabal_common::domain::id::MessageId;
use pabal_common::domain::kind::MessageType;
use pabal_common::domain::phase::{Phase, Settled};
use pabal_common::domain::reason::Reason;
use pabal_common::domain::report::{Report, VendorAccount, VendorMessageId, Verdict};
use pabal_common::domain::status::Status;
use pabal_common::ledger::{Applied, Claim, Overdue};

use crate::stack::{Fixture, YEAR, each, reports, seconds};

const SPAM: Verdict = Verdict::Failed(Reason::Spam);

#[tokio::test]
async fn a_report_finds_its_message_by_our_id_or_by_account_and_vendor_id() {
    each(|it| async move {
        let id = it.sent(MessageType::Sms, "V-1").await;
        let by_our_id = it.one().await;
        let elsewhere = Report {
            account: VendorAccount::new("carrier", "b"),
            ..it.report("V-1", SPAM)
        };
        let stranger = Report {
            message: Some(MessageId::from_number(5)),
            ..it.report("V-1", Verdict::Delivered)
        };
        let outcome = it
            .apply(&[
                it.report("V-9", SPAM),
                elsewhere,
                it.report_on(MessageId::from_number(5), Verdict::Delivered),
                // Our id says nothing, the vendor's does.
                stranger,
                it.report_on(by_our_id, Verdict::Delivered),
            ])
            .await;
        assert_eq!(
            outcome.applied,
            [
                Applied::Unmatched,
                Applied::Unmatched,
                Applied::Unmatched,
                Applied::Moved(id),
                Applied::Moved(by_our_id),
            ]
        );
        assert_eq!(outcome.ended, 2);
    })
    .await;
}

#[tokio::test]
async fn repeats_in_one_batch_do_nothing_more() {
    each(|it| async move {
        let id = it.sent(MessageType::Sms, "V-1").await;
        let outcome = it
            .apply(&[
                it.report("V-1", Verdict::Taken),
                it.report("V-1", SPAM),
                it.report("V-1", SPAM),
                it.report("V-1", Verdict::Delivered),
            ])
            .await;
        let nothing = Applied::Nothing(id);
        assert_eq!(
            outcome.applied,
            [nothing, Applied::Moved(id), nothing, nothing]
        );
        assert_eq!(
            (outcome.ended, it.view(id).await.status),
            (1, Status::Failed)
        );
    })
    .await;
}

#[tokio::test]
async fn a_report_that_outruns_the_answer_ends_the_message_and_the_answer_changes_nothing() {
    each(|it| async move {
        let id = it.one().await;
        let call = it.claimed(&[id]).await;
        assert_eq!(
            it.applied(it.report_on(id, Verdict::Delivered)).await,
            Applied::Moved(id)
        );
        for settled in [
            Settled::Taken(VendorMessageId::new("V-1")),
            Settled::NotTaken { charged: true },
            Settled::Lost,
            Settled::Final(SPAM, None),
        ] {
            assert_eq!(it.settle(&[it.settlement(id, call, settled)]).await, None);
            assert_eq!(it.view(id).await.status, Status::Delivered);
        }
        assert_eq!(it.ledger.delays_size().await.unwrap(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_report_answers_for_a_call_whose_own_answer_was_lost() {
    each(|it| async move {
        let id = it.one().await;
        let call = it.claimed(&[id]).await;
        it.settle(&[it.settlement(id, call, Settled::Lost)]).await;
        let taken = Report {
            message: Some(id),
            ..it.report("V-7", Verdict::Taken)
        };
        assert_eq!(it.applied(taken).await, Applied::Moved(id));
        let view = it.view(id).await;
        assert_eq!((view.phase, view.status), (Phase::Answered, Status::Sent));
        assert_eq!(view.sent_at, Some(it.now()));
        assert_eq!(
            it.applied(it.report("V-7", Verdict::Delivered)).await,
            Applied::Moved(id)
        );
    })
    .await;
}

/// A message whose first call came back and which is now in its second one.
async fn in_its_second_call(it: &Fixture) -> (MessageId, Claim, Claim) {
    let id = it.one().await;
    let first = it.wish(&[id]);
    it.claim(&first).await;
    let back = Settled::NotTaken { charged: true };
    it.settle(&[it.settlement(id, first.submission, back)])
        .await;
    it.release(it.now()).await.unwrap();
    let second = Claim {
        members: vec![Member { id, attempt: 1 }],
        ..it.wish(&[])
    };
    assert_eq!(it.claim(&second).await.messages.len(), 1);
    (id, first, second)
}

#[tokio::test]
async fn a_failure_of_an_earlier_call_is_kept_as_an_event_and_changes_nothing() {
    each(|it| async move {
        let (id, first, second) = in_its_second_call(&it).await;
        let late = Report {
            submission: Some(first.submission),
            ..it.report_on(id, SPAM)
        };
        assert_eq!(it.applied(late).await, Applied::Stray(id));
        let elsewhere = Report {
            account: VendorAccount::new("other", "b"),
            ..it.report_on(id, SPAM)
        };
        assert_eq!(it.applied(elsewhere).await, Applied::Stray(id));
        assert_eq!(it.view(id).await.phase, Phase::Submitting);
        assert_eq!(
            it.events(id).await,
            ["RETRY", "STRAY_REPORT", "STRAY_REPORT"]
        );
        assert_eq!(it.told("shop").await, []);
        let current = Report {
            submission: Some(second.submission),
            ..it.report_on(id, SPAM)
        };
        assert_eq!(it.applied(current).await, Applied::Moved(id));
    })
    .await;
}

#[tokio::test]
async fn a_delivery_by_an_earlier_call_ends_the_message() {
    each(|it| async move {
        let (id, first, _) = in_its_second_call(&it).await;
        let submission = Some(first.submission);
        let late = Report {
            submission,
            ..it.report_on(id, Verdict::Delivered)
        };
        assert_eq!(it.applied(late).await, Applied::Moved(id));
        assert_eq!(it.view(id).await.status, Status::Delivered);
    })
    .await;
}

#[tokio::test]
async fn a_final_report_after_expiry_is_kept_as_an_event_and_rewrites_nothing() {
    each(|it| async move {
        let id = it.sent(MessageType::Sms, "V-1").await;
        let (ids, later) = (it.webhook_ids(1), it.now().plus(YEAR));
        it.ledger
            .expire(it.me, &[id], &ids, later, Overdue::default())
            .await
            .unwrap();
        let before = it.view(id).await;
        assert_eq!(before.status, Status::Expired);
        for verdict in [Verdict::Delivered, SPAM] {
            assert_eq!(
                it.applied(it.report("V-1", verdict)).await,
                Applied::Stray(id)
            );
        }
        assert_eq!(
            it.applied(it.report("V-1", Verdict::Taken)).await,
            Applied::Nothing(id)
        );
        assert_eq!(it.view(id).await, before);
        assert_eq!(it.events(id).await, ["STRAY_REPORT"; 2]);
        assert_eq!(it.told("shop").await.len(), 1);
        assert_eq!(it.ledger.reconcile().await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn a_refusal_is_carried_out_by_the_report_the_sender_left_in_the_outbox() {
    each(|it| async move {
        let id = it.one().await;
        let call = it.claimed(&[id]).await;
        let refused = Verdict::Failed(Reason::InvalidRecipient);
        let dispatch = it
            .settle(&[it.settlement(id, call, Settled::Final(refused, None))])
            .await;
        let view = it.view(id).await;
        assert_eq!(
            (view.phase, view.status),
            (Phase::Answered, Status::Processing)
        );
        assert_eq!(view.reason, None);
        let report = reports(&dispatch).remove(0);
        assert_eq!(it.applied(report).await, Applied::Moved(id));
        let view = it.view(id).await;
        assert_eq!(
            (view.status, view.reason),
            (Status::Failed, Some(Reason::InvalidRecipient))
        );
        assert_eq!(view.vendor_code.as_deref(), Some("1000"));
        assert_eq!(view.sent_at, None);
    })
    .await;
}

#[tokio::test]
async fn a_parked_report_comes_when_it_is_due_and_counts_its_misses() {
    each(|it| async move {
        let reports = [it.report("V-1", SPAM), it.report("V-2", Verdict::Delivered)];
        let (parked_at, due) = (it.now(), it.now().plus(seconds(1)));
        it.ledger.park(&reports, parked_at, due).await.unwrap();
        let again = due.plus(seconds(60));
        assert_eq!(
            it.ledger.take_parked(parked_at, again, 10).await.unwrap(),
            []
        );
        let mut taken = it.ledger.take_parked(due, again, 10).await.unwrap();
        taken.sort_by_key(|parked| parked.key);
        let seen: Vec<_> = taken
            .iter()
            .map(|p| (p.report.clone(), p.misses, p.since))
            .collect();
        assert_eq!(seen, reports.clone().map(|report| (report, 0, parked_at)));
        // Nobody else takes it meanwhile.
        assert_eq!(it.ledger.take_parked(due, again, 10).await.unwrap(), []);

        let soon = due.plus(seconds(2));
        it.ledger.repark(&[(taken[0].key, soon)]).await.unwrap();
        it.ledger.unpark(&[taken[1].key]).await.unwrap();
        let left = it.ledger.take_parked(soon, again, 10).await.unwrap();
        let seen: Vec<_> = left
            .into_iter()
            .map(|p| (p.report, p.misses, p.since))
            .collect();
        assert_eq!(seen, [(reports[0].clone(), 1, parked_at)]);
        assert_eq!(
            it.ledger.take_parked(again, again, 10).await.unwrap().len(),
            1
        );
    })
    .await;
}

#[tokio::test]
async fn parked_reports_are_taken_a_few_at_a_time_longest_due_first() {
    each(|it| async move {
        for (vendor_id, due) in [("V-1", 3), ("V-2", 2), ("V-3", 1)] {
            let due = it.now().plus(seconds(due));
            it.ledger
                .park(&[it.report(vendor_id, SPAM)], it.now(), due)
                .await
                .unwrap();
        }
        let (now, again) = (it.now().plus(seconds(9)), it.now().plus(seconds(99)));
        let mut seen = Vec::new();
        for _ in 0..3 {
            let taken = it.ledger.take_parked(now, again, 1).await.unwrap();
            seen.push(taken[0].report.vendor_id.clone().unwrap().to_string());
        }
        assert_eq!(seen, ["V-3", "V-2", "V-1"]);
    })
    .await;
}
