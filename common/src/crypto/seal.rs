//! Sealing: content that lies in the ledger so that only a holder of the key file reads it.
//!
//! AES-256-GCM. A sealed blob is
//!
//! | bytes | what |
//! |---|---|
//! | 1 | version, 1 |
//! | 4 | id of the sealing key, big endian |
//! | 12 | random nonce |
//! | the rest | ciphertext, then the tag of 16 bytes |
//!
//! Associated data is the owner (message, file or label), version and key id, so a blob copied into
//! another row does not open. Each owner has a key of its own, derived from the sealing key:
//! random nonces under one key are safe for 2^32 blobs (NIST SP 800-38D, 8.3), which a busy
//! gateway passes within weeks, while one message is sealed a few times at most.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Prk};

use super::key::{Derived, Purpose};
use super::keyring::Keyring;
use super::random;
use crate::domain::id::{FileId, MessageId};

const VERSION: u8 = 1;
const KEY_ID: usize = 4;
const NONCE: usize = 12;
const TAG: usize = 16;
const HEAD: usize = 1 + KEY_ID + NONCE;

/// Seals and opens with the keys of one keyring; cheap to clone.
#[derive(Clone)]
pub struct Sealer(Arc<Rings>);

/// Why a blob does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Shorter than the shortest sealed blob.
    #[error("the sealed content is cut off")]
    TooShort,
    /// Not a version this release reads.
    #[error("the sealed content has an unknown version")]
    UnknownVersion,
    /// Sealed with a key that is not in the key file.
    #[error("the sealed content needs key {0}, which is not in the key file")]
    UnknownKey(u32),
    /// Changed since it was sealed, or another owner's.
    #[error("the sealed content was changed or belongs elsewhere")]
    Tampered,
}

impl Sealer {
    /// A sealer with the keys of `keyring`.
    pub fn new(keyring: &Keyring) -> Self {
        let ring = |purpose| {
            let keys = keyring.sealing(purpose);
            Ring(keys.map(|(id, key)| RingKey::new(id, &key)).collect())
        };
        Self(Arc::new(Rings {
            messages: ring(Purpose::MessageSeal),
            secrets: ring(Purpose::SecretSeal),
            files: ring(Purpose::FileSeal),
        }))
    }

    /// Seals what belongs to `message`. The blob is 33 bytes longer than `plain`.
    pub fn seal(&self, message: MessageId, plain: &[u8]) -> Vec<u8> {
        self.0.messages.seal(&message.number().to_be_bytes(), plain)
    }

    /// Opens what was sealed for `message`.
    ///
    /// # Errors
    /// If the blob is not whole, was sealed with a key not held, or not for this message.
    pub fn open(&self, message: MessageId, blob: &[u8]) -> Result<Vec<u8>, SealError> {
        self.0.messages.open(&message.number().to_be_bytes(), blob)
    }

    /// Seals a stored secret that belongs to `label`, such as a partner's webhook secret under
    /// the partner's id.
    pub fn seal_secret(&self, label: &str, plain: &[u8]) -> Vec<u8> {
        self.0.secrets.seal(label.as_bytes(), plain)
    }

    /// Opens a secret sealed under `label`.
    ///
    /// # Errors
    /// As [`Sealer::open`].
    pub fn open_secret(&self, label: &str, blob: &[u8]) -> Result<Vec<u8>, SealError> {
        self.0.secrets.open(label.as_bytes(), blob)
    }

    /// Seals what belongs to `file`: its content, or its name.
    pub fn seal_file(&self, file: FileId, part: FilePart, plain: &[u8]) -> Vec<u8> {
        self.0.files.seal(&part.owner(file), plain)
    }

    /// Opens what was sealed as this part of `file`.
    ///
    /// # Errors
    /// As [`Sealer::open`].
    pub fn open_file(
        &self,
        file: FileId,
        part: FilePart,
        blob: &[u8],
    ) -> Result<Vec<u8>, SealError> {
        self.0.files.open(&part.owner(file), blob)
    }
}

/// What of a file is sealed, each with a key of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilePart {
    /// Its bytes.
    Content,
    /// Its name.
    Name,
}

impl FilePart {
    fn owner(self, file: FileId) -> [u8; 9] {
        let mut owner = [0; 9];
        owner[..8].copy_from_slice(&file.number().to_be_bytes());
        owner[8] = match self {
            Self::Content => 1,
            Self::Name => 2,
        };
        owner
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").finish_non_exhaustive()
    }
}

struct Rings {
    messages: Ring,
    secrets: Ring,
    files: Ring,
}

/// The keys of one purpose, the newest last.
struct Ring(Vec<RingKey>);

impl Ring {
    #[expect(
        clippy::expect_used,
        reason = "an empty keyring is refused where it is read"
    )]
    fn seal(&self, owner: &[u8], plain: &[u8]) -> Vec<u8> {
        let newest = self
            .0
            .last()
            .expect("a keyring holds at least one sealing key");
        newest.seal(owner, plain)
    }

    fn open(&self, owner: &[u8], blob: &[u8]) -> Result<Vec<u8>, SealError> {
        if blob.len() < HEAD + TAG {
            return Err(SealError::TooShort);
        }
        let (head, sealed) = blob.split_at(HEAD);
        let (version, rest) = head.split_at(1);
        let (key_id, nonce) = rest.split_at(KEY_ID);
        if version != [VERSION] {
            return Err(SealError::UnknownVersion);
        }
        let key_id = key_id.iter().fold(0, |id, &byte| id << 8 | u32::from(byte));
        let key = self.0.iter().rfind(|key| key.id == key_id);
        let key = key.ok_or(SealError::UnknownKey(key_id))?;
        key.open(owner, nonce, sealed)
    }
}

struct RingKey {
    id: u32,
    owners: Prk,
}

impl RingKey {
    fn new(id: u32, key: &Derived) -> Self {
        let owners = Prk::new_less_safe(HKDF_SHA256, key.as_slice());
        Self { id, owners }
    }

    #[expect(
        clippy::expect_used,
        reason = "AES-GCM refuses only texts beyond 64 GiB, and bodies are limited long before"
    )]
    fn seal(&self, owner: &[u8], plain: &[u8]) -> Vec<u8> {
        let nonce: [u8; NONCE] = random::bytes();
        let mut blob = Vec::with_capacity(HEAD + plain.len() + TAG);
        blob.push(VERSION);
        blob.extend_from_slice(&self.id.to_be_bytes());
        blob.extend_from_slice(&nonce);
        blob.extend_from_slice(plain);
        let tag = self
            .of(owner)
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(self.associated(owner)),
                &mut blob[HEAD..],
            )
            .expect("AES-GCM seals any text below 64 GiB");
        blob.extend_from_slice(tag.as_ref());
        blob
    }

    fn open(&self, owner: &[u8], nonce: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::TooShort)?;
        let mut plain = sealed.to_vec();
        let length = self
            .of(owner)
            .open_in_place(nonce, Aad::from(self.associated(owner)), &mut plain)
            .map_err(|_| SealError::Tampered)?
            .len();
        plain.truncate(length);
        Ok(plain)
    }

    /// The owner's own key. The purpose is in the key it is derived from, so the owner alone is
    /// enough of a label.
    #[expect(
        clippy::expect_used,
        reason = "the length is fixed and one block, far below the limit of 255 blocks"
    )]
    fn of(&self, owner: &[u8]) -> LessSafeKey {
        let info = [owner];
        let key = self.owners.expand(&info, &AES_256_GCM);
        let key = key.expect("HKDF-SHA256 gives one block of 32 bytes for any input");
        LessSafeKey::new(UnboundKey::from(key))
    }

    fn associated(&self, owner: &[u8]) -> Vec<u8> {
        [owner, &[VERSION], &self.id.to_be_bytes()].concat()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MESSAGE: MessageId = MessageId::from_number(0x0123_4567_89AB_CDEF);

    fn sealer() -> Sealer {
        Sealer::new(&Keyring::generate())
    }

    #[test]
    fn a_blob_is_version_key_id_nonce_ciphertext_and_tag() {
        let blob = sealer().seal(MESSAGE, b"0123456789");
        assert_eq!(blob.len(), 10 + 33);
        assert_eq!(blob[0], 1);
    }

    #[test]
    fn the_text_is_not_in_the_blob_and_two_blobs_of_it_differ() {
        let sealer = sealer();
        let text = "받는 사람 01012345678".as_bytes();
        let (one, two) = (sealer.seal(MESSAGE, text), sealer.seal(MESSAGE, text));
        assert_ne!(one, two);
        assert!(
            !one.windows(6)
                .any(|part| text.windows(6).any(|t| t == part))
        );
    }

    #[test]
    fn every_changed_bit_is_noticed() {
        let sealer = sealer();
        let blob = sealer.seal(MESSAGE, b"text");
        for bit in 0..blob.len() * 8 {
            let mut changed = blob.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let refused = sealer.open(MESSAGE, &changed).unwrap_err();
            match bit / 8 {
                0 => assert_eq!(refused, SealError::UnknownVersion),
                1..5 => assert!(matches!(refused, SealError::UnknownKey(_))),
                _ => assert_eq!(refused, SealError::Tampered, "bit {bit}"),
            }
        }
    }

    #[test]
    fn every_cut_is_noticed() {
        let sealer = sealer();
        let blob = sealer.seal(MESSAGE, b"text");
        for length in 0..blob.len() {
            let refused = sealer.open(MESSAGE, &blob[..length]).unwrap_err();
            let expected = if length < 33 {
                SealError::TooShort
            } else {
                SealError::Tampered
            };
            assert_eq!(refused, expected, "length {length}");
        }
    }

    #[test]
    fn a_blob_moved_to_another_message_does_not_open() {
        let sealer = sealer();
        let blob = sealer.seal(MESSAGE, b"text");
        let other = MessageId::from_number(MESSAGE.number() + 1);
        assert_eq!(sealer.open(other, &blob), Err(SealError::Tampered));
    }

    #[test]
    fn a_blob_of_another_installation_names_the_missing_key() {
        let blob = sealer().seal(MESSAGE, b"text");
        let key_id = u32::from_be_bytes(blob[1..5].try_into().unwrap());
        assert_eq!(
            sealer().open(MESSAGE, &blob),
            Err(SealError::UnknownKey(key_id))
        );
    }

    #[test]
    fn a_secret_opens_only_under_its_label_and_never_as_a_message() {
        let sealer = sealer();
        let label = "shop-001";
        let blob = sealer.seal_secret(label, b"whsec_");
        assert_eq!(
            sealer.open_secret(label, &blob).as_deref(),
            Ok(b"whsec_".as_slice())
        );
        assert_eq!(
            sealer.open_secret("shop-002", &blob),
            Err(SealError::Tampered)
        );
        let same_bytes = MessageId::from_number(u64::from_be_bytes(*b"shop-001"));
        assert_eq!(sealer.open(same_bytes, &blob), Err(SealError::Tampered));
    }

    #[test]
    fn a_file_opens_only_as_the_part_that_was_sealed_of_the_same_file() {
        let (sealer, file) = (sealer(), FileId::from_number(7));
        let blob = sealer.seal_file(file, FilePart::Content, b"picture");
        let opened = sealer.open_file(file, FilePart::Content, &blob);
        assert_eq!(opened.as_deref(), Ok(b"picture".as_slice()));
        for (file, part) in [
            (file, FilePart::Name),
            (FileId::from_number(8), FilePart::Content),
        ] {
            let refused = sealer.open_file(file, part, &blob);
            assert_eq!(refused, Err(SealError::Tampered));
        }
        let message = MessageId::from_number(7);
        assert_eq!(sealer.open(message, &blob), Err(SealError::Tampered));
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens_again(number: u64, plain: Vec<u8>) {
            let (sealer, message) = (sealer(), MessageId::from_number(number));
            let opened = sealer.open(message, &sealer.seal(message, &plain));
            prop_assert_eq!(opened, Ok(plain));
        }

        #[test]
        fn bytes_that_were_never_sealed_do_not_open(blob: Vec<u8>) {
            prop_assert!(sealer().open(MESSAGE, &blob).is_err());
        }
    }
}
