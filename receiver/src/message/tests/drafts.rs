//! Digests and sealed content.

use pabal_common::clock::Timestamp;
use pabal_common::crypto::{Keyring, Lookup, Sealer};
use pabal_common::domain::id::MessageId;
use pabal_common::domain::kind::Lane;
use pabal_common::domain::message::Content;

use super::*;

fn digest(request: &Value, keyring: &Keyring) -> [u8; 16] {
    let draft = Draft::new(checked(request).ok().unwrap(), &Lookup::new(keyring));
    draft.ok().unwrap().digest
}

#[test]
fn the_same_request_written_otherwise_has_the_same_digest() {
    let keyring = Keyring::generate();
    let mut one = good(MessageType::Lms);
    put(&mut one, "metadata", json!({"a": 1, "b": {"c": 2, "d": 3}}));
    let one = digest(&one, &keyring);
    let other = r#"{ "text": "안녕하세요", "subject": null, "purpose": "INFO", "buttons": [],
        "metadata": {"b": {"d": 3, "c": 2}, "a": 1}, "validitySeconds": 86400,
        "from": "021234567", "to": "+82 10 1234 5678", "type": "LMS", "clientMsgId": "m-1" }"#;
    let other: MessageRequest = parse_json(other.as_bytes()).ok().unwrap();
    let other = check(other, Unencodable::Reject, &Known::default())
        .ok()
        .unwrap();
    let other = Draft::new(other, &Lookup::new(&keyring)).ok().unwrap();
    assert_eq!(one, other.digest);
}

#[test]
fn hangul_sent_in_parts_is_the_same_request_as_hangul_sent_whole() {
    let keyring = Keyring::generate();
    let sms = |text: &str| digest(&with(MessageType::Sms, "text", json!(text)), &keyring);
    assert_eq!(sms("\u{1112}\u{1161}\u{11AB}"), sms("한"));
}

#[test]
fn whatever_is_sent_otherwise_changes_the_digest() {
    let keyring = Keyring::generate();
    let lms = MessageType::Lms;
    let original = digest(&good(lms), &keyring);
    for (path, value) in [
        ("type", json!("MMS")),
        ("to", json!("010-1234-5679")),
        ("from", json!("02-123-4568")),
        ("text", json!("안녕하세요!")),
        ("subject", json!("제목")),
        ("purpose", json!("AD")),
        ("validitySeconds", json!(60)),
        ("metadata", json!({})),
    ] {
        let changed = digest(&with(lms, path, value), &keyring);
        assert_ne!(changed, original, "{path}");
    }
}

#[test]
fn the_content_of_a_draft_is_sealed_for_its_id_and_opens_as_it_was_asked_for() {
    let keyring = Keyring::generate();
    let (sealer, lookup) = (Sealer::new(&keyring), Lookup::new(&keyring));
    let request = with(MessageType::Sms, "text", json!("비밀"));
    let draft = Draft::new(checked(&request).ok().unwrap(), &lookup)
        .ok()
        .unwrap();
    let (id, now) = (
        MessageId::from_number(7),
        Timestamp::from_millis(1_795_000_000_000),
    );
    let partner = "shop".parse().unwrap();
    let message = draft.message(id, &partner, Lane::Ordinary, now, &sealer);

    let opened = sealer.open(id, &message.sealed).unwrap();
    let content: Content = serde_json::from_slice(&opened).unwrap();
    assert_eq!(
        (content.to.as_str(), content.text.as_str()),
        ("01012345678", "비밀")
    );
    assert_eq!(message.recipient_hash, lookup.recipient_hash("01012345678"));
    assert_eq!(message.valid_until.since(now).as_secs(), 86_400);
    assert!(
        sealer
            .open(MessageId::from_number(8), &message.sealed)
            .is_err()
    );
}
