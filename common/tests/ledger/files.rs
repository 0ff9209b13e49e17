//! Files and templates.

use pabal_common::clock::Timestamp;
use pabal_common::domain::file::{FileDigest, FilePurpose};
use pabal_common::domain::id::FileId;
use pabal_common::domain::message::Button;
use pabal_common::domain::template::{
    RegisteredTemplate, TemplateForm, TemplateKey, TemplateState,
};
use pabal_common::ledger::StoredFile;

use crate::stack::{Fixture, each, name, partner, seconds};

fn file(it: &Fixture, owner: &str, bytes: u64, expires_at: Timestamp) -> StoredFile {
    let id = it.ids.file();
    StoredFile {
        id,
        partner: name(owner),
        sha256: FileDigest::of(&id.number().to_be_bytes()),
        bytes,
        media_type: "image/jpeg".to_owned(),
        pixels: Some((640, 480)),
        purpose: FilePurpose::Mms,
        sealed_name: Some(vec![0, 255, 1]),
        created_at: it.now(),
        expires_at,
    }
}

async fn keep(it: &Fixture, owner: &str, bytes: u64, expires_at: Timestamp) -> FileId {
    let file = file(it, owner, bytes, expires_at);
    it.ledger.keep_file(&file).await.unwrap();
    file.id
}

async fn expiry(it: &Fixture, id: FileId) -> Option<Timestamp> {
    let found = it.ledger.files(&[id]).await.unwrap();
    found.first().map(|file| file.expires_at)
}

#[tokio::test]
async fn a_file_is_found_as_it_was_kept_and_one_that_is_not_there_is_none() {
    each(|it| async move {
        let until = it.now().plus(seconds(100));
        let picture = file(&it, "shop", 300_000, until);
        let attachment = StoredFile {
            pixels: None,
            purpose: FilePurpose::Mail,
            sealed_name: None,
            media_type: "application/pdf".to_owned(),
            ..file(&it, "shop", 10 << 20, until)
        };
        for file in [&picture, &attachment] {
            it.ledger.keep_file(file).await.unwrap();
        }
        let ids = [attachment.id, FileId::from_number(1), picture.id];
        let mut found = it.ledger.files(&ids).await.unwrap();
        found.sort_by_key(|file| file.id);
        assert_eq!(found, [picture, attachment]);
        assert!(it.ledger.files(&[]).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_file_that_is_held_is_kept_longer_and_never_shorter() {
    each(|it| async move {
        let (soon, late) = (it.now().plus(seconds(100)), it.now().plus(seconds(500)));
        let between = it.now().plus(seconds(300));
        let (one, two) = (
            keep(&it, "shop", 1, soon).await,
            keep(&it, "shop", 1, late).await,
        );
        let other = keep(&it, "shop", 1, soon).await;
        it.ledger
            .hold_files(&[two, one, one], between)
            .await
            .unwrap();
        assert_eq!(expiry(&it, one).await, Some(between));
        assert_eq!(expiry(&it, two).await, Some(late));
        assert_eq!(expiry(&it, other).await, Some(soon));
    })
    .await;
}

#[tokio::test]
async fn the_bytes_of_a_partners_files_are_counted_for_it_alone() {
    each(|it| async move {
        it.add_partner(partner("mall")).await;
        let until = it.now().plus(seconds(100));
        for (owner, bytes) in [("shop", 10), ("shop", 5_000_000_000), ("mall", 7)] {
            keep(&it, owner, bytes, until).await;
        }
        for (owner, bytes) in [("shop", 5_000_000_010), ("mall", 7), ("nobody", 0)] {
            assert_eq!(it.ledger.file_bytes(&name(owner)).await.unwrap(), bytes);
        }
    })
    .await;
}

#[tokio::test]
async fn only_files_that_are_expired_are_found_as_such_and_forgotten() {
    each(|it| async move {
        let at = |offset| it.now().plus(seconds(offset));
        let third = keep(&it, "shop", 1, at(30)).await;
        let first = keep(&it, "shop", 1, at(10)).await;
        let second = keep(&it, "shop", 1, at(20)).await;
        let expired = |limit| it.ledger.expired_files(at(30), limit);
        assert_eq!(expired(10).await.unwrap(), [first, second]);
        assert_eq!(expired(1).await.unwrap(), [first]);
        // One is held after it was found.
        it.ledger.hold_files(&[second], at(60)).await.unwrap();
        let forgotten = it
            .ledger
            .forget_files(&[first, second, third], at(30))
            .await;
        assert_eq!(forgotten.unwrap(), 1);
        assert_eq!(expiry(&it, first).await, None);
        assert_eq!(expiry(&it, second).await, Some(at(60)));
        assert_eq!(expiry(&it, third).await, Some(at(30)));
    })
    .await;
}

fn key(sender_key: &str, code: &str) -> TemplateKey {
    TemplateKey {
        sender_key: sender_key.to_owned(),
        code: code.to_owned(),
    }
}

fn template(owner: &str, key: TemplateKey, text: &str) -> RegisteredTemplate {
    let button = Button {
        kind: "WL".to_owned(),
        name: "배송 조회".to_owned(),
        url: Some("https://shop.example/#{no}".to_owned()),
    };
    RegisteredTemplate {
        partner: name(owner),
        key,
        form: TemplateForm {
            text: text.to_owned(),
            buttons: vec![button],
        },
        state: TemplateState::Approved,
    }
}

async fn found(it: &Fixture, owner: &str, keys: &[TemplateKey]) -> Vec<(String, TemplateState)> {
    let kept = it.ledger.templates(&name(owner), keys).await.unwrap();
    let mut found: Vec<_> = kept
        .into_iter()
        .map(|kept| (kept.template.form.text, kept.template.state))
        .collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

#[tokio::test]
async fn a_template_is_found_under_its_partner_sender_and_code_to_the_letter_alone() {
    each(|it| async move {
        it.add_partner(partner("mall")).await;
        let text = "#{이름}님 🎁\n\"안녕\"하세요";
        let registered = template("shop", key("k1", "A"), text);
        let now = it.now();
        it.ledger
            .put_templates(std::slice::from_ref(&registered), now)
            .await
            .unwrap();
        let others = [
            key("k1", "a"),
            key("K1", "A"),
            key("k2", "A"),
            key("k1", "A"),
        ];
        let kept = it.ledger.templates(&name("shop"), &others).await.unwrap();
        assert_eq!(kept.len(), 1);
        assert!(kept[0].template == registered);
        assert_eq!(kept[0].updated_at, now);
        assert!(found(&it, "mall", &others).await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_template_put_again_replaces_the_one_that_was_there() {
    each(|it| async move {
        let (one, two) = (key("k", "A"), key("k", "B"));
        let both = [
            template("shop", two.clone(), "two"),
            template("shop", one.clone(), "one"),
        ];
        it.ledger.put_templates(&both, it.now()).await.unwrap();
        it.clock.advance(seconds(5));
        let newer = [template("shop", one.clone(), "newer")];
        it.ledger.put_templates(&newer, it.now()).await.unwrap();
        let kept = it
            .ledger
            .templates(&name("shop"), std::slice::from_ref(&one))
            .await
            .unwrap();
        assert_eq!(kept[0].updated_at, it.now());
        let approved = TemplateState::Approved;
        let texts = [("newer".to_owned(), approved), ("two".to_owned(), approved)];
        assert_eq!(found(&it, "shop", &[one, two]).await, texts);
    })
    .await;
}

#[tokio::test]
async fn a_template_is_suspended_resumed_and_removed_and_one_that_is_not_there_is_told() {
    each(|it| async move {
        let (one, none) = (key("k", "A"), key("k", "B"));
        let registered = [template("shop", one.clone(), "one")];
        it.ledger
            .put_templates(&registered, it.now())
            .await
            .unwrap();
        let shop = name("shop");
        let turn = |key: TemplateKey, state| {
            let (ledger, shop, now) = (it.ledger.clone(), shop.clone(), it.now());
            async move {
                ledger
                    .set_template_state(&shop, &key, state, now)
                    .await
                    .unwrap()
            }
        };
        let suspended = TemplateState::Suspended;
        assert!(turn(one.clone(), suspended).await);
        // Suspending what is suspended is no error.
        assert!(turn(one.clone(), suspended).await);
        assert!(!turn(none.clone(), suspended).await);
        assert_eq!(
            found(&it, "shop", std::slice::from_ref(&one)).await,
            [("one".to_owned(), suspended)]
        );
        assert!(it.ledger.remove_template(&shop, &one).await.unwrap());
        assert!(!it.ledger.remove_template(&shop, &one).await.unwrap());
        assert!(found(&it, "shop", &[one]).await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn templates_are_listed_in_the_order_of_their_keys_page_by_page() {
    each(|it| async move {
        it.add_partner(partner("mall")).await;
        let keys = [
            key("k2", "A"),
            key("k1", "B"),
            key("k1", "A"),
            key("k10", "Z"),
        ];
        let all: Vec<_> = keys
            .iter()
            .map(|key| template("shop", key.clone(), ""))
            .collect();
        it.ledger.put_templates(&all, it.now()).await.unwrap();
        let others = [template("mall", key("k1", "C"), "")];
        it.ledger.put_templates(&others, it.now()).await.unwrap();
        let shop = name("shop");
        let mut listed: Vec<TemplateKey> = Vec::new();
        loop {
            let page = it
                .ledger
                .list_templates(&shop, listed.last(), 3)
                .await
                .unwrap();
            listed.extend(page.iter().map(|kept| kept.template.key.clone()));
            if page.len() < 3 {
                break;
            }
        }
        let wanted = [
            key("k1", "A"),
            key("k1", "B"),
            key("k10", "Z"),
            key("k2", "A"),
        ];
        assert_eq!(listed, wanted);
    })
    .await;
}
