use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use async_trait::async_trait;
use sqlx::{FromRow, SqliteConnection};

use super::delays::RETRY;
use super::rows::{MessageRow, kind_from, message_columns, status_from, status_number};
use super::{SqliteLedger, from_sqlx, partner_id};
use crate::clock::{Day, Timestamp};
use crate::domain::id::{ClientMsgId, MessageId, PartnerId};
use crate::domain::kind::MessageType;
use crate::domain::phase::Phase;
use crate::domain::status::Status;
use crate::ledger::{
    BookDifference, DailyRow, EventRow, LedgerError, MessageView, Queries, StatsQuery, StatsRow,
    Totals,
};

/// The day of acceptance in Korea as yyyymmdd, from a column of milliseconds.
macro_rules! kst_day {
    () => {
        "CAST(strftime('%Y%m%d', created_at / 1000 + 32400, 'unixepoch') AS INTEGER)"
    };
}

#[async_trait]
impl Queries for SqliteLedger {
    async fn message(&self, id: MessageId) -> Result<Option<MessageView>, LedgerError> {
        let row: Option<MessageRow> = sqlx::query_as(concat!(
            "SELECT ",
            message_columns!(),
            " FROM messages m WHERE m.message_id = ?"
        ))
        .bind(id.to_column())
        .fetch_optional(self.readers())
        .await
        .map_err(from_sqlx)?;
        row.map(|row| row.to_view()).transpose()
    }

    async fn message_by_client_id(
        &self,
        partner: &PartnerId,
        client: &ClientMsgId,
    ) -> Result<Option<MessageView>, LedgerError> {
        let row: Option<MessageRow> = sqlx::query_as(concat!(
            "SELECT ",
            message_columns!(),
            " FROM messages m WHERE m.partner_id = ? AND m.client_msg_id = ?"
        ))
        .bind(partner.as_str())
        .bind(client.as_str())
        .fetch_optional(self.readers())
        .await
        .map_err(from_sqlx)?;
        row.map(|row| row.to_view()).transpose()
    }

    async fn events(&self, id: MessageId) -> Result<Vec<EventRow>, LedgerError> {
        let rows: Vec<(i64, String, String)> = sqlx::query_as(
            "SELECT at, kind, note FROM message_events WHERE message_id = ? \
             ORDER BY event_id LIMIT 200",
        )
        .bind(id.to_column())
        .fetch_all(self.readers())
        .await
        .map_err(from_sqlx)?;
        Ok(rows
            .into_iter()
            .map(|(at, kind, note)| EventRow {
                at: Timestamp::from_millis(at),
                kind,
                note,
            })
            .collect())
    }

    async fn daily(&self, query: &StatsQuery) -> Result<Vec<DailyRow>, LedgerError> {
        let kind = query.kind.map(|kind| i64::from(kind.number()));
        // One statement, so that a message ending meanwhile is in both books or in neither. Its
        // cost is the days asked for, however much is in flight.
        let rows: Vec<(i32, i64, i64, i64, i64, i64, i64)> = sqlx::query_as(
            "SELECT a.stat_date, a.message_type, a.accepted, coalesce(s.total, 0), \
             coalesce(s.success, 0), coalesce(s.failed, 0), coalesce(s.expired, 0) \
             FROM partner_daily_accepted a LEFT JOIN partner_daily_stats s \
             ON s.partner_id = a.partner_id AND s.stat_date = a.stat_date \
             AND s.message_type = a.message_type \
             WHERE a.partner_id = ?1 AND a.stat_date BETWEEN ?2 AND ?3 \
             AND (?4 IS NULL OR a.message_type = ?4) \
             ORDER BY a.stat_date, a.message_type",
        )
        .bind(query.partner.as_str())
        .bind(query.from.number())
        .bind(query.to.number())
        .bind(kind)
        .fetch_all(self.readers())
        .await
        .map_err(from_sqlx)?;
        rows.into_iter()
            .map(|(day, kind, accepted, total, success, failed, expired)| {
                Ok(DailyRow {
                    stats: StatsRow {
                        partner: query.partner.clone(),
                        day: Day::from_number(day),
                        kind: kind_from(kind)?,
                        total: whole(total),
                        success: whole(success),
                        failed: whole(failed),
                        expired: whole(expired),
                    },
                    in_flight: whole(accepted - total),
                })
            })
            .collect()
    }

    async fn totals(&self) -> Result<Vec<Totals>, LedgerError> {
        let mut connection = self.readers().acquire().await.map_err(from_sqlx)?;
        totals(&mut connection).await
    }

    async fn reconcile(&self) -> Result<Vec<BookDifference>, LedgerError> {
        // One snapshot for all the books: messages go on ending meanwhile.
        let mut snapshot = self.readers().begin().await.map_err(from_sqlx)?;
        let mut differences = compare_statistics(&mut snapshot).await?;
        differences.extend(compare_rows(&mut snapshot).await?);
        Ok(differences)
    }
}

async fn totals(connection: &mut SqliteConnection) -> Result<Vec<Totals>, LedgerError> {
    let rows: Vec<(String, i32, i64, i64, i64)> = sqlx::query_as(concat!(
        "SELECT partner_id, ",
        kst_day!(),
        " AS day, message_type, status, count(*) FROM messages \
         GROUP BY partner_id, day, message_type, status"
    ))
    .fetch_all(connection)
    .await
    .map_err(from_sqlx)?;
    let mut totals: BTreeMap<(String, i32, i64), Totals> = BTreeMap::new();
    for (partner, day, kind, status, count) in rows {
        let total = match totals.entry((partner.clone(), day, kind)) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Totals {
                partner: partner_id(&partner)?,
                day: Day::from_number(day),
                kind: kind_from(kind)?,
                accepted: 0,
                delivered: 0,
                failed: 0,
                expired: 0,
            }),
        };
        let count = whole(count);
        total.accepted += count;
        match status_from(status)? {
            Status::Delivered => total.delivered += count,
            Status::Failed => total.failed += count,
            Status::Expired => total.expired += count,
            Status::Received | Status::Processing | Status::Sent => {}
        }
    }
    Ok(totals.into_values().collect())
}

/// A row of the daily statistics.
#[derive(FromRow)]
struct BookedRow {
    partner_id: String,
    stat_date: i32,
    message_type: i64,
    total: i64,
    success: i64,
    failed: i64,
    expired: i64,
    frozen: bool,
}

/// Ended messages against the daily statistics, for days of which no message was deleted yet.
async fn compare_statistics(
    connection: &mut SqliteConnection,
) -> Result<Vec<BookDifference>, LedgerError> {
    let rows: Vec<BookedRow> = sqlx::query_as(
        "SELECT partner_id, stat_date, message_type, total, success, failed, expired, frozen \
         FROM partner_daily_stats",
    )
    .fetch_all(&mut *connection)
    .await
    .map_err(from_sqlx)?;
    let mut booked: BTreeMap<(String, i32, MessageType), BookedRow> = BTreeMap::new();
    for row in rows {
        let key = (
            row.partner_id.clone(),
            row.stat_date,
            kind_from(row.message_type)?,
        );
        booked.insert(key, row);
    }
    let accepted = accepted(&mut *connection).await?;
    let mut differences = Vec::new();
    for row in totals(connection).await? {
        let book = booked.remove(&(row.partner.to_string(), row.day.number(), row.kind));
        if book.as_ref().is_some_and(|book| book.frozen) {
            continue;
        }
        let book = book.map_or([0; 4], |book| {
            [book.total, book.success, book.failed, book.expired].map(whole)
        });
        let failed = row.failed + row.expired;
        let ended = row.delivered + failed;
        let counted = [row.accepted, ended, row.delivered, failed, row.expired];
        let names = ["accepted", "total", "success", "failed", "expired"];
        let key = (row.partner.to_string(), row.day.number(), row.kind);
        let accepted = accepted.get(&key).copied().unwrap_or(0);
        let books = [accepted, book[0], book[1], book[2], book[3]];
        for ((name, messages), book) in names.iter().zip(counted).zip(books) {
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

/// How many messages were accepted, by the book of the receivers.
async fn accepted(
    connection: &mut SqliteConnection,
) -> Result<BTreeMap<(String, i32, MessageType), u64>, LedgerError> {
    let rows: Vec<(String, i32, i64, i64)> = sqlx::query_as(
        "SELECT partner_id, stat_date, message_type, accepted FROM partner_daily_accepted",
    )
    .fetch_all(connection)
    .await
    .map_err(from_sqlx)?;
    rows.into_iter()
        .map(|(partner, day, kind, accepted)| {
            Ok(((partner, day, kind_from(kind)?), whole(accepted)))
        })
        .collect()
}

/// Rows that contradict themselves: a message has ended exactly if its status is final and it says
/// when, what waits has a delay, and a webhook has somebody to tell.
async fn compare_rows(
    connection: &mut SqliteConnection,
) -> Result<Vec<BookDifference>, LedgerError> {
    let odd: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM messages WHERE (phase = ?1) <> (status >= ?2) \
         OR (final_at IS NOT NULL) <> (phase = ?1)",
    )
    .bind(i64::from(Phase::Done.number()))
    .bind(status_number(Status::Delivered))
    .fetch_one(&mut *connection)
    .await
    .map_err(from_sqlx)?;
    let adrift: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM messages m WHERE m.status = ?1 AND m.phase = ?2 \
         AND NOT EXISTS (SELECT 1 FROM delays d WHERE d.message_id = m.message_id AND d.kind = ?3)",
    )
    .bind(status_number(Status::Received))
    .bind(i64::from(Phase::Waiting.number()))
    .bind(RETRY)
    .fetch_one(&mut *connection)
    .await
    .map_err(from_sqlx)?;
    let nobodys: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM webhooks WHERE partner_id NOT IN (SELECT partner_id FROM partners)",
    )
    .fetch_one(connection)
    .await
    .map_err(from_sqlx)?;
    let checks = [
        ("messages whose status, phase and end time disagree", odd),
        ("waiting messages without a delay", adrift),
        ("webhooks of no partner", nobodys),
    ];
    Ok(checks
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(what, count)| BookDifference {
            what: what.to_owned(),
            messages: whole(count),
            book: 0,
        })
        .collect())
}

fn whole(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
