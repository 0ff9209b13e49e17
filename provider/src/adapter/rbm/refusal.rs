//! What the platform and its token server say when they refuse.

use pabal_common::domain::reason::Reason;
use pabal_common::domain::report::VendorMessageId;
use serde::Deserialize;

use super::super::code::{Codes, Meaning};
use crate::provider::{Answer, Closed};

/// The platform does not believe the token.
pub(super) const UNAUTHENTICATED: &str = "UNAUTHENTICATED";
/// Ours, before anything is sent: the recipient is no number that E.164 could write.
pub(super) const NO_NUMBER: &str = "NO_NUMBER";

/// What refusals mean: the statuses of `google.rpc.Code`, the reasons of `google.api.ErrorReason`
/// (more exact, so they come first where an answer has both), the errors of RFC 6749 §5.2. What the
/// platform means by NOT_FOUND, INVALID_ARGUMENT and a repeated id: its guide "Send messages" and
/// the reference of `phones.agentMessages.create`.
pub(in crate::adapter) const CODES: Codes = Codes(&[
    (NO_NUMBER, Meaning::Definitive(Reason::InvalidRecipient)),
    // No RCS, or an agent that is not launched with the recipient's carrier.
    ("NOT_FOUND", Meaning::Definitive(Reason::NotCapable)),
    (
        "INVALID_ARGUMENT",
        Meaning::Definitive(Reason::ContentRejected),
    ),
    ("OUT_OF_RANGE", Meaning::Definitive(Reason::ContentRejected)),
    (
        "FAILED_PRECONDITION",
        Meaning::Definitive(Reason::ProviderError),
    ),
    // It has a message with this id already, so it was taken.
    ("ALREADY_EXISTS", Meaning::Taken),
    // The token ran out early: the next call fetches a new one.
    (UNAUTHENTICATED, Meaning::Throttled),
    ("RESOURCE_EXHAUSTED", Meaning::Throttled),
    ("PERMISSION_DENIED", Meaning::Closes(Closed::Credentials)),
    ("CONSUMER_SUSPENDED", Meaning::Closes(Closed::Suspended)),
    ("BILLING_DISABLED", Meaning::Closes(Closed::Suspended)),
    ("SERVICE_DISABLED", Meaning::Closes(Closed::Suspended)),
    ("ABORTED", Meaning::Ambiguous),
    ("CANCELLED", Meaning::Ambiguous),
    // The token server.
    ("invalid_client", Meaning::Closes(Closed::Credentials)),
    ("invalid_grant", Meaning::Closes(Closed::Credentials)),
    ("invalid_scope", Meaning::Closes(Closed::Credentials)),
    ("unauthorized_client", Meaning::Closes(Closed::Credentials)),
]);
/// The definitive ones.
pub(super) const DEFINITIVE: [(&str, Reason); CODES.count_definitive()] = CODES.definitive();

/// A refusal's code, as exact as the table knows it.
pub(super) struct Refusal(String);

#[derive(Deserialize)]
struct Body {
    error: Error,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Error {
    /// RFC 6749 §5.2.
    Grant(String),
    /// `google.rpc.Status`.
    Status {
        status: String,
        #[serde(default)]
        details: Vec<Detail>,
    },
}

/// `google.rpc.ErrorInfo`, or another detail that has no reason.
#[derive(Deserialize)]
struct Detail {
    reason: Option<String>,
}

impl Refusal {
    /// Reads the body of an answer that is no success; `None` if it is not the vendor's own.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let Body { error } = serde_json::from_slice(body).ok()?;
        Some(Self(match error {
            Error::Grant(code) => code,
            Error::Status { status, details } => {
                let reasons = details.into_iter().filter_map(|detail| detail.reason);
                let mut listed = reasons.filter(|reason| CODES.meaning(reason).is_some());
                listed.next().unwrap_or(status)
            }
        }))
    }

    /// Whether it is the token that is refused, and nothing else was looked at.
    pub(super) fn blames_token(&self) -> bool {
        self.0 == UNAUTHENTICATED
    }

    /// What it says of a message with this id.
    pub(super) fn answer(&self, vendor_id: Option<VendorMessageId>) -> Answer {
        CODES.answer(&self.0, vendor_id)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(body: &str) -> Answer {
        Refusal::read(body.as_bytes()).unwrap().answer(None)
    }

    #[test]
    fn a_recipient_without_rcs_is_not_capable() {
        let body = r#"{"error":{"code":404,"message":"Requested entity was not found.","status":"NOT_FOUND"}}"#;
        let Answer::Refused { code, reason } = read(body) else {
            panic!("not refused");
        };
        assert_eq!((code.as_str(), reason), ("NOT_FOUND", Reason::NotCapable));
    }

    #[test]
    fn a_listed_reason_says_more_than_its_status_and_another_says_nothing() {
        let of = |reason: &str| {
            read(&format!(
                r#"{{"error":{{"code":403,"message":"m","status":"PERMISSION_DENIED","details":[
                    {{"@type":"type.googleapis.com/google.rpc.Help","links":[]}},
                    {{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"{reason}","domain":"googleapis.com"}}
                ]}}}}"#
            ))
        };
        let closed = |answer| match answer {
            Answer::Closed { code, why } => (code, why),
            other => panic!("{other:?}"),
        };
        let (code, why) = closed(of("CONSUMER_SUSPENDED"));
        assert_eq!(
            (code.as_str(), why),
            ("CONSUMER_SUSPENDED", Closed::Suspended)
        );
        let (code, why) = closed(of("IAM_PERMISSION_DENIED"));
        assert_eq!(
            (code.as_str(), why),
            ("PERMISSION_DENIED", Closed::Credentials)
        );
    }

    #[test]
    fn a_refused_token_is_told_apart_and_throttles() {
        let body = br#"{"error":{"code":401,"message":"m","status":"UNAUTHENTICATED","details":[{"reason":"ACCESS_TOKEN_EXPIRED"}]}}"#;
        let refusal = Refusal::read(body).unwrap();
        assert!(refusal.blames_token());
        assert_eq!(refusal.answer(None), Answer::Throttled);
    }

    #[test]
    fn a_repeated_id_was_taken_before() {
        let body = br#"{"error":{"code":409,"message":"m","status":"ALREADY_EXISTS"}}"#;
        let vendor_id = VendorMessageId::new("id");
        let answer = Refusal::read(body).unwrap().answer(vendor_id.clone());
        assert_eq!(answer, Answer::Taken { vendor_id });
    }

    #[test]
    fn the_token_server_speaks_otherwise() {
        let body = r#"{"error":"invalid_grant","error_description":"Invalid JWT Signature."}"#;
        assert!(matches!(
            read(body),
            Answer::Closed {
                why: Closed::Credentials,
                ..
            }
        ));
    }

    #[test]
    fn what_is_not_the_vendors_own_is_no_refusal() {
        for body in ["", "<html>404</html>", "{}", r#"{"error":{"code":404}}"#] {
            assert!(Refusal::read(body.as_bytes()).is_none(), "{body}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(body: Vec<u8>, status in "\\PC{0,90}", reason in "\\PC{0,90}") {
            let _ = Refusal::read(&body);
            let details = serde_json::json!([{ "reason": reason }]);
            let body = serde_json::json!({ "error": { "status": status, "details": details } });
            let refusal = Refusal::read(body.to_string().as_bytes()).unwrap();
            let _ = refusal.answer(None);
        }
    }
}
