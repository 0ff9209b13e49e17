//! The files of an MMS.

use std::sync::Arc;

use pabal_common::clock::Timestamp;
use pabal_common::domain::file::{FileDigest, FilePurpose, FileRef};
use pabal_common::domain::id::FileId;

use super::*;

fn knowing(files: &[(u64, FilePurpose, u64)]) -> Known {
    let file = |&(number, purpose, bytes): &(u64, FilePurpose, u64)| {
        let id = FileId::from_number(number);
        let known = KnownFile {
            partner: "shop".parse().unwrap(),
            purpose,
            reference: FileRef {
                id,
                sha256: FileDigest::of(&number.to_be_bytes()),
                media_type: "image/jpeg".to_owned(),
                bytes,
                name: None,
            },
            expires_at: Timestamp::from_millis(0),
        };
        (id, Arc::new(known))
    };
    Known {
        files: files.iter().map(file).collect(),
        ..Known::default()
    }
}

fn mms(numbers: &[u64]) -> Value {
    let file = |number: &u64| json!({"fileId": FileId::from_number(*number).to_string()});
    let files: Vec<Value> = numbers.iter().map(file).collect();
    with(MessageType::Mms, "attachments", json!(files))
}

fn told(numbers: &[u64], known: &Known) -> (ErrorReason, Detail) {
    let refused = checked_knowing(&mms(numbers), Unencodable::Reject, known);
    let error = refused.err().unwrap();
    (error.reason(), error.details()[0].clone())
}

#[test]
fn an_mms_takes_up_to_three_pictures_of_eight_hundred_kilobytes_together_in_its_own_order() {
    let known = knowing(&[
        (1, FilePurpose::Mms, 300_000),
        (2, FilePurpose::Mms, 300_000),
        (3, FilePurpose::Mms, 200_000),
        (4, FilePurpose::Mms, 200_001),
    ]);
    let checked = checked_knowing(&mms(&[3, 1, 2]), Unencodable::Reject, &known);
    let files = checked.ok().unwrap().content.attachments;
    let ids: Vec<u64> = files.iter().map(|file| file.id.number()).collect();
    assert_eq!(ids, [3, 1, 2]);
    let (reason, detail) = told(&[1, 2, 4], &known);
    assert_eq!(reason, ErrorReason::AttachmentsTooLarge);
    assert_eq!(
        (detail.limit, detail.actual),
        (Some(800_000), Some(800_001))
    );
    let (_, detail) = told(&[1, 2, 3, 4], &known);
    assert_eq!((detail.limit, detail.actual), (Some(3), Some(4)));
}

#[test]
fn a_file_that_is_not_known_or_is_for_something_else_is_named_by_its_place() {
    let known = knowing(&[(1, FilePurpose::Mms, 10), (2, FilePurpose::Mail, 10)]);
    let (reason, detail) = told(&[1, 9], &known);
    assert_eq!(reason, ErrorReason::FileNotFound);
    assert_eq!(detail.field, "attachments[1].fileId");
    let (reason, detail) = told(&[2], &known);
    assert_eq!(reason, ErrorReason::InvalidValue);
    assert_eq!(detail.field, "attachments[0].fileId");
    assert_eq!(detail.expected.as_deref(), Some("MMS"));
}

#[test]
fn another_picture_is_another_request() {
    use pabal_common::crypto::{Keyring, Lookup};

    let known = knowing(&[(1, FilePurpose::Mms, 10), (2, FilePurpose::Mms, 10)]);
    let lookup = Lookup::new(&Keyring::generate());
    let digest = |numbers: &[u64]| {
        let checked = checked_knowing(&mms(numbers), Unencodable::Reject, &known);
        let draft = Draft::new(checked.ok().unwrap(), &lookup);
        draft.ok().unwrap().digest
    };
    assert_eq!(digest(&[1]), digest(&[1]));
    assert_ne!(digest(&[1]), digest(&[2]));
    assert_ne!(digest(&[1]), digest(&[1, 1]));
    assert_ne!(digest(&[]), digest(&[1]));
}

#[test]
fn only_what_a_good_request_can_name_is_looked_up() {
    let named = |request: &Value| {
        let request: MessageRequest = parse_json(request.to_string().as_bytes()).ok().unwrap();
        references(&request).count()
    };
    assert_eq!(named(&mms(&[1, 2, 3, 4])), 3);
    assert_eq!(
        named(&with(
            MessageType::Mms,
            "attachments",
            json!([{"fileId": "x"}, {}])
        )),
        0
    );
    assert_eq!(named(&good(MessageType::KakaoAlimtalk)), 1);
    assert_eq!(named(&good(MessageType::Sms)), 0);
    let long = with(
        MessageType::KakaoAlimtalk,
        "template.code",
        json!("x".repeat(33)),
    );
    assert_eq!(named(&long), 0);
}
