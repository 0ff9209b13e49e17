//! How the reference protocols sign a callback: the time of the attempt, and an HMAC over it and
//! the body.

use hmac::{Hmac, KeyInit as _, Mac as _};
use pabal_common::clock::Timestamp;
use secrecy::ExposeSecret as _;
use sha2::Sha256;

use super::Vendor;
use crate::callbacks::Headers;

/// The headers of an attempt made `now`.
pub(super) fn headers(vendor: &Vendor, body: &[u8], now: Timestamp) -> Headers {
    let timestamp = now.unix_seconds().to_string();
    let secret = vendor.account.callback_secret.expose_secret();
    let signature = sign(secret, &timestamp, body);
    vec![
        ("x-vendor-signature", signature),
        ("x-vendor-timestamp", timestamp),
    ]
}

/// Hexadecimal HMAC-SHA256 of `timestamp.body`.
fn sign(secret: &str, timestamp: &str, body: &[u8]) -> String {
    // HMAC takes a key of any length, so that there is always a signature.
    Hmac::<Sha256>::new_from_slice(secret.as_bytes())
        .map(|mut mac| {
            mac.update(timestamp.as_bytes());
            mac.update(b".");
            mac.update(body);
            hex::encode(mac.finalize().into_bytes())
        })
        .unwrap_or_default()
}
