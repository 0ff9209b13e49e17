//! Whether anything secret can be read in the data folder.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;

use super::outcome::Check;

/// Nothing of `secrets` can be read in the files of `folder`, which nobody writes to any more.
pub(super) async fn sealed(folder: &Path, secrets: &[String]) -> anyhow::Result<Check> {
    let files = settled(folder).await?;
    let bytes: usize = files.iter().map(|(_, content)| content.len()).sum();
    let mut readable = Vec::new();
    for (name, content) in &files {
        let text = String::from_utf8_lossy(content);
        let found = secrets
            .iter()
            .filter(|secret| text.contains(secret.as_str()))
            .count();
        if found > 0 {
            readable.push(format!("{found} in {name}"));
        }
    }
    let found = match readable.is_empty() {
        true => format!(
            "none readable in {} files of the data folder ({} KiB)",
            files.len(),
            bytes / 1024
        ),
        false => format!("readable: {}", readable.join(", ")),
    };
    let ok = readable.is_empty() && !files.is_empty();
    Ok(Check::new("recipients and texts", ok, found))
}

/// Every file with its content. The database folds its journal into its main file while it closes,
/// so a file that goes away meanwhile means that another has changed: then all are read again.
async fn settled(folder: &Path) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    const TRIES: usize = 100;
    for _ in 0..TRIES {
        match files(folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            read => return read.context("the data folder cannot be read"),
        }
    }
    anyhow::bail!("the files of the data folder do not settle");
}

fn files(folder: &Path) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.extend(files(&entry.path())?);
        } else {
            let name = entry.file_name().to_string_lossy().into_owned();
            found.push((name, std::fs::read(entry.path())?));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_secret_between_other_bytes_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let secrets = ["가나다".to_owned()];
        std::fs::write(folder.path().join("a"), b"\xff\x00\xea").unwrap();
        assert!(sealed(folder.path(), &secrets).await.unwrap().ok);
        let hidden = [b"\xff\xea".as_slice(), "가나다".as_bytes(), b"\xea\x80"].concat();
        std::fs::write(folder.path().join("b"), hidden).unwrap();
        let check = sealed(folder.path(), &secrets).await.unwrap();
        assert!(!check.ok && check.found.contains("in b"), "{}", check.found);
    }
}
