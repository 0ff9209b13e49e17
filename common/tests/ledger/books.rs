//! The daily numbers and the comparison of the books.

use pabal_common::clock::{Day, Timestamp};
use pabal_common::domain::id::MessageId;
use pabal_common::domain::kind::MessageType;
use pabal_common::domain::message::NewMessage;
use pabal_common::domain::phase::Settled;
use pabal_common::domain::reason::Reason;
use pabal_common::domain::report::Verdict;
use pabal_common::ledger::{BookDifference, DailyRow, Overdue, StatsQuery, StatsRow, Totals};

use crate::stack::{Fixture, YEAR, each, name, partner};

const SPAM: Verdict = Verdict::Failed(Reason::Spam);

async fn accept(it: &Fixture, owner: &str, kind: MessageType, at: &str) -> MessageId {
    let message = NewMessage {
        partner: name(owner),
        accepted_at: Timestamp::parse_rfc3339(at).unwrap(),
        ..it.new_message(kind)
    };
    it.accept(std::slice::from_ref(&message)).await;
    message.id
}

/// Two days with every kind of end, across the border of the day in Korea (15:00 UTC).
async fn two_days(it: &Fixture) -> Vec<MessageId> {
    it.add_partner(partner("mall")).await;
    let sms = MessageType::Sms;
    let ids = vec![
        accept(it, "shop", sms, "2026-11-20T14:59:59.999Z").await,
        accept(it, "shop", sms, "2026-11-20T15:00:00.000Z").await,
        accept(it, "shop", sms, "2026-11-21T02:00:00.000Z").await,
        accept(it, "shop", sms, "2026-11-21T02:00:00.000Z").await,
        accept(it, "shop", MessageType::Rcs, "2026-11-21T14:59:59.999Z").await,
        accept(it, "mall", sms, "2026-11-21T02:00:00.000Z").await,
        accept(it, "shop", sms, "2026-11-21T02:00:00.000Z").await,
    ];
    it.apply(&[
        it.report_on(ids[0], Verdict::Delivered),
        it.report_on(ids[1], Verdict::Delivered),
        it.report_on(ids[5], Verdict::Delivered),
    ])
    .await;
    let call = it.claimed(&ids[2..3]).await;
    it.settle(&[it.settlement(ids[2], call, Settled::Taken(None))])
        .await;
    it.applied(it.report_on(ids[2], SPAM)).await;
    let (webhooks, later) = (it.webhook_ids(1), it.now().plus(YEAR));
    it.ledger
        .expire(it.me, &ids[3..4], &webhooks, later, Overdue::default())
        .await
        .unwrap();
    ids
}

fn day(number: i32) -> Day {
    Day::from_number(number)
}

fn row(number: i32, kind: MessageType, counts: [u64; 4], in_flight: u64) -> DailyRow {
    let [total, success, failed, expired] = counts;
    let (partner, day) = (name("shop"), day(number));
    let stats = StatsRow {
        partner,
        day,
        kind,
        total,
        success,
        failed,
        expired,
    };
    DailyRow { stats, in_flight }
}

#[tokio::test]
async fn the_numbers_of_a_day_are_those_accepted_on_it_in_korea() {
    each(|it| async move {
        two_days(&it).await;
        let daily = async |from, to, kind| {
            let (from, to) = (day(from), day(to));
            let query = StatsQuery {
                partner: name("shop"),
                from,
                to,
                kind,
            };
            it.ledger.daily(&query).await.unwrap()
        };
        let first = row(20_261_120, MessageType::Sms, [1, 1, 0, 0], 0);
        let second = row(20_261_121, MessageType::Sms, [3, 1, 2, 1], 1);
        let open = row(20_261_121, MessageType::Rcs, [0, 0, 0, 0], 1);
        assert_eq!(
            daily(20_261_101, 20_261_130, None).await,
            [first.clone(), second.clone(), open.clone()]
        );
        assert_eq!(daily(20_261_120, 20_261_120, None).await, [first]);
        assert_eq!(
            daily(20_261_121, 20_261_122, None).await,
            [second.clone(), open.clone()]
        );
        assert_eq!(
            daily(20_261_121, 20_261_121, Some(MessageType::Rcs)).await,
            [open]
        );
        assert_eq!(
            daily(20_261_121, 20_261_121, Some(MessageType::Sms)).await,
            [second]
        );
        assert_eq!(daily(20_261_122, 20_261_130, None).await, []);
    })
    .await;
}

#[tokio::test]
async fn a_taken_message_is_still_in_flight() {
    each(|it| async move {
        it.sent(MessageType::Sms, "V-1").await;
        let today = it.now().kst_day();
        let query = StatsQuery {
            partner: name("shop"),
            from: today,
            to: today,
            kind: None,
        };
        assert_eq!(it.ledger.daily(&query).await.unwrap()[0].in_flight, 1);
    })
    .await;
}

#[tokio::test]
async fn totals_are_counted_from_the_messages() {
    each(|it| async move {
        two_days(&it).await;
        let total = |owner, number, kind, counts: [u64; 4]| Totals {
            partner: name(owner),
            day: day(number),
            kind,
            accepted: counts[0],
            delivered: counts[1],
            failed: counts[2],
            expired: counts[3],
        };
        let expected = [
            total("mall", 20_261_121, MessageType::Sms, [1, 1, 0, 0]),
            total("shop", 20_261_120, MessageType::Sms, [1, 1, 0, 0]),
            total("shop", 20_261_121, MessageType::Sms, [4, 1, 1, 1]),
            total("shop", 20_261_121, MessageType::Rcs, [1, 0, 0, 0]),
        ];
        assert_eq!(it.ledger.totals().await.unwrap(), expected);
    })
    .await;
}

async fn differences(it: &Fixture) -> Vec<BookDifference> {
    it.ledger.reconcile().await.unwrap()
}

fn difference(what: &str, messages: u64, book: u64) -> BookDifference {
    BookDifference {
        what: what.into(),
        messages,
        book,
    }
}

#[tokio::test]
async fn books_that_agree_show_no_difference_and_a_wrong_number_shows_one() {
    each(|it| async move {
        two_days(&it).await;
        assert_eq!(differences(&it).await, []);
        it.back
            .run(
                "UPDATE partner_daily_stats SET success = success + 1 \
                 WHERE partner_id = 'shop' AND stat_date = 20261121",
            )
            .await;
        assert_eq!(
            differences(&it).await,
            [difference("shop 2026-11-21 SMS: success", 1, 2)]
        );
        it.back
            .run(
                "UPDATE partner_daily_stats SET success = success - 1 \
                 WHERE partner_id = 'shop' AND stat_date = 20261121",
            )
            .await;
        it.back
            .run("DELETE FROM partner_daily_stats WHERE partner_id = 'mall'")
            .await;
        let missing = [
            difference("mall 2026-11-21 SMS: total", 1, 0),
            difference("mall 2026-11-21 SMS: success", 1, 0),
        ];
        assert_eq!(differences(&it).await, missing);
    })
    .await;
}

#[tokio::test]
async fn numbers_of_messages_that_do_not_exist_are_a_difference() {
    each(|it| async move {
        it.back
            .run(
                "INSERT INTO partner_daily_stats (partner_id, stat_date, message_type, total, \
                 success, failed, expired) VALUES ('shop', 20261119, 2, 3, 2, 1, 0)",
            )
            .await;
        assert_eq!(
            differences(&it).await,
            [difference("shop 2026-11-19 LMS: total", 0, 3)]
        );
        it.back
            .run("UPDATE partner_daily_stats SET frozen = 1")
            .await;
        assert_eq!(differences(&it).await, []);
    })
    .await;
}

#[tokio::test]
async fn rows_that_contradict_themselves_are_differences() {
    each(|it| async move {
        let ids = two_days(&it).await;
        let open = it.back.id(ids[6]);
        let damage = [
            (
                format!("UPDATE messages SET phase = 6 WHERE message_id = {open}"),
                1,
            ),
            (
                format!("UPDATE messages SET final_at = 5 WHERE message_id = {open}"),
                1,
            ),
            (
                format!("UPDATE messages SET phase = 2 WHERE message_id = {open}"),
                2,
            ),
        ];
        for (sql, which) in damage {
            it.back.run(&sql).await;
            let what = match which {
                1 => "messages whose status, phase and end time disagree",
                _ => "waiting messages without a delay",
            };
            assert_eq!(differences(&it).await, [difference(what, 1, 0)], "{sql}");
            it.back
                .run(&format!(
                    "UPDATE messages SET phase = 1, final_at = NULL WHERE message_id = {open}"
                ))
                .await;
            assert_eq!(differences(&it).await, []);
        }
        // The delay of an ask does not let a message go on.
        it.back
            .run(&format!(
                "UPDATE messages SET phase = 2 WHERE message_id = {open}"
            ))
            .await;
        it.back
            .run(&format!("INSERT INTO delays VALUES ({open}, 2, 0, 1, 5)"))
            .await;
        assert_eq!(differences(&it).await.len(), 1);
        it.back
            .run(&format!("INSERT INTO delays VALUES ({open}, 1, 0, 1, 5)"))
            .await;
        assert_eq!(differences(&it).await, []);
        it.back
            .run(
                "INSERT INTO webhooks (webhook_id, partner_id, owner, attempt, next_attempt_at, \
                 results, body, created_at) VALUES (1, 'gone', 1, 0, 0, 1, '{}', 0)",
            )
            .await;
        assert_eq!(
            differences(&it).await,
            [difference("webhooks of no partner", 1, 0)]
        );
    })
    .await;
}
