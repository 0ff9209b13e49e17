//! The files of a message, read between its claim and its call.

use std::time::Duration;

use pabal_common::domain::message::Content;
use pabal_common::files::{FileError, FileStore};
use pabal_provider::Attachment;
use tokio::time::{Instant, timeout_at};

/// How long reading may take for all messages of a call: a claim must not grow old over it.
pub(crate) const LIMIT: Duration = Duration::from_secs(15);

/// The bytes of every file this content refers to, read until `until`. Nothing is read ahead, so there
/// are never more of them than one call's.
pub(crate) async fn load(
    files: &FileStore,
    content: &Content,
    until: Instant,
) -> Result<Vec<Attachment>, FileError> {
    let mut loaded = Vec::with_capacity(content.attachments.len());
    for file in &content.attachments {
        let bytes = timeout_at(until, files.get(file.id, file.sha256)).await;
        let late = |_| Err(FileError::Away(format!("not read within {LIMIT:?}")));
        loaded.push(Attachment {
            media_type: file.media_type.clone(),
            name: file.name.clone(),
            bytes: bytes.unwrap_or_else(late)?,
        });
    }
    Ok(loaded)
}

#[cfg(test)]
mod tests {
    use pabal_common::domain::file::{FileDigest, FileRef};
    use pabal_common::domain::id::FileId;
    use pabal_common::domain::phase::Phase;

    use super::*;
    use crate::fake::House;

    fn file(number: u64, bytes: &[u8]) -> FileRef {
        FileRef {
            id: FileId::from_number(number),
            sha256: FileDigest::of(bytes),
            media_type: "image/jpeg".to_owned(),
            bytes: bytes.len() as u64,
            name: Some(format!("{number}.jpg")),
        }
    }

    #[tokio::test]
    async fn a_message_gets_its_files_in_its_own_order() {
        let house = House::open(1000, false).await;
        let files = &house.desk.node.files;
        for (number, bytes) in [(1, b"one"), (2, b"two")] {
            files.put(FileId::from_number(number), bytes).await.unwrap();
        }
        let content = Content {
            attachments: vec![file(2, b"two"), file(1, b"one"), file(2, b"two")],
            ..Content::default()
        };
        let loaded = load(files, &content, Instant::now() + LIMIT).await.unwrap();
        let bytes: Vec<&[u8]> = loaded.iter().map(|one| &*one.bytes).collect();
        assert_eq!(bytes, [b"two", b"one", b"two"]);
        assert_eq!(loaded[0].name.as_deref(), Some("2.jpg"));
        assert_eq!(loaded[1].media_type, "image/jpeg");
    }

    #[tokio::test]
    async fn a_message_whose_files_are_there_is_sent() {
        let house = House::open(1000, false).await;
        let picture = file(1, b"one");
        house.desk.node.files.put(picture.id, b"one").await.unwrap();
        let id = house.accept_with(vec![picture]).await;
        assert!(house.carry(&[id]).await);
        assert!(house.view(id).await.sent_at.is_some());
    }

    #[tokio::test]
    async fn a_message_that_lost_a_file_is_given_up_before_the_vendor_is_called() {
        let house = House::open(1000, false).await;
        house
            .desk
            .node
            .files
            .put(FileId::from_number(9), b"other")
            .await
            .unwrap();
        let id = house.accept_with(vec![file(1, b"one")]).await;
        assert!(house.carry(&[id]).await);
        let view = house.view(id).await;
        assert_eq!((view.phase, view.sent_at), (Phase::Answered, None));
        assert!(house.vendor.called_in.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_message_whose_files_cannot_be_had_now_waits_and_keeps_its_attempt() {
        // Nothing was ever put into its store, as where a disk is not mounted.
        let house = House::open(1000, false).await;
        let id = house.accept_with(vec![file(1, b"one")]).await;
        assert!(house.carry(&[id]).await);
        let view = house.view(id).await;
        assert_eq!((view.phase, view.attempt), (Phase::Waiting, 0));
        assert!(house.vendor.called_in.lock().unwrap().is_empty());
    }
}
