//! What the platform posts to our webhook (guides "Webhooks" and "Events"): an envelope in the form
//! of Pub/Sub whose `message.data` is base64 of one event or one message of a user.
//!
//! `X-Goog-Signature` is base64 of HMAC-SHA512 over the decoded data, keyed with the webhook's
//! client token. It bears no time, so a repeated callback is believed; reports bear being repeated.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pabal_common::clock::Timestamp;
use pabal_common::crypto::CallbackKeyTooShort;
use pabal_common::domain::reason::Reason;
use pabal_common::domain::report::{Report, VendorAccount};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::super::code::{Codes, Meaning};
use super::super::reading::{occurred_at, short_code};
use super::id;
use crate::provider::CallbackError;

/// What events say of a message: `UserEvent.EventType` and `ServerEvent.EventType` of the
/// reference. An event that is not listed is not about a message of ours.
pub(in crate::adapter) const EVENTS: Codes = Codes(&[
    ("DELIVERED", Meaning::Delivered),
    // Proof of delivery too: the event before it may be lost.
    ("READ", Meaning::Delivered),
    // Expired before it could be delivered, and taken back.
    (
        "TTL_EXPIRATION_REVOKED",
        Meaning::Definitive(Reason::RecipientUnavailable),
    ),
    // Expired, but it may still arrive.
    ("TTL_EXPIRATION_REVOKE_FAILED", Meaning::Ambiguous),
]);

/// As for other callbacks: anybody could report with a guessed one.
const SHORTEST_TOKEN: usize = 16;

/// The client token of a webhook.
pub(super) struct ClientToken(hmac::Key);

#[derive(Deserialize)]
struct Envelope {
    message: PushMessage,
}

#[derive(Deserialize)]
struct PushMessage {
    data: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    event_type: Option<String>,
    message_id: Option<String>,
    send_time: Option<String>,
}

impl ClientToken {
    /// The token, if it is not too easily guessed.
    pub(super) fn new(token: &SecretString) -> Result<Self, CallbackKeyTooShort> {
        let token = token.expose_secret().as_bytes();
        if token.len() < SHORTEST_TOKEN {
            return Err(CallbackKeyTooShort);
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA512, token)))
    }

    /// The data of a callback, if it is the platform's.
    pub(super) fn open(
        &self,
        signature: Option<&str>,
        body: &[u8],
    ) -> Result<Vec<u8>, CallbackError> {
        let refused = |why: &str| CallbackError::NotAuthentic(why.to_owned());
        let signature = signature.ok_or_else(|| refused("no signature"))?;
        let signature = STANDARD.decode(signature.trim());
        let signature = signature.map_err(|_| refused("the signature is not base64"))?;
        // The signature is of what is in it, so it has to be opened first.
        let envelope: Envelope =
            serde_json::from_slice(body).map_err(|_| refused("nothing signed in it"))?;
        let data = STANDARD.decode(envelope.message.data);
        let data = data.map_err(|_| refused("nothing signed in it"))?;
        hmac::verify(&self.0, &data, &signature).map_err(|_| refused("wrong signature"))?;
        Ok(data)
    }
}

/// The report in an event; none in what is not about a message of ours: messages of users, typing,
/// subscriptions.
pub(super) fn read_event(
    account: &VendorAccount,
    data: &[u8],
    now: Timestamp,
) -> Result<Option<Report>, CallbackError> {
    let event: Event = serde_json::from_slice(data)
        .map_err(|error| CallbackError::Unreadable(error.to_string()))?;
    Ok(report(account, &event, now))
}

fn report(account: &VendorAccount, event: &Event, now: Timestamp) -> Option<Report> {
    let code = event.event_type.as_deref()?;
    EVENTS.meaning(code)?;
    let message = id::ours(event.message_id.as_deref()?)?;
    let at = event.send_time.as_deref();
    let at = at.and_then(Timestamp::parse_rfc3339);
    Some(Report {
        account: account.clone(),
        vendor_id: id::vendor_id(message),
        message: Some(message),
        submission: None,
        verdict: EVENTS.verdict(code),
        vendor_code: Some(short_code(code)),
        occurred_at: occurred_at(at.map(Timestamp::millis), now),
    })
}

#[cfg(test)]
mod tests {
    use pabal_common::domain::id::MessageId;
    use pabal_common::domain::report::Verdict;
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_000);
    const ID: MessageId = MessageId::from_number(7);

    fn read(event: &serde_json::Value) -> Option<Report> {
        let account = VendorAccount::new("rbm", "main");
        read_event(&account, event.to_string().as_bytes(), NOW).unwrap()
    }

    fn user_event(kind: &str) -> serde_json::Value {
        serde_json::json!({
            "senderPhoneNumber": "+821012345678",
            "eventType": kind,
            "eventId": "MxPOXuDxqzRiKQhGXcJaCw",
            "messageId": id::uuid(ID),
            "agentId": "agent"
        })
    }

    /// The signature was computed with openssl.
    #[test]
    fn a_signature_made_elsewhere_is_understood() {
        let token = ClientToken::new(&SecretString::from("SJENCPGJESMGUFPY")).unwrap();
        let body = br#"{"message":{"data":"eyJldmVudFR5cGUiOiJSRUFEIn0=","messageId":"1"},"subscription":"s"}"#;
        let signature = "RX96usv70dXWZ9b11sIR3hlz7oHRRaV5IfL+WWK8K4BmFsfsNSz8OfeN5P6HEUtvEBTKRFQrUdJ6m1sBiBLRAg==";
        let data = token.open(Some(signature), body).unwrap();
        assert_eq!(data, br#"{"eventType":"READ"}"#);
    }

    #[test]
    fn a_callback_that_is_not_the_platforms_is_refused() {
        let token = ClientToken::new(&SecretString::from("SJENCPGJESMGUFPY")).unwrap();
        let body = br#"{"message":{"data":"eyJldmVudFR5cGUiOiJSRUFEIn0="}}"#;
        for signature in [None, Some(""), Some("!"), Some("AAAA")] {
            let opened = token.open(signature, body);
            assert!(matches!(opened, Err(CallbackError::NotAuthentic(_))));
        }
        for body in ["", "{}", r#"{"message":{}}"#, r#"{"message":{"data":"!"}}"#] {
            let opened = token.open(Some("AAAA"), body.as_bytes());
            assert!(
                matches!(opened, Err(CallbackError::NotAuthentic(_))),
                "{body}"
            );
        }
    }

    #[test]
    fn a_token_that_could_be_guessed_is_refused() {
        assert!(ClientToken::new(&SecretString::from("fifteen-letters")).is_err());
    }

    #[test]
    fn delivered_and_read_are_both_a_delivery() {
        for kind in ["DELIVERED", "READ"] {
            let report = read(&user_event(kind)).unwrap();
            assert_eq!(report.verdict, Verdict::Delivered, "{kind}");
            assert_eq!(report.message, Some(ID));
            assert_eq!(report.vendor_id, id::vendor_id(ID));
            assert_eq!(report.occurred_at, NOW);
        }
    }

    #[test]
    fn a_message_that_expired_ends_only_if_it_was_taken_back() {
        let event = |kind: &str| {
            serde_json::json!({
                "phoneNumber": "+821012345678",
                "messageId": id::uuid(ID).to_uppercase(),
                "agentId": "agent",
                "eventType": kind,
                "eventId": "1",
                "sendTime": NOW.minus(std::time::Duration::from_secs(3)).to_rfc3339()
            })
        };
        let revoked = read(&event("TTL_EXPIRATION_REVOKED")).unwrap();
        let unavailable = Verdict::Failed(Reason::RecipientUnavailable);
        assert_eq!(revoked.verdict, unavailable);
        assert_eq!(NOW.since(revoked.occurred_at).as_secs(), 3);
        let open = read(&event("TTL_EXPIRATION_REVOKE_FAILED")).unwrap();
        assert_eq!(open.verdict, Verdict::Taken);
    }

    #[test]
    fn what_is_not_about_a_message_of_ours_is_passed_over() {
        let mut other = user_event("DELIVERED");
        other["messageId"] = "ddc0bf8b-6b3d-4a7f-8e52-4b58e1a3d8c1".into();
        let text = serde_json::json!({
            "senderPhoneNumber": "+821012345678",
            "messageId": "MxPOXuDxqzRiKQhGXcJaCw",
            "sendTime": "2026-11-18T00:00:00Z",
            "text": "hello",
            "agentId": "agent"
        });
        for event in [
            other,
            text,
            user_event("IS_TYPING"),
            user_event("UNSUBSCRIBE"),
        ] {
            assert_eq!(read(&event), None, "{event}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_readers_panic(data: Vec<u8>, signature in "\\PC{0,90}") {
            let token = ClientToken::new(&SecretString::from("SJENCPGJESMGUFPY")).unwrap();
            let _ = token.open(Some(&signature), &data);
            let envelope = serde_json::json!({ "message": { "data": STANDARD.encode(&data) } });
            let _ = token.open(Some(&signature), envelope.to_string().as_bytes());
            let _ = read_event(&VendorAccount::new("rbm", "main"), &data, NOW);
        }

        #[test]
        fn an_event_of_the_right_shape_is_a_report_or_none(kind in "\\PC{0,40}", id in "\\PC{0,60}", at in "\\PC{0,40}") {
            let event = serde_json::json!({ "eventType": kind, "messageId": id, "sendTime": at });
            prop_assert_eq!(read(&event), None);
        }
    }
}
