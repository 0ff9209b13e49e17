//! Files that partners upload for their messages: what one is for, and how a message refers to it.

use std::fmt;

use aws_lc_rs::digest;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::ToSchema;

use super::id::FileId;

/// What a file may be attached to.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FilePurpose {
    /// A picture of an MMS.
    Mms,
    /// An attachment of a mail.
    Mail,
}

impl FilePurpose {
    /// Every purpose.
    pub const ALL: [Self; 2] = [Self::Mms, Self::Mail];

    /// The API's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mms => "MMS",
            Self::Mail => "MAIL",
        }
    }

    /// The purpose with this API name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }

    /// The number that stands for it in the ledger; never reused.
    pub const fn number(self) -> u8 {
        match self {
            Self::Mms => 1,
            Self::Mail => 2,
        }
    }

    /// The purpose with this number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.number() == number)
    }
}

/// The SHA-256 of a file's bytes, written in lower-case hex.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileDigest([u8; 32]);

/// The text is not 64 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a SHA-256 is 64 hex digits")]
pub struct NotADigest;

impl FileDigest {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let digest = digest::digest(&digest::SHA256, bytes);
        let mut all = [0; 32];
        all.copy_from_slice(digest.as_ref());
        Self(all)
    }

    /// The digest itself, as the ledger keeps it.
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The digest the ledger kept.
    ///
    /// # Errors
    /// [`NotADigest`] if these are not 32 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NotADigest> {
        bytes.try_into().map(Self).map_err(|_| NotADigest)
    }
}

impl fmt::Display for FileDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for FileDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for FileDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for FileDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = hex::decode(text).map_err(serde::de::Error::custom)?;
        Self::from_bytes(&bytes).map_err(serde::de::Error::custom)
    }
}

/// A file a message refers to, as it was at acceptance. Sealed with the message's content.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileRef {
    /// The file.
    pub id: FileId,
    /// What its bytes are.
    pub sha256: FileDigest,
    /// Its media type, such as `image/jpeg`.
    pub media_type: String,
    /// How many bytes it has.
    pub bytes: u64,
    /// The name the partner gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_purpose_is_found_again_by_its_name_and_by_its_number() {
        for purpose in FilePurpose::ALL {
            assert_eq!(FilePurpose::parse(purpose.name()), Some(purpose));
            assert_eq!(FilePurpose::from_number(purpose.number()), Some(purpose));
        }
        assert_eq!(FilePurpose::parse("mms"), None);
    }

    #[test]
    fn a_digest_is_sha_256_in_lower_case_hex() {
        let digest = FileDigest::of(b"abc");
        // NIST FIPS 180-2, appendix B.1.
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest.to_string(), known);
        let read: FileDigest = serde_json::from_str(&format!("\"{known}\"")).unwrap();
        assert_eq!(read, digest);
        assert!(serde_json::from_str::<FileDigest>("\"ba78\"").is_err());
    }
}
