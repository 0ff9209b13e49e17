//! Which back-ends a process is configured with.

use std::path::{Path, PathBuf};

use secrecy::SecretString;

use super::settings::{
    BROKER_PASSWORD_FILE, BROKER_URL, FILE_STORE, LEDGER_PASSWORD_FILE, LEDGER_URL,
    QUOTA_PASSWORD_FILE, QUOTA_URL, S3_ENDPOINT, S3_KEY, S3_REGION, S3_SECRET_FILE, place_of,
};
use super::{Folder, StorageError};
use crate::broker::rabbit::RabbitConfig;
use crate::config::Values;
use crate::files::{FilePlace, Named, S3Access, S3Place};
use crate::ledger::mysql::{LeaseClock, MysqlConfig};
use crate::quota::redis::RedisConfig;

/// Where ledger, queues, limits and keys are.
#[derive(Clone, Debug)]
pub struct Backends {
    /// Ledger and queues.
    pub place: Place,
    /// Where limits are counted for all receivers; each counts for itself if absent.
    pub quota: Option<RedisConfig>,
    /// Where files are; none are taken if absent.
    pub files: Option<FilePlace>,
    /// The key file.
    pub keys: PathBuf,
    /// The data folder.
    pub folder: Folder,
}

/// Where the ledger and the queues are.
#[derive(Clone, Debug)]
pub enum Place {
    /// In the data folder, for one process at a time.
    Embedded,
    /// On servers, for many.
    Servers(Box<Servers>),
}

/// The servers of a cluster.
#[derive(Clone, Debug)]
pub struct Servers {
    /// MySQL or MariaDB.
    pub ledger: MysqlConfig,
    /// RabbitMQ.
    pub broker: RabbitConfig,
}

impl Backends {
    /// From settings that were checked, and the files of passwords they name.
    ///
    /// # Errors
    /// [`StorageError::PasswordFile`].
    pub fn from_values(values: &Values) -> Result<Self, StorageError> {
        let folder = Folder::new(values.path("data.folder"));
        let keys = values.optional_path("keys.file").map(Path::to_path_buf);
        let place = place(values)?;
        Ok(Self {
            quota: quota(values)?,
            files: files(values, &place, &folder)?,
            place,
            keys: keys.unwrap_or_else(|| folder.keys()),
            folder,
        })
    }

    /// The back-ends of one process in this folder.
    pub fn embedded(folder: Folder) -> Self {
        Self {
            place: Place::Embedded,
            quota: None,
            files: Some(FilePlace::Folder(folder.files())),
            keys: folder.keys(),
            folder,
        }
    }

    /// Where the ledger is, in words without secrets.
    pub fn ledger_place(&self) -> String {
        match &self.place {
            Place::Embedded => self.folder.ledger().display().to_string(),
            Place::Servers(servers) => place_of(&servers.ledger.url),
        }
    }

    /// Says which back-ends are used.
    pub(super) fn tell(&self) {
        let queues = match &self.place {
            Place::Embedded => "in the ledger".to_owned(),
            Place::Servers(servers) => format!("RabbitMQ at {}", place_of(&servers.broker.url)),
        };
        let limits = match &self.quota {
            None => "in each process".to_owned(),
            Some(redis) => format!("Redis at {}", place_of(&redis.url)),
        };
        let kind = match &self.place {
            Place::Embedded => "SQLite",
            Place::Servers(_) => "MySQL",
        };
        let ledger = format!("{kind} at {}", self.ledger_place());
        tracing::info!(ledger, queues, limits, "back-ends");
    }
}

fn place(values: &Values) -> Result<Place, StorageError> {
    let (Some(ledger), Some(broker)) = (
        values.optional_url(LEDGER_URL),
        values.optional_url(BROKER_URL),
    ) else {
        return Ok(Place::Embedded);
    };
    let connections = u32::try_from(values.count("ledger.connections")).unwrap_or(u32::MAX);
    let window = usize::try_from(values.count("broker.window")).unwrap_or(usize::MAX);
    Ok(Place::Servers(Box::new(Servers {
        ledger: MysqlConfig {
            url: ledger.to_owned(),
            password: password(values, LEDGER_PASSWORD_FILE)?,
            connections,
            lease_clock: LeaseClock::Database,
        },
        broker: RabbitConfig {
            url: broker.to_owned(),
            password: password(values, BROKER_PASSWORD_FILE)?,
            prefix: values
                .optional_text("broker.prefix")
                .unwrap_or_default()
                .to_owned(),
            window,
        },
    })))
}

fn quota(values: &Values) -> Result<Option<RedisConfig>, StorageError> {
    let Some(url) = values.optional_url(QUOTA_URL) else {
        return Ok(None);
    };
    Ok(Some(RedisConfig {
        url: url.to_owned(),
        password: password(values, QUOTA_PASSWORD_FILE)?,
        prefix: values.text("quota.prefix").to_owned(),
    }))
}

/// Beside a ledger on a server a folder would have to be every process's, which nobody but the operator
/// can say.
fn files(
    values: &Values,
    place: &Place,
    folder: &Folder,
) -> Result<Option<FilePlace>, StorageError> {
    let named = values.optional_text(FILE_STORE).and_then(Named::parse);
    Ok(match (named, place) {
        (Some(Named::Folder(path)), _) => Some(FilePlace::Folder(path)),
        (Some(Named::Bucket { bucket, prefix }), _) => Some(FilePlace::S3(S3Place {
            bucket,
            prefix,
            endpoint: values.optional_url(S3_ENDPOINT).map(ToOwned::to_owned),
            region: values.text(S3_REGION).to_owned(),
            access: s3_access(values)?,
        })),
        (None, Place::Embedded) => Some(FilePlace::Folder(folder.files())),
        (None, Place::Servers(_)) => None,
    })
}

fn s3_access(values: &Values) -> Result<Option<S3Access>, StorageError> {
    let id = values.optional_text(S3_KEY);
    let secret = password(values, S3_SECRET_FILE)?;
    Ok(id.zip(secret).map(|(id, secret)| S3Access {
        id: id.to_owned(),
        secret,
    }))
}

/// The password in the file that `key` names.
fn password(values: &Values, key: &'static str) -> Result<Option<SecretString>, StorageError> {
    let Some(path) = values.optional_path(key) else {
        return Ok(None);
    };
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(SecretString::from(text.trim().to_owned()))),
        Err(source) => Err(StorageError::PasswordFile {
            key,
            path: path.to_path_buf(),
            source,
        }),
    }
}
