use async_trait::async_trait;
use sqlx::MySqlConnection;

use super::{Fault, MysqlLedger, message_columns};
use crate::domain::id::{ClientMsgId, MessageId, PartnerId};
use crate::domain::phase::Phase;
use crate::domain::status::Status;
use crate::ledger::books::{
    AcceptedRow, BookedRow, Contradictions, CountedRow, DayRow, compare_statistics, event, totals,
};
use crate::ledger::rows::{MessageRow, status_number};
use crate::ledger::{
    BookDifference, DailyRow, EventRow, LedgerError, MessageView, Queries, StatsQuery, Totals,
};

use crate::ledger::delays::RETRY;

#[async_trait]
impl Queries for MysqlLedger {
    async fn message(&self, id: MessageId) -> Result<Option<MessageView>, LedgerError> {
        let row: Option<MessageRow> = self
            .read(&id, |connection, id| {
                Box::pin(async move {
                    let row = sqlx::query_as(concat!(
                        "SELECT ",
                        message_columns!(),
                        " FROM messages m WHERE m.message_id = ?"
                    ));
                    Ok(row.bind(*id).fetch_optional(connection).await?)
                })
            })
            .await?;
        row.map(|row| row.to_view()).transpose()
    }

    async fn message_by_client_id(
        &self,
        partner: &PartnerId,
        client: &ClientMsgId,
    ) -> Result<Option<MessageView>, LedgerError> {
        let row: Option<MessageRow> = self
            .read(&(partner, client), |connection, (partner, client)| {
                Box::pin(async move {
                    let row = sqlx::query_as(concat!(
                        "SELECT ",
                        message_columns!(),
                        " FROM messages m WHERE m.partner_id = ? AND m.client_msg_id = ?"
                    ));
                    let row = row.bind(partner.as_str()).bind(client.as_str());
                    Ok(row.fetch_optional(connection).await?)
                })
            })
            .await?;
        row.map(|row| row.to_view()).transpose()
    }

    async fn events(&self, id: MessageId) -> Result<Vec<EventRow>, LedgerError> {
        // idx_event_message holds the primary key as its second part.
        let rows: Vec<(i64, String, String)> = self
            .read(&id, |connection, id| {
                Box::pin(async move {
                    let rows = sqlx::query_as(
                        "SELECT e.at, e.kind, e.note \
                         FROM message_events e FORCE INDEX (idx_event_message) \
                         WHERE e.message_id = ? ORDER BY e.event_id LIMIT 200",
                    );
                    Ok(rows.bind(*id).fetch_all(connection).await?)
                })
            })
            .await?;
        Ok(rows.into_iter().map(event).collect())
    }

    async fn daily(&self, query: &StatsQuery) -> Result<Vec<DailyRow>, LedgerError> {
        let rows = self
            .read(query, |connection, query| {
                Box::pin(daily(connection, query))
            })
            .await?;
        rows.into_iter()
            .map(|row| row.into_daily(&query.partner))
            .collect()
    }

    async fn totals(&self) -> Result<Vec<Totals>, LedgerError> {
        let counted = self
            .snapshot(|snapshot| Box::pin(counted(snapshot)))
            .await?;
        totals(counted)
    }

    async fn reconcile(&self) -> Result<Vec<BookDifference>, LedgerError> {
        let (counted, accepted, booked, contradictions) = self
            .snapshot(|snapshot| {
                Box::pin(async move {
                    let counted = counted(&mut *snapshot).await?;
                    let accepted = accepted(&mut *snapshot).await?;
                    let booked = booked(&mut *snapshot).await?;
                    Ok((counted, accepted, booked, contradictions(snapshot).await?))
                })
            })
            .await?;
        let mut differences = compare_statistics(counted, accepted, booked)?;
        differences.extend(contradictions.differences());
        Ok(differences)
    }
}

/// One statement, so that a message ending meanwhile is in both books or in neither. Its cost is the
/// days asked for, however much is in flight.
async fn daily(connection: &mut MySqlConnection, query: &StatsQuery) -> Result<Vec<DayRow>, Fault> {
    let kind = query.kind.map(|kind| i64::from(kind.number()));
    let rows = sqlx::query_as(
        "SELECT a.stat_date, a.message_type, CAST(sum(a.accepted) AS SIGNED) AS accepted, \
         coalesce(max(s.total), 0) AS total, coalesce(max(s.success), 0) AS success, \
         coalesce(max(s.failed), 0) AS failed, coalesce(max(s.expired), 0) AS expired \
         FROM partner_daily_accepted a FORCE INDEX (PRIMARY) \
         LEFT JOIN partner_daily_stats s FORCE INDEX (uk_stat_partner_date_type) \
         ON s.partner_id = a.partner_id AND s.stat_date = a.stat_date \
         AND s.message_type = a.message_type \
         WHERE a.partner_id = ? AND a.stat_date BETWEEN ? AND ? \
         AND (? IS NULL OR a.message_type = ?) \
         GROUP BY a.stat_date, a.message_type ORDER BY a.stat_date, a.message_type",
    );
    let rows = rows
        .bind(query.partner.as_str())
        .bind(query.from.number())
        .bind(query.to.number())
        .bind(kind)
        .bind(kind);
    Ok(rows.fetch_all(connection).await?)
}

async fn counted(snapshot: &mut MySqlConnection) -> Result<Vec<CountedRow>, Fault> {
    let rows = sqlx::query_as(
        "SELECT partner_id, (created_at + 32400000) DIV 86400000 AS korean_day, message_type, \
         status, count(*) AS messages FROM messages \
         GROUP BY partner_id, korean_day, message_type, status",
    );
    Ok(rows.fetch_all(snapshot).await?)
}

async fn accepted(snapshot: &mut MySqlConnection) -> Result<Vec<AcceptedRow>, Fault> {
    let rows = sqlx::query_as(
        "SELECT partner_id, stat_date, message_type, CAST(sum(accepted) AS SIGNED) AS accepted \
         FROM partner_daily_accepted GROUP BY partner_id, stat_date, message_type",
    );
    Ok(rows.fetch_all(snapshot).await?)
}

async fn booked(snapshot: &mut MySqlConnection) -> Result<Vec<BookedRow>, Fault> {
    let rows = sqlx::query_as(
        "SELECT partner_id, stat_date, message_type, total, success, failed, expired, frozen \
         FROM partner_daily_stats",
    );
    Ok(rows.fetch_all(snapshot).await?)
}

async fn contradictions(snapshot: &mut MySqlConnection) -> Result<Contradictions, Fault> {
    let done = i64::from(Phase::Done.number());
    let odd = sqlx::query_scalar(
        "SELECT count(*) FROM messages WHERE (phase = ?) <> (status >= ?) \
         OR (final_at IS NOT NULL) <> (phase = ?)",
    );
    let odd = odd
        .bind(done)
        .bind(status_number(Status::Delivered))
        .bind(done)
        .fetch_one(&mut *snapshot)
        .await?;
    let adrift = sqlx::query_scalar(
        "SELECT count(*) FROM messages m WHERE m.status = ? AND m.phase = ? \
         AND NOT EXISTS (SELECT 1 FROM delays d WHERE d.message_id = m.message_id AND d.kind = ?)",
    );
    let adrift = adrift
        .bind(status_number(Status::Received))
        .bind(i64::from(Phase::Waiting.number()))
        .bind(RETRY)
        .fetch_one(&mut *snapshot)
        .await?;
    let nobodys = sqlx::query_scalar(
        "SELECT count(*) FROM webhooks WHERE partner_id NOT IN (SELECT partner_id FROM partners)",
    );
    let nobodys = nobodys.fetch_one(snapshot).await?;
    Ok(Contradictions {
        odd,
        adrift,
        nobodys,
    })
}
