//! One secret of the key file, and the keys derived from it.

use aws_lc_rs::hkdf;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretBox};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::random;

/// 32 secret bytes, base64 in the file.
pub(super) struct Key(SecretBox<[u8; 32]>);

impl Key {
    /// A fresh random key.
    pub(super) fn generate() -> Self {
        Self(SecretBox::init_with_mut(|bytes: &mut [u8; 32]| {
            random::fill(bytes);
        }))
    }

    /// The key for one purpose: HKDF-SHA256 with the purpose's label.
    #[expect(
        clippy::expect_used,
        reason = "the length is fixed and one block, far below the limit of 255 blocks"
    )]
    pub(super) fn derive(&self, purpose: Purpose) -> Derived {
        let mut derived = Zeroizing::new([0_u8; 32]);
        hkdf::Salt::new(hkdf::HKDF_SHA256, b"pabal")
            .extract(self.0.expose_secret())
            .expand(&[purpose.label().as_bytes()], hkdf::HKDF_SHA256)
            .and_then(|key| key.fill(derived.as_mut_slice()))
            .expect("HKDF-SHA256 gives one block of 32 bytes for any input");
        derived
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = Zeroizing::new(STANDARD.encode(self.0.expose_secret()));
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        let bytes = STANDARD.decode(text.as_bytes()).map(Zeroizing::new);
        let bytes = bytes.map_err(|_| serde::de::Error::custom("a key is base64"))?;
        <[u8; 32]>::try_from(bytes.as_slice())
            .map(|bytes| Self(SecretBox::new(Box::new(bytes))))
            .map_err(|_| serde::de::Error::custom("a key has 32 bytes"))
    }
}

/// What a derived key is for; one label each, so that no key is used twice.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    /// Sealing message content.
    MessageSeal,
    /// Sealing partners' webhook secrets.
    SecretSeal,
    /// Sealing files.
    FileSeal,
    /// The digest by which a recipient is looked up.
    RecipientLookup,
    /// The digest by which a repeated request is compared.
    BodyDigest,
    /// Signing access tokens.
    AccessToken,
    /// Telling key files apart. Not a key: it is kept in the clear.
    Fingerprint,
}

impl Purpose {
    /// The HKDF label. To change one is to make everything under it unreadable.
    const fn label(self) -> &'static str {
        match self {
            Self::MessageSeal => "pabal/1/message-seal",
            Self::SecretSeal => "pabal/1/secret-seal",
            Self::FileSeal => "pabal/1/file-seal",
            Self::RecipientLookup => "pabal/1/recipient-lookup",
            Self::BodyDigest => "pabal/1/body-digest",
            Self::AccessToken => "pabal/1/access-token",
            Self::Fingerprint => "pabal/1/fingerprint",
        }
    }
}

/// A key derived for one purpose; wiped when dropped.
pub(super) type Derived = Zeroizing<[u8; 32]>;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_purpose_has_a_key_of_its_own() {
        let key = Key::generate();
        let purposes = [
            Purpose::MessageSeal,
            Purpose::SecretSeal,
            Purpose::FileSeal,
            Purpose::RecipientLookup,
            Purpose::BodyDigest,
            Purpose::AccessToken,
            Purpose::Fingerprint,
        ];
        let derived: HashSet<_> = purposes.map(|p| *key.derive(p)).into_iter().collect();
        assert_eq!(derived.len(), purposes.len());
        assert!(!derived.contains(key.0.expose_secret()));
    }
}
