//! The back-ends, opened.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Failure;
use super::backends::{Backends, Place, Servers};
use super::folder::Folder;
use super::servers::{self, Connected};
use super::waiting::{MayPass, Waiting};
use crate::broker::{BrokerError, EmbeddedBroker, SharedBroker};
use crate::clock::{Clock, SystemClock};
use crate::crypto::{Created, Keyring, KeyringError};
use crate::files::{BadPlace, FileStore};
use crate::http::health::Readiness;
use crate::ledger::sqlite::{self, SqliteLedger};
use crate::ledger::{Ledger, LedgerError, SharedLedger};
use crate::quota::{LocalQuota, Quota, QuotaError};

/// Why the back-ends cannot be used.
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
    /// The key file is another installation's.
    #[error(
        "{path} is not the key file that this ledger was begun with: copy that one here, from wherever \
         another process works with this ledger or from the backup", path = path.display()
    )]
    OtherKeys {
        /// The file.
        path: PathBuf,
    },
    /// There is nothing to work on yet.
    #[error("there is no ledger in {path}: start `pabal serve` once, or run `pabal migrate`", path = path.display())]
    NoLedger {
        /// The folder.
        path: PathBuf,
    },
    /// The file with a password cannot be read.
    #[error("{key}: {path}: {source}", path = path.display())]
    PasswordFile {
        /// The setting that names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The key file cannot be used.
    #[error(transparent)]
    Keys(#[from] KeyringError),
    /// The ledger cannot be used.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The broker cannot be used.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// Redis cannot be used as configured.
    #[error(transparent)]
    Quota(#[from] QuotaError),
    /// Files cannot be kept where they should be.
    #[error(transparent)]
    Files(#[from] BadPlace),
}

impl StorageError {
    /// Whether it is wrong for good, so that starting again as it is would be of no use.
    pub const fn is_wrong_use(&self) -> bool {
        match self {
            Self::PasswordFile { .. } | Self::OtherKeys { .. } | Self::Files(_) => true,
            Self::Ledger(error) => super::is_wrong_ledger(error),
            Self::Broker(error) => super::is_wrong_broker(error),
            Self::Quota(error) => matches!(error, QuotaError::Misconfigured(_)),
            _ => false,
        }
    }

    /// The end of the program.
    pub fn failure(&self) -> Failure {
        Failure::of(self, self.is_wrong_use())
    }
}

impl MayPass for StorageError {
    fn may_pass(&self) -> Option<String> {
        match self {
            Self::Ledger(error) => error.may_pass(),
            Self::Broker(error) => error.may_pass(),
            _ => None,
        }
    }
}

/// The opened back-ends of a process that runs services.
pub struct Storage {
    /// The ledger.
    pub ledger: SharedLedger,
    /// The queues.
    pub broker: SharedBroker,
    /// Limits.
    pub quota: Arc<dyn Quota>,
    /// The bytes of files.
    pub files: FileStore,
    /// The installation's secrets.
    pub keyring: Arc<Keyring>,
    opened: Opened,
}

/// What has to be closed.
enum Opened {
    Embedded {
        ledger: SqliteLedger,
        broker: EmbeddedBroker,
        /// Held as long as this lives.
        _lock: File,
    },
    Servers(Box<Connected>),
}

impl Storage {
    /// Opens the back-ends for a process that runs services, and makes what is missing. Waits for
    /// servers that are away; `readiness` says so meanwhile.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn open(backends: &Backends, readiness: &Readiness) -> Result<Self, StorageError> {
        match &backends.place {
            Place::Embedded => Self::own(backends).await,
            Place::Servers(servers) => Self::connect(backends, servers, readiness).await,
        }
    }

    /// Opens the data folder, and forgets every earlier process: holding the lock proves that none
    /// is alive.
    async fn own(backends: &Backends) -> Result<Self, StorageError> {
        let folder = &backends.folder;
        folder.make()?;
        let lock = folder.lock()?;
        let keyring = embedded_keys(backends)?;
        let ledger = SqliteLedger::open(&folder.ledger(), clock()).await?;
        settle_keys(&ledger, &keyring, &backends.keys).await?;
        ledger.forget_instances().await?;
        let broker = EmbeddedBroker::open(&ledger, Some(folder.mark())).await?;
        Ok(Self {
            ledger: Arc::new(ledger.clone()),
            broker: Arc::new(broker.clone()),
            quota: quota(backends).await?,
            files: files(backends, &keyring)?,
            keyring: Arc::new(keyring),
            opened: Opened::Embedded {
                ledger,
                broker,
                _lock: lock,
            },
        })
    }

    async fn connect(
        backends: &Backends,
        servers: &Servers,
        readiness: &Readiness,
    ) -> Result<Self, StorageError> {
        // A limit that cannot be configured is told before anything is waited for.
        let quota = quota(backends).await?;
        let connected = servers::connect(servers, readiness).await?;
        let ledger = connected.ledger();
        let mut waiting = Waiting::new(readiness.part("ledger"), "the ledger");
        let keyring = loop {
            match keys_beside(&ledger, &backends.keys).await {
                Ok((keyring, _)) => break keyring,
                Err(error) => waiting.after(error).await?,
            }
        };
        waiting.over();
        Ok(Self {
            broker: connected.broker(),
            files: files(backends, &keyring)?,
            keyring: Arc::new(keyring),
            opened: Opened::Servers(Box::new(connected)),
            quota,
            ledger,
        })
    }

    /// Waits until everything that was handed over is kept, and closes files and connections.
    pub async fn close(&self) {
        match &self.opened {
            Opened::Embedded { ledger, broker, .. } => {
                broker.flush().await;
                ledger.close().await;
            }
            Opened::Servers(connected) => connected.close().await,
        }
    }
}

/// The ledger as a command sees it, beside processes that may be running.
pub struct Visit {
    /// The ledger.
    pub ledger: SharedLedger,
    /// The installation's secrets.
    pub keyring: Arc<Keyring>,
    opened: Visited,
}

enum Visited {
    Embedded(SqliteLedger, Folder),
    Servers(Box<servers::Visited>),
}

impl Visit {
    /// Opens a ledger that is there.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn open(backends: &Backends) -> Result<Self, StorageError> {
        match &backends.place {
            Place::Embedded => {
                let folder = &backends.folder;
                if !folder.ledger().exists() {
                    return Err(StorageError::NoLedger {
                        path: folder.path().to_path_buf(),
                    });
                }
                let keyring = embedded_keys(backends)?;
                let ledger = SqliteLedger::open(&folder.ledger(), clock()).await?;
                compare_keys(&ledger, &keyring, &backends.keys).await?;
                Ok(Self {
                    ledger: Arc::new(ledger.clone()),
                    keyring: Arc::new(keyring),
                    opened: Visited::Embedded(ledger, folder.clone()),
                })
            }
            Place::Servers(servers) => {
                let keyring = present_keys(&backends.keys)?;
                let visited = servers::visit(servers).await?;
                compare_keys(visited.ledger().as_ref(), &keyring, &backends.keys).await?;
                Ok(Self {
                    ledger: visited.ledger(),
                    keyring: Arc::new(keyring),
                    opened: Visited::Servers(Box::new(visited)),
                })
            }
        }
    }

    /// The highest ledger counter that was kept outside the ledger.
    ///
    /// # Errors
    /// [`StorageError::Broker`], also if the broker is away.
    pub async fn recall_mark(&self) -> Result<u64, StorageError> {
        use crate::broker::Broker as _;

        match &self.opened {
            Visited::Embedded(ledger, folder) => {
                let broker = EmbeddedBroker::open(ledger, Some(folder.mark())).await?;
                Ok(broker.recall_mark().await?)
            }
            Visited::Servers(visited) => Ok(visited.recall_mark().await?),
        }
    }

    /// Closes files and connections.
    pub async fn close(&self) {
        match &self.opened {
            Visited::Embedded(ledger, _) => ledger.close().await,
            Visited::Servers(visited) => visited.close().await,
        }
    }
}

/// Brings the schema up to date. A new ledger gets its key file too: what is sealed later could not
/// be read without it. Tells whether it made the keys.
///
/// # Errors
/// [`StorageError`].
pub async fn migrate(backends: &Backends) -> Result<Created, StorageError> {
    match &backends.place {
        Place::Embedded => {
            let folder = &backends.folder;
            folder.make()?;
            let _lock = folder.lock()?;
            let made = match folder.ledger().exists() {
                true => Created::No,
                false => Keyring::open_or_create(&backends.keys)?.1,
            };
            sqlite::migrate(&folder.ledger()).await?;
            Ok(made)
        }
        Place::Servers(servers) => {
            let visited = servers::migrate(servers).await?;
            let made = match keys_beside(&visited.ledger(), &backends.keys).await {
                // The schema is up to date all the same; whoever needs the keys says so.
                Err(StorageError::KeysLost { .. }) => Ok(Created::No),
                made => made.map(|(_, made)| made),
            };
            visited.close().await;
            made
        }
    }
}

/// Limits over all receivers, or those of this process alone.
async fn quota(backends: &Backends) -> Result<Arc<dyn Quota>, StorageError> {
    match &backends.quota {
        None => Ok(Arc::new(LocalQuota::new())),
        Some(config) => Ok(servers::quota(config).await?),
    }
}

fn files(backends: &Backends, keyring: &Keyring) -> Result<FileStore, BadPlace> {
    match &backends.files {
        None => Ok(FileStore::none()),
        Some(place) => FileStore::open(place, keyring),
    }
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

/// The key file of the embedded ledger; a new one only where there is no ledger yet.
fn embedded_keys(backends: &Backends) -> Result<Keyring, StorageError> {
    match backends.folder.ledger().exists() {
        true => present_keys(&backends.keys),
        false => Ok(Keyring::open_or_create(&backends.keys)?.0),
    }
}

/// The key file of a ledger on a server; a new one only where nobody has settled the keys and no
/// partner's secrets are sealed yet.
async fn keys_beside(
    ledger: &SharedLedger,
    keys: &Path,
) -> Result<(Keyring, Created), StorageError> {
    let (keyring, made) = match present_keys(keys) {
        Err(StorageError::KeysLost { .. }) if is_fresh(ledger).await? => {
            Keyring::open_or_create(keys)?
        }
        opened => (opened?, Created::No),
    };
    settle_keys(ledger.as_ref(), &keyring, keys).await?;
    Ok((keyring, made))
}

async fn is_fresh(ledger: &SharedLedger) -> Result<bool, StorageError> {
    Ok(ledger.key_fingerprint().await?.is_none() && ledger.partners().await?.is_empty())
}

/// Settles which keys belong to the ledger, if nobody has, and refuses any others: what one process
/// sealed another could not open.
async fn settle_keys(
    ledger: &dyn Ledger,
    keyring: &Keyring,
    path: &Path,
) -> Result<(), StorageError> {
    let mine = keyring.fingerprint();
    let settled = ledger.keep_key_fingerprint(mine).await?;
    same_keys(settled == mine, path)
}

/// Refuses keys other than those that were settled.
async fn compare_keys(
    ledger: &dyn Ledger,
    keyring: &Keyring,
    path: &Path,
) -> Result<(), StorageError> {
    let settled = ledger.key_fingerprint().await?;
    same_keys(
        settled.is_none_or(|settled| settled == keyring.fingerprint()),
        path,
    )
}

fn same_keys(same: bool, path: &Path) -> Result<(), StorageError> {
    match same {
        true => Ok(()),
        false => Err(StorageError::OtherKeys {
            path: path.to_path_buf(),
        }),
    }
}

/// The key file of a ledger that is there.
fn present_keys(keys: &Path) -> Result<Keyring, StorageError> {
    match Keyring::open(keys) {
        Err(KeyringError::Absent { path }) => Err(StorageError::KeysLost { path }),
        opened => Ok(opened?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::domain::text::Unencodable;
    use crate::ledger::{NewPartner, Partner, PartnerStatus, WebhookSettings};

    /// A ledger of its own, as one on a server: another file than the keys'.
    async fn ledger(folder: &tempfile::TempDir) -> SharedLedger {
        let file = folder.path().join("ledger.db");
        Arc::new(SqliteLedger::open(&file, clock()).await.unwrap())
    }

    async fn add_partner(ledger: &SharedLedger) {
        let partner = Partner {
            id: "shop".parse().unwrap(),
            name: "Shop".to_owned(),
            status: PartnerStatus::Active,
            secret_hash: String::new(),
            credential_version: 1,
            per_second: 1,
            express_per_second: 1,
            unencodable: Unencodable::Reject,
            webhook: WebhookSettings::default(),
            created_at: Timestamp::from_millis(1),
        };
        let new = NewPartner {
            partner,
            senders: Vec::new(),
        };
        assert!(ledger.add_partner(&new).await.unwrap());
    }

    #[tokio::test]
    async fn the_first_of_many_processes_makes_the_keys_and_all_use_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let (ledger, keys) = (ledger(&folder).await, folder.path().join("keys.json"));
        let (one, other) = tokio::join!(keys_beside(&ledger, &keys), keys_beside(&ledger, &keys));
        let made = [one.unwrap().1, other.unwrap().1];
        assert_eq!(made.iter().filter(|made| **made == Created::Yes).count(), 1);
        assert!(present_keys(&keys).is_ok());
    }

    #[tokio::test]
    async fn keys_other_than_those_a_ledger_was_begun_with_are_refused_and_the_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = ledger(&folder).await;
        let [first, other] = ["one.json", "other.json"].map(|name| folder.path().join(name));
        keys_beside(&ledger, &first).await.unwrap();
        assert!(keys_beside(&ledger, &first).await.is_ok());
        let lost = keys_beside(&ledger, &other).await.err().unwrap();
        assert!(matches!(lost, StorageError::KeysLost { .. }), "{lost}");
        let (keyring, _) = Keyring::open_or_create(&other).unwrap();
        let refused = keys_beside(&ledger, &other).await.err().unwrap();
        assert!(refused.to_string().contains("other.json"), "{refused}");
        assert_eq!(refused.failure().code(), 2);
        let seen = compare_keys(ledger.as_ref(), &keyring, &other).await;
        assert!(matches!(seen, Err(StorageError::OtherKeys { .. })));
    }

    #[tokio::test]
    async fn a_ledger_with_partners_is_never_given_other_keys() {
        let folder = tempfile::tempdir().unwrap();
        let (ledger, keys) = (ledger(&folder).await, folder.path().join("keys.json"));
        add_partner(&ledger).await;
        let refused = keys_beside(&ledger, &keys).await.err().unwrap();
        assert!(matches!(&refused, StorageError::KeysLost { path } if *path == keys));
        assert!(!keys.exists());
    }
}
