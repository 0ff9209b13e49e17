//! What happens to messages: what partners receive of it by webhook, and what the ledger notes.

use serde::Serialize;
use serde_json::value::RawValue;

use super::id::{ClientMsgId, MessageId, WebhookId};
use super::kind::MessageType;
use super::reason::Reason;
use super::status::Status;
use crate::clock::Timestamp;

/// The version of the webhook body; it only grows.
pub const API_VERSION: &str = "2026-11-01";

/// Something unusual that happens to a message, noted in the ledger beside its statuses. The words
/// are stored and shown to operators; what partners are told of each is the query API's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A vendor could not be reached; an attempt is used up.
    Retry,
    /// Not taken, without an attempt being used up.
    Deferred,
    /// No usable route.
    Held,
    /// Working on it failed on our side.
    Quarantined,
    /// Nobody knows whether the vendor took it.
    Unknown,
    /// The same, because the process that called is gone.
    TakenOver,
    /// A report that changes nothing: too late, or for an earlier call.
    StrayReport,
    /// The partner's endpoint did not take the webhook.
    WebhookFailed,
    /// The webhook was given up.
    WebhookDead,
    /// The endpoint answered 410 and is disabled.
    WebhookDisabled,
}

impl EventKind {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::Retry,
        Self::Deferred,
        Self::Held,
        Self::Quarantined,
        Self::Unknown,
        Self::TakenOver,
        Self::StrayReport,
        Self::WebhookFailed,
        Self::WebhookDead,
        Self::WebhookDisabled,
    ];

    /// The word in the ledger.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Retry => "RETRY",
            Self::Deferred => "DEFERRED",
            Self::Held => "HELD",
            Self::Quarantined => "QUARANTINED",
            Self::Unknown => "UNKNOWN",
            Self::TakenOver => "TAKEN_OVER",
            Self::StrayReport => "STRAY_REPORT",
            Self::WebhookFailed => "WEBHOOK_FAILED",
            Self::WebhookDead => "WEBHOOK_DEAD",
            Self::WebhookDisabled => "WEBHOOK_DISABLED",
        }
    }

    /// The kind with this word; a newer program may have written others.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether it is about a message that has ended, or about telling of it.
    pub const fn is_afterwards(self) -> bool {
        matches!(
            self,
            Self::StrayReport | Self::WebhookFailed | Self::WebhookDead | Self::WebhookDisabled
        )
    }
}

/// One result as a partner is told it. Never the recipient, never the text.
#[derive(Clone, Debug)]
pub struct ResultEvent {
    /// The message.
    pub message: MessageId,
    /// The partner's id of it.
    pub client_msg_id: ClientMsgId,
    /// Its type.
    pub kind: MessageType,
    /// SENT or a final status.
    pub status: Status,
    /// Why, where it failed or expired.
    pub reason: Option<Reason>,
    /// The vendor's own code.
    pub vendor_code: Option<String>,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// When a vendor took it.
    pub sent_at: Option<Timestamp>,
    /// When it ended.
    pub final_at: Option<Timestamp>,
    /// The partner's metadata: a JSON object, or nothing.
    pub metadata: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    api_version: &'static str,
    events: Vec<Entry<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    id: String,
    #[serde(rename = "type")]
    kind: &'static str,
    message_id: MessageId,
    client_msg_id: &'a ClientMsgId,
    message_type: MessageType,
    status: Status,
    reason: Option<Reason>,
    vendor_code: Option<&'a str>,
    accepted_at: String,
    sent_at: Option<String>,
    final_at: Option<String>,
    metadata: Option<&'a RawValue>,
}

/// The body of the webhook `id`: frozen when its row is written, so that every attempt sends the
/// same bytes. Each event's id is stable too: the message and the status it tells.
pub fn compose(id: WebhookId, results: &[ResultEvent]) -> String {
    let events = results.iter().map(entry).collect();
    let body = Body {
        api_version: API_VERSION,
        events,
    };
    serde_json::to_string(&body).unwrap_or_else(|error| {
        // Nothing in the structure can fail to serialise; a body is better than none.
        tracing::error!(%id, %error, "webhook body could not be composed");
        String::from("{}")
    })
}

fn entry(result: &ResultEvent) -> Entry<'_> {
    Entry {
        id: format!("{}-{}", result.message, result.status.name().to_lowercase()),
        kind: match result.status {
            Status::Sent => "message.sent",
            Status::Delivered => "message.delivered",
            Status::Failed => "message.failed",
            Status::Expired => "message.expired",
            Status::Received | Status::Processing => "message.updated",
        },
        message_id: result.message,
        client_msg_id: &result.client_msg_id,
        message_type: result.kind,
        status: result.status,
        reason: result.reason,
        vendor_code: result.vendor_code.as_deref(),
        accepted_at: result.accepted_at.to_rfc3339(),
        sent_at: result.sent_at.map(Timestamp::to_rfc3339),
        final_at: result.final_at.map(Timestamp::to_rfc3339),
        metadata: result
            .metadata
            .as_deref()
            .and_then(|text| serde_json::from_str(text).ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_event_is_found_by_its_own_word() {
        for kind in EventKind::ALL {
            assert_eq!(EventKind::parse(kind.name()), Some(kind));
        }
        assert_eq!(EventKind::parse("NEWER"), None);
    }

    #[test]
    fn a_result_is_told_with_its_times_reason_and_the_partners_metadata() {
        let result = ResultEvent {
            message: MessageId::from_number(33),
            client_msg_id: "order-1".parse().unwrap(),
            kind: MessageType::Sms,
            status: Status::Failed,
            reason: Some(Reason::Spam),
            vendor_code: Some("4430".into()),
            accepted_at: Timestamp::from_millis(0),
            sent_at: None,
            final_at: Some(Timestamp::from_millis(5)),
            metadata: Some(r#"{"order":1}"#.into()),
        };
        let body: serde_json::Value =
            serde_json::from_str(&compose(WebhookId::from_number(1), &[result])).unwrap();
        let event = &body["events"][0];
        assert_eq!(event["id"], "0000000000011-failed");
        assert_eq!(event["type"], "message.failed");
        assert_eq!(event["reason"], "SPAM");
        assert_eq!(event["sentAt"], serde_json::Value::Null);
        assert_eq!(event["finalAt"], "1970-01-01T00:00:00.005Z");
        assert_eq!(event["metadata"]["order"], 1);
    }
}
