//! How a request shows who makes it: `Authorization: HMAC-SHA256 apiKey=…, date=…, salt=…,
//! signature=…`, the signature being hexadecimal HMAC-SHA256 of `date` and `salt` one after the other
//! (github.com/solapi/documents, `authentication/api-key.md`). A date counts for 15 minutes either
//! way, and no signature twice, so every request has a salt of its own.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hmac;
use pabal_common::clock::{Clock, Timestamp};
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret as _, SecretString};

/// Where salts come from: 12 to 64 characters, never the same twice.
pub(super) type Salt = fn() -> String;

/// Signs the requests of one account.
pub(super) struct Signer {
    key_id: String,
    key: hmac::Key,
    clock: Arc<dyn Clock>,
    salt: Salt,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer")
    }
}

impl Signer {
    /// For the API Key `key_id` and its secret.
    pub(super) fn new(
        key_id: String,
        secret: &SecretString,
        clock: Arc<dyn Clock>,
        salt: Salt,
    ) -> Self {
        Self {
            key_id,
            key: hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes()),
            clock,
            salt,
        }
    }

    /// The `Authorization` of one request.
    pub(super) fn authorization(&self) -> HeaderValue {
        let text = self.sign(self.clock.now(), &(self.salt)());
        // The key id was let in as a header's word, and the rest is made here; without the header
        // the vendor would refuse.
        let mut value =
            HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""));
        value.set_sensitive(true);
        value
    }

    fn sign(&self, now: Timestamp, salt: &str) -> String {
        let date = now.to_rfc3339();
        let signed = hmac::sign(&self.key, format!("{date}{salt}").as_bytes());
        format!(
            "HMAC-SHA256 apiKey={}, date={date}, salt={salt}, signature={}",
            self.key_id,
            hex::encode(signed)
        )
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pabal_common::clock::ManualClock;

    use super::*;

    #[test]
    fn a_request_is_signed_over_its_date_and_its_salt() {
        let signer = Signer::new(
            "NCSAYU7YDBXYORXC".to_owned(),
            &SecretString::from("secret"),
            Arc::new(ManualClock::new(Timestamp::from_millis(1_795_000_000_007))),
            || "jqsba2jxjnrjor".to_owned(),
        );
        let header = signer.authorization();
        assert_eq!(
            header.to_str().unwrap(),
            "HMAC-SHA256 apiKey=NCSAYU7YDBXYORXC, date=2026-11-18T11:06:40.007Z, \
             salt=jqsba2jxjnrjor, \
             signature=aef3166d5c74f9f260dd48efa6b1301adb78c2d5f8775ae7737832e0546ddcd9"
        );
        assert!(header.is_sensitive());
        assert_eq!(format!("{signer:?}"), "Signer");
    }
}
