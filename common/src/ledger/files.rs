//! Files that partners uploaded: whose they are, what they are, and until when they are kept. The bytes
//! are in the file store.

use async_trait::async_trait;
use sqlx::FromRow;

use super::LedgerError;
use super::rows::{known, partner_id};
use crate::clock::Timestamp;
use crate::domain::file::{FileDigest, FilePurpose};
use crate::domain::id::{FileId, PartnerId};

/// A file as the ledger knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFile {
    /// Its id.
    pub id: FileId,
    /// Whose it is.
    pub partner: PartnerId,
    /// What its bytes are.
    pub sha256: FileDigest,
    /// How many bytes it has.
    pub bytes: u64,
    /// Its media type, such as `image/jpeg`.
    pub media_type: String,
    /// Width and height in pixels, of a picture.
    pub pixels: Option<(u16, u16)>,
    /// What it may be attached to.
    pub purpose: FilePurpose,
    /// Its name, sealed, if it was given one.
    pub sealed_name: Option<Vec<u8>>,
    /// When it was uploaded.
    pub created_at: Timestamp,
    /// Until when it may be attached, and is kept.
    pub expires_at: Timestamp,
}

/// The room of files.
#[async_trait]
pub trait Files: Send + Sync {
    /// Keeps what is known of a new file. Its bytes are stored after that, so that none are without
    /// a row that ends them.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn keep_file(&self, file: &StoredFile) -> Result<(), LedgerError>;

    /// Those of these files that are there, whosever they are, in any order.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn files(&self, ids: &[FileId]) -> Result<Vec<StoredFile>, LedgerError>;

    /// Keeps these files until `until`, unless they are kept longer anyway.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn hold_files(&self, ids: &[FileId], until: Timestamp) -> Result<(), LedgerError>;

    /// How many bytes a partner's files have together.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn file_bytes(&self, partner: &PartnerId) -> Result<u64, LedgerError>;

    /// Files that expired before `before`, those that expired first coming first.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn expired_files(
        &self,
        before: Timestamp,
        limit: u32,
    ) -> Result<Vec<FileId>, LedgerError>;

    /// Forgets those of these files that expired before `before`; returns how many.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn forget_files(&self, ids: &[FileId], before: Timestamp) -> Result<u32, LedgerError>;
}

/// The columns of a file.
#[derive(FromRow)]
pub(super) struct FileRow {
    file_id: FileId,
    partner_id: String,
    sha256: Vec<u8>,
    bytes: i64,
    media_type: String,
    width: Option<i64>,
    height: Option<i64>,
    purpose: i64,
    sealed_name: Option<Vec<u8>>,
    created_at: i64,
    expires_at: i64,
}

impl FileRow {
    pub(super) fn into_file(self) -> Result<StoredFile, LedgerError> {
        let pixels = |number: i64| u16::try_from(number).unwrap_or(u16::MAX);
        Ok(StoredFile {
            id: self.file_id,
            partner: partner_id(&self.partner_id)?,
            sha256: FileDigest::from_bytes(&self.sha256)
                .map_err(|error| LedgerError::Corrupt(error.to_string()))?,
            bytes: u64::try_from(self.bytes).unwrap_or(0),
            media_type: self.media_type,
            pixels: self
                .width
                .zip(self.height)
                .map(|(width, height)| (pixels(width), pixels(height))),
            purpose: known("purpose of a file", self.purpose, FilePurpose::from_number)?,
            sealed_name: self.sealed_name,
            created_at: Timestamp::from_millis(self.created_at),
            expires_at: Timestamp::from_millis(self.expires_at),
        })
    }
}
