//! Values that a database server would cut off or take for others.

use pabal_common::domain::kind::MessageType;
use pabal_common::domain::phase::{Phase, Settled};
use pabal_common::domain::report::{Report, VendorAccount, VendorMessageId, Verdict};
use pabal_common::ledger::{Applied, Claim, LedgerError, Overdue, Settlement};

use crate::mysql;
use crate::stack::{YEAR, seconds};

#[tokio::test]
async fn vendor_ids_that_differ_in_a_space_or_in_case_are_different_ids() {
    let it = mysql::open().await;
    let plain = it.sent(MessageType::Sms, "v1").await;
    let spaced = it.sent(MessageType::Sms, "v1 ").await;
    assert_eq!(
        it.applied(it.report("v1  ", Verdict::Delivered)).await,
        Applied::Unmatched
    );
    assert_eq!(
        it.applied(it.report("V1", Verdict::Delivered)).await,
        Applied::Unmatched
    );
    assert_eq!(
        it.applied(it.report("v1", Verdict::Delivered)).await,
        Applied::Moved(plain)
    );
    assert_eq!(
        it.applied(it.report("v1 ", Verdict::Delivered)).await,
        Applied::Moved(spaced)
    );
}

#[tokio::test]
async fn a_parked_report_on_an_id_with_a_space_more_does_not_end_a_message() {
    let it = mysql::open().await;
    let id = it.sent(MessageType::Sms, "v1").await;
    let other = it.report("v1 ", Verdict::Delivered);
    let (now, until) = (it.now(), it.now().plus(YEAR));
    it.ledger.park(&[other], now, now).await.unwrap();
    let limits = Overdue {
        sms: seconds(1),
        others: seconds(1),
    };
    let (overdue, webhooks) = ([id], it.webhook_ids(1));
    let expired = it.ledger.expire(it.me, &overdue, &webhooks, until, limits);
    assert_eq!(expired.await.unwrap(), 1);
    let view = it.view(id).await;
    assert_eq!((view.phase, view.status.name()), (Phase::Done, "EXPIRED"));
    assert_eq!(it.ledger.parked_size().await.unwrap(), 1);
}

#[tokio::test]
async fn a_name_that_does_not_fit_is_refused_and_nothing_is_claimed() {
    let it = mysql::open().await;
    let id = it.one().await;
    let wish = it.wish(&[id]);
    let long = "r".repeat(65);
    let broken = [
        Claim {
            route: long.clone(),
            ..wish.clone()
        },
        Claim {
            account: VendorAccount::new("carrier", &long.repeat(2)),
            ..wish.clone()
        },
        Claim {
            account: VendorAccount::new("통신사", "main"),
            ..wish
        },
    ];
    for claim in broken {
        let refused = it.ledger.claim(it.me, &[claim], it.now()).await;
        assert!(
            matches!(refused, Err(LedgerError::Refused(_))),
            "{refused:?}"
        );
        assert_eq!(it.view(id).await.phase, Phase::Queued);
    }
}

#[tokio::test]
async fn a_report_on_an_account_whose_name_begins_like_another_finds_no_message_of_that() {
    let it = mysql::open().await;
    let name = "a".repeat(128 - "carrier/".len());
    let account = VendorAccount::new("carrier", &name);
    assert_eq!(account.as_str().len(), 128);
    let id = it.one().await;
    let wish = Claim {
        account: account.clone(),
        ..it.wish(&[id])
    };
    it.claim(&wish).await;
    let taken = Settled::Taken(VendorMessageId::new("v1"));
    it.settle(&[Settlement {
        account: account.clone(),
        ..it.settlement(id, wish.submission, taken)
    }])
    .await;
    let report = |account| Report {
        account,
        ..it.report("v1", Verdict::Delivered)
    };
    let longer = VendorAccount::new("carrier", &format!("{name}b"));
    assert_eq!(it.applied(report(longer)).await, Applied::Unmatched);
    assert_eq!(it.applied(report(account)).await, Applied::Moved(id));
}
