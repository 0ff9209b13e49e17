//! From an attempt's outcome to what the ledger records.

use std::time::Duration;

use pabal_common::clock::Timestamp;
use pabal_common::domain::id::DeadLetterId;
use pabal_common::domain::retry::before_webhook;
use pabal_common::ledger::{DeadLetterKind, DeliveryResult, DueWebhook, NewDeadLetter};

use super::attempt::Outcome;

/// The longest text the ledger keeps, in bytes.
const WHY_MAX: usize = 200;

/// What is needed beside the outcome itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Circumstances<'a> {
    /// The waits between attempts.
    pub(super) schedule: &'a [Duration],
    /// When the attempt ended.
    pub(super) now: Timestamp,
    /// 0..1, spreads the waits.
    pub(super) jitter: f64,
    /// The id of the dead letter, should it become one.
    pub(super) letter: DeadLetterId,
}

/// What to record of `webhook`'s attempt.
pub(super) fn verdict(
    webhook: &DueWebhook,
    outcome: Outcome,
    at: Circumstances<'_>,
) -> DeliveryResult {
    match outcome {
        Outcome::Delivered => DeliveryResult::Delivered,
        Outcome::Gone { why } => DeliveryResult::EndpointGone { why: short(why) },
        Outcome::Never { why } => dead(webhook, why, at.letter),
        Outcome::Later { why, hint } => {
            let failures = webhook.attempt.saturating_add(1);
            match before_webhook(at.schedule, failures, hint, at.jitter) {
                Some(wait) => DeliveryResult::Retry {
                    next_at: at.now.plus(wait),
                    why: short(why),
                },
                None => dead(webhook, format!("{why}, {failures} times"), at.letter),
            }
        }
    }
}

fn dead(webhook: &DueWebhook, why: String, id: DeadLetterId) -> DeliveryResult {
    DeliveryResult::Dead(NewDeadLetter {
        id,
        kind: DeadLetterKind::Webhook,
        partner: Some(webhook.partner.clone()),
        subject: webhook.id.to_string(),
        reason: short(why),
        attempts: webhook.attempt.saturating_add(1),
        payload: webhook.body.clone().into_bytes(),
    })
}

fn short(mut why: String) -> String {
    let mut end = WHY_MAX.min(why.len());
    while !why.is_char_boundary(end) {
        end -= 1;
    }
    why.truncate(end);
    why
}

#[cfg(test)]
mod tests {
    use pabal_common::domain::id::WebhookId;
    use pabal_common::domain::retry::WEBHOOK_SCHEDULE;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    fn webhook(attempt: u16) -> DueWebhook {
        DueWebhook {
            id: WebhookId::from_number(9),
            partner: "acme".parse().unwrap(),
            attempt,
            body: "{}".to_owned(),
            results: 1,
            created_at: NOW,
        }
    }

    fn judged(attempt: u16, outcome: Outcome) -> DeliveryResult {
        let at = Circumstances {
            schedule: &WEBHOOK_SCHEDULE,
            now: NOW,
            jitter: 0.0,
            letter: DeadLetterId::from_number(5),
        };
        verdict(&webhook(attempt), outcome, at)
    }

    fn later(hint: Option<u64>) -> Outcome {
        Outcome::Later {
            why: "the endpoint answered HTTP 503".to_owned(),
            hint: hint.map(Duration::from_secs),
        }
    }

    fn wait(result: DeliveryResult) -> u64 {
        match result {
            DeliveryResult::Retry { next_at, .. } => next_at.since(NOW).as_secs(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_waits_follow_the_schedule_and_a_longer_hint() {
        assert_eq!(wait(judged(0, later(None))), 5);
        assert_eq!(wait(judged(5, later(None))), 21_600);
        assert_eq!(wait(judged(0, later(Some(60)))), 60);
        assert_eq!(wait(judged(1, later(Some(1)))), 30);
    }

    #[test]
    fn after_the_last_wait_it_is_a_dead_letter_with_its_body() {
        let DeliveryResult::Dead(letter) = judged(6, later(None)) else {
            panic!("not dead");
        };
        assert_eq!(letter.attempts, 7);
        assert_eq!(letter.payload, b"{}");
        assert_eq!(letter.subject, WebhookId::from_number(9).to_string());
        assert_eq!(letter.reason, "the endpoint answered HTTP 503, 7 times");
    }

    #[test]
    fn what_can_never_work_is_dead_at_once() {
        let why = "x".repeat(300);
        let DeliveryResult::Dead(letter) = judged(0, Outcome::Never { why }) else {
            panic!("not dead");
        };
        assert_eq!((letter.attempts, letter.reason.len()), (1, WHY_MAX));
    }
}
