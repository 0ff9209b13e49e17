//! What is written with the moves: delays, asks, reports, events, statistics and webhooks.

use std::time::Duration;

use pabal_common::broker::QueueName;
use pabal_common::clock::Timestamp;
use pabal_common::domain::id::WebhookId;
use pabal_common::domain::kind::MessageType;
use pabal_common::domain::message::NewMessage;
use pabal_common::domain::phase::{Phase, Settled};
use pabal_common::domain::reason::Reason;
use pabal_common::domain::report::{Report, VendorMessageId, Verdict};
use pabal_common::domain::status::Status;
use pabal_common::ledger::{Ask, Settlement};

use crate::stack::{account, each, name, partner, reports, results, seconds};

const SPAM: Verdict = Verdict::Failed(Reason::Spam);

#[tokio::test]
async fn a_message_that_could_not_connect_waits_until_its_time() {
    each(|it| async move {
        let ids = it.queued(MessageType::Sms, 2).await;
        let call = it.claimed(&ids).await;
        let due = it.now().plus(seconds(3));
        let later = it.now().plus(seconds(9));
        let wait = |id, charged, due| Settlement {
            due: Some(due),
            ..it.settlement(id, call, Settled::NotTaken { charged })
        };
        it.settle(&[wait(ids[0], true, later), wait(ids[1], false, due)])
            .await;
        let views = [it.view(ids[0]).await, it.view(ids[1]).await];
        assert_eq!(views.each_ref().map(|view| view.phase), [Phase::Waiting; 2]);
        assert_eq!(views.each_ref().map(|view| view.attempt), [1, 0]);
        assert_eq!(it.events(ids[0]).await, ["RETRY"]);
        assert_eq!(it.events(ids[1]).await, ["DEFERRED"]);
        let kinds = [MessageType::Sms];
        assert_eq!(it.ledger.next_due(&kinds).await.unwrap(), Some(due));
        it.release(due).await.unwrap();
        assert_eq!(it.ledger.next_due(&kinds).await.unwrap(), Some(later));
    })
    .await;
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_where_the_vendor_can_be_asked() {
    each(|it| async move {
        let ids = it.queued(MessageType::Sms, 2).await;
        let call = it.claimed(&ids).await;
        let due = it.now().plus(seconds(3));
        let settlements = [
            Settlement {
                due: Some(due),
                ..it.settlement(ids[0], call, Settled::Lost)
            },
            it.settlement(ids[1], call, Settled::Lost),
        ];
        assert_eq!(it.settle(&settlements).await, None);
        for id in &ids {
            assert_eq!(it.view(*id).await.phase, Phase::Unknown);
            assert_eq!(it.events(*id).await, ["UNKNOWN"]);
        }
        let again = due.plus(seconds(60));
        let early = due.minus(Duration::from_millis(1));
        assert_eq!(it.ledger.take_asks(early, again, 10).await.unwrap(), []);
        let ask = Ask {
            id: ids[0],
            submission: call,
            account: account(),
            vendor_id: None,
        };
        assert_eq!(it.ledger.take_asks(due, again, 10).await.unwrap(), [ask]);
    })
    .await;
}

#[tokio::test]
async fn the_answers_of_a_commit_are_reported_by_one_outbox_row() {
    each(|it| async move {
        let ids = it.queued(MessageType::Sms, 4).await;
        let call = it.claimed(&ids).await;
        let vendor_id = VendorMessageId::new("V-1");
        let settlements = [
            it.settlement(ids[0], call, Settled::Final(SPAM, None)),
            it.settlement(
                ids[1],
                call,
                Settled::Final(Verdict::Delivered, vendor_id.clone()),
            ),
            Settlement {
                tell_sent: true,
                ..it.settlement(ids[2], call, Settled::Taken(None))
            },
            it.settlement(ids[3], call, Settled::Taken(VendorMessageId::new("V-4"))),
        ];
        it.ledger
            .retire(&[it.outbox().await[0].outbox])
            .await
            .unwrap();
        let dispatch = it.settle(&settlements).await;
        assert_eq!(it.outbox().await, [dispatch.clone().unwrap()]);
        assert!(
            dispatch
                .iter()
                .flat_map(|d| &d.frames)
                .all(|f| f.queue == QueueName::Report)
        );
        let told: Vec<_> = reports(&dispatch)
            .into_iter()
            .map(|report| (report.message, report.verdict, report.vendor_id))
            .collect();
        assert_eq!(told.len(), 3);
        assert!(told.contains(&(Some(ids[0]), SPAM, None)));
        assert!(told.contains(&(Some(ids[1]), Verdict::Delivered, vendor_id)));
        assert!(told.contains(&(Some(ids[2]), Verdict::Taken, None)));
        let refused = reports(&dispatch)
            .into_iter()
            .find(|r| r.message == Some(ids[0]));
        let expected = Report {
            submission: Some(call),
            vendor_code: Some("1000".into()),
            ..it.report_on(ids[0], SPAM)
        };
        assert_eq!(refused, Some(expected));

        // The commit's answer may have been lost: settling again changes nothing.
        assert_eq!(it.settle(&settlements).await, None);
        assert_eq!(it.ledger.outbox_size().await.unwrap(), 1);
    })
    .await;
}

#[tokio::test]
async fn of_several_answers_for_one_call_in_one_commit_the_first_counts() {
    each(|it| async move {
        let ids = it.queued(MessageType::Sms, 2).await;
        let call = it.claimed(&ids).await;
        let first = VendorMessageId::new("V-1");
        let dispatch = it
            .settle(&[
                it.settlement(ids[0], call, Settled::Final(SPAM, None)),
                it.settlement(ids[0], call, Settled::Final(Verdict::Delivered, None)),
                it.settlement(ids[1], call, Settled::Taken(first)),
                it.settlement(ids[1], call, Settled::Taken(VendorMessageId::new("V-2"))),
            ])
            .await;
        let told: Vec<_> = reports(&dispatch)
            .iter()
            .map(|r| (r.message, r.verdict))
            .collect();
        assert_eq!(told, [(Some(ids[0]), SPAM)]);
        assert_eq!(it.view(ids[1]).await.vendor_id.as_deref(), Some("V-1"));
    })
    .await;
}

#[tokio::test]
async fn settling_retires_confirmed_outbox_rows() {
    each(|it| async move {
        let id = it.one().await;
        let call = it.claimed(&[id]).await;
        let confirmed = it.outbox().await[0].outbox;
        let settlement = it.settlement(id, call, Settled::Taken(None));
        let outbox = it.ids.outbox();
        it.ledger
            .settle(it.me, outbox, &[settlement], &[confirmed])
            .await
            .unwrap();
        assert_eq!(it.outbox().await, []);
    })
    .await;
}

#[tokio::test]
async fn an_end_is_written_with_its_times_code_and_reason() {
    each(|it| async move {
        let id = it.sent(MessageType::Sms, "V-1").await;
        let sent_at = it.now();
        it.clock.advance(seconds(7));
        it.applied(it.report("V-1", SPAM)).await;
        let view = it.view(id).await;
        assert_eq!((view.status, view.phase), (Status::Failed, Phase::Done));
        assert_eq!(
            (view.reason, view.vendor_code.as_deref()),
            (Some(Reason::Spam), Some("4430"))
        );
        assert_eq!(
            (view.sent_at, view.final_at),
            (Some(sent_at), Some(it.now()))
        );
    })
    .await;
}

#[tokio::test]
async fn a_vendor_whose_clock_is_ahead_cannot_date_a_message_into_the_future() {
    each(|it| async move {
        let id = it.one().await;
        let ahead = it.now().plus(seconds(3600));
        let report = Report {
            occurred_at: ahead,
            ..it.report_on(id, Verdict::Delivered)
        };
        it.applied(report).await;
        assert_eq!(it.view(id).await.sent_at, Some(it.now()));
    })
    .await;
}

#[tokio::test]
async fn an_end_is_counted_once_and_told_once_however_often_it_is_reported() {
    each(|it| async move {
        let id = it.sent(MessageType::Sms, "V-1").await;
        let delivered = it.report("V-1", Verdict::Delivered);
        let outcome = it.apply(&[delivered.clone(), delivered.clone()]).await;
        assert_eq!((outcome.ended, outcome.webhooks), (1, 1));
        let outcome = it.apply(&[delivered, it.report("V-1", SPAM)]).await;
        assert_eq!((outcome.ended, outcome.webhooks), (0, 0));
        assert_eq!(
            it.told("shop").await,
            [(id.to_string(), "DELIVERED".to_owned())]
        );
        assert_eq!(
            it.back
                .count("SELECT sum(total) FROM partner_daily_stats")
                .await,
            1
        );
        assert_eq!(
            it.back
                .count("SELECT sum(success) FROM partner_daily_stats")
                .await,
            1
        );
        assert_eq!(it.ledger.reconcile().await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn a_webhook_is_frozen_with_its_id_its_owner_and_the_partners_own_words() {
    each(|it| async move {
        let id = it.sent(MessageType::Sms, "V-1").await;
        let webhook_id = [it.ids.webhook()];
        let report = [it.report("V-1", Verdict::Delivered)];
        it.ledger
            .apply(it.me, &report, &webhook_id, it.now())
            .await
            .unwrap();
        let webhooks = it.webhooks("shop").await;
        assert_eq!(webhooks.len(), 1);
        let webhook = &webhooks[0];
        assert_eq!(
            (webhook.id, webhook.attempt, webhook.results),
            (webhook_id[0], 0, 1)
        );
        assert_eq!(
            (&webhook.partner, webhook.created_at),
            (&name("shop"), it.now())
        );
        assert_eq!(it.ledger.next_webhook(it.me).await.unwrap(), Some(it.now()));
        let body: serde_json::Value = serde_json::from_str(&webhook.body).unwrap();
        let event = &body["events"][0];
        assert_eq!(event["messageId"], id.to_string());
        assert_eq!(event["status"], "DELIVERED");
        assert_eq!(event["vendorCode"], "4430");
        assert_eq!(event["metadata"]["order"], 1);
        for time in ["acceptedAt", "sentAt", "finalAt"] {
            assert_eq!(event[time], it.now().to_rfc3339());
        }
    })
    .await;
}

#[tokio::test]
async fn sent_is_told_once_and_only_to_a_partner_that_wants_it() {
    each(|it| async move {
        let wanting = partner("mall");
        it.add_partner(wanting).await;
        it.webhook("mall", |webhook| webhook.sent = true).await;
        let mine = it.sent(MessageType::Sms, "V-1").await;
        let theirs = NewMessage {
            partner: name("mall"),
            ..it.new_message(MessageType::Sms)
        };
        it.accept(std::slice::from_ref(&theirs)).await;
        let call = it.claimed(&[theirs.id]).await;
        let taken = Settled::Taken(VendorMessageId::new("V-2"));
        it.settle(&[it.settlement(theirs.id, call, taken)]).await;

        let reports = [
            it.report_on(mine, Verdict::Taken),
            it.report_on(theirs.id, Verdict::Taken),
        ];
        assert_eq!(it.apply(&reports).await.webhooks, 1);
        assert_eq!(it.apply(&reports).await.webhooks, 0);
        assert_eq!(it.told("shop").await, []);
        let sent = (theirs.id.to_string(), "SENT".to_owned());
        assert_eq!(it.told("mall").await, std::slice::from_ref(&sent));

        it.applied(it.report("V-2", Verdict::Delivered)).await;
        let delivered = (theirs.id.to_string(), "DELIVERED".to_owned());
        assert_eq!(it.told("mall").await, [sent, delivered]);
    })
    .await;
}

#[tokio::test]
async fn sent_is_told_too_when_the_report_outruns_the_answer() {
    each(|it| async move {
        it.webhook("shop", |webhook| webhook.sent = true).await;
        let id = it.one().await;
        it.claimed(&[id]).await;
        it.applied(it.report_on(id, Verdict::Taken)).await;
        assert_eq!(it.told("shop").await, [(id.to_string(), "SENT".to_owned())]);
    })
    .await;
}

#[tokio::test]
async fn results_of_a_commit_are_told_in_webhooks_of_the_size_each_partner_wants() {
    each(|it| async move {
        it.webhook("shop", |webhook| webhook.batch = 3).await;
        it.add_partner(partner("mall")).await;
        it.add_partner(partner("mute")).await;
        it.webhook("mute", |webhook| webhook.url = None).await;
        let mut ids = Vec::new();
        for (owner, how_many) in [("shop", 7), ("mall", 2), ("mute", 2)] {
            for _ in 0..how_many {
                let message = NewMessage {
                    partner: name(owner),
                    ..it.new_message(MessageType::Sms)
                };
                ids.push(message.id);
                it.accept(&[message]).await;
            }
        }
        let reports: Vec<_> = ids
            .iter()
            .map(|id| it.report_on(*id, Verdict::Delivered))
            .collect();
        let outcome = it.apply(&reports).await;
        assert_eq!((outcome.ended, outcome.webhooks), (11, 5));
        let sizes = |webhooks: Vec<pabal_common::ledger::DueWebhook>| {
            let mut sizes: Vec<_> = webhooks.iter().map(|webhook| webhook.results).collect();
            sizes.sort_unstable();
            assert!(
                webhooks
                    .iter()
                    .all(|w| results(&w.body).len() == usize::from(w.results))
            );
            sizes
        };
        assert_eq!(sizes(it.webhooks("shop").await), [1, 3, 3]);
        assert_eq!(sizes(it.webhooks("mall").await), [1, 1]);
        assert_eq!(sizes(it.webhooks("mute").await), [0_u16; 0]);
        let ids: std::collections::HashSet<WebhookId> = it
            .webhooks("shop")
            .await
            .iter()
            .map(|webhook| webhook.id)
            .collect();
        assert_eq!(ids.len(), 3);
        assert_eq!(it.ledger.reconcile().await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn a_commit_that_fails_leaves_nothing_behind() {
    each(|it| async move {
        let id = it.sent(MessageType::Sms, "V-1").await;
        // No id for the webhook it needs: everything before it has to go again.
        let delivered = [it.report("V-1", Verdict::Delivered)];
        assert!(
            it.ledger
                .apply(it.me, &delivered, &[], it.now())
                .await
                .is_err()
        );
        let view = it.view(id).await;
        assert_eq!(
            (view.phase, view.final_at),
            (Phase::Answered, None::<Timestamp>)
        );
        assert_eq!(it.ledger.webhooks_size().await.unwrap(), 0);
        assert_eq!(
            it.back
                .count("SELECT count(*) FROM partner_daily_stats")
                .await,
            0
        );
        assert_eq!(it.apply(&delivered).await.ended, 1);
    })
    .await;
}
