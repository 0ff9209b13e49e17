use async_trait::async_trait;
use sqlx::SqliteConnection;

use super::{SqliteLedger, from_sqlx, message_columns};
use crate::domain::id::{ClientMsgId, MessageId, PartnerId};
use crate::domain::phase::Phase;
use crate::domain::status::Status;
use crate::ledger::books::{
    AcceptedRow, BookedRow, Contradictions, CountedRow, DayRow, compare_statistics, event, totals,
};
use crate::ledger::delays::RETRY;
use crate::ledger::rows::{MessageRow, status_number};
use crate::ledger::{
    BookDifference, DailyRow, EventRow, LedgerError, MessageView, Queries, StatsQuery, Totals,
};

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
        Ok(rows.into_iter().map(event).collect())
    }

    async fn daily(&self, query: &StatsQuery) -> Result<Vec<DailyRow>, LedgerError> {
        let kind = query.kind.map(|kind| i64::from(kind.number()));
        // One statement, so that a message ending meanwhile is in both books or in neither. Its
        // cost is the days asked for, however much is in flight.
        let rows: Vec<DayRow> = sqlx::query_as(
            "SELECT a.stat_date, a.message_type, a.accepted, coalesce(s.total, 0) AS total, \
             coalesce(s.success, 0) AS success, coalesce(s.failed, 0) AS failed, \
             coalesce(s.expired, 0) AS expired \
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
            .map(|row| row.into_daily(&query.partner))
            .collect()
    }

    async fn totals(&self) -> Result<Vec<Totals>, LedgerError> {
        let mut connection = self.readers().acquire().await.map_err(from_sqlx)?;
        totals(counted(&mut connection).await?)
    }

    async fn reconcile(&self) -> Result<Vec<BookDifference>, LedgerError> {
        // One snapshot for all the books: messages go on ending meanwhile.
        let mut snapshot = self.readers().begin().await.map_err(from_sqlx)?;
        let counted = counted(&mut snapshot).await?;
        let accepted = accepted(&mut snapshot).await?;
        let booked = booked(&mut snapshot).await?;
        let contradictions = contradictions(&mut snapshot).await?;
        let mut differences = compare_statistics(counted, accepted, booked)?;
        differences.extend(contradictions.differences());
        Ok(differences)
    }
}

async fn counted(connection: &mut SqliteConnection) -> Result<Vec<CountedRow>, LedgerError> {
    sqlx::query_as(
        "SELECT partner_id, (created_at + 32400000) / 86400000 AS korean_day, message_type, \
         status, count(*) AS messages FROM messages \
         GROUP BY partner_id, korean_day, message_type, status",
    )
    .fetch_all(connection)
    .await
    .map_err(from_sqlx)
}

async fn accepted(connection: &mut SqliteConnection) -> Result<Vec<AcceptedRow>, LedgerError> {
    sqlx::query_as(
        "SELECT partner_id, stat_date, message_type, accepted FROM partner_daily_accepted",
    )
    .fetch_all(connection)
    .await
    .map_err(from_sqlx)
}

async fn booked(connection: &mut SqliteConnection) -> Result<Vec<BookedRow>, LedgerError> {
    sqlx::query_as(
        "SELECT partner_id, stat_date, message_type, total, success, failed, expired, frozen \
         FROM partner_daily_stats",
    )
    .fetch_all(connection)
    .await
    .map_err(from_sqlx)
}

async fn contradictions(connection: &mut SqliteConnection) -> Result<Contradictions, LedgerError> {
    let odd = sqlx::query_scalar(
        "SELECT count(*) FROM messages WHERE (phase = ?1) <> (status >= ?2) \
         OR (final_at IS NOT NULL) <> (phase = ?1)",
    )
    .bind(i64::from(Phase::Done.number()))
    .bind(status_number(Status::Delivered))
    .fetch_one(&mut *connection)
    .await
    .map_err(from_sqlx)?;
    let adrift = sqlx::query_scalar(
        "SELECT count(*) FROM messages m WHERE m.status = ?1 AND m.phase = ?2 \
         AND NOT EXISTS (SELECT 1 FROM delays d WHERE d.message_id = m.message_id AND d.kind = ?3)",
    )
    .bind(status_number(Status::Received))
    .bind(i64::from(Phase::Waiting.number()))
    .bind(RETRY)
    .fetch_one(&mut *connection)
    .await
    .map_err(from_sqlx)?;
    let nobodys = sqlx::query_scalar(
        "SELECT count(*) FROM webhooks WHERE partner_id NOT IN (SELECT partner_id FROM partners)",
    )
    .fetch_one(connection)
    .await
    .map_err(from_sqlx)?;
    Ok(Contradictions {
        odd,
        adrift,
        nobodys,
    })
}
