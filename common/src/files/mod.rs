//! The bytes of files that partners upload: in a folder, or in a bucket that speaks S3. Sealed, since
//! pictures and attachments are personal data as texts are. What a file is and until when it is kept, the
//! ledger says.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use moka::future::Cache;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, PutPayload};
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::crypto::{FilePart, Keyring, SealError, Sealer};
use crate::domain::file::FileDigest;
use crate::domain::id::FileId;

mod place;
mod s3;

pub use place::{BadPlace, FilePlace, S3Access, S3Place};
pub(crate) use place::{FORMS, Named};

/// How long the store may take for one file.
const LIMIT: Duration = Duration::from_secs(10);
/// Files that were read are remembered, so that a picture that goes to a hundred thousand recipients is
/// not fetched as often: so many bytes of them, and each for so long after it was last asked for.
const REMEMBERED: u64 = 64 << 20;
const REMEMBERED_FOR: Duration = Duration::from_secs(60);

/// Why a file could not be put, read or removed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// `files.store` is not set.
    #[error("files.store is not set")]
    NoStore,
    /// The store does not answer, or refuses for now.
    #[error("the file store does not answer: {0}")]
    Away(String),
    /// The store has no such file.
    #[error("the file store has no file {0}")]
    Missing(FileId),
    /// It is sealed with a key that this process has not read.
    #[error(transparent)]
    Sealed(SealError),
    /// What the store has is not what was uploaded.
    #[error("file {0} is not what was uploaded")]
    Damaged(FileId),
}

impl FileError {
    /// Whether the file is there for all that is known, and may be had later or by another process.
    pub const fn may_pass(&self) -> bool {
        match self {
            Self::NoStore | Self::Away(_) | Self::Sealed(_) => true,
            Self::Missing(_) | Self::Damaged(_) => false,
        }
    }
}

/// Where files are. Clones share it.
#[derive(Clone)]
pub struct FileStore(Option<Arc<Opened>>);

struct Opened {
    store: Box<dyn ObjectStore>,
    prefix: Path,
    sealer: Sealer,
    remembered: Cache<FileId, Bytes>,
    /// Whether this process has seen to the mark.
    marked: OnceCell<()>,
}

impl FileStore {
    /// The store at `place`, sealing with `keyring`. Nothing is asked of a bucket yet.
    ///
    /// # Errors
    /// [`BadPlace`] if the folder cannot be made, or the bucket cannot be what is named.
    pub fn open(place: &FilePlace, keyring: &Keyring) -> Result<Self, BadPlace> {
        let (store, prefix) = place.open()?;
        Ok(Self::over(store, prefix, keyring))
    }

    /// No store: nothing can be put, and nothing is there.
    pub const fn none() -> Self {
        Self(None)
    }

    /// A store that is gone with the process.
    pub fn in_memory(keyring: &Keyring) -> Self {
        Self::over(Box::new(InMemory::new()), Path::default(), keyring)
    }

    /// Files in a store of the caller's.
    pub fn over(store: Box<dyn ObjectStore>, prefix: Path, keyring: &Keyring) -> Self {
        let weigh = |_: &FileId, bytes: &Bytes| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let remembered = Cache::builder()
            .weigher(weigh)
            .max_capacity(REMEMBERED)
            .time_to_idle(REMEMBERED_FOR)
            .build();
        Self(Some(Arc::new(Opened {
            store,
            prefix,
            sealer: Sealer::new(keyring),
            remembered,
            marked: OnceCell::new(),
        })))
    }

    /// Whether there is a store.
    pub const fn is_there(&self) -> bool {
        self.0.is_some()
    }

    /// Seals a file's bytes and puts them into the store; they are there for good when this returns.
    ///
    /// # Errors
    /// [`FileError::NoStore`], [`FileError::Away`].
    pub async fn put(&self, id: FileId, bytes: &[u8]) -> Result<(), FileError> {
        let opened = self.opened()?;
        opened.marked.get_or_try_init(|| opened.mark(id)).await?;
        let sealed = opened.sealer.seal_file(id, FilePart::Content, bytes);
        let (path, payload) = (opened.path(id), PutPayload::from(sealed));
        in_time(id, opened.store.put(&path, payload)).await?;
        Ok(())
    }

    /// A file's bytes, which must be those with this digest.
    ///
    /// # Errors
    /// [`FileError`].
    pub async fn get(&self, id: FileId, sha256: FileDigest) -> Result<Bytes, FileError> {
        let opened = self.opened()?;
        let read = async {
            let sealed = opened.read(id).await?;
            let opening = opened.sealer.open_file(id, FilePart::Content, &sealed);
            let bytes = opening.map_err(|error| match error {
                SealError::UnknownKey(_) => FileError::Sealed(error),
                _ => FileError::Damaged(id),
            })?;
            match FileDigest::of(&bytes) == sha256 {
                true => Ok(Bytes::from(bytes)),
                false => Err(FileError::Damaged(id)),
            }
        };
        // Many who ask at once cost one look. What failed is not remembered.
        let found = opened.remembered.try_get_with(id, read).await;
        found.map_err(|error| FileError::clone(&error))
    }

    /// Removes a file's bytes; what is not there needs no removing.
    ///
    /// # Errors
    /// [`FileError::NoStore`], [`FileError::Away`].
    pub async fn remove(&self, id: FileId) -> Result<(), FileError> {
        let opened = self.opened()?;
        opened.remembered.invalidate(&id).await;
        let path = opened.path(id);
        match in_time(id, opened.store.delete(&path)).await {
            Err(FileError::Missing(_)) => Ok(()),
            outcome => outcome,
        }
    }

    fn opened(&self) -> Result<&Opened, FileError> {
        self.0.as_deref().ok_or(FileError::NoStore)
    }
}

/// An object that stands beside the first file and stays. A store without it is not the one that files
/// were put into: a disk that is not mounted, a bucket of another name.
const MARK: &str = "pabal-files";

impl Opened {
    fn path(&self, id: FileId) -> Path {
        self.prefix.clone().join(id.to_string())
    }

    async fn mark(&self, id: FileId) -> Result<(), FileError> {
        let mark = self.prefix.clone().join(MARK);
        in_time(id, self.store.put(&mark, PutPayload::new())).await?;
        Ok(())
    }

    /// A file as it lies there. That it does not is only believed of a store with its mark.
    async fn read(&self, id: FileId) -> Result<Bytes, FileError> {
        let read = async { self.store.get(&self.path(id)).await?.bytes().await };
        match in_time(id, read).await {
            Err(FileError::Missing(id)) => {
                let mark = self.prefix.clone().join(MARK);
                match in_time(id, self.store.head(&mark)).await {
                    Ok(_) => Err(FileError::Missing(id)),
                    Err(FileError::Missing(_)) => Err(FileError::Away(NOT_OURS.to_owned())),
                    Err(error) => Err(error),
                }
            }
            read => read,
        }
    }
}

const NOT_OURS: &str = "no file was ever put there; is it mounted, and is files.store right?";

/// What the store answers within [`LIMIT`].
async fn in_time<T>(
    id: FileId,
    call: impl Future<Output = object_store::Result<T>>,
) -> Result<T, FileError> {
    match timeout(LIMIT, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(object_store::Error::NotFound { .. })) => Err(FileError::Missing(id)),
        Ok(Err(error)) => Err(FileError::Away(in_short(&error))),
        Err(_) => Err(FileError::Away(format!("no answer within {LIMIT:?}"))),
    }
}

/// The beginning of what a store says, without the document it may have sent along.
fn in_short(error: &object_store::Error) -> String {
    const LONGEST: usize = 200;
    let text = error.to_string();
    let said = text.split(['<', '\n']).next().unwrap_or_default();
    said.chars().take(LONGEST).collect()
}

impl fmt::Debug for FileStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            None => f.write_str("FileStore(none)"),
            Some(opened) => write!(f, "FileStore({})", opened.store),
        }
    }
}

#[cfg(test)]
mod tests;
