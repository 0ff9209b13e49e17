//! The secret a partner and Pabal share to sign webhooks.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};

use super::random;

const PREFIX: &str = "whsec_";
/// Bytes a key may have by the Standard Webhooks specification.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// `whsec_` and the base64 of the key: 32 random bytes, or 24 to 64 where it was made elsewhere.
#[derive(Clone)]
pub struct WebhookSecret {
    text: SecretString,
    /// Keyed with the bytes of the whole text, prefix included.
    text_key: hmac::Key,
    /// Keyed with what the base64 stands for.
    decoded_key: hmac::Key,
}

/// The text is not a webhook secret. It is not quoted, since it may be most of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a webhook secret is `whsec_` and the base64 of 24 to 64 bytes")]
pub struct NotAWebhookSecret;

impl WebhookSecret {
    /// A new secret of 32 random bytes.
    pub fn generate() -> Self {
        let key = Zeroizing::new(random::bytes::<32>());
        Self::new(
            format!("{PREFIX}{}", STANDARD.encode(key.as_slice())),
            &*key,
        )
    }

    /// The secret itself: to hand to the partner once, or to seal for keeping.
    pub fn expose(&self) -> &str {
        self.text.expose_secret()
    }

    /// The key of `X-Signature`.
    pub(super) fn text_key(&self) -> &hmac::Key {
        &self.text_key
    }

    /// The key of `webhook-signature`.
    pub(super) fn decoded_key(&self) -> &hmac::Key {
        &self.decoded_key
    }

    fn new(text: String, key: &[u8]) -> Self {
        Self {
            text_key: hmac::Key::new(hmac::HMAC_SHA256, text.as_bytes()),
            decoded_key: hmac::Key::new(hmac::HMAC_SHA256, key),
            text: text.into(),
        }
    }
}

impl FromStr for WebhookSecret {
    type Err = NotAWebhookSecret;

    fn from_str(text: &str) -> Result<Self, NotAWebhookSecret> {
        let encoded = text.strip_prefix(PREFIX).ok_or(NotAWebhookSecret)?;
        let key = STANDARD.decode(encoded).map(Zeroizing::new);
        let key = key.map_err(|_| NotAWebhookSecret)?;
        if KEY_BYTES.contains(&key.len()) {
            Ok(Self::new(text.to_owned(), &key))
        } else {
            Err(NotAWebhookSecret)
        }
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(whsec_***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_secret_reads_back_and_differs_from_the_next() {
        let secret = WebhookSecret::generate();
        assert_eq!(secret.expose().len(), "whsec_".len() + 44);
        let read: WebhookSecret = secret.expose().parse().unwrap();
        assert_eq!(read.expose(), secret.expose());
        assert_ne!(WebhookSecret::generate().expose(), secret.expose());
    }

    #[test]
    fn debug_shows_nothing_of_the_secret() {
        let shown = format!("{:?}", WebhookSecret::generate());
        assert_eq!(shown, "WebhookSecret(whsec_***)");
    }

    #[test]
    fn texts_without_prefix_base64_or_enough_bytes_are_refused() {
        let key = |bytes: usize| STANDARD.encode(vec![1_u8; bytes]);
        let refused = [
            String::new(),
            "whsec_".to_owned(),
            key(32),
            format!("WHSEC_{}", key(32)),
            format!("whsec_{} ", key(32)),
            format!("whsec_{}", key(32).trim_end_matches('=')),
            format!("whsec_{}", key(23)),
            format!("whsec_{}", key(65)),
        ];
        for text in refused {
            assert!(text.parse::<WebhookSecret>().is_err(), "{text}");
        }
        for bytes in [24, 64] {
            assert!(
                format!("whsec_{}", key(bytes))
                    .parse::<WebhookSecret>()
                    .is_ok()
            );
        }
    }
}
