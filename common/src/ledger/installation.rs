//! Which keys belong to the ledger.

use async_trait::async_trait;

use super::LedgerError;

/// A fingerprint of the installation's keys: it tells key files apart and nothing of a key.
pub type KeyFingerprint = [u8; 16];

/// The room of what is said once for the whole installation.
#[async_trait]
pub trait Installation: Send + Sync {
    /// The fingerprint of the keys that this ledger was begun with; `None` if nobody has said.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn key_fingerprint(&self) -> Result<Option<KeyFingerprint>, LedgerError>;

    /// Keeps a fingerprint if there is none yet, and tells the one that is kept: the first counts.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn keep_key_fingerprint(
        &self,
        mine: KeyFingerprint,
    ) -> Result<KeyFingerprint, LedgerError>;
}

/// The fingerprint in a row.
pub(super) fn read(stored: &[u8]) -> Result<KeyFingerprint, LedgerError> {
    stored
        .try_into()
        .map_err(|_| LedgerError::Corrupt("fingerprint of the keys".into()))
}
