//! The partner's endpoint: notes which messages each webhook speaks of, and answers 204.
//!
//! It shares its processors with what is measured. So a body is searched, not parsed; and the
//! signatures of one webhook in [`SAMPLE`] are verified, not of each.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::HeaderMap;
use hyper::http::request::Parts;
use pabal_common::clock::{Clock as _, SystemClock};
use pabal_common::crypto::{WebhookSecret, verify_standard_webhook, verify_x_signature};
use pabal_common::domain::id::MessageId;

use super::endpoint::{self, Endpoint};
use super::witness::Witness;

/// The signatures of one webhook in so many are verified.
pub(super) const SAMPLE: usize = 100;
/// How old a signature may be.
const TOLERANCE: Duration = Duration::from_secs(60);

const MESSAGE: &str = "\"messageId\":\"";
const STATUS: &str = "\"status\":\"";
const DELIVERED: &str = "DELIVERED\"";
const ID_LENGTH: usize = 13;

/// The endpoint; it closes when it is dropped.
pub(super) struct Sink {
    url: String,
    desk: Arc<Desk>,
    endpoint: Endpoint,
}

struct Desk {
    secret: OnceLock<WebhookSecret>,
    witness: Arc<Witness>,
    webhooks: AtomicUsize,
}

impl Sink {
    /// Listens on a free loopback port and tells `witness` what comes.
    pub(super) async fn open(witness: Arc<Witness>) -> io::Result<Self> {
        let desk = Arc::new(Desk {
            secret: OnceLock::new(),
            witness,
            webhooks: AtomicUsize::new(0),
        });
        let reads: Arc<dyn endpoint::Desk> = desk.clone();
        let endpoint = Endpoint::open(reads).await?;
        Ok(Self {
            url: format!("{}/results", endpoint.base()),
            desk,
            endpoint,
        })
    }

    /// Its address.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Tells it what webhooks are signed with.
    pub(super) fn trust(&self, secret: WebhookSecret) {
        let _ = self.desk.secret.set(secret);
    }

    /// Whether it hangs: takes webhooks and answers none, until it does not hang any more.
    pub(super) fn set_hanging(&self, hangs: bool) {
        self.endpoint.set_hanging(hangs);
    }

    /// How many webhooks came, repeats included.
    pub(super) fn webhooks(&self) -> usize {
        self.desk.webhooks.load(Ordering::Relaxed)
    }
}

impl endpoint::Desk for Desk {
    fn take(&self, head: &Parts, body: &[u8]) -> (StatusCode, Bytes) {
        (self.read(&head.headers, body), Bytes::new())
    }
}

impl Desk {
    fn read(&self, headers: &HeaderMap, body: &[u8]) -> StatusCode {
        let number = self.webhooks.fetch_add(1, Ordering::Relaxed);
        if number.is_multiple_of(SAMPLE) && !self.is_authentic(headers, body) {
            self.witness
                .complain("a webhook whose signatures are wrong".to_owned());
            return StatusCode::UNAUTHORIZED;
        }
        let Some(events) = events(body) else {
            self.witness
                .complain("a webhook that cannot be read".to_owned());
            return StatusCode::BAD_REQUEST;
        };
        for event in events.iter().filter(|event| !event.delivered) {
            let message = MessageId::from_number(event.id);
            self.witness
                .complain(format!("{message} was not told as DELIVERED"));
        }
        self.witness.told.note(events.iter().map(|event| event.id));
        StatusCode::NO_CONTENT
    }

    fn is_authentic(&self, headers: &HeaderMap, body: &[u8]) -> bool {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let now = SystemClock.now();
        self.secret.get().is_some_and(|secret| {
            verify_x_signature(secret, header, body, now, TOLERANCE).is_ok()
                && verify_standard_webhook(secret, header, body, now, TOLERANCE).is_ok()
        })
    }
}

/// What a webhook says of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Event {
    id: u64,
    delivered: bool,
}

/// The results in a body. The gateway writes an event's id before its status, without spaces.
fn events(body: &[u8]) -> Option<Vec<Event>> {
    let text = std::str::from_utf8(body).ok()?;
    let mut events = Vec::new();
    for (at, key) in text.match_indices(MESSAGE) {
        let rest = &text[at + key.len()..];
        let id: MessageId = rest.get(..ID_LENGTH)?.parse().ok()?;
        let (_, status) = rest.split_once(STATUS)?;
        events.push(Event {
            id: id.number(),
            delivered: status.starts_with(DELIVERED),
        });
    }
    (!events.is_empty()).then_some(events)
}

#[cfg(test)]
mod tests {
    use pabal_common::clock::Timestamp;
    use pabal_common::domain::event::{ResultEvent, compose};
    use pabal_common::domain::id::WebhookId;
    use pabal_common::domain::kind::MessageType;
    use pabal_common::domain::status::Status;

    use super::*;

    fn result(id: u64, status: Status) -> ResultEvent {
        ResultEvent {
            message: MessageId::from_number(id),
            client_msg_id: "x-1".parse().unwrap(),
            kind: MessageType::Sms,
            status,
            reason: None,
            vendor_code: Some("2000".to_owned()),
            accepted_at: Timestamp::from_millis(1_795_000_000_000),
            sent_at: None,
            final_at: None,
            metadata: None,
        }
    }

    #[test]
    fn every_result_of_a_body_as_the_gateway_writes_it_is_found() {
        let results = [
            result(7, Status::Delivered),
            result(u64::MAX, Status::Failed),
            result(9, Status::Delivered),
        ];
        let body = compose(WebhookId::from_number(1), &results);
        let events = events(body.as_bytes()).unwrap();
        let found: Vec<_> = events.iter().map(|one| (one.id, one.delivered)).collect();
        assert_eq!(found, [(7, true), (u64::MAX, false), (9, true)]);
    }

    #[test]
    fn a_body_without_results_is_not_believed() {
        for body in ["", "{}", r#"{"messageId":"short"}"#, "\u{ff}\u{fe}"] {
            assert_eq!(events(body.as_bytes()), None, "{body}");
        }
    }
}
