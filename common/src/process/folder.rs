//! The data folder: the embedded ledger with its queues, and the key file.

use std::fs::{DirBuilder, File, TryLockError};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::StorageError;

/// Where things are in a data folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder(PathBuf);

impl Folder {
    /// The folder at `path`; it need not exist yet.
    pub fn new(path: &Path) -> Self {
        Self(path.to_path_buf())
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The embedded ledger's file.
    pub fn ledger(&self) -> PathBuf {
        self.0.join("pabal.db")
    }

    /// Where the key file is unless the settings say otherwise.
    pub fn keys(&self) -> PathBuf {
        self.0.join("keys.json")
    }

    /// Where uploaded files are unless the settings say otherwise.
    pub fn files(&self) -> PathBuf {
        self.0.join("files")
    }

    /// The highest counter of the embedded ledger seen, outside it.
    pub fn mark(&self) -> PathBuf {
        self.0.join("ledger.mark")
    }

    /// What the simulated vendors of this process took.
    pub fn simulator_record(&self) -> PathBuf {
        self.0.join("simulator.record")
    }

    /// Makes the folder, for its owner alone.
    ///
    /// # Errors
    /// [`StorageError::Folder`].
    pub fn make(&self) -> Result<(), StorageError> {
        let mut builder = DirBuilder::new();
        let made = builder.recursive(true).mode(0o700).create(&self.0);
        made.map_err(|source| self.unusable(source))
    }

    /// Takes the folder for this process alone, for as long as the file lives. The system releases
    /// it even after a kill.
    ///
    /// # Errors
    /// [`StorageError::InUse`] if another process has it.
    pub fn lock(&self) -> Result<File, StorageError> {
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.0.join("lock"))
            .map_err(|source| self.unusable(source))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(StorageError::InUse {
                path: self.0.clone(),
            }),
            Err(TryLockError::Error(source)) => Err(self.unusable(source)),
        }
    }

    fn unusable(&self, source: std::io::Error) -> StorageError {
        StorageError::Folder {
            path: self.0.clone(),
            source,
        }
    }
}
