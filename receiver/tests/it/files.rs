//! `POST /v1/files`, and messages with files.

use std::time::Duration;

use pabal_common::clock::Clock as _;
use pabal_common::domain::file::{FileDigest, FilePurpose};
use pabal_common::domain::id::{FileId, MessageId};
use pabal_common::files::FileStore;
use pabal_common::quota::{Meter, Room};
use serde_json::{Value, json};

use crate::house::{Answer, House, START, sms};

const DAY: Duration = Duration::from_secs(86_400);

/// A picture of this size; `bytes` long, if it can be as short.
fn picture(width: u16, height: u16, bytes: usize) -> Vec<u8> {
    let mut picture = vec![0xFF, 0xD8, 0xFF, 0xC0, 0x00, 0x0B, 0x08];
    picture.extend(height.to_be_bytes());
    picture.extend(width.to_be_bytes());
    picture.extend([0x01, 0x01, 0x11, 0x00, 0xFF, 0xDA]);
    picture.resize(bytes.max(picture.len()), 0xAA);
    picture
}

async fn upload(house: &House, token: &str, bytes: Vec<u8>) -> String {
    let answer = house
        .upload("purpose=MMS", token, "image/jpeg", bytes)
        .await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.text("fileId").to_owned()
}

async fn send(house: &House, token: &str, client: &str, files: &[&str]) -> Answer {
    let mut request = sms(client);
    request["type"] = json!("MMS");
    let files: Vec<Value> = files.iter().map(|id| json!({"fileId": id})).collect();
    request["attachments"] = json!(files);
    house.post("/v1/messages", token, &request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_that_was_uploaded_goes_with_a_message() {
    let house = House::new().await;
    let token = house.token(&house.partner("shop").await);
    let bytes = picture(640, 480, 2000);
    let query = "purpose=MMS&name=%EC%82%AC%EC%A7%84.jpg";
    let answer = house
        .upload(query, &token, "image/jpeg", bytes.clone())
        .await;
    let id: FileId = answer.text("fileId").parse().unwrap();
    assert_eq!(
        answer.body,
        json!({
            "code": "0000",
            "fileId": id.to_string(),
            "sha256": FileDigest::of(&bytes).to_string(),
            "bytes": 2000,
            "width": 640,
            "height": 480,
            "expiresAt": START.plus(DAY * 7).to_rfc3339(),
        })
    );
    assert_eq!(answer.status, 201);

    let sent = send(&house, &token, "m-1", &[&id.to_string()]).await;
    assert_eq!(sent.status, 202, "{sent:?}");
    let message: MessageId = sent.text("messageId").parse().unwrap();
    let files = house.content(message).await.attachments;
    assert_eq!(files.len(), 1);
    assert_eq!((files[0].id, files[0].bytes), (id, 2000));
    assert_eq!(files[0].name.as_deref(), Some("사진.jpg"));
    let kept = house.node.files.get(id, files[0].sha256).await.unwrap();
    assert_eq!(kept, bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limits_of_a_picture_are_those_that_every_vendor_takes() {
    let house = House::new().await;
    let token = house.token(&house.partner("shop").await);
    let put = |bytes| house.upload("purpose=MMS", &token, "image/jpeg", bytes);
    assert_eq!(put(picture(1000, 1000, 300_000)).await.status, 201);
    for (picture, rule) in [
        (picture(1001, 1000, 0), "maxWidth"),
        (picture(1000, 1001, 0), "maxHeight"),
    ] {
        let answer = put(picture).await;
        answer.is_refused(400, "E001", "INVALID_IMAGE");
        let detail = &answer.body["details"][0];
        assert_eq!(detail["rule"], rule);
        assert_eq!(
            (&detail["limit"], &detail["actual"]),
            (&json!(1000), &json!(1001))
        );
    }
    let answer = put(picture(10, 10, 300_001)).await;
    answer.is_refused(413, "E001", "BODY_TOO_LARGE");
    assert_eq!(answer.body["details"][0]["limit"], 300_000);
    let answer = put(b"\x89PNG\r\n".to_vec()).await;
    answer.is_refused(400, "E001", "INVALID_IMAGE");
    let answer = put(Vec::new()).await;
    answer.is_refused(400, "E001", "INVALID_VALUE");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attachment_of_a_mail_may_be_anything_of_up_to_ten_mebibytes_and_no_picture_of_an_mms() {
    let house = House::new().await;
    let token = house.token(&house.partner("shop").await);
    let put = |bytes: usize| {
        let pdf = "application/pdf";
        house.upload("purpose=MAIL&name=a.pdf", &token, pdf, vec![7; bytes])
    };
    let answer = put(10 << 20).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let id: FileId = answer.text("fileId").parse().unwrap();
    let kept = house.node.ledger.files(&[id]).await.unwrap();
    assert_eq!(kept[0].purpose, FilePurpose::Mail);
    assert_eq!(kept[0].media_type, "application/pdf");
    assert_eq!(kept[0].pixels, None);
    put((10 << 20) + 1)
        .await
        .is_refused(413, "E001", "BODY_TOO_LARGE");
    let sent = send(&house, &token, "m-1", &[&id.to_string()]).await;
    sent.is_refused(400, "E001", "INVALID_VALUE");
    sent.names("attachments[0].fileId");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_an_upload_is_told_by_name() {
    let house = House::new().await;
    let token = house.token(&house.partner("shop").await);
    let long = format!("purpose=MMS&name={}", "a".repeat(86));
    for (query, media_type, status, reason, field) in [
        ("", "image/jpeg", 400, "MISSING_FIELD", "purpose"),
        ("purpose=FAX", "image/jpeg", 400, "INVALID_VALUE", "purpose"),
        ("purpose=MMS&to=x", "image/jpeg", 400, "UNKNOWN_FIELD", "to"),
        (long.as_str(), "image/jpeg", 400, "INVALID_VALUE", "name"),
        (
            "purpose=MMS&name=a%2Fb",
            "image/jpeg",
            400,
            "INVALID_VALUE",
            "name",
        ),
        (
            "purpose=MMS",
            "image/png",
            415,
            "UNSUPPORTED_MEDIA_TYPE",
            "Content-Type",
        ),
        (
            "purpose=MAIL",
            "pdf",
            415,
            "UNSUPPORTED_MEDIA_TYPE",
            "Content-Type",
        ),
    ] {
        let answer = house
            .upload(query, &token, media_type, picture(1, 1, 0))
            .await;
        answer.is_refused(status, "E001", reason);
        answer.names(field);
    }
    let nobody = house
        .upload("purpose=MMS", "x", "image/jpeg", Vec::new())
        .await;
    nobody.is_refused(401, "E002", "TOKEN_INVALID");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_its_partners_own() {
    let house = House::new().await;
    let one = house.token(&house.partner("one").await);
    let two = house.token(&house.partner("two").await);
    let file = upload(&house, &one, picture(10, 10, 0)).await;
    assert_eq!(send(&house, &one, "m-1", &[&file]).await.status, 202);
    let answer = send(&house, &two, "m-1", &[&file]).await;
    answer.is_refused(400, "E001", "FILE_NOT_FOUND");
    answer.names("attachments[0].fileId");
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_batch_each_message_is_judged_by_its_own_files() {
    let house = House::new().await;
    let token = house.token(&house.partner("shop").await);
    let file = upload(&house, &token, picture(10, 10, 0)).await;
    let mms = |client: &str, file: &str| {
        let mut request = sms(client);
        request["type"] = json!("MMS");
        request["attachments"] = json!([{"fileId": file}]);
        request
    };
    let unknown = FileId::from_number(1).to_string();
    let batch = json!({"messages": [mms("m-1", &file), mms("m-2", &unknown), mms("m-3", &file)]});
    let answer = house.post("/v1/messages/batch", &token, &batch).await;
    let codes: Vec<&Value> = (0..3).map(|n| &answer.body["results"][n]["code"]).collect();
    assert_eq!(codes, ["0000", "E001", "0000"], "{answer:?}");
    let refused = &answer.body["results"][1];
    assert_eq!(
        refused["details"][0]["field"],
        "messages[1].attachments[0].fileId"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_can_be_attached_until_it_expires_and_is_kept_as_long_as_a_message_needs_it() {
    let house = House::new().await;
    let token = house.token(&house.partner("shop").await);
    let used = upload(&house, &token, picture(10, 10, 0)).await;
    let unused = upload(&house, &token, picture(10, 10, 1)).await;
    house.clock.advance(DAY * 6);
    let token = house.token(&house.partner("other").await);
    let other = upload(&house, &token, picture(10, 10, 2)).await;
    assert_eq!(send(&house, &token, "m-0", &[&other]).await.status, 202);

    let shop = house.node.ledger.partner(&"shop".parse().unwrap()).await;
    let token = house.token(&shop.unwrap().unwrap());
    assert_eq!(send(&house, &token, "m-1", &[&used]).await.status, 202);
    let expiry = |id: &str| {
        let id: FileId = id.parse().unwrap();
        let ledger = house.node.ledger.clone();
        async move { ledger.files(&[id]).await.unwrap()[0].expires_at }
    };
    // A day of validity and 80 hours for the carriers from now on, and a day so that the next message
    // need not ask again.
    let held = house
        .clock
        .now()
        .plus(DAY * 2 + Duration::from_secs(80 * 3600));
    assert_eq!(expiry(&used).await, held);
    assert_eq!(expiry(&unused).await, START.plus(DAY * 7));
    assert_eq!(expiry(&other).await, START.plus(DAY * 13));
    assert_eq!(send(&house, &token, "m-2", &[&used]).await.status, 202);
    assert_eq!(expiry(&used).await, held);

    house.clock.advance(DAY);
    let token = house.token(
        &house
            .node
            .ledger
            .partner(&"shop".parse().unwrap())
            .await
            .unwrap()
            .unwrap(),
    );
    let answer = send(&house, &token, "m-3", &[&unused]).await;
    answer.is_refused(400, "E001", "FILE_NOT_FOUND");
    assert_eq!(send(&house, &token, "m-4", &[&used]).await.status, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_files_are_removed_with_their_bytes_and_the_others_stay() {
    let house = House::new().await;
    let token = house.token(&house.partner("shop").await);
    let bytes = picture(10, 10, 0);
    let old: FileId = upload(&house, &token, bytes.clone()).await.parse().unwrap();
    house.clock.advance(DAY * 5);
    let token = house.token(&house.partner("late").await);
    let young: FileId = upload(&house, &token, bytes.clone()).await.parse().unwrap();
    house.clock.advance(DAY * 2 + Duration::from_secs(3601));
    let shutdown = tokio_util::sync::CancellationToken::new();
    let (receiver, stop) = (house.receiver.clone(), shutdown.clone());
    let running = tokio::spawn(async move { receiver.run(stop).await });
    let ledger = &house.node.ledger;
    crate::house::eventually(async || ledger.files(&[old]).await.unwrap().is_empty()).await;
    shutdown.cancel();
    running.await.unwrap();
    let digest = FileDigest::of(&bytes);
    assert!(
        !house
            .node
            .files
            .get(old, digest)
            .await
            .unwrap_err()
            .may_pass()
    );
    assert!(house.node.files.get(young, digest).await.is_ok());
    assert_eq!(ledger.files(&[young]).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partner_has_so_much_space_and_no_more() {
    let house = House::with(|config| config.file_space = 1500).await;
    let (one, two) = (house.partner("one").await, house.partner("two").await);
    let (one, two) = (house.token(&one), house.token(&two));
    upload(&house, &one, picture(10, 10, 1000)).await;
    let answer = house
        .upload("purpose=MMS", &one, "image/jpeg", picture(10, 10, 501))
        .await;
    answer.is_refused(429, "E003", "FILE_SPACE_FULL");
    assert!(answer.retry_after().is_some());
    let detail = &answer.body["details"][0];
    assert_eq!(
        (&detail["limit"], &detail["actual"]),
        (&json!(1500), &json!(1501))
    );
    upload(&house, &one, picture(10, 10, 500)).await;
    upload(&house, &two, picture(10, 10, 1500)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_counts_as_one_request_and_waits_for_its_rate() {
    let house = House::new().await;
    let token = house.token(&house.partner("shop").await);
    upload(&house, &token, picture(10, 10, 0)).await;
    assert_eq!(house.quota.taken(), [(Meter::Messages, 1)]);
    house.quota.say(Room::Wait(Duration::from_secs(3)));
    let answer = house
        .upload("purpose=MMS", &token, "image/jpeg", picture(10, 10, 0))
        .await;
    answer.is_refused(429, "E003", "RATE_LIMITED");
    assert_eq!(answer.retry_after(), Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_there_is_no_store_no_file_is_taken() {
    let house = House::storing(|_| FileStore::none(), |_| {}).await;
    let token = house.token(&house.partner("shop").await);
    let answer = house
        .upload("purpose=MMS", &token, "image/jpeg", picture(10, 10, 0))
        .await;
    answer.is_refused(501, "E100", "FILES_NOT_OFFERED");
}
