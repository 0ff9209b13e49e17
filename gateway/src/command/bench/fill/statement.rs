//! The statements that fill a ledger, for a server of the MySQL family and for SQLite.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use pabal_common::clock::Day;
use pabal_common::domain::id::MessageId;
use pabal_common::domain::kind::MessageType;

use super::{Filling, PARTNERS};

/// 2020-01-01T00:00:00Z, from which the time in an id counts, in Unix milliseconds.
const EPOCH: i64 = 1_577_836_800_000;
/// Where the time begins in an id.
const TIME: u32 = 22;
/// The digits of an id that is text, five bits each.
const DIGITS: &str = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const LENGTH: u32 = 13;

/// How many rows one statement with values has.
const VALUES: usize = 500;
/// How many numbers [`NUMBERS`] can make.
pub(super) const MOST_NUMBERS: u64 = 100_000;
/// The numbers from 0, in order: every five digits.
const NUMBERS: &str = "WITH d (d) AS (SELECT 0 UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 \
     UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 \
     UNION ALL SELECT 9), i (i) AS (SELECT a.d * 10000 + b.d * 1000 + c.d * 100 + e.d * 10 + f.d \
     FROM d a CROSS JOIN d b CROSS JOIN d c CROSS JOIN d e CROSS JOIN d f)";

/// Columns of a message that are those of its model.
const SAME: [&str; 17] = [
    "digest",
    "message_type",
    "purpose",
    "lane",
    "status",
    "phase",
    "attempt",
    "queue",
    "owner",
    "route",
    "provider_account",
    "verdict",
    "reason",
    "vendor_code",
    "recipient_hash",
    "detail",
    "sealed",
];
/// Moments of a message, as far from its acceptance as those of its model.
const MOMENTS: [&str; 7] = [
    "queued_at",
    "claimed_at",
    "answered_at",
    "created_at",
    "valid_until",
    "sent_at",
    "final_at",
];

/// Which SQL a ledger reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Ids are text.
    Mysql,
    /// Ids are numbers.
    Sqlite,
}

/// The id, as a number, of a message that was accepted then: nobody else makes ids of long ago.
pub(super) const fn id_at(millis: i64) -> i64 {
    (millis - EPOCH) << TIME
}

/// Who has the messages whose number leaves this remainder.
fn partner(measured: &str, remainder: u64) -> String {
    match remainder {
        0 => measured.to_owned(),
        other => format!("growth-{other}"),
    }
}

/// Some of the messages, in the order of their ids.
pub(super) fn messages(
    dialect: Dialect,
    filling: &Filling,
    model: MessageId,
    from: u64,
    count: u64,
) -> String {
    let Filling {
        partner,
        first,
        step,
        ..
    } = filling;
    let id = id(dialect);
    let model = match dialect {
        Dialect::Mysql => format!("'{model}'"),
        Dialect::Sqlite => model.to_column().to_string(),
    };
    let name = "concat('growth-', substr(concat('000000000000', n.number), -12))";
    let own = [
        ("message_id", id.clone()),
        (
            "partner_id",
            format!(
                "CASE WHEN n.number % {PARTNERS} = 0 THEN '{partner}' \
                 ELSE concat('growth-', n.number % {PARTNERS}) END"
            ),
        ),
        ("client_msg_id", name.to_owned()),
        ("submission_id", id),
        ("vendor_message_id", name.to_owned()),
    ];
    let same = SAME.map(|column| (column, format!("m.{column}")));
    let moments = MOMENTS.map(|column| (column, format!("n.at + m.{column} - m.created_at")));
    let (columns, values): (Vec<_>, Vec<_>) = own.into_iter().chain(same).chain(moments).unzip();
    let first = first.millis();
    format!(
        "INSERT INTO messages ({}) {NUMBERS}, n (number, at) AS (SELECT {from} + i, \
         {first} + ({from} + i) * {step} FROM i WHERE i < {count}) \
         SELECT {} FROM n CROSS JOIN messages m WHERE m.message_id = {model} ORDER BY n.number",
        columns.join(", "),
        values.join(", "),
    )
}

/// The id of the message that was accepted at `n.at`.
fn id(dialect: Dialect) -> String {
    let number = format!("((n.at - {EPOCH}) << {TIME})");
    match dialect {
        Dialect::Sqlite => number,
        Dialect::Mysql => {
            let digit = |place: u32| {
                let shift = 5 * (LENGTH - 1 - place);
                format!("substr('{DIGITS}', ({number} >> {shift} & 31) + 1, 1)")
            };
            let digits: Vec<_> = (0..LENGTH).map(digit).collect();
            format!("concat({})", digits.join(", "))
        }
    }
}

/// What the receivers and the reporters have written down of these days.
pub(super) fn books(
    dialect: Dialect,
    measured: &str,
    days: &BTreeMap<(u64, Day), u64>,
) -> Vec<String> {
    let kind = MessageType::Sms.number();
    let (slot, in_slot) = match dialect {
        Dialect::Mysql => (", slot", ", 0"),
        Dialect::Sqlite => ("", ""),
    };
    let accepted = format!(
        "INSERT INTO partner_daily_accepted (partner_id, stat_date, message_type{slot}, accepted)"
    );
    let ended = "INSERT INTO partner_daily_stats \
                 (partner_id, stat_date, message_type, total, success, failed, expired)";
    let days: Vec<_> = days.iter().collect();
    let mut statements = Vec::new();
    for some in days.chunks(VALUES) {
        let (mut of_accepted, mut of_ended) = (String::new(), String::new());
        for (number, ((remainder, day), count)) in some.iter().enumerate() {
            let partner = partner(measured, *remainder);
            let comma = if number > 0 { "," } else { " VALUES" };
            let key = format!("'{partner}', {}, {kind}", day.number());
            let _ = write!(of_accepted, "{comma} ({key}{in_slot}, {count})");
            let _ = write!(of_ended, "{comma} ({key}, {count}, {count}, 0, 0)");
        }
        statements.push(format!("{accepted}{of_accepted}"));
        statements.push(format!("{ended}{of_ended}"));
    }
    statements
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pabal_common::clock::{ManualClock, Timestamp};
    use pabal_common::domain::id::Ids;

    use super::*;

    #[test]
    fn an_id_is_the_first_that_the_gateway_could_have_made_then() {
        let at = Timestamp::from_millis(1_795_000_000_123);
        let made = Ids::new(Arc::new(ManualClock::new(at)), 0).message();
        let first = id_at(at.millis());
        assert!((0..1 << TIME).contains(&(made.to_column() - first)));
    }

    #[test]
    fn the_books_of_many_days_are_written_in_several_statements() {
        let days = (0..VALUES as i32 + 1).map(|day| ((0, Day::from_number(day)), 7));
        let statements = books(Dialect::Mysql, "p", &days.collect());
        assert_eq!(statements.len(), 4);
        assert!(statements[2].ends_with("VALUES ('p', 500, 1, 0, 7)"));
        assert!(statements[3].ends_with("VALUES ('p', 500, 1, 7, 7, 0, 0)"));
    }
}
