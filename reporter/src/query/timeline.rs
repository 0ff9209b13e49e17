//! A message's history in the partner's words.

use pabal_common::clock::Timestamp;
use pabal_common::domain::event::EventKind;
use pabal_common::domain::status::Status;
use pabal_common::ledger::{EventRow, MessageView};
use serde::Serialize;
use utoipa::ToSchema;

/// Something unusual that happened to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum Happened {
    /// A vendor could not be reached; it is tried again.
    Retry,
    /// A vendor asked us to wait; no attempt is used up.
    Deferred,
    /// No vendor could be used; the message waits.
    Held,
    /// Something failed on our side; the message waits and is tried again.
    Delayed,
    /// A vendor's answer was lost; the message is not sent again, its result is found out.
    Unknown,
    /// A result came after the message had ended, and changes nothing.
    LateReport,
    /// Your endpoint did not take the webhook; it is tried again.
    WebhookFailed,
    /// The webhook was given up and is among your dead letters.
    WebhookDead,
    /// Your endpoint answered 410 and is disabled.
    WebhookDisabled,
}

impl Happened {
    /// What an event is to the partner; `None` where it concerns our insides alone.
    fn of(kind: EventKind) -> Option<Self> {
        match kind {
            EventKind::Retry => Some(Self::Retry),
            EventKind::Deferred => Some(Self::Deferred),
            EventKind::Held => Some(Self::Held),
            EventKind::Quarantined => Some(Self::Delayed),
            EventKind::Unknown => Some(Self::Unknown),
            EventKind::TakenOver => None,
            EventKind::StrayReport => Some(Self::LateReport),
            EventKind::WebhookFailed => Some(Self::WebhookFailed),
            EventKind::WebhookDead => Some(Self::WebhookDead),
            EventKind::WebhookDisabled => Some(Self::WebhookDisabled),
        }
    }

    /// Whether the event's note was written for the partner.
    const fn has_open_note(self) -> bool {
        matches!(
            self,
            Self::WebhookFailed | Self::WebhookDead | Self::WebhookDisabled
        )
    }
}

/// One step of a message: a status it reached, or something unusual.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Step {
    /// When.
    #[schema(example = "2026-11-21T04:15:30.123Z")]
    at: String,
    /// The status it reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
    /// What happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<Happened>,
    /// More, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

/// The steps of `message` in order of time. PROCESSING is the last call's beginning.
pub(super) fn timeline(message: &MessageView, events: Vec<EventRow>) -> Vec<Step> {
    let reached = |at: Option<Timestamp>, status| at.map(|at| (at, Step::reached(at, status)));
    let last = message.final_at.filter(|_| message.status.is_final());
    let before = [
        reached(Some(message.accepted_at), Status::Received),
        reached(message.claimed_at, Status::Processing),
    ];
    let after = [
        reached(message.sent_at, Status::Sent),
        reached(last, message.status),
    ];
    let unusual = events.into_iter().map(Step::happened);
    let mut steps: Vec<_> = before
        .into_iter()
        .chain(unusual)
        .chain(after)
        .flatten()
        .collect();
    // Stable: of the same moment, the order above is the order of things.
    steps.sort_by_key(|(at, _)| *at);
    steps.into_iter().map(|(_, step)| step).collect()
}

impl Step {
    fn reached(at: Timestamp, status: Status) -> Self {
        Self {
            at: at.to_rfc3339(),
            status: Some(status),
            event: None,
            note: None,
        }
    }

    fn happened(row: EventRow) -> Option<(Timestamp, Self)> {
        let event = Happened::of(EventKind::parse(&row.kind)?)?;
        let step = Self {
            at: row.at.to_rfc3339(),
            status: None,
            event: Some(event),
            note: event.has_open_note().then_some(row.note),
        };
        Some((row.at, step))
    }
}

#[cfg(test)]
mod tests {
    use pabal_common::domain::id::MessageId;
    use pabal_common::domain::kind::{Lane, MessageType, Purpose};
    use pabal_common::domain::phase::Phase;

    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn delivered() -> MessageView {
        MessageView {
            id: MessageId::from_number(1),
            partner: "acme".parse().unwrap(),
            client_msg_id: "order-1".parse().unwrap(),
            digest: [0; 16],
            kind: MessageType::Sms,
            purpose: Purpose::Info,
            lane: Lane::Ordinary,
            status: Status::Delivered,
            phase: Phase::Done,
            attempt: 1,
            reason: None,
            vendor_code: None,
            route: Some("secret-route".to_owned()),
            account: Some("secret/account".to_owned()),
            vendor_id: Some("v-1".to_owned()),
            owner: None,
            submission: None,
            accepted_at: at(0),
            queued_at: at(0),
            claimed_at: Some(at(30)),
            sent_at: Some(at(40)),
            final_at: Some(at(50)),
            valid_until: at(1000),
            metadata: None,
        }
    }

    fn event(millis: i64, kind: &str) -> EventRow {
        EventRow {
            at: at(millis),
            kind: kind.to_owned(),
            note: format!("note of {kind}"),
        }
    }

    fn words(steps: &[Step]) -> Vec<String> {
        let word = |step: &Step| match (step.status, step.event) {
            (Some(status), _) => status.name().to_owned(),
            (_, Some(event)) => format!("{event:?}"),
            _ => String::new(),
        };
        steps.iter().map(word).collect()
    }

    #[test]
    fn steps_and_events_are_in_order_of_time() {
        let events = vec![event(10, "RETRY"), event(60, "WEBHOOK_FAILED")];
        let steps = timeline(&delivered(), events);
        let expected = [
            "RECEIVED",
            "Retry",
            "PROCESSING",
            "SENT",
            "DELIVERED",
            "WebhookFailed",
        ];
        assert_eq!(words(&steps), expected);
    }

    #[test]
    fn nothing_of_our_insides_is_told() {
        let inside = EventKind::ALL.into_iter().map(EventKind::name);
        let inside = inside.filter(|kind| !kind.starts_with("WEBHOOK_"));
        let events = inside.chain(["NEWER"]).map(|kind| event(45, kind));
        let told = serde_json::to_string(&timeline(&delivered(), events.collect())).unwrap();
        for ours in [
            "note of",
            "secret",
            "TAKEN_OVER",
            "NEWER",
            "QUARANTINED",
            "STRAY",
        ] {
            assert!(!told.contains(ours), "{ours} in {told}");
        }
        for theirs in [
            "RETRY",
            "DEFERRED",
            "HELD",
            "DELAYED",
            "UNKNOWN",
            "LATE_REPORT",
        ] {
            assert!(told.contains(theirs), "{theirs} in {told}");
        }
    }
}
