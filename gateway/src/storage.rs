//! The data folder: ledger, queues and key file, used by one process at a time.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pabal_common::broker::EmbeddedBroker;
use pabal_common::clock::Clock;
use pabal_common::crypto::{Keyring, KeyringError};
use pabal_common::ledger::LedgerError;
use pabal_common::ledger::sqlite::SqliteLedger;

/// Where things are in a data folder.
#[derive(Clone, Debug)]
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

    /// The ledger's file.
    pub fn ledger(&self) -> PathBuf {
        self.0.join("pabal.db")
    }

    /// The key file. Without it nothing that is sealed can be read again.
    pub fn keys(&self) -> PathBuf {
        self.0.join("keys.json")
    }

    /// The highest ledger counter seen, outside the ledger.
    pub fn mark(&self) -> PathBuf {
        self.0.join("ledger.mark")
    }

    /// What the simulated vendors took.
    pub fn simulator_record(&self) -> PathBuf {
        self.0.join("simulator.record")
    }

    fn lock(&self) -> PathBuf {
        self.0.join("lock")
    }
}

/// Why the data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The folder cannot be made or read.
    #[error("data folder {path}: {source}", path = path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another process has it.
    #[error(
        "data folder {path} is used by another pabal: stop it, or give this one another folder with \
         --set data.folder=…", path = path.display()
    )]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// There is a ledger, but the key file is gone.
    #[error(
        "{path} is missing, but there is a ledger: put the key file back; what is sealed cannot be \
         read without it", path = path.display()
    )]
    KeysLost {
        /// Where the key file should be.
        path: PathBuf,
    },
    /// There is nothing to work on yet.
    #[error("there is no ledger in {path}: start `pabal serve` once, or run `pabal migrate`", path = path.display())]
    NoLedger {
        /// The folder.
        path: PathBuf,
    },
    /// The key file cannot be used.
    #[error(transparent)]
    Keys(#[from] KeyringError),
    /// The ledger cannot be used.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// An opened data folder.
#[derive(Debug)]
pub struct Storage {
    /// The ledger.
    pub ledger: SqliteLedger,
    /// The queues in its file.
    pub broker: EmbeddedBroker,
    /// The installation's secrets.
    pub keyring: Arc<Keyring>,
    /// Held as long as this lives, and released by the system even after a kill.
    _lock: Option<File>,
}

impl Storage {
    /// Opens the folder for the one process that runs services, makes what is missing, and forgets
    /// every earlier process: holding the lock proves that none is alive.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn own(folder: &Folder, clock: Arc<dyn Clock>) -> Result<Self, StorageError> {
        make(folder.path())?;
        let lock = lock(folder)?;
        let keyring = keys(folder)?;
        let ledger = SqliteLedger::open(&folder.ledger(), clock).await?;
        ledger.forget_instances().await?;
        let broker = EmbeddedBroker::open(&ledger, Some(folder.mark())).await?;
        Ok(Self {
            ledger,
            broker,
            keyring,
            _lock: Some(lock),
        })
    }

    /// Opens an existing folder beside a process that may be running: for commands.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn visit(folder: &Folder, clock: Arc<dyn Clock>) -> Result<Self, StorageError> {
        if !folder.ledger().exists() {
            return Err(StorageError::NoLedger {
                path: folder.path().to_path_buf(),
            });
        }
        let keyring = keys(folder)?;
        let ledger = SqliteLedger::open(&folder.ledger(), clock).await?;
        let broker = EmbeddedBroker::open(&ledger, Some(folder.mark())).await?;
        Ok(Self {
            ledger,
            broker,
            keyring,
            _lock: None,
        })
    }

    /// Waits until everything that was handed over is on disk, and closes the files.
    pub async fn close(&self) {
        self.broker.flush().await;
        self.ledger.close().await;
    }
}

/// Whether nobody holds the folder: for commands that must not run beside a process.
///
/// # Errors
/// [`StorageError::InUse`] if somebody does.
pub fn lock(folder: &Folder) -> Result<File, StorageError> {
    let failed = |source| StorageError::Folder {
        path: folder.path().to_path_buf(),
        source,
    };
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(folder.lock())
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StorageError::InUse {
            path: folder.path().to_path_buf(),
        }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// Makes the folder, for its owner alone.
///
/// # Errors
/// [`StorageError::Folder`].
pub fn make(path: &Path) -> Result<(), StorageError> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt as _;
        builder.mode(0o700);
    }
    builder.create(path).map_err(|source| StorageError::Folder {
        path: path.to_path_buf(),
        source,
    })
}

/// The key file; a new one only where there is no ledger yet.
fn keys(folder: &Folder) -> Result<Arc<Keyring>, StorageError> {
    let path = folder.keys();
    if folder.ledger().exists() && !path.exists() {
        return Err(StorageError::KeysLost { path });
    }
    let (keyring, _) = Keyring::open_or_create(&path)?;
    Ok(Arc::new(keyring))
}
