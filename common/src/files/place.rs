//! Where files are kept, as the settings name it.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path as FilePath, PathBuf};

use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use secrecy::SecretString;

use super::s3;

/// Where files are kept.
#[derive(Clone, Debug)]
pub enum FilePlace {
    /// In a folder of this machine.
    Folder(PathBuf),
    /// In a bucket.
    S3(S3Place),
}

/// A bucket, and how to get there.
#[derive(Clone, Debug)]
pub struct S3Place {
    /// The bucket's name.
    pub bucket: String,
    /// What every object's name begins with; may be empty.
    pub prefix: String,
    /// The service's address, unless it is Amazon's own.
    pub endpoint: Option<String>,
    /// The bucket's region.
    pub region: String,
    /// The key to it; none, that of the machine's role.
    pub access: Option<S3Access>,
}

/// An access key.
#[derive(Clone, Debug)]
pub struct S3Access {
    /// Its id.
    pub id: String,
    /// Its secret.
    pub secret: SecretString,
}

/// Files cannot be kept there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("files.store: {0}")]
pub struct BadPlace(pub String);

/// What `files.store` may look like.
pub(crate) const FORMS: &str = "folder:PATH or s3://BUCKET/PREFIX";

/// `files.store` read, without how to get to a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    Folder(PathBuf),
    Bucket { bucket: String, prefix: String },
}

impl Named {
    /// Reads `folder:PATH` or `s3://BUCKET/PREFIX`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if let Some(path) = text.strip_prefix("folder:") {
            return (!path.is_empty()).then(|| Self::Folder(PathBuf::from(path)));
        }
        let rest = text.strip_prefix("s3://")?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let prefix = prefix.trim_end_matches('/');
        let is_path = !prefix.starts_with('/') && Path::parse(prefix).is_ok();
        let fits = !bucket.is_empty() && bucket.chars().all(is_name) && is_path;
        fits.then(|| Self::Bucket {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
        })
    }
}

impl FilePlace {
    pub(super) fn open(&self) -> Result<(Box<dyn ObjectStore>, Path), BadPlace> {
        match self {
            Self::Folder(folder) => Ok((open_folder(folder)?, Path::default())),
            Self::S3(place) => {
                let prefix = Path::parse(&place.prefix);
                let prefix = prefix.map_err(|error| BadPlace(error.to_string()))?;
                Ok((s3::open(place)?, prefix))
            }
        }
    }
}

/// Made for its owner alone. What is put is on the disk when that is said.
fn open_folder(folder: &FilePath) -> Result<Box<dyn ObjectStore>, BadPlace> {
    let bad = |error: &dyn std::fmt::Display| BadPlace(format!("{}: {error}", folder.display()));
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| bad(&error))?;
    let store = LocalFileSystem::new_with_prefix(folder).map_err(|error| bad(&error))?;
    Ok(Box::new(store.with_fsync(true)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_folder_or_a_bucket_with_or_without_a_prefix() {
        let bucket = |bucket: &str, prefix: &str| Named::Bucket {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
        };
        for (text, named) in [
            ("folder:/srv/files", Named::Folder("/srv/files".into())),
            ("folder:files", Named::Folder("files".into())),
            ("s3://files", bucket("files", "")),
            ("s3://files/", bucket("files", "")),
            (
                "s3://my.files/pabal/prod/",
                bucket("my.files", "pabal/prod"),
            ),
        ] {
            assert_eq!(Named::parse(text), Some(named), "{text}");
        }
        for text in [
            "",
            "folder:",
            "s3://",
            "s3:///a",
            "s3://a b",
            "s3://a//b",
            "/srv/files",
        ] {
            assert_eq!(Named::parse(text), None, "{text}");
        }
    }
}
