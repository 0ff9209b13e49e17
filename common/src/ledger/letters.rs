//! How a dead letter's columns become a letter, and how a letter goes again.

use serde_json::Value;
use sqlx::FromRow;

use super::rows::{attempt_from, partner_id};
use super::{DeadLetter, DeadLetterKind, LedgerError, NewDeadLetter};
use crate::broker::{Publication, QueueName};
use crate::clock::Timestamp;
use crate::domain::id::{DeadLetterId, WebhookId};

/// Every column of a dead letter.
#[derive(FromRow)]
pub(super) struct LetterRow {
    dead_letter_id: DeadLetterId,
    kind: String,
    partner_id: Option<String>,
    subject: String,
    reason: String,
    attempts: i64,
    payload: Vec<u8>,
    created_at: i64,
    replayed_at: Option<i64>,
}

impl LetterRow {
    pub(super) fn into_letter(self) -> Result<DeadLetter, LedgerError> {
        let kind = DeadLetterKind::parse(&self.kind)
            .ok_or_else(|| LedgerError::Corrupt(format!("dead letter kind {}", self.kind)))?;
        Ok(DeadLetter {
            letter: NewDeadLetter {
                id: self.dead_letter_id,
                kind,
                partner: self.partner_id.as_deref().map(partner_id).transpose()?,
                subject: self.subject,
                reason: self.reason,
                attempts: attempt_from(self.attempts),
                payload: self.payload,
            },
            created_at: Timestamp::from_millis(self.created_at),
            replayed_at: self.replayed_at.map(Timestamp::from_millis),
        })
    }
}

/// How a dead letter goes again.
pub(super) enum Again {
    /// As a webhook row with its old id.
    Webhook {
        id: WebhookId,
        body: String,
        /// How many results the body holds.
        results: i64,
    },
    /// Through the outbox.
    Frame(Publication),
}

impl Again {
    pub(super) fn of(letter: &NewDeadLetter) -> Result<Self, LedgerError> {
        let queue = match letter.kind {
            DeadLetterKind::Webhook => {
                return webhook(letter).ok_or_else(|| {
                    LedgerError::Corrupt(format!("dead letter {}: no webhook", letter.id))
                });
            }
            DeadLetterKind::Report => QueueName::Report,
            DeadLetterKind::Frame => QueueName::parse(&letter.subject).unwrap_or(QueueName::Report),
        };
        let body = letter.payload.clone().into();
        Ok(Self::Frame(Publication { queue, body }))
    }
}

fn webhook(letter: &NewDeadLetter) -> Option<Again> {
    let body = String::from_utf8(letter.payload.clone()).ok()?;
    let events = serde_json::from_str::<Value>(&body).ok()?;
    let results = events.get("events").and_then(Value::as_array);
    Some(Again::Webhook {
        id: letter.subject.parse().ok()?,
        results: results.map_or(0, |results| i64::try_from(results.len()).unwrap_or(0)),
        body,
    })
}
