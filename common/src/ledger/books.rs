//! The books of a day: what the messages say, what was counted when they were accepted and when
//! they ended, and where these disagree.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use sqlx::FromRow;

use super::rows::{kind_from, partner_id, status_from};
use super::{BookDifference, DailyRow, EventRow, LedgerError, StatsRow, Totals};
use crate::clock::{Day, Timestamp};
use crate::domain::id::PartnerId;
use crate::domain::kind::MessageType;
use crate::domain::status::Status;

/// Korea is so far ahead of UTC, all year.
const AHEAD: i64 = 9 * 3_600_000;
const DAY: i64 = 24 * 3_600_000;

/// Messages counted by partner, day, type and status.
#[derive(FromRow)]
pub(super) struct CountedRow {
    partner_id: String,
    /// Whole days since the epoch in Korea: what a statement can compute without a time zone.
    korean_day: i64,
    message_type: i64,
    status: i64,
    messages: i64,
}

/// What was accepted, by the book of the receivers.
#[derive(FromRow)]
pub(super) struct AcceptedRow {
    partner_id: String,
    stat_date: i32,
    message_type: i64,
    accepted: i64,
}

/// A row of the daily statistics.
#[derive(FromRow)]
pub(super) struct BookedRow {
    partner_id: String,
    stat_date: i32,
    message_type: i64,
    total: i64,
    success: i64,
    failed: i64,
    expired: i64,
    frozen: bool,
}

/// A day of one partner and type, both books in one row.
#[derive(FromRow)]
pub(super) struct DayRow {
    stat_date: i32,
    message_type: i64,
    accepted: i64,
    total: i64,
    success: i64,
    failed: i64,
    expired: i64,
}

impl DayRow {
    pub(super) fn into_daily(self, partner: &PartnerId) -> Result<DailyRow, LedgerError> {
        Ok(DailyRow {
            stats: StatsRow {
                partner: partner.clone(),
                day: Day::from_number(self.stat_date),
                kind: kind_from(self.message_type)?,
                total: whole(self.total),
                success: whole(self.success),
                failed: whole(self.failed),
                expired: whole(self.expired),
            },
            in_flight: whole(self.accepted - self.total),
        })
    }
}

/// An event's columns: when, what, and more for people.
pub(super) fn event((at, kind, note): (i64, String, String)) -> EventRow {
    EventRow {
        at: Timestamp::from_millis(at),
        kind,
        note,
    }
}

/// By partner, day and type.
pub(super) fn totals(counted: Vec<CountedRow>) -> Result<Vec<Totals>, LedgerError> {
    let mut totals: BTreeMap<(String, i64, i64), Totals> = BTreeMap::new();
    for row in counted {
        let key = (row.partner_id, row.korean_day, row.message_type);
        let total = match totals.entry(key) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let (partner, day, kind) = entry.key();
                let total = Totals {
                    partner: partner_id(partner)?,
                    day: Timestamp::from_millis(day * DAY - AHEAD).kst_day(),
                    kind: kind_from(*kind)?,
                    accepted: 0,
                    delivered: 0,
                    failed: 0,
                    expired: 0,
                };
                entry.insert(total)
            }
        };
        let messages = whole(row.messages);
        total.accepted += messages;
        match status_from(row.status)? {
            Status::Delivered => total.delivered += messages,
            Status::Failed => total.failed += messages,
            Status::Expired => total.expired += messages,
            Status::Received | Status::Processing | Status::Sent => {}
        }
    }
    Ok(totals.into_values().collect())
}

/// Whose, on which day, of which type.
type BookKey = (String, i32, MessageType);

/// Messages against the daily books, for days of which no message was deleted yet.
pub(super) fn compare_statistics(
    counted: Vec<CountedRow>,
    accepted: Vec<AcceptedRow>,
    booked: Vec<BookedRow>,
) -> Result<Vec<BookDifference>, LedgerError> {
    let accepted = by_key_of_accepted(accepted)?;
    let mut booked = by_key_of_booked(booked)?;
    let mut differences = Vec::new();
    for row in totals(counted)? {
        let key = (row.partner.to_string(), row.day.number(), row.kind);
        let book = booked.remove(&key);
        if book.as_ref().is_some_and(|book| book.frozen) {
            continue;
        }
        let book = book.map_or([0; 4], |book| {
            [book.total, book.success, book.failed, book.expired].map(whole)
        });
        let accepted = accepted.get(&key).copied().unwrap_or(0);
        let failed = row.failed + row.expired;
        let ended = row.delivered + failed;
        for (name, messages, book) in [
            ("accepted", row.accepted, accepted),
            ("total", ended, book[0]),
            ("success", row.delivered, book[1]),
            ("failed", failed, book[2]),
            ("expired", row.expired, book[3]),
        ] {
            if messages != book {
                let what = format!("{} {} {}: {name}", row.partner, row.day, row.kind);
                differences.push(BookDifference {
                    what,
                    messages,
                    book,
                });
            }
        }
    }
    for ((partner, day, kind), book) in booked {
        if book.total > 0 && !book.frozen {
            let what = format!("{partner} {} {kind}: total", Day::from_number(day));
            differences.push(BookDifference {
                what,
                messages: 0,
                book: whole(book.total),
            });
        }
    }
    Ok(differences)
}

fn by_key_of_accepted(rows: Vec<AcceptedRow>) -> Result<BTreeMap<BookKey, u64>, LedgerError> {
    rows.into_iter()
        .map(|row| {
            let key = (row.partner_id, row.stat_date, kind_from(row.message_type)?);
            Ok((key, whole(row.accepted)))
        })
        .collect()
}

fn by_key_of_booked(rows: Vec<BookedRow>) -> Result<BTreeMap<BookKey, BookedRow>, LedgerError> {
    rows.into_iter()
        .map(|row| {
            let kind = kind_from(row.message_type)?;
            Ok(((row.partner_id.clone(), row.stat_date, kind), row))
        })
        .collect()
}

/// How many rows contradict themselves or others.
pub(super) struct Contradictions {
    /// A message has ended exactly if its status is final and it says when: these have not.
    pub(super) odd: i64,
    /// What waits has a delay: these have none.
    pub(super) adrift: i64,
    /// A webhook has somebody to tell: these have nobody.
    pub(super) nobodys: i64,
}

impl Contradictions {
    pub(super) fn differences(&self) -> impl Iterator<Item = BookDifference> {
        [
            (
                "messages whose status, phase and end time disagree",
                self.odd,
            ),
            ("waiting messages without a delay", self.adrift),
            ("webhooks of no partner", self.nobodys),
        ]
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(what, count)| BookDifference {
            what: what.to_owned(),
            messages: whole(count),
            book: 0,
        })
    }
}

fn whole(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
