//! The HMAC on callbacks from vendors: lowercase hex HMAC-SHA256 over `timestamp.body`, with the
//! bytes of the shared key as they are.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use aws_lc_rs::hmac;

use super::signature::{SignatureError, signature, verify_hex};
use crate::clock::Timestamp;

/// Fewest bytes of a key: with an empty or tiny one, anybody could report for the vendor.
const SHORTEST: usize = 16;

/// The key shared with one vendor account.
#[derive(Clone)]
pub struct CallbackKey(hmac::Key);

/// The key is too easily guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a callback key has at least 16 bytes")]
pub struct CallbackKeyTooShort;

impl CallbackKey {
    /// The signature the vendor sends with `body`, for `timestamp_seconds` in its timestamp header.
    pub fn sign(&self, timestamp_seconds: i64, body: &[u8]) -> String {
        hex::encode(signature(&self.0, &[&timestamp_seconds.to_string()], body))
    }

    /// Checks a callback by the values of its two headers and its body as received. A timestamp
    /// further than `window` from `now`, either way, is refused; inside it, a repeated callback is
    /// believed, so reports have to bear being repeated.
    ///
    /// # Errors
    /// If the callback is not to be believed.
    pub fn verify(
        &self,
        timestamp_header: Option<&str>,
        signature_header: Option<&str>,
        body: &[u8],
        now: Timestamp,
        window: Duration,
    ) -> Result<(), SignatureError> {
        verify_hex(
            &self.0,
            timestamp_header,
            signature_header,
            body,
            now,
            window,
        )
    }
}

impl FromStr for CallbackKey {
    type Err = CallbackKeyTooShort;

    fn from_str(key: &str) -> Result<Self, CallbackKeyTooShort> {
        if key.len() < SHORTEST {
            return Err(CallbackKeyTooShort);
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes())))
    }
}

impl fmt::Debug for CallbackKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallbackKey(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_999);
    const WINDOW: Duration = Duration::from_secs(60);

    fn key() -> CallbackKey {
        "a key of one vendor".parse().unwrap()
    }

    fn check(timestamp: Option<&str>, signature: Option<&str>) -> Result<(), SignatureError> {
        key().verify(timestamp, signature, b"report", NOW, WINDOW)
    }

    #[test]
    fn a_signed_callback_is_believed_in_either_case_of_hex() {
        let signed = key().sign(1_000, b"report");
        assert_eq!(check(Some("1000"), Some(&signed)), Ok(()));
        assert_eq!(check(Some("1000"), Some(&signed.to_uppercase())), Ok(()));
    }

    #[test]
    fn a_callback_that_is_not_to_be_believed_is_refused_with_its_reason() {
        let signed = key().sign(1_000, b"report");
        let (old, early) = (key().sign(939, b"report"), key().sign(1_061, b"report"));
        let other = key().sign(1_000, b"another");
        let stranger: CallbackKey = "a key of some other".parse().unwrap();
        let forged = stranger.sign(1_000, b"report");
        let cases = [
            (None, Some(&signed), SignatureError::MissingHeader),
            (Some("1000"), None, SignatureError::MissingHeader),
            (Some("now"), Some(&signed), SignatureError::BadTimestamp),
            (Some("939"), Some(&old), SignatureError::OutsideWindow),
            (Some("1061"), Some(&early), SignatureError::OutsideWindow),
            (Some("1001"), Some(&signed), SignatureError::WrongSignature),
            (Some("1000"), Some(&other), SignatureError::WrongSignature),
            (Some("1000"), Some(&forged), SignatureError::WrongSignature),
        ];
        for (timestamp, signature, reason) in cases {
            let refused = check(timestamp, signature.map(String::as_str));
            assert_eq!(refused, Err(reason), "{timestamp:?}");
        }
        for signature in ["", "zz", &signed[..62]] {
            let refused = check(Some("1000"), Some(signature));
            assert_eq!(refused, Err(SignatureError::WrongSignature));
        }
    }

    #[test]
    fn a_key_that_can_be_guessed_is_refused() {
        assert_eq!("".parse::<CallbackKey>().err(), Some(CallbackKeyTooShort));
        assert!("fifteen bytes..".parse::<CallbackKey>().is_err());
        assert!("sixteen bytes...".parse::<CallbackKey>().is_ok());
    }
}
