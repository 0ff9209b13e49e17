//! Partners, their sender numbers and their refresh tokens.

use std::time::Duration;

use pabal_common::domain::text::Unencodable;
use pabal_common::ledger::{
    NewPartner, Partner, PartnerStatus, RefreshOutcome, RefreshToken, WebhookSettings,
};

use crate::stack::{Fixture, each, name, partner, seconds};

const GRACE: Duration = seconds(30);

async fn login(it: &Fixture, hash: u8, family: u8, owner: &str) {
    let token = RefreshToken {
        hash: [hash; 32],
        family: [family; 16],
        partner: name(owner),
        expires_at: it.now().plus(seconds(1000)),
    };
    it.ledger.keep_refresh(&token, it.now()).await.unwrap();
}

async fn rotate(it: &Fixture, presented: u8, next: u8) -> RefreshOutcome {
    let expires = it.now().plus(seconds(1000));
    let outcome = it
        .ledger
        .rotate_refresh(&[presented; 32], &[next; 32], expires, GRACE, it.now())
        .await;
    outcome.unwrap()
}

fn rotated() -> RefreshOutcome {
    RefreshOutcome::Rotated(name("shop"))
}

#[tokio::test]
async fn a_refresh_token_is_good_until_it_ends_and_gives_way_to_its_successor() {
    each(|it| async move {
        login(&it, 1, 1, "shop").await;
        assert_eq!(rotate(&it, 9, 2).await, RefreshOutcome::Invalid);
        it.clock.advance(seconds(999));
        assert_eq!(rotate(&it, 1, 2).await, rotated());
        it.clock.advance(seconds(999));
        assert_eq!(rotate(&it, 2, 3).await, rotated());
        it.clock.advance(seconds(1000));
        assert_eq!(rotate(&it, 3, 4).await, RefreshOutcome::Invalid);
    })
    .await;
}

#[tokio::test]
async fn a_used_token_is_good_again_within_the_grace_of_its_first_use() {
    each(|it| async move {
        login(&it, 1, 1, "shop").await;
        assert_eq!(rotate(&it, 1, 2).await, rotated());
        it.clock.advance(seconds(20));
        assert_eq!(rotate(&it, 1, 3).await, rotated());
        it.clock.advance(seconds(11));
        // 31 s after its first use, 11 s after its second.
        let reused = RefreshOutcome::Reused(name("shop"));
        assert_eq!(rotate(&it, 1, 4).await, reused);
    })
    .await;
}

#[tokio::test]
async fn a_token_used_again_after_the_grace_revokes_its_whole_family_and_no_other() {
    each(|it| async move {
        login(&it, 1, 1, "shop").await;
        login(&it, 11, 2, "shop").await;
        rotate(&it, 1, 2).await;
        rotate(&it, 2, 3).await;
        it.clock.advance(seconds(31));
        assert_eq!(
            rotate(&it, 1, 4).await,
            RefreshOutcome::Reused(name("shop"))
        );
        assert_eq!(rotate(&it, 3, 4).await, RefreshOutcome::Invalid);
        assert_eq!(rotate(&it, 1, 4).await, RefreshOutcome::Invalid);
        assert_eq!(rotate(&it, 11, 12).await, rotated());
    })
    .await;
}

#[tokio::test]
async fn revoking_a_token_revokes_its_family_and_revoking_a_partner_all_of_them() {
    each(|it| async move {
        it.add_partner(partner("mall")).await;
        for (hash, family, owner) in [(1, 1, "shop"), (2, 2, "shop"), (3, 3, "mall")] {
            login(&it, hash, family, owner).await;
        }
        rotate(&it, 1, 4).await;
        it.ledger.revoke_refresh(&[1; 32]).await.unwrap();
        it.ledger.revoke_refresh(&[99; 32]).await.unwrap();
        assert_eq!(rotate(&it, 4, 5).await, RefreshOutcome::Invalid);
        assert_eq!(rotate(&it, 2, 5).await, rotated());
        it.ledger.revoke_refresh_of(&name("shop")).await.unwrap();
        assert_eq!(rotate(&it, 5, 6).await, RefreshOutcome::Invalid);
        assert_eq!(
            rotate(&it, 3, 6).await,
            RefreshOutcome::Rotated(name("mall"))
        );
    })
    .await;
}

#[tokio::test]
async fn a_partner_reads_back_as_it_was_added_and_as_it_was_changed() {
    each(|it| async move {
        let shop = partner("shop");
        assert_eq!(
            it.ledger.partner(&shop.id).await.unwrap().as_ref(),
            Some(&shop)
        );
        assert_eq!(it.ledger.partner(&name("nobody")).await.unwrap(), None);
        let again = NewPartner {
            partner: shop.clone(),
            senders: vec!["15771234".into()],
        };
        assert!(!it.ledger.add_partner(&again).await.unwrap());
        assert_eq!(it.ledger.senders(&shop.id).await.unwrap(), ["0212345678"]);

        let changed = Partner {
            name: "Other".into(),
            status: PartnerStatus::Disabled,
            secret_hash: "$argon2id$2".into(),
            credential_version: 2,
            per_second: 5,
            express_per_second: 1,
            unencodable: Unencodable::Reject,
            webhook: WebhookSettings {
                url: None,
                secret: vec![2],
                other_secret: Some(vec![3]),
                other_until: Some(it.now()),
                batch: 100,
                sent: true,
                disabled: Some("410".into()),
            },
            ..shop.clone()
        };
        assert!(it.ledger.update_partner(&shop, &changed).await.unwrap());
        assert_eq!(
            it.ledger.partner(&shop.id).await.unwrap(),
            Some(changed.clone())
        );
        let nobody = partner("nobody");
        assert!(!it.ledger.update_partner(&nobody, &nobody).await.unwrap());
        it.add_partner(partner("mall")).await;
        assert_eq!(
            it.ledger.partners().await.unwrap(),
            [partner("mall"), changed]
        );
    })
    .await;
}

#[tokio::test]
async fn a_change_of_a_partner_does_not_undo_one_that_came_between() {
    each(|it| async move {
        let read = it.ledger.partner(&name("shop")).await.unwrap().unwrap();
        it.webhook("shop", |webhook| webhook.disabled = Some("410".into()))
            .await;
        let late = Partner {
            status: PartnerStatus::Disabled,
            ..read.clone()
        };
        assert!(!it.ledger.update_partner(&read, &late).await.unwrap());
        let found = it.ledger.partner(&name("shop")).await.unwrap().unwrap();
        assert_eq!(found.status, PartnerStatus::Active);
        assert_eq!(found.webhook.disabled.as_deref(), Some("410"));
    })
    .await;
}

#[tokio::test]
async fn a_sender_number_is_allowed_for_one_partner_however_often() {
    each(|it| async move {
        it.add_partner(partner("mall")).await;
        for _ in 0..2 {
            it.ledger
                .allow_sender(&name("shop"), "15771234", it.now())
                .await
                .unwrap();
        }
        let mut senders = it.ledger.senders(&name("shop")).await.unwrap();
        senders.sort();
        assert_eq!(senders, ["0212345678", "15771234"]);
        assert_eq!(
            it.ledger.senders(&name("mall")).await.unwrap(),
            ["0212345678"]
        );
        let nobody = it
            .ledger
            .allow_sender(&name("nobody"), "15771234", it.now())
            .await;
        assert!(nobody.is_err());
    })
    .await;
}
