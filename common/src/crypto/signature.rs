//! Signatures on the webhooks partners receive, and how a receiver checks them.
//!
//! Every webhook carries both schemes; a partner checks the one it likes better.
//!
//! | scheme | headers | key | signed text |
//! |---|---|---|---|
//! | ours | `X-Timestamp`, `X-Signature` (lowercase hex) | the UTF-8 bytes of the whole secret | `timestamp.body` |
//! | Standard Webhooks | `webhook-id`, `webhook-timestamp`, `webhook-signature` (`v1,` and base64) | the base64 after `whsec_`, decoded | `id.timestamp.body` |
//!
//! Both are HMAC-SHA256. While a secret is being rotated, `webhook-signature` holds one signature
//! for each of the two secrets, separated by a space; `X-Signature`, which holds one alone, is
//! made with the active secret.

use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::webhook_secret::WebhookSecret;
use crate::clock::Timestamp;

/// Unix seconds of the attempt.
pub const X_TIMESTAMP: &str = "x-timestamp";
/// Lowercase hex of the signature over `timestamp.body`.
pub const X_SIGNATURE: &str = "x-signature";
/// The webhook's id, the same at every attempt.
pub const WEBHOOK_ID: &str = "webhook-id";
/// Unix seconds of the attempt.
pub const WEBHOOK_TIMESTAMP: &str = "webhook-timestamp";
/// One or more of `v1,<base64>`, separated by spaces.
pub const WEBHOOK_SIGNATURE: &str = "webhook-signature";

const VERSION: &str = "v1,";

/// The headers that sign one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureHeaders {
    /// `X-Timestamp` and `webhook-timestamp`.
    pub timestamp: String,
    /// `X-Signature`.
    pub x_signature: String,
    /// `webhook-id`.
    pub webhook_id: String,
    /// `webhook-signature`.
    pub webhook_signature: String,
}

impl SignatureHeaders {
    /// Names and values, as they go into the request.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            (X_TIMESTAMP, self.timestamp.as_str()),
            (X_SIGNATURE, &self.x_signature),
            (WEBHOOK_ID, &self.webhook_id),
            (WEBHOOK_TIMESTAMP, &self.timestamp),
            (WEBHOOK_SIGNATURE, &self.webhook_signature),
        ]
        .into_iter()
    }

    /// The value of one header, by its lowercase name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter()
            .find_map(|(known, value)| (known == name).then_some(value))
    }
}

/// Why a signed request is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// A header of the scheme is absent.
    #[error("a signature header is missing")]
    MissingHeader,
    /// The timestamp is not a whole number of seconds.
    #[error("the timestamp is not in unix seconds")]
    BadTimestamp,
    /// Signed too long ago, or in the future: perhaps a request that is being replayed.
    #[error("the timestamp is too far from the time now")]
    OutsideWindow,
    /// No signature fits the body, the timestamp and the key.
    #[error("the signature is wrong")]
    WrongSignature,
}

/// Signs one attempt to deliver `body` under the webhook id `id`.
///
/// `second` is the other secret while the partner rotates; a receiver that knows either of the two
/// then accepts `webhook-signature`.
pub fn sign(
    active: &WebhookSecret,
    second: Option<&WebhookSecret>,
    id: &str,
    timestamp_seconds: i64,
    body: &[u8],
) -> SignatureHeaders {
    let timestamp = timestamp_seconds.to_string();
    let standard = |secret: &WebhookSecret| {
        let signature = signature(secret.decoded_key(), &[id, &timestamp], body);
        format!("{VERSION}{}", STANDARD.encode(signature))
    };
    let webhook_signature = match second {
        Some(second) => format!("{} {}", standard(active), standard(second)),
        None => standard(active),
    };
    SignatureHeaders {
        x_signature: hex::encode(signature(active.text_key(), &[&timestamp], body)),
        webhook_id: id.to_owned(),
        webhook_signature,
        timestamp,
    }
}

/// Checks `X-Timestamp` and `X-Signature`.
///
/// `header` gives the value of a header by its lowercase name; `body` is the body as received,
/// byte by byte; a timestamp further than `tolerance` from `now`, either way, is refused.
///
/// # Errors
/// If the request is not to be believed.
pub fn verify_x_signature<'h>(
    secret: &WebhookSecret,
    header: impl Fn(&str) -> Option<&'h str>,
    body: &[u8],
    now: Timestamp,
    tolerance: Duration,
) -> Result<(), SignatureError> {
    let timestamp = header(X_TIMESTAMP);
    verify_hex(
        secret.text_key(),
        timestamp,
        header(X_SIGNATURE),
        body,
        now,
        tolerance,
    )
}

/// Checks `webhook-id`, `webhook-timestamp` and `webhook-signature`: one of the signatures must
/// fit. Arguments as for [`verify_x_signature`].
///
/// # Errors
/// If the request is not to be believed.
pub fn verify_standard_webhook<'h>(
    secret: &WebhookSecret,
    header: impl Fn(&str) -> Option<&'h str>,
    body: &[u8],
    now: Timestamp,
    tolerance: Duration,
) -> Result<(), SignatureError> {
    let required = |name| header(name).ok_or(SignatureError::MissingHeader);
    let (id, timestamp) = (required(WEBHOOK_ID)?, required(WEBHOOK_TIMESTAMP)?);
    let candidates = required(WEBHOOK_SIGNATURE)?;
    within(timestamp, now, tolerance)?;
    let expected = signature(secret.decoded_key(), &[id, timestamp], body);
    let fits = candidates
        .split(' ')
        .filter_map(|candidate| STANDARD.decode(candidate.strip_prefix(VERSION)?).ok())
        .any(|candidate| same(&expected, &candidate));
    fits.then_some(()).ok_or(SignatureError::WrongSignature)
}

/// Checks a hex signature over `timestamp.body`.
pub(super) fn verify_hex(
    key: &hmac::Key,
    timestamp: Option<&str>,
    candidate: Option<&str>,
    body: &[u8],
    now: Timestamp,
    tolerance: Duration,
) -> Result<(), SignatureError> {
    let timestamp = timestamp.ok_or(SignatureError::MissingHeader)?;
    let candidate = candidate.ok_or(SignatureError::MissingHeader)?;
    within(timestamp, now, tolerance)?;
    let candidate = hex::decode(candidate).map_err(|_| SignatureError::WrongSignature)?;
    let expected = signature(key, &[timestamp], body);
    let fits = same(&expected, &candidate);
    fits.then_some(()).ok_or(SignatureError::WrongSignature)
}

/// HMAC-SHA256 over the parts and the body, each part followed by a dot.
pub(super) fn signature(key: &hmac::Key, parts: &[&str], body: &[u8]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    for part in parts {
        context.update(part.as_bytes());
        context.update(b".");
    }
    context.update(body);
    context.sign()
}

/// The text of the timestamp is what is signed, so only its one usual form is taken.
fn within(timestamp: &str, now: Timestamp, tolerance: Duration) -> Result<(), SignatureError> {
    if !timestamp.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(SignatureError::BadTimestamp);
    }
    let signed: i64 = timestamp
        .parse()
        .map_err(|_| SignatureError::BadTimestamp)?;
    let apart = now.unix_seconds().abs_diff(signed);
    if apart <= tolerance.as_secs() {
        Ok(())
    } else {
        Err(SignatureError::OutsideWindow)
    }
}

fn same(expected: &hmac::Tag, candidate: &[u8]) -> bool {
    verify_slices_are_equal(expected.as_ref(), candidate).is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;
    use crate::crypto::CallbackKey;

    const TOLERANCE: Duration = Duration::from_secs(300);

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Vectors {
        webhooks: Vec<WebhookVector>,
        callbacks: Vec<CallbackVector>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct WebhookVector {
        name: String,
        secret: String,
        second_secret: Option<String>,
        id: String,
        timestamp: i64,
        body: String,
        x_signature: String,
        webhook_signature: String,
    }

    #[derive(Deserialize)]
    struct CallbackVector {
        name: String,
        key: String,
        timestamp: i64,
        body: String,
        signature: String,
    }

    fn vectors() -> Vectors {
        let text = include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/data/signatures.json"
        ));
        serde_json::from_str(text).unwrap()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn both(
        secret: &WebhookSecret,
        headers: &SignatureHeaders,
        body: &[u8],
        now: Timestamp,
    ) -> [Result<(), SignatureError>; 2] {
        let header = |name: &str| headers.get(name);
        [
            verify_x_signature(secret, header, body, now, TOLERANCE),
            verify_standard_webhook(secret, header, body, now, TOLERANCE),
        ]
    }

    #[test]
    fn webhook_signatures_are_those_of_the_fixed_vectors() {
        for vector in vectors().webhooks {
            let secret: WebhookSecret = vector.secret.parse().unwrap();
            let second: Option<WebhookSecret> = vector.second_secret.map(|s| s.parse().unwrap());
            let body = vector.body.as_bytes();
            let signed = sign(&secret, second.as_ref(), &vector.id, vector.timestamp, body);
            let headers: Vec<_> = signed.iter().collect();
            let timestamp = vector.timestamp.to_string();
            let expected = [
                ("x-timestamp", timestamp.as_str()),
                ("x-signature", &vector.x_signature),
                ("webhook-id", &vector.id),
                ("webhook-timestamp", &timestamp),
                ("webhook-signature", &vector.webhook_signature),
            ];
            assert_eq!(headers, expected, "{}", vector.name);
            assert_eq!(
                both(&secret, &signed, body, at(vector.timestamp)),
                [Ok(()); 2]
            );
        }
    }

    #[test]
    fn callback_signatures_are_those_of_the_fixed_vectors() {
        for vector in vectors().callbacks {
            let key: CallbackKey = vector.key.parse().unwrap();
            let signed = key.sign(vector.timestamp, vector.body.as_bytes());
            assert_eq!(signed, vector.signature, "{}", vector.name);
        }
    }

    #[test]
    fn while_rotating_either_secret_checks_the_standard_header_and_the_active_ours() {
        let [active, second, stranger] = [0; 3].map(|_| WebhookSecret::generate());
        let signed = sign(&active, Some(&second), "id", 1_000, b"{}");
        let wrong = Err(SignatureError::WrongSignature);
        assert_eq!(both(&active, &signed, b"{}", at(1_000)), [Ok(()), Ok(())]);
        assert_eq!(both(&second, &signed, b"{}", at(1_000)), [wrong, Ok(())]);
        assert_eq!(both(&stranger, &signed, b"{}", at(1_000)), [wrong, wrong]);
    }

    #[test]
    fn a_signature_of_another_version_is_passed_over() {
        let secret = WebhookSecret::generate();
        let mut signed = sign(&secret, None, "id", 1_000, b"{}");
        signed.webhook_signature = format!("v2,AAAA v1a,?? {}", signed.webhook_signature);
        assert_eq!(both(&secret, &signed, b"{}", at(1_000))[1], Ok(()));
        signed.webhook_signature = signed.webhook_signature.replace("v1,", "v2,");
        let refused = both(&secret, &signed, b"{}", at(1_000))[1];
        assert_eq!(refused, Err(SignatureError::WrongSignature));
    }

    #[test]
    fn the_window_ends_at_the_tolerance_both_ways() {
        let secret = WebhookSecret::generate();
        let signed = sign(&secret, None, "id", 10_000, b"{}");
        for (now, expected) in [
            (9_699, Err(SignatureError::OutsideWindow)),
            (9_700, Ok(())),
            (10_300, Ok(())),
            (10_301, Err(SignatureError::OutsideWindow)),
        ] {
            assert_eq!(
                both(&secret, &signed, b"{}", at(now)),
                [expected; 2],
                "{now}"
            );
        }
    }

    #[test]
    fn an_absent_header_is_named_as_such() {
        let secret = WebhookSecret::generate();
        let signed = sign(&secret, None, "id", 1_000, b"{}");
        for absent in [X_TIMESTAMP, X_SIGNATURE] {
            let header = |name: &str| signed.get(name).filter(|_| name != absent);
            let refused = verify_x_signature(&secret, header, b"{}", at(1_000), TOLERANCE);
            assert_eq!(refused, Err(SignatureError::MissingHeader), "{absent}");
        }
        for absent in [WEBHOOK_ID, WEBHOOK_TIMESTAMP, WEBHOOK_SIGNATURE] {
            let header = |name: &str| signed.get(name).filter(|_| name != absent);
            let refused = verify_standard_webhook(&secret, header, b"{}", at(1_000), TOLERANCE);
            assert_eq!(refused, Err(SignatureError::MissingHeader), "{absent}");
        }
    }

    #[test]
    fn a_timestamp_that_is_no_number_of_seconds_is_refused() {
        let secret = WebhookSecret::generate();
        let mut signed = sign(&secret, None, "id", 1_000, b"{}");
        for timestamp in [
            "",
            "+1000",
            "-1000",
            "1000.0",
            " 1000",
            "soon",
            "99999999999999999999",
        ] {
            signed.timestamp = timestamp.to_owned();
            let refused = both(&secret, &signed, b"{}", at(1_000));
            assert_eq!(
                refused,
                [Err(SignatureError::BadTimestamp); 2],
                "{timestamp}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_other_body_time_or_id_is_refused(
            body: Vec<u8>, place: prop::sample::Index, bit in 0_u8..8, id in "[a-z0-9_]{1,20}",
        ) {
            let secret = WebhookSecret::generate();
            let signed = sign(&secret, None, &id, 1_000, &body);
            let wrong = Err(SignatureError::WrongSignature);
            prop_assert_eq!(both(&secret, &signed, &body, at(1_000)), [Ok(()); 2]);

            let mut changed = body.clone();
            changed.push(b'.');
            let at_byte = place.index(changed.len());
            changed[at_byte] ^= 1 << bit;
            prop_assert_eq!(both(&secret, &signed, &changed, at(1_000)), [wrong; 2]);

            let later = SignatureHeaders { timestamp: "1001".to_owned(), ..signed.clone() };
            prop_assert_eq!(both(&secret, &later, &body, at(1_000)), [wrong; 2]);

            let renamed = SignatureHeaders { webhook_id: format!("{id}x"), ..signed };
            prop_assert_eq!(both(&secret, &renamed, &body, at(1_000))[1], wrong);
        }

        #[test]
        fn headers_that_were_never_signed_are_refused(x: String, standard: String) {
            let secret = WebhookSecret::generate();
            let signed = SignatureHeaders {
                timestamp: "1000".to_owned(),
                x_signature: x,
                webhook_id: "id".to_owned(),
                webhook_signature: standard,
            };
            let wrong = Err(SignatureError::WrongSignature);
            prop_assert_eq!(both(&secret, &signed, b"{}", at(1_000)), [wrong; 2]);
        }
    }
}
