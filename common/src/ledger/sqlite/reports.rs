use std::collections::BTreeMap;

use async_trait::async_trait;
use serde_json::{Value, json};
use sqlx::SqliteConnection;

use super::intake::id_list;
use super::{SqliteLedger, ending, from_sqlx, json_list, json_rows, message_columns};
use crate::clock::Timestamp;
use crate::domain::id::{InstanceId, MessageId, WebhookId};
use crate::domain::report::Report;
use crate::ledger::ending::{Did, Ending, Move, Written};
use crate::ledger::reports::{ParkedRow, to_park};
use crate::ledger::rows::MessageRow;
use crate::ledger::{
    Applied, ApplyOutcome, LedgerError, Overdue, ParkedReport, Reports, SharedHealth,
};

#[async_trait]
impl Reports for SqliteLedger {
    async fn apply(
        &self,
        me: InstanceId,
        reports: &[Report],
        webhook_ids: &[WebhookId],
        now: Timestamp,
    ) -> Result<ApplyOutcome, LedgerError> {
        let (reports, webhook_ids) = (reports.to_vec(), webhook_ids.to_vec());
        let (applied, written) = self
            .writer
            .run(move |connection| {
                Box::pin(async move { apply(connection, me, &reports, &webhook_ids, now).await })
            })
            .await?;
        written.count();
        Ok(ApplyOutcome {
            applied,
            ended: written.ended,
            webhooks: written.webhooks,
        })
    }

    async fn expire(
        &self,
        me: InstanceId,
        overdue: &[MessageId],
        webhook_ids: &[WebhookId],
        now: Timestamp,
        limits: Overdue,
    ) -> Result<u32, LedgerError> {
        let (overdue, webhook_ids) = (overdue.to_vec(), webhook_ids.to_vec());
        let written = self
            .writer
            .run(move |connection| {
                Box::pin(async move {
                    expire(connection, me, &overdue, &webhook_ids, now, limits).await
                })
            })
            .await?;
        written.count();
        Ok(written.ended)
    }

    async fn park(
        &self,
        reports: &[Report],
        now: Timestamp,
        due: Timestamp,
    ) -> Result<(), LedgerError> {
        let (reports, version) = (reports.to_vec(), self.frame_version.get());
        self.writer
            .run(move |connection| {
                Box::pin(async move {
                    for report in reports {
                        sqlx::query(
                            "INSERT INTO parked_reports (provider_account, vendor_message_id, \
                             message_id, report, misses, since, due) VALUES (?, ?, ?, ?, 0, ?, ?)",
                        )
                        .bind(report.account.as_str())
                        .bind(report.vendor_id.as_ref().map(ToString::to_string))
                        .bind(report.message.map(MessageId::to_column))
                        .bind(to_park(&report, version))
                        .bind(now.millis())
                        .bind(due.millis())
                        .execute(&mut *connection)
                        .await
                        .map_err(from_sqlx)?;
                    }
                    Ok(())
                })
            })
            .await
    }

    async fn take_parked(
        &self,
        now: Timestamp,
        again: Timestamp,
        limit: u32,
    ) -> Result<Vec<ParkedReport>, LedgerError> {
        let waiting: Option<i64> =
            sqlx::query_scalar("SELECT 1 FROM parked_reports WHERE due <= ? LIMIT 1")
                .bind(now.millis())
                .fetch_optional(self.readers())
                .await
                .map_err(from_sqlx)?;
        if waiting.is_none() {
            return Ok(Vec::new());
        }
        self.writer
            .run(move |connection| {
                Box::pin(async move {
                    let rows: Vec<ParkedRow> = sqlx::query_as(
                        "UPDATE parked_reports SET due = ?1 WHERE parked_id IN \
                         (SELECT parked_id FROM parked_reports WHERE due <= ?2 \
                          ORDER BY due LIMIT ?3) \
                         RETURNING parked_id, report, misses, since",
                    )
                    .bind(again.millis())
                    .bind(now.millis())
                    .bind(i64::from(limit))
                    .fetch_all(connection)
                    .await
                    .map_err(from_sqlx)?;
                    rows.into_iter().map(ParkedRow::read).collect()
                })
            })
            .await
    }

    async fn repark(&self, parked: &[(i64, Timestamp)]) -> Result<(), LedgerError> {
        let rows: Vec<Value> = parked
            .iter()
            .map(|(key, due)| json!([key, due.millis()]))
            .collect();
        self.writer
            .run(move |connection| {
                Box::pin(async move {
                    sqlx::query(
                        "UPDATE parked_reports SET due = j.value->>1, misses = misses + 1 \
                         FROM json_each(?) j WHERE parked_id = j.value->>0",
                    )
                    .bind(json_rows(&rows))
                    .execute(connection)
                    .await
                    .map_err(from_sqlx)?;
                    Ok(())
                })
            })
            .await
    }

    async fn parked_size(&self) -> Result<u64, LedgerError> {
        super::count(self, "SELECT count(*) FROM parked_reports").await
    }

    async fn unpark(&self, keys: &[i64]) -> Result<(), LedgerError> {
        let keys = json_list(keys.iter().copied());
        self.writer
            .run(move |connection| {
                Box::pin(async move {
                    sqlx::query(
                        "DELETE FROM parked_reports \
                         WHERE parked_id IN (SELECT value FROM json_each(?))",
                    )
                    .bind(keys)
                    .execute(connection)
                    .await
                    .map_err(from_sqlx)?;
                    Ok(())
                })
            })
            .await
    }
}

async fn apply(
    connection: &mut SqliteConnection,
    me: InstanceId,
    reports: &[Report],
    webhook_ids: &[WebhookId],
    now: Timestamp,
) -> Result<(Vec<Applied>, Written), LedgerError> {
    let matched = find(&mut *connection, reports).await?;
    let stored = load(&mut *connection, matched.values().copied()).await?;
    let mut ending = Ending::new(now, stored)?;
    let mut applied = Vec::with_capacity(reports.len());
    for (place, report) in reports.iter().enumerate() {
        let Some(id) = matched.get(&place).copied() else {
            applied.push(Applied::Unmatched);
            continue;
        };
        applied.push(match ending.carry_out(&Move::report(id, report)) {
            Did::Moved => Applied::Moved(id),
            Did::Stray => Applied::Stray(id),
            Did::Nothing => Applied::Nothing(id),
        });
    }
    let written = ending::write(connection, ending, me, webhook_ids, now).await?;
    Ok((applied, written))
}

/// Which message each report is about: by our id if it has one that exists, else by the vendor's.
async fn find(
    connection: &mut SqliteConnection,
    reports: &[Report],
) -> Result<BTreeMap<usize, MessageId>, LedgerError> {
    let by_id: Vec<Value> = reports
        .iter()
        .enumerate()
        .filter_map(|(place, report)| Some(json!([place, report.message?.to_column()])))
        .collect();
    let mut found: BTreeMap<usize, MessageId> = BTreeMap::new();
    if !by_id.is_empty() {
        let rows: Vec<(i64, MessageId)> = sqlx::query_as(
            "SELECT j.value->>0, m.message_id FROM json_each(?) j \
             CROSS JOIN messages m ON m.message_id = j.value->>1",
        )
        .bind(json_rows(&by_id))
        .fetch_all(&mut *connection)
        .await
        .map_err(from_sqlx)?;
        found.extend(rows.into_iter().filter_map(place_and_id));
    }
    let by_vendor: Vec<Value> = reports
        .iter()
        .enumerate()
        .filter(|(place, _)| !found.contains_key(place))
        .filter_map(|(place, report)| {
            let vendor_id = report.vendor_id.as_ref()?;
            Some(json!([place, report.account.as_str(), vendor_id.as_str()]))
        })
        .collect();
    if !by_vendor.is_empty() {
        // idx_message_vendor; its condition has to be repeated for the optimizer to see it.
        let rows: Vec<(i64, MessageId)> = sqlx::query_as(
            "SELECT j.value->>0, m.message_id FROM json_each(?) j \
             CROSS JOIN messages m INDEXED BY idx_message_vendor \
             ON m.provider_account = j.value->>1 AND m.vendor_message_id = j.value->>2 \
             AND m.vendor_message_id IS NOT NULL",
        )
        .bind(json_rows(&by_vendor))
        .fetch_all(connection)
        .await
        .map_err(from_sqlx)?;
        found.extend(rows.into_iter().filter_map(place_and_id));
    }
    Ok(found)
}

fn place_and_id((place, id): (i64, MessageId)) -> Option<(usize, MessageId)> {
    Some((usize::try_from(place).ok()?, id))
}

async fn load(
    connection: &mut SqliteConnection,
    ids: impl Iterator<Item = MessageId>,
) -> Result<Vec<MessageRow>, LedgerError> {
    let ids = id_list(ids);
    sqlx::query_as(concat!(
        "SELECT ",
        message_columns!(),
        " FROM messages m WHERE m.message_id IN (SELECT value FROM json_each(?))"
    ))
    .bind(ids)
    .fetch_all(connection)
    .await
    .map_err(from_sqlx)
}

async fn expire(
    connection: &mut SqliteConnection,
    me: InstanceId,
    overdue: &[MessageId],
    webhook_ids: &[WebhookId],
    now: Timestamp,
    limits: Overdue,
) -> Result<Written, LedgerError> {
    let stored = load(&mut *connection, overdue.iter().copied()).await?;
    let mut due = Vec::new();
    let closed = closed_types(&mut *connection, now).await?;
    for mut row in stored {
        if row.is_overdue(now, limits)? {
            // A message still in a queue that its senders left alone never met a closed route
            // itself.
            row.route_closed |= closed.contains(&SharedHealth::type_name(row.kind()?));
            due.push(row);
        }
    }
    let mut ending = Ending::new(now, due.clone())?;
    let mut used = Vec::new();
    for row in &due {
        // A report that is still parked says more than a deadline.
        for (key, report) in parked_for(&mut *connection, row).await? {
            if report.verdict.is_final()
                && ending.carry_out(&Move::report(row.message_id, &report)) == Did::Moved
            {
                used.push(key);
            }
        }
        ending.carry_out(&Move::deadline(row.message_id, now));
    }
    if !used.is_empty() {
        sqlx::query(
            "DELETE FROM parked_reports WHERE parked_id IN (SELECT value FROM json_each(?))",
        )
        .bind(json_list(used))
        .execute(&mut *connection)
        .await
        .map_err(from_sqlx)?;
    }
    // No delay of an ended message has to fire.
    sqlx::query("DELETE FROM delays WHERE message_id IN (SELECT value FROM json_each(?))")
        .bind(json_list(due.iter().map(|row| row.message_id.to_column())))
        .execute(&mut *connection)
        .await
        .map_err(from_sqlx)?;
    ending::write(connection, ending, me, webhook_ids, now).await
}

/// The types without a usable route, by the word of a sender that is alive.
async fn closed_types(
    connection: &mut SqliteConnection,
    now: Timestamp,
) -> Result<Vec<String>, LedgerError> {
    sqlx::query_scalar(
        "SELECT route FROM route_health WHERE route LIKE 'type %' AND health = 'FAIL' \
         AND told_by IN (SELECT instance_id FROM instances WHERE lease_until > ?)",
    )
    .bind(now.millis())
    .fetch_all(connection)
    .await
    .map_err(from_sqlx)
}

async fn parked_for(
    connection: &mut SqliteConnection,
    row: &MessageRow,
) -> Result<Vec<(i64, Report)>, LedgerError> {
    // idx_parked_message and idx_parked_vendor
    let rows: Vec<ParkedRow> = sqlx::query_as(
        "SELECT parked_id, report, misses, since FROM parked_reports WHERE message_id = ?1 \
         UNION SELECT parked_id, report, misses, since FROM parked_reports \
         WHERE provider_account = ?2 AND vendor_message_id = ?3",
    )
    .bind(row.message_id.to_column())
    .bind(row.provider_account.as_deref())
    .bind(row.vendor_message_id.as_deref())
    .fetch_all(connection)
    .await
    .map_err(from_sqlx)?;
    rows.into_iter()
        .map(|row| row.read().map(|parked| (parked.key, parked.report)))
        .collect()
}
