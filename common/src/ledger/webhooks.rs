//! Webhook rows: frozen when a message ends, delivered by the reporter that wrote them.

use async_trait::async_trait;
use sqlx::FromRow;

use super::rows::{NewEvent, attempt_from};
use super::{LedgerError, NewDeadLetter};
use crate::clock::Timestamp;
use crate::domain::event::EventKind;
use crate::domain::id::{InstanceId, MessageId, PartnerId, WebhookId};

/// An endpoint with something due. One endpoint a partner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The partner.
    pub partner: PartnerId,
    /// When its oldest webhook is due.
    pub due: Timestamp,
}

/// A webhook to deliver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueWebhook {
    /// Its id, the same on every attempt and on replay.
    pub id: WebhookId,
    /// Whose it is.
    pub partner: PartnerId,
    /// Failed attempts so far.
    pub attempt: u16,
    /// The body's bytes, frozen.
    pub body: String,
    /// How many results it holds.
    pub results: u16,
    /// When it was written.
    pub created_at: Timestamp,
}

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeliveryResult {
    /// The endpoint took it.
    Delivered,
    /// Try again then.
    Retry {
        /// When.
        next_at: Timestamp,
        /// What went wrong, in words a partner may read; at most 200 bytes.
        why: String,
    },
    /// Given up: it becomes a dead letter.
    Dead(NewDeadLetter),
    /// The endpoint is disabled (410): the row waits until it is enabled by hand.
    EndpointGone {
        /// What to tell the partner.
        why: String,
    },
}

/// A due webhook as it is stored.
#[derive(Clone, Debug, FromRow)]
pub(super) struct WebhookRow {
    pub(super) webhook_id: WebhookId,
    pub(super) attempt: i64,
    pub(super) results: i64,
    pub(super) body: String,
    pub(super) created_at: i64,
}

impl WebhookRow {
    pub(super) fn into_due(self, partner: &PartnerId) -> DueWebhook {
        DueWebhook {
            id: self.webhook_id,
            partner: partner.clone(),
            attempt: attempt_from(self.attempt),
            body: self.body,
            results: u16::try_from(self.results).unwrap_or(u16::MAX),
            created_at: Timestamp::from_millis(self.created_at),
        }
    }
}

impl DueWebhook {
    /// What came of an attempt, as an event of each message it tells of: the body knows which.
    pub(super) fn events(&self, kind: EventKind, why: &str) -> Vec<NewEvent> {
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_default();
        let messages = body["events"].as_array().into_iter().flatten();
        messages
            .filter_map(|event| event["messageId"].as_str()?.parse().ok())
            .map(|message: MessageId| NewEvent {
                message,
                kind,
                note: format!("attempt {}: {why}", self.attempt + 1),
            })
            .collect()
    }
}

/// The room of webhooks.
#[async_trait]
pub trait Webhooks: Send + Sync {
    /// Enabled endpoints with rows of `me` due at `now`, those waiting longest first. That the
    /// partner itself is disabled makes no difference: what it sent before still ends, and it is
    /// told.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn endpoints_due(
        &self,
        me: InstanceId,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<Endpoint>, LedgerError>;

    /// When the next webhook of `me` for an enabled endpoint is due; nothing if there is none.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn next_webhook(&self, me: InstanceId) -> Result<Option<Timestamp>, LedgerError>;

    /// Due rows of `me` for one endpoint, oldest first, leaving out `in_hand`. A read only: waiting
    /// costs no write and no attempt.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn due_webhooks(
        &self,
        me: InstanceId,
        partner: &PartnerId,
        now: Timestamp,
        in_hand: &[WebhookId],
        limit: u32,
    ) -> Result<Vec<DueWebhook>, LedgerError>;

    /// Records what came of attempts, each only if `me` still owns the row at that attempt.
    ///
    /// # Errors
    /// [`LedgerError`]; then the attempt may be made again, with the same id.
    async fn record_deliveries(
        &self,
        me: InstanceId,
        results: &[(DueWebhook, DeliveryResult)],
        now: Timestamp,
    ) -> Result<(), LedgerError>;

    /// Takes over rows whose owner has no lease.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn adopt_webhooks(&self, me: InstanceId, limit: u32) -> Result<u64, LedgerError>;

    /// How many rows wait.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn webhooks_size(&self) -> Result<u64, LedgerError>;
}
