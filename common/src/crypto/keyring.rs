//! The key file: the few secrets from which every other key is derived.
//!
//! ```json
//! {
//!   "version": 1,
//!   "sealing": [{ "id": 1802749123, "key": "<32 bytes, base64>" }],
//!   "tokenSigning": "<32 bytes, base64>",
//!   "lookup": "<32 bytes, base64>"
//! }
//! ```
//!
//! The last key of `sealing` is the newest and seals; all of them open. To rotate, add a key with
//! a new id at the end. Where several processes run, put it before the last one first, start them
//! all anew, and only then move it to the end: a process cannot open what is sealed with a key it
//! has not read. The lookup key cannot be rotated: digests made with another never match.

use std::collections::HashSet;
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use secrecy::zeroize::Zeroizing;
use serde::{Deserialize, Serialize};

use super::key::{Derived, Key, Purpose};
use super::random;

const VERSION: u8 = 1;
/// More than a thousand keys fit; a file beyond it is not a key file.
const LARGEST_FILE: u64 = 128 * 1024;

/// The secrets of one installation. All processes on one ledger share them.
pub struct Keyring(KeyFile);

/// Whether opening the keyring made its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// There was none; this call made it, with fresh keys.
    Yes,
    /// It was there, or another process made it first.
    No,
}

/// Why there is no keyring. No variant carries anything of a key.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// There is no key file.
    #[error("there is no key file at {path}")]
    Absent {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The file's permissions let others at the keys.
    #[error(
        "the key file {path} has mode {mode:04o}: group or others may use it; run: chmod 600 {path}"
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file does not hold a keyring. It is never replaced: what it once sealed would be lost.
    #[error("the key file {path} is damaged: {what}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and where.
        what: String,
    },
    /// The file system said no.
    #[error("the key file {path} could not be {doing}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// The system's reason.
        source: io::Error,
    },
}

impl Keyring {
    /// Fresh random keys that are kept nowhere.
    ///
    /// The first sealing key gets a random id, so that content sealed under another installation's
    /// file, or under one that was lost, is reported as an unknown key and not as tampered with.
    pub fn generate() -> Self {
        Self(KeyFile {
            version: VERSION,
            sealing: vec![SealingKey {
                id: u32::from_be_bytes(random::bytes()),
                key: Key::generate(),
            }],
            token_signing: Key::generate(),
            lookup: Key::generate(),
        })
    }

    /// Reads the key file, or makes it (mode 0600) with fresh keys if there is none.
    ///
    /// Of several processes that start at once one makes the file and the others read it. After a
    /// crash the file is whole or absent.
    ///
    /// # Errors
    /// As [`Keyring::open`], but for an absent file; and if the file cannot be made.
    pub fn open_or_create(path: &Path) -> Result<(Self, Created), KeyringError> {
        match Self::open(path) {
            Err(KeyringError::Absent { .. }) => Self::create(path),
            opened => opened.map(|keyring| (keyring, Created::No)),
        }
    }

    /// Reads the key file.
    ///
    /// # Errors
    /// If it is absent, usable by group or others, damaged or unreadable.
    pub fn open(path: &Path) -> Result<Self, KeyringError> {
        let text = read_private(path)?;
        let damaged = |what| KeyringError::Damaged {
            path: path.to_owned(),
            what,
        };
        // The parser's own message may quote the value it stumbled over, which may be a key.
        let file: KeyFile = serde_json::from_str(&text).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            damaged(format!("not a key file at line {line}, column {column}"))
        })?;
        file.check().map_err(damaged)?;
        Ok(Self(file))
    }

    /// Tells this installation's keys from another's, and nothing of a key. A rotation does not change
    /// it: it is made from the lookup key, which stays.
    pub fn fingerprint(&self) -> [u8; 16] {
        let derived = self.0.lookup.derive(Purpose::Fingerprint);
        let mut fingerprint = [0; 16];
        fingerprint.copy_from_slice(&derived[..16]);
        fingerprint
    }

    /// The ids and secrets of the sealing keys, oldest first, each derived for `purpose`.
    pub(super) fn sealing(&self, purpose: Purpose) -> impl Iterator<Item = (u32, Derived)> {
        let keys = self.0.sealing.iter();
        keys.map(move |sealing| (sealing.id, sealing.key.derive(purpose)))
    }

    /// The key that signs access tokens.
    pub(super) fn token_signing(&self) -> Derived {
        self.0.token_signing.derive(Purpose::AccessToken)
    }

    /// The key of one keyed digest.
    pub(super) fn lookup(&self, purpose: Purpose) -> Derived {
        self.0.lookup.derive(purpose)
    }

    fn create(path: &Path) -> Result<(Self, Created), KeyringError> {
        let failed = |doing| {
            move |source| KeyringError::Io {
                path: path.to_owned(),
                doing,
                source,
            }
        };
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(failed("given a folder"))?;

        let keyring = Self::generate();
        let text = serde_json::to_string_pretty(&keyring.0)
            .map(Zeroizing::new)
            .map_err(|error| failed("written")(error.into()))?;
        let draft = folder.join(format!(".key-{}.new", hex::encode(random::bytes::<8>())));
        // A link, unlike a rename, never replaces what another process put there meanwhile.
        let linked =
            write_private(&draft, text.as_bytes()).and_then(|()| fs::hard_link(&draft, path));
        // A draft that stays behind holds keys nobody ever used.
        let _ = fs::remove_file(&draft);

        let created = match linked {
            Ok(()) => Created::Yes,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Created::No,
            Err(error) => return Err(failed("made")(error)),
        };
        // Also for a file made by another process: nothing may be sealed under keys that a power
        // cut can still take away.
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(failed("synced"))?;
        match created {
            Created::Yes => Ok((keyring, created)),
            Created::No => Self::open(path).map(|keyring| (keyring, created)),
        }
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<_> = self.0.sealing.iter().map(|sealing| sealing.id).collect();
        f.debug_struct("Keyring")
            .field("sealing", &ids)
            .finish_non_exhaustive()
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct KeyFile {
    version: u8,
    sealing: Vec<SealingKey>,
    token_signing: Key,
    lookup: Key,
}

impl KeyFile {
    fn check(&self) -> Result<(), String> {
        if self.version != VERSION {
            return Err(format!("version {} is not known", self.version));
        }
        if self.sealing.is_empty() {
            return Err("`sealing` holds no key".to_owned());
        }
        let mut seen = HashSet::new();
        match self.sealing.iter().find(|sealing| !seen.insert(sealing.id)) {
            Some(twice) => Err(format!("two sealing keys have the id {}", twice.id)),
            None => Ok(()),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SealingKey {
    id: u32,
    key: Key,
}

/// Reads a file that only its owner may use.
fn read_private(path: &Path) -> Result<Zeroizing<String>, KeyringError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => KeyringError::Absent {
            path: path.to_owned(),
        },
        io::ErrorKind::InvalidData => KeyringError::Damaged {
            path: path.to_owned(),
            what: "not text".to_owned(),
        },
        _ => KeyringError::Io {
            path: path.to_owned(),
            doing: "read",
            source,
        },
    };
    let file = File::open(path).map_err(failed)?;
    // Asked of the open file, so that no other file can take its place in between.
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(KeyringError::Exposed {
            path: path.to_owned(),
            mode,
        });
    }
    let mut text = Zeroizing::new(String::new());
    file.take(LARGEST_FILE)
        .read_to_string(&mut text)
        .map_err(failed)?;
    Ok(text)
}

/// Writes a new file that only its owner may use, and syncs it.
fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Barrier};
    use std::thread;

    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;
    use crate::crypto::{Lookup, SealError, Sealer};
    use crate::domain::id::MessageId;

    const MESSAGE: MessageId = MessageId::from_number(7);

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        (folder, path)
    }

    fn rewrite(path: &Path, change: impl FnOnce(&mut serde_json::Value)) {
        let mut value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        change(&mut value);
        fs::write(path, value.to_string()).unwrap();
    }

    #[test]
    fn the_first_start_makes_a_file_only_its_owner_may_use_and_the_next_reads_it() {
        let (folder, _) = folder();
        let path = folder.path().join("deeper/data/keys.json");
        let (first, made) = Keyring::open_or_create(&path).unwrap();
        let (second, again) = Keyring::open_or_create(&path).unwrap();
        assert_eq!((made, again), (Created::Yes, Created::No));
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        let sealed = Sealer::new(&first).seal(MESSAGE, b"text");
        assert_eq!(
            Sealer::new(&second).open(MESSAGE, &sealed).as_deref(),
            Ok(b"text".as_slice())
        );
    }

    #[test]
    fn many_first_starts_at_once_make_one_file_and_share_its_keys() {
        let (folder, path) = folder();
        let barrier = Arc::new(Barrier::new(16));
        let starters: Vec<_> = (0..16)
            .map(|_| {
                let (path, barrier) = (path.clone(), Arc::clone(&barrier));
                thread::spawn(move || {
                    barrier.wait();
                    Keyring::open_or_create(&path).unwrap()
                })
            })
            .collect();
        let started: Vec<_> = starters.into_iter().map(|s| s.join().unwrap()).collect();
        let makers = started.iter().filter(|(_, c)| *c == Created::Yes).count();
        assert_eq!(makers, 1);
        let hash = |keyring: &Keyring| Lookup::new(keyring).recipient_hash("01012345678");
        let on_disk = hash(&Keyring::open(&path).unwrap());
        assert!(started.iter().all(|(keyring, _)| hash(keyring) == on_disk));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_group_or_others_may_use_is_refused_with_the_remedy() {
        let (_folder, path) = folder();
        Keyring::open_or_create(&path).unwrap();
        for mode in [0o640, 0o604, 0o620, 0o602, 0o610, 0o666] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let refused = Keyring::open_or_create(&path).unwrap_err();
            assert!(matches!(refused, KeyringError::Exposed { mode: seen, .. } if seen == mode));
            assert!(refused.to_string().contains("chmod 600"), "{refused}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        Keyring::open(&path).unwrap();
    }

    #[test]
    fn opening_never_makes_a_file() {
        let (folder, path) = folder();
        let refused = Keyring::open(&path).unwrap_err();
        assert!(matches!(refused, KeyringError::Absent { .. }));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_damaged_file_is_refused_and_left_as_it_is() {
        let (_folder, path) = folder();
        Keyring::open_or_create(&path).unwrap();
        let whole = fs::read_to_string(&path).unwrap();
        for text in ["", "{}", &whole[..whole.len() / 2]] {
            fs::write(&path, text).unwrap();
            let refused = Keyring::open_or_create(&path).unwrap_err();
            assert!(matches!(refused, KeyringError::Damaged { .. }), "{text}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn keys_that_cannot_be_meant_are_refused() {
        type Change = fn(&mut serde_json::Value);
        let changes: [(&str, Change); 6] = [
            ("version", |file| file["version"] = 2.into()),
            ("no sealing key", |file| {
                file["sealing"] = serde_json::json!([])
            }),
            ("one id twice", |file| {
                let key = file["sealing"][0].clone();
                file["sealing"].as_array_mut().unwrap().push(key);
            }),
            ("a short key", |file| file["lookup"] = "c2hvcnQ=".into()),
            ("no base64", |file| file["lookup"] = "?".into()),
            ("an unknown field", |file| file["more"] = 1.into()),
        ];
        for (name, change) in changes {
            let (_folder, path) = folder();
            Keyring::open_or_create(&path).unwrap();
            rewrite(&path, change);
            let refused = Keyring::open(&path).unwrap_err();
            assert!(matches!(refused, KeyringError::Damaged { .. }), "{name}");
        }
    }

    #[test]
    fn neither_an_error_nor_debug_shows_a_key() {
        let (_folder, path) = folder();
        let (keyring, _) = Keyring::open_or_create(&path).unwrap();
        let file: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let key = file["tokenSigning"].as_str().unwrap().to_owned();
        assert!(!format!("{keyring:?}").contains(&key));
        // The value is now where a number belongs.
        rewrite(&path, |file| file["version"] = key.clone().into());
        let refused = Keyring::open(&path).unwrap_err();
        assert!(!format!("{refused} {refused:?}").contains(&key));
    }

    #[test]
    fn a_key_added_at_the_end_seals_and_the_older_still_open() {
        let (_folder, path) = folder();
        let (before, _) = Keyring::open_or_create(&path).unwrap();
        let older = Sealer::new(&before).seal(MESSAGE, b"before");
        rewrite(&path, |file| {
            let added = serde_json::json!({ "id": 9, "key": STANDARD.encode([9_u8; 32]) });
            file["sealing"].as_array_mut().unwrap().push(added);
        });
        let keyring = Keyring::open(&path).unwrap();
        assert_eq!(keyring.fingerprint(), before.fingerprint());
        assert_ne!(keyring.fingerprint(), Keyring::generate().fingerprint());
        let rotated = Sealer::new(&keyring);
        let newer = rotated.seal(MESSAGE, b"after");
        assert_eq!(newer[1..5], 9_u32.to_be_bytes());
        assert_eq!(
            rotated.open(MESSAGE, &older).as_deref(),
            Ok(b"before".as_slice())
        );
        assert_eq!(
            rotated.open(MESSAGE, &newer).as_deref(),
            Ok(b"after".as_slice())
        );
        assert_eq!(
            Sealer::new(&before).open(MESSAGE, &newer),
            Err(SealError::UnknownKey(9))
        );
    }
}
