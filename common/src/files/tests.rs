use std::collections::HashMap;
use std::sync::Mutex;

use axum::Router;
use axum::body::Bytes as Body;
use axum::extract::{Path as Segment, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use secrecy::SecretString;
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::*;

const FILE: FileId = FileId::from_number(0x0123_4567_89AB_CDEF);
const PICTURE: &[u8] = b"a picture of somebody";

fn folder(place: &TempDir, keyring: &Keyring) -> FileStore {
    let place = FilePlace::Folder(place.path().join("files"));
    FileStore::open(&place, keyring).unwrap()
}

#[tokio::test]
async fn what_was_put_is_had_again_also_by_a_store_opened_anew() {
    let (place, keyring) = (tempfile::tempdir().unwrap(), Keyring::generate());
    let store = folder(&place, &keyring);
    store.put(FILE, PICTURE).await.unwrap();
    for store in [store, folder(&place, &keyring)] {
        let bytes = store.get(FILE, FileDigest::of(PICTURE)).await;
        assert_eq!(bytes.as_deref(), Ok(PICTURE));
    }
}

#[tokio::test]
async fn what_lies_in_the_folder_says_nothing_and_opens_with_the_keys_of_the_installation_alone() {
    let (place, keyring) = (tempfile::tempdir().unwrap(), Keyring::generate());
    folder(&place, &keyring).put(FILE, PICTURE).await.unwrap();
    let file = place.path().join("files").join(FILE.to_string());
    let kept = std::fs::read(file).unwrap();
    assert!(!kept.windows(7).any(|part| part == b"picture"));
    let stranger = folder(&place, &Keyring::generate());
    let refused = stranger.get(FILE, FileDigest::of(PICTURE)).await;
    assert!(matches!(refused, Err(FileError::Sealed(_))), "{refused:?}");
}

#[tokio::test]
async fn a_file_that_is_gone_or_changed_or_another_is_told_apart_from_a_store_that_is_away() {
    let (place, keyring) = (tempfile::tempdir().unwrap(), Keyring::generate());
    let store = folder(&place, &keyring);
    let digest = FileDigest::of(PICTURE);
    store.put(FILE, PICTURE).await.unwrap();
    let gone = FileId::from_number(2);
    assert_eq!(store.get(gone, digest).await, Err(FileError::Missing(gone)));

    let other = FileDigest::of(b"another picture");
    assert_eq!(store.get(FILE, other).await, Err(FileError::Damaged(FILE)));

    let folder = place.path().join("files");
    let moved = FileId::from_number(1);
    let names = [FILE, moved].map(|id| folder.join(id.to_string()));
    std::fs::copy(&names[0], &names[1]).unwrap();
    let found = store.get(moved, digest).await;
    assert_eq!(found, Err(FileError::Damaged(moved)));

    // As where a disk is not mounted.
    std::fs::remove_dir_all(&folder).unwrap();
    std::fs::create_dir(&folder).unwrap();
    let away = store.get(FILE, digest).await.unwrap_err();
    assert!(
        matches!(away, FileError::Away(_)) && away.may_pass(),
        "{away}"
    );
}

#[tokio::test]
async fn what_is_removed_is_gone_and_removing_it_again_is_no_error() {
    let keyring = Keyring::generate();
    let store = FileStore::in_memory(&keyring);
    store.put(FILE, PICTURE).await.unwrap();
    let digest = FileDigest::of(PICTURE);
    assert!(store.get(FILE, digest).await.is_ok());
    store.remove(FILE).await.unwrap();
    store.remove(FILE).await.unwrap();
    assert_eq!(store.get(FILE, digest).await, Err(FileError::Missing(FILE)));
}

#[tokio::test]
async fn without_a_store_nothing_can_be_put_or_had() {
    let store = FileStore::none();
    assert_eq!(store.put(FILE, PICTURE).await, Err(FileError::NoStore));
    let found = store.get(FILE, FileDigest::of(PICTURE)).await;
    assert_eq!(found, Err(FileError::NoStore));
}

/// A bucket that keeps what it is given by somebody who signs.
#[derive(Default)]
struct Bucket {
    objects: Mutex<HashMap<String, Body>>,
}

impl Bucket {
    async fn open() -> (Arc<Self>, S3Place) {
        let bucket = Arc::new(Self::default());
        let object = get(Self::read).put(Self::put).delete(Self::remove);
        let router = Router::new()
            .route("/files/{*key}", object)
            .with_state(Arc::clone(&bucket));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let place = S3Place {
            bucket: "files".to_owned(),
            prefix: "pabal/test".to_owned(),
            endpoint: Some(endpoint),
            region: "ap-northeast-2".to_owned(),
            access: Some(S3Access {
                id: "AKIDTEST".to_owned(),
                secret: SecretString::from("secret".to_owned()),
            }),
        };
        (bucket, place)
    }

    async fn put(
        State(bucket): State<Arc<Self>>,
        Segment(key): Segment<String>,
        headers: HeaderMap,
        body: Body,
    ) -> (StatusCode, [(&'static str, &'static str); 1]) {
        assert!(is_signed(&headers), "{headers:?}");
        bucket.objects.lock().unwrap().insert(key, body);
        (StatusCode::OK, [("etag", "\"1\"")])
    }

    async fn read(
        State(bucket): State<Arc<Self>>,
        Segment(key): Segment<String>,
        headers: HeaderMap,
    ) -> (StatusCode, [(&'static str, &'static str); 2], Body) {
        assert!(is_signed(&headers), "{headers:?}");
        let found = bucket.objects.lock().unwrap().get(&key).cloned();
        let status = match found {
            Some(_) => StatusCode::OK,
            None => StatusCode::NOT_FOUND,
        };
        let told = [
            ("etag", "\"1\""),
            ("last-modified", "Sat, 21 Nov 2026 03:00:00 GMT"),
        ];
        (status, told, found.unwrap_or_default())
    }

    async fn remove(State(bucket): State<Arc<Self>>, Segment(key): Segment<String>) -> StatusCode {
        bucket.objects.lock().unwrap().remove(&key);
        StatusCode::NO_CONTENT
    }
}

fn is_signed(headers: &HeaderMap) -> bool {
    let signature = headers.get("authorization").and_then(|v| v.to_str().ok());
    signature.is_some_and(|text| {
        text.starts_with("AWS4-HMAC-SHA256 Credential=AKIDTEST/")
            && text.contains("/ap-northeast-2/s3/aws4_request")
    })
}

#[tokio::test]
async fn a_bucket_keeps_files_under_its_prefix_as_a_folder_does() {
    let (bucket, place) = Bucket::open().await;
    let keyring = Keyring::generate();
    let store = FileStore::open(&FilePlace::S3(place), &keyring).unwrap();
    let digest = FileDigest::of(PICTURE);
    assert!(store.get(FILE, digest).await.unwrap_err().may_pass());
    store.put(FILE, PICTURE).await.unwrap();
    let key = format!("pabal/test/{FILE}");
    assert!(bucket.objects.lock().unwrap().contains_key(&key));
    assert_eq!(store.get(FILE, digest).await.as_deref(), Ok(PICTURE));
    store.remove(FILE).await.unwrap();
    assert_eq!(store.get(FILE, digest).await, Err(FileError::Missing(FILE)));
    assert!(!bucket.objects.lock().unwrap().contains_key(&key));
}

#[tokio::test]
async fn a_bucket_that_cannot_be_reached_is_away() {
    let (_, mut place) = Bucket::open().await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    place.endpoint = Some(format!("http://{}", closed.local_addr().unwrap()));
    drop(closed);
    let store = FileStore::open(&FilePlace::S3(place), &Keyring::generate()).unwrap();
    let away = store.put(FILE, PICTURE).await.unwrap_err();
    assert!(
        matches!(away, FileError::Away(_)) && away.may_pass(),
        "{away}"
    );
}
