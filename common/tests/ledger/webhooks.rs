//! Webhook rows: who delivers them, when, and what comes of it.

use pabal_common::domain::id::WebhookId;
use pabal_common::domain::kind::MessageType;
use pabal_common::domain::message::NewMessage;
use pabal_common::domain::report::Verdict;
use pabal_common::ledger::{
    DeadLetterFilter, DeadLetterKind, DeliveryResult, DueWebhook, Endpoint, NewDeadLetter,
};

use crate::stack::{Fixture, LEASE, each, name, partner, results, seconds};

/// A message of this partner that has ended, and with it a webhook of this process.
async fn ended(it: &Fixture, owner: &str) -> pabal_common::domain::id::MessageId {
    let message = NewMessage {
        partner: name(owner),
        ..it.new_message(MessageType::Sms)
    };
    it.accept(std::slice::from_ref(&message)).await;
    it.applied(it.report_on(message.id, Verdict::Delivered))
        .await;
    message.id
}

async fn due(it: &Fixture, owner: &str, in_hand: &[WebhookId], limit: u32) -> Vec<DueWebhook> {
    it.ledger
        .due_webhooks(it.me, &name(owner), it.now(), in_hand, limit)
        .await
        .unwrap()
}

async fn record(it: &Fixture, webhook: &DueWebhook, result: DeliveryResult) {
    it.ledger
        .record_deliveries(it.me, &[(webhook.clone(), result)], it.now())
        .await
        .unwrap();
}

async fn endpoints(it: &Fixture, limit: u32) -> Vec<String> {
    let due = it
        .ledger
        .endpoints_due(it.me, it.now(), limit)
        .await
        .unwrap();
    due.into_iter()
        .map(|endpoint| endpoint.partner.to_string())
        .collect()
}

fn retry(it: &Fixture, after: u64) -> DeliveryResult {
    DeliveryResult::Retry {
        next_at: it.now().plus(seconds(after)),
        why: "503".into(),
    }
}

fn dead(it: &Fixture, webhook: &DueWebhook) -> (NewDeadLetter, DeliveryResult) {
    let letter = NewDeadLetter {
        id: it.ids.dead_letter(),
        kind: DeadLetterKind::Webhook,
        partner: Some(webhook.partner.clone()),
        subject: webhook.id.to_string(),
        reason: "HTTP 400".into(),
        attempts: webhook.attempt + 1,
        payload: webhook.body.clone().into_bytes(),
    };
    (letter.clone(), DeliveryResult::Dead(letter))
}

#[tokio::test]
async fn endpoints_take_turns_by_how_long_their_oldest_webhook_has_waited() {
    each(|it| async move {
        for partner_id in ["cafe", "book", "idle", "ahead"] {
            it.add_partner(partner(partner_id)).await;
        }
        let mut due_at = Vec::new();
        for partner_id in ["cafe", "shop", "shop", "book"] {
            ended(&it, partner_id).await;
            due_at.push(it.now());
            it.clock.advance(seconds(1));
        }
        ended(&it, "ahead").await;
        let ahead = &due(&it, "ahead", &[], 1).await[0];
        record(&it, ahead, retry(&it, 60)).await;
        assert_eq!(endpoints(&it, 10).await, ["cafe", "shop", "book"]);
        assert_eq!(endpoints(&it, 2).await, ["cafe", "shop"]);
        let first = it.ledger.endpoints_due(it.me, it.now(), 1).await.unwrap();
        assert_eq!(
            first,
            [Endpoint {
                partner: name("cafe"),
                due: due_at[0]
            }]
        );
        assert_eq!(
            it.ledger.next_webhook(it.me).await.unwrap(),
            Some(due_at[0])
        );

        // The endpoint that failed goes behind the others.
        let cafe = &due(&it, "cafe", &[], 1).await[0];
        record(&it, cafe, retry(&it, 0)).await;
        assert_eq!(endpoints(&it, 10).await, ["shop", "book", "cafe"]);
    })
    .await;
}

#[tokio::test]
async fn due_webhooks_come_oldest_first_without_those_in_hand_or_of_others() {
    each(|it| async move {
        let other = it.join().await;
        let mut ids = Vec::new();
        for _ in 0..4 {
            ids.push(ended(&it, "shop").await.to_string());
            it.clock.advance(seconds(1));
        }
        let all = due(&it, "shop", &[], 10).await;
        let told: Vec<_> = all
            .iter()
            .map(|webhook| results(&webhook.body)[0].0.clone())
            .collect();
        assert_eq!(told, ids);
        assert_eq!(due(&it, "shop", &[], 2).await, all[..2]);
        assert_eq!(
            due(&it, "shop", &[all[0].id, all[2].id], 2).await,
            [all[1].clone(), all[3].clone()]
        );
        record(&it, &all[0], retry(&it, 5)).await;
        assert_eq!(due(&it, "shop", &[], 10).await, all[1..]);
        let theirs = it
            .ledger
            .due_webhooks(other, &name("shop"), it.now(), &[], 10)
            .await;
        assert_eq!(theirs.unwrap(), []);
        assert_eq!(
            it.ledger.endpoints_due(other, it.now(), 10).await.unwrap(),
            []
        );
        assert_eq!(it.ledger.next_webhook(other).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn a_result_counts_only_from_the_owner_and_for_the_attempt_it_was_made_for() {
    each(|it| async move {
        let other = it.join().await;
        ended(&it, "shop").await;
        let webhook = due(&it, "shop", &[], 1).await.remove(0);
        let delivered = [(webhook.clone(), DeliveryResult::Delivered)];
        it.ledger
            .record_deliveries(other, &delivered, it.now())
            .await
            .unwrap();
        assert_eq!(it.ledger.webhooks_size().await.unwrap(), 1);

        record(&it, &webhook, retry(&it, 5)).await;
        // The same attempt's other results come too late.
        record(&it, &webhook, DeliveryResult::Delivered).await;
        record(&it, &webhook, retry(&it, 500)).await;
        record(&it, &webhook, dead(&it, &webhook).1).await;
        record(
            &it,
            &webhook,
            DeliveryResult::EndpointGone { why: "410".into() },
        )
        .await;
        it.clock.advance(seconds(5));
        let again = due(&it, "shop", &[], 1).await.remove(0);
        assert_eq!(
            again,
            DueWebhook {
                attempt: 1,
                ..webhook
            }
        );
        assert_eq!(endpoints(&it, 10).await, ["shop"]);

        record(&it, &again, DeliveryResult::Delivered).await;
        assert_eq!(it.ledger.webhooks_size().await.unwrap(), 0);
        let all = DeadLetterFilter {
            limit: 10,
            ..DeadLetterFilter::default()
        };
        assert_eq!(it.ledger.dead_letters(&all).await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn a_failed_delivery_is_an_event_of_each_message_it_tells_of() {
    each(|it| async move {
        it.webhook("shop", |webhook| webhook.batch = 2).await;
        let ids = it.queued(MessageType::Sms, 2).await;
        let reports = [0, 1].map(|place| it.report_on(ids[place], Verdict::Delivered));
        it.apply(&reports).await;
        let webhook = due(&it, "shop", &[], 1).await.remove(0);
        record(&it, &webhook, retry(&it, 0)).await;
        let webhook = due(&it, "shop", &[], 1).await.remove(0);
        record(&it, &webhook, dead(&it, &webhook).1).await;
        for id in ids {
            assert_eq!(it.events(id).await, ["WEBHOOK_FAILED", "WEBHOOK_DEAD"]);
        }
    })
    .await;
}

#[tokio::test]
async fn a_dead_letter_sent_again_is_the_same_webhook_from_its_first_attempt() {
    each(|it| async move {
        let id = ended(&it, "shop").await;
        let webhook = due(&it, "shop", &[], 1).await.remove(0);
        record(&it, &webhook, retry(&it, 0)).await;
        let webhook = due(&it, "shop", &[], 1).await.remove(0);
        let (letter, result) = dead(&it, &webhook);
        record(&it, &webhook, result).await;
        assert_eq!(it.ledger.webhooks_size().await.unwrap(), 0);
        let filter = DeadLetterFilter {
            limit: 10,
            ..DeadLetterFilter::default()
        };
        let kept = it.ledger.dead_letters(&filter).await.unwrap().remove(0);
        assert_eq!((kept.letter, kept.replayed_at), (letter, None));

        it.clock.advance(seconds(60));
        let other = it.join().await;
        for _ in 0..2 {
            // Twice is once: it is waiting already.
            let outbox = it.ids.outbox();
            let replayed = it
                .ledger
                .replay(other, outbox, &filter, it.now())
                .await
                .unwrap();
            assert_eq!(replayed, (1, None));
        }
        assert_eq!(it.ledger.webhooks_size().await.unwrap(), 1);
        let shop = name("shop");
        let again = it
            .ledger
            .due_webhooks(other, &shop, it.now(), &[], 10)
            .await
            .unwrap();
        assert_eq!(
            again,
            [DueWebhook {
                attempt: 0,
                created_at: it.now(),
                ..webhook
            }]
        );
        assert_eq!(results(&again[0].body)[0].0, id.to_string());
        let kept = it.ledger.dead_letters(&filter).await.unwrap().remove(0);
        assert_eq!(kept.replayed_at, Some(it.now()));
    })
    .await;
}

#[tokio::test]
async fn a_disabled_endpoint_keeps_its_webhooks_until_it_is_enabled_again() {
    each(|it| async move {
        ended(&it, "shop").await;
        let webhook = due(&it, "shop", &[], 1).await.remove(0);
        record(
            &it,
            &webhook,
            DeliveryResult::EndpointGone {
                why: "answered 410".into(),
            },
        )
        .await;
        let settings = it
            .ledger
            .partner(&name("shop"))
            .await
            .unwrap()
            .unwrap()
            .webhook;
        assert_eq!(settings.disabled.as_deref(), Some("answered 410"));
        let later = ended(&it, "shop").await;
        assert_eq!(endpoints(&it, 10).await, [""; 0]);
        assert_eq!(it.ledger.next_webhook(it.me).await.unwrap(), None);
        assert_eq!(it.ledger.webhooks_size().await.unwrap(), 2);

        it.webhook("shop", |webhook| webhook.disabled = None).await;
        assert_eq!(endpoints(&it, 10).await, ["shop"]);
        let waiting = due(&it, "shop", &[], 10).await;
        assert_eq!(waiting.len(), 2);
        assert!(
            waiting
                .iter()
                .any(|one| results(&one.body)[0].0 == later.to_string())
        );
    })
    .await;
}

#[tokio::test]
async fn webhooks_are_adopted_only_from_owners_without_a_lease() {
    each(|it| async move {
        let (dead, live) = (it.join().await, it.join().await);
        for owner in [dead, dead, dead, live] {
            let id = it.one().await;
            let (reports, ids) = ([it.report_on(id, Verdict::Delivered)], it.webhook_ids(1));
            it.ledger
                .apply(owner, &reports, &ids, it.now())
                .await
                .unwrap();
        }
        assert_eq!(it.ledger.adopt_webhooks(it.me, 10).await.unwrap(), 0);
        it.clock.advance(LEASE);
        for owner in [it.me, live] {
            it.ledger.heartbeat(owner, LEASE, &[], &[]).await.unwrap();
        }
        assert_eq!(it.ledger.adopt_webhooks(it.me, 2).await.unwrap(), 2);
        assert_eq!(it.ledger.adopt_webhooks(it.me, 10).await.unwrap(), 1);
        assert_eq!(it.ledger.adopt_webhooks(it.me, 10).await.unwrap(), 0);
        assert_eq!(due(&it, "shop", &[], 10).await.len(), 3);
    })
    .await;
}
