//! Dead letters: found by filter, sent again by kind.

use pabal_common::broker::{FrameVersion, Publication, QueueName, ReportFrame};
use pabal_common::domain::id::DeadLetterId;
use pabal_common::domain::kind::{Lane, MessageType};
use pabal_common::domain::report::Verdict;
use pabal_common::ledger::{DeadLetterFilter, DeadLetterKind, NewDeadLetter};

use crate::stack::{Fixture, each, name, seconds};

fn letter(it: &Fixture, kind: DeadLetterKind, partner: Option<&str>) -> NewDeadLetter {
    NewDeadLetter {
        id: it.ids.dead_letter(),
        kind,
        partner: partner.map(name),
        subject: "subject".into(),
        reason: "gave up".into(),
        attempts: 3,
        payload: vec![1, 2],
    }
}

async fn find(it: &Fixture, filter: DeadLetterFilter) -> Vec<DeadLetterId> {
    let limit = if filter.limit == 0 { 10 } else { filter.limit };
    let filter = DeadLetterFilter { limit, ..filter };
    let found = it.ledger.dead_letters(&filter).await.unwrap();
    found.into_iter().map(|one| one.letter.id).collect()
}

#[tokio::test]
async fn dead_letters_are_found_by_partner_kind_time_and_id() {
    each(|it| async move {
        let start = it.now();
        let letters = [
            letter(&it, DeadLetterKind::Webhook, Some("shop")),
            letter(&it, DeadLetterKind::Webhook, Some("mall")),
            letter(&it, DeadLetterKind::Report, None),
        ];
        let ids = letters.each_ref().map(|one| one.id);
        for one in &letters {
            it.ledger
                .bury(std::slice::from_ref(one), it.now())
                .await
                .unwrap();
            it.clock.advance(seconds(1));
        }
        // Burying again after a lost commit buries nothing twice.
        it.ledger.bury(&letters, it.now()).await.unwrap();

        let any = DeadLetterFilter::default;
        assert_eq!(find(&it, any()).await, ids);
        assert_eq!(
            find(&it, DeadLetterFilter { limit: 2, ..any() }).await,
            ids[..2]
        );
        assert_eq!(
            find(
                &it,
                DeadLetterFilter {
                    after: Some(ids[0]),
                    ..any()
                }
            )
            .await,
            ids[1..]
        );
        let shop = Some(name("shop"));
        assert_eq!(
            find(
                &it,
                DeadLetterFilter {
                    partner: shop,
                    ..any()
                }
            )
            .await,
            ids[..1]
        );
        let report = Some(DeadLetterKind::Report);
        assert_eq!(
            find(
                &it,
                DeadLetterFilter {
                    kind: report,
                    ..any()
                }
            )
            .await,
            ids[2..]
        );
        let second = Some(start.plus(seconds(1)));
        assert_eq!(
            find(
                &it,
                DeadLetterFilter {
                    from: second,
                    ..any()
                }
            )
            .await,
            ids[1..]
        );
        assert_eq!(
            find(
                &it,
                DeadLetterFilter {
                    to: second,
                    ..any()
                }
            )
            .await,
            ids[..1]
        );
        let some = vec![ids[2], ids[0]];
        assert_eq!(
            find(&it, DeadLetterFilter { ids: some, ..any() }).await,
            [ids[0], ids[2]]
        );
        let read = it
            .ledger
            .dead_letters(&DeadLetterFilter { limit: 1, ..any() })
            .await
            .unwrap();
        assert_eq!((&read[0].letter, read[0].created_at), (&letters[0], start));
    })
    .await;
}

#[tokio::test]
async fn a_dead_report_or_frame_goes_again_through_the_outbox() {
    each(|it| async move {
        let reports = ReportFrame {
            reports: vec![it.report("V-1", Verdict::Delivered)],
        };
        let sms = QueueName::of(MessageType::Sms, Lane::Express);
        let letters = [
            NewDeadLetter {
                payload: reports.encode(FrameVersion::NEWEST).to_vec(),
                ..letter(&it, DeadLetterKind::Report, None)
            },
            NewDeadLetter {
                subject: sms.name().into(),
                ..letter(&it, DeadLetterKind::Frame, None)
            },
            letter(&it, DeadLetterKind::Frame, None),
        ];
        it.ledger.bury(&letters, it.now()).await.unwrap();
        let filter = DeadLetterFilter {
            ids: vec![letters[0].id, letters[1].id],
            limit: 10,
            ..DeadLetterFilter::default()
        };
        let outbox = it.ids.outbox();
        let (replayed, dispatch) = it
            .ledger
            .replay(it.me, outbox, &filter, it.now())
            .await
            .unwrap();
        let dispatch = dispatch.unwrap();
        assert_eq!((replayed, dispatch.outbox), (2, outbox));
        let frames = [
            Publication {
                queue: QueueName::Report,
                body: reports.encode(FrameVersion::NEWEST),
            },
            Publication {
                queue: sms,
                body: vec![1, 2].into(),
            },
        ];
        assert_eq!(dispatch.frames, frames);
        assert_eq!(it.outbox().await, [dispatch]);
    })
    .await;
}
