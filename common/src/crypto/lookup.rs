//! Keyed digests: the ledger can find a recipient or recognise a repeated request without
//! holding either in the clear. Without the key, the few million phone numbers there are cannot
//! simply be tried.

use std::fmt;

use aws_lc_rs::hmac;

use super::key::Purpose;
use super::keyring::Keyring;

/// Makes the digests; cheap to clone.
#[derive(Clone)]
pub struct Lookup {
    recipients: hmac::Key,
    bodies: hmac::Key,
}

impl Lookup {
    /// Digests under the keys of `keyring`.
    pub fn new(keyring: &Keyring) -> Self {
        let key = |purpose| hmac::Key::new(hmac::HMAC_SHA256, keyring.lookup(purpose).as_slice());
        Self {
            recipients: key(Purpose::RecipientLookup),
            bodies: key(Purpose::BodyDigest),
        }
    }

    /// The digest of a recipient in its normal notation: HMAC-SHA256, the first 16 bytes.
    pub fn recipient_hash(&self, recipient: &str) -> [u8; 16] {
        truncated(&self.recipients, recipient.as_bytes())
    }

    /// The digest of a request body: HMAC-SHA256, the first 16 bytes.
    pub fn body_digest(&self, body: &[u8]) -> [u8; 16] {
        truncated(&self.bodies, body)
    }
}

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookup").finish_non_exhaustive()
    }
}

fn truncated(key: &hmac::Key, data: &[u8]) -> [u8; 16] {
    let mut digest = [0; 16];
    digest.copy_from_slice(&hmac::sign(key, data).as_ref()[..16]);
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_value_has_the_same_digest_and_another_value_another() {
        let lookup = Lookup::new(&Keyring::generate());
        let digest = lookup.recipient_hash("01012345678");
        assert_eq!(lookup.clone().recipient_hash("01012345678"), digest);
        assert_ne!(lookup.recipient_hash("01012345679"), digest);
        assert_ne!(lookup.body_digest(b"a"), lookup.body_digest(b"b"));
    }

    #[test]
    fn recipients_and_bodies_are_digested_under_different_keys() {
        let lookup = Lookup::new(&Keyring::generate());
        assert_ne!(lookup.recipient_hash("0"), lookup.body_digest(b"0"));
    }

    #[test]
    fn another_installation_has_other_digests() {
        let [one, two] = [Keyring::generate(), Keyring::generate()].map(|k| Lookup::new(&k));
        assert_ne!(one.recipient_hash("0"), two.recipient_hash("0"));
    }
}
