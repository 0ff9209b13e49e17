use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use serde_json::{Value, json};
use sqlx::{FromRow, MySqlConnection};

use super::{Fault, MysqlLedger, delays, ending, json_rows, lease_now};
use crate::broker::FrameVersion;
use crate::clock::Timestamp;
use crate::domain::id::{InstanceId, MessageId, WebhookId};
use crate::domain::report::{Report, VendorMessageId};
use crate::ledger::delays::{ASK, LAST_ASK, RETRY};
use crate::ledger::ending::{Did, Ending, Move, Written};
use crate::ledger::intake::{SIZES, pieces};
use crate::ledger::reports::{ParkedRow, to_park};
use crate::ledger::rows::MessageRow;
use crate::ledger::{
    Applied, ApplyOutcome, LedgerError, Overdue, ParkedReport, Reports, SharedHealth,
};

#[async_trait]
impl Reports for MysqlLedger {
    async fn apply(
        &self,
        me: InstanceId,
        reports: &[Report],
        webhook_ids: &[WebhookId],
        now: Timestamp,
    ) -> Result<ApplyOutcome, LedgerError> {
        let (applied, written) = self
            .transact(
                &(me, reports, webhook_ids, now),
                |tx, (me, reports, webhook_ids, now)| {
                    Box::pin(apply(tx, *me, reports, webhook_ids, *now))
                },
            )
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
        let lease_now = self.lease_clock.given();
        let written = self
            .transact(
                &(me, overdue, webhook_ids, now, limits, lease_now),
                |tx, (me, overdue, webhook_ids, now, limits, lease_now)| {
                    Box::pin(async move {
                        let closed = closed_types(&mut *tx, *lease_now).await?;
                        expire(tx, *me, overdue, webhook_ids, *now, *limits, &closed).await
                    })
                },
            )
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
        let version = self.frame_version.get();
        self.transact(&(reports, now, due), move |tx, (reports, now, due)| {
            Box::pin(park(tx, reports, *now, *due, version))
        })
        .await
    }

    async fn take_parked(
        &self,
        now: Timestamp,
        again: Timestamp,
        limit: u32,
    ) -> Result<Vec<ParkedReport>, LedgerError> {
        // Looked at first without a transaction: most of the time there is nothing parked.
        let waiting = self
            .read(&now, |connection, now| {
                Box::pin(is_parked(connection, *now))
            })
            .await?;
        if !waiting {
            return Ok(Vec::new());
        }
        self.transact(&(now, again, limit), |tx, (now, again, limit)| {
            Box::pin(take_parked(tx, *now, *again, *limit))
        })
        .await
    }

    async fn repark(&self, parked: &[(i64, Timestamp)]) -> Result<(), LedgerError> {
        self.transact(&parked, |tx, parked| Box::pin(repark(tx, parked)))
            .await
    }

    async fn parked_size(&self) -> Result<u64, LedgerError> {
        super::count(self, "SELECT count(*) FROM parked_reports").await
    }

    async fn unpark(&self, keys: &[i64]) -> Result<(), LedgerError> {
        self.transact(&keys, |tx, keys| Box::pin(unpark(tx, keys.to_vec())))
            .await
    }
}

async fn apply(
    tx: &mut MySqlConnection,
    me: InstanceId,
    reports: &[Report],
    webhook_ids: &[WebhookId],
    now: Timestamp,
) -> Result<(Vec<Applied>, Written), Fault> {
    let matched = find(&mut *tx, reports).await?;
    let stored = ending::lock(&mut *tx, matched.values().copied().collect()).await?;
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
    let written = ending::write(tx, ending, me, webhook_ids, now).await?;
    Ok((applied, written))
}

/// Which message each report is about: by our id if it has one that exists, else by the vendor's.
/// Nothing is locked yet, and nothing is decided by it but whom to lock.
async fn find(
    tx: &mut MySqlConnection,
    reports: &[Report],
) -> Result<BTreeMap<usize, MessageId>, Fault> {
    let mut found = find_by_id(&mut *tx, reports).await?;
    let missing: Vec<Value> = reports
        .iter()
        .enumerate()
        .filter(|(place, _)| !found.contains_key(place))
        .filter_map(|(place, report)| {
            let vendor_id = report.vendor_id.as_ref()?;
            Some(json!([place, report.account.as_str(), vendor_id.as_str()]))
        })
        .collect();
    if missing.is_empty() {
        return Ok(found);
    }
    let rows: Vec<(i64, MessageId, String, String)> = sqlx::query_as(
        "SELECT j.place, m.message_id, m.provider_account, m.vendor_message_id \
         FROM JSON_TABLE(?, '$[*]' COLUMNS (place BIGINT PATH '$[0]', \
         account VARCHAR(128) CHARACTER SET ascii PATH '$[1]', \
         vendor_id VARCHAR(128) CHARACTER SET utf8mb4 PATH '$[2]')) j \
         STRAIGHT_JOIN messages m FORCE INDEX (idx_message_vendor) \
         ON m.provider_account = j.account AND m.vendor_message_id = j.vendor_id \
         ORDER BY m.message_id",
    )
    .bind(json_rows(&missing))
    .fetch_all(tx)
    .await?;
    for (place, id, account, vendor_id) in rows {
        let place = usize::try_from(place).unwrap_or(usize::MAX);
        // A list cuts off what is too long for it, and a column takes texts for equal that differ in
        // spaces at their end.
        let same = |report: &Report| {
            report.account.as_str() == account
                && report.vendor_id.as_ref().map(VendorMessageId::as_str) == Some(&*vendor_id)
        };
        if reports.get(place).is_some_and(same) {
            found.insert(place, id);
        }
    }
    Ok(found)
}

async fn find_by_id(
    tx: &mut MySqlConnection,
    reports: &[Report],
) -> Result<BTreeMap<usize, MessageId>, Fault> {
    let named: Vec<Value> = reports
        .iter()
        .enumerate()
        .filter_map(|(place, report)| Some(json!([place, report.message?])))
        .collect();
    if named.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows: Vec<(i64, MessageId)> = sqlx::query_as(
        "SELECT j.place, m.message_id FROM JSON_TABLE(?, '$[*]' COLUMNS (\
         place BIGINT PATH '$[0]', id CHAR(13) CHARACTER SET ascii PATH '$[1]')) j \
         STRAIGHT_JOIN messages m FORCE INDEX (PRIMARY) ON m.message_id = j.id",
    )
    .bind(json_rows(&named))
    .fetch_all(tx)
    .await?;
    Ok(rows
        .into_iter()
        .filter_map(|(place, id)| Some((usize::try_from(place).ok()?, id)))
        .collect())
}

async fn expire(
    tx: &mut MySqlConnection,
    me: InstanceId,
    overdue: &[MessageId],
    webhook_ids: &[WebhookId],
    now: Timestamp,
    limits: Overdue,
    closed: &[String],
) -> Result<Written, Fault> {
    let mut due = Vec::new();
    for mut row in ending::lock(&mut *tx, overdue.to_vec()).await? {
        if row.is_overdue(now, limits)? {
            // A message still in a queue that its senders left alone never met a closed route
            // itself.
            row.route_closed |= closed.contains(&SharedHealth::type_name(row.kind()?));
            due.push(row);
        }
    }
    let mut ending = Ending::new(now, due.clone())?;
    let mut used = Vec::new();
    // A report that is still parked says more than a deadline.
    for (message, parked) in parked_for(&mut *tx, &due).await? {
        if parked.report.verdict.is_final()
            && ending.carry_out(&Move::report(message, &parked.report)) == Did::Moved
        {
            used.push(parked.key);
        }
    }
    for row in &due {
        ending.carry_out(&Move::deadline(row.message_id, now));
    }
    // No delay of an ended message has to fire.
    let over = due
        .iter()
        .flat_map(|row| [RETRY, ASK, LAST_ASK].map(|kind| (row.message_id, kind)));
    delays::delete(&mut *tx, over.collect()).await?;
    unpark(&mut *tx, used).await?;
    ending::write(tx, ending, me, webhook_ids, now).await
}

/// The types without a usable route, by the word of a sender that is alive.
async fn closed_types(
    tx: &mut MySqlConnection,
    lease_now: Option<i64>,
) -> Result<Vec<String>, Fault> {
    let closed = sqlx::query_scalar(concat!(
        "SELECT h.route FROM route_health h JOIN instances i ON i.instance_id = h.told_by \
         WHERE h.route LIKE 'type %' AND h.health = 'FAIL' AND i.lease_until > ",
        lease_now!()
    ))
    .bind(lease_now)
    .fetch_all(tx)
    .await?;
    Ok(closed)
}

/// A parked report and a message it may be about.
#[derive(FromRow)]
struct ParkedFor {
    message_id: MessageId,
    vendor_id: Option<String>,
    #[sqlx(flatten)]
    parked: ParkedRow,
}

/// The parked reports about these messages, in the order in which they were parked.
async fn parked_for(
    tx: &mut MySqlConnection,
    due: &[MessageRow],
) -> Result<Vec<(MessageId, ParkedReport)>, Fault> {
    if due.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<Value> = due
        .iter()
        .map(|row| json!([row.message_id, row.provider_account, row.vendor_message_id]))
        .collect();
    let rows = json_rows(&rows);
    let found: Vec<ParkedFor> = sqlx::query_as(
        "SELECT j.id AS message_id, NULL AS vendor_id, p.parked_id, p.report, p.misses, p.since \
         FROM JSON_TABLE(?, '$[*]' COLUMNS (id CHAR(13) CHARACTER SET ascii PATH '$[0]')) j \
         STRAIGHT_JOIN parked_reports p FORCE INDEX (idx_parked_message) ON p.message_id = j.id \
         UNION ALL \
         SELECT j.id, p.vendor_message_id, p.parked_id, p.report, p.misses, p.since \
         FROM JSON_TABLE(?, '$[*]' COLUMNS (id CHAR(13) CHARACTER SET ascii PATH '$[0]', \
         account VARCHAR(128) CHARACTER SET ascii PATH '$[1]', \
         vendor_id VARCHAR(128) CHARACTER SET utf8mb4 PATH '$[2]')) j \
         STRAIGHT_JOIN parked_reports p FORCE INDEX (idx_parked_vendor) \
         ON p.provider_account = j.account AND p.vendor_message_id = j.vendor_id",
    )
    .bind(&rows)
    .bind(&rows)
    .fetch_all(tx)
    .await?;
    let vendor_ids: BTreeMap<MessageId, Option<&str>> = due
        .iter()
        .map(|row| (row.message_id, row.vendor_message_id.as_deref()))
        .collect();
    let mut seen = BTreeMap::new();
    for one in found {
        // The column takes texts for equal that differ in spaces at their end.
        let known = vendor_ids.get(&one.message_id).copied().flatten();
        if one.vendor_id.is_none() || one.vendor_id.as_deref() == known {
            seen.insert((one.parked.parked_id, one.message_id), one.parked);
        }
    }
    seen.into_iter()
        .map(|((_, message), parked)| Ok((message, parked.read()?)))
        .collect()
}

/// The statements that park reports, one for each of [`SIZES`].
static PARKED: std::sync::LazyLock<[String; SIZES.len()]> = std::sync::LazyLock::new(|| {
    SIZES.map(|size| {
        let rows = ["(?, ?, ?, ?, 0, ?, ?)"].repeat(size).join(", ");
        format!(
            "INSERT INTO parked_reports (provider_account, vendor_message_id, message_id, \
             report, misses, since, due) VALUES {rows}"
        )
    })
});

async fn park(
    tx: &mut MySqlConnection,
    reports: &[Report],
    now: Timestamp,
    due: Timestamp,
    version: FrameVersion,
) -> Result<(), Fault> {
    for (size, piece) in pieces(reports) {
        let mut insert = sqlx::query(PARKED[size].as_str());
        for report in piece {
            insert = insert
                .bind(report.account.as_str())
                .bind(report.vendor_id.as_ref().map(VendorMessageId::as_str))
                .bind(report.message)
                .bind(to_park(report, version))
                .bind(now.millis())
                .bind(due.millis());
        }
        insert.execute(&mut *tx).await?;
    }
    Ok(())
}

async fn is_parked(connection: &mut MySqlConnection, now: Timestamp) -> Result<bool, Fault> {
    // idx_parked_due
    let waiting: Option<i64> =
        sqlx::query_scalar("SELECT 1 FROM parked_reports WHERE due <= ? LIMIT 1")
            .bind(now.millis())
            .fetch_optional(connection)
            .await?;
    Ok(waiting.is_some())
}

async fn take_parked(
    tx: &mut MySqlConnection,
    now: Timestamp,
    again: Timestamp,
    limit: u32,
) -> Result<Vec<ParkedReport>, Fault> {
    let rows: Vec<ParkedRow> = sqlx::query_as(
        "SELECT parked_id, report, misses, since FROM parked_reports FORCE INDEX (idx_parked_due) \
         WHERE due <= ? ORDER BY due LIMIT ? FOR UPDATE SKIP LOCKED",
    )
    .bind(now.millis())
    .bind(limit)
    .fetch_all(&mut *tx)
    .await?;
    let keys: Vec<Value> = rows.iter().map(|row| json!(row.parked_id)).collect();
    sqlx::query(
        "UPDATE JSON_TABLE(?, '$[*]' COLUMNS (id BIGINT PATH '$')) j \
         STRAIGHT_JOIN parked_reports p FORCE INDEX (PRIMARY) ON p.parked_id = j.id \
         SET p.due = ?",
    )
    .bind(json_rows(&keys))
    .bind(again.millis())
    .execute(tx)
    .await?;
    rows.into_iter()
        .map(|row| row.read().map_err(Fault::from))
        .collect()
}

async fn repark(tx: &mut MySqlConnection, parked: &[(i64, Timestamp)]) -> Result<(), Fault> {
    let sorted: BTreeMap<i64, Timestamp> = parked.iter().copied().collect();
    let rows: Vec<Value> = sorted
        .iter()
        .map(|(key, due)| json!([key, due.millis()]))
        .collect();
    sqlx::query(
        "UPDATE JSON_TABLE(?, '$[*]' COLUMNS (id BIGINT PATH '$[0]', due BIGINT PATH '$[1]')) j \
         STRAIGHT_JOIN parked_reports p FORCE INDEX (PRIMARY) ON p.parked_id = j.id \
         SET p.due = j.due, p.misses = p.misses + 1",
    )
    .bind(json_rows(&rows))
    .execute(tx)
    .await?;
    Ok(())
}

async fn unpark(tx: &mut MySqlConnection, keys: Vec<i64>) -> Result<(), Fault> {
    if keys.is_empty() {
        return Ok(());
    }
    let sorted: BTreeSet<i64> = keys.into_iter().collect();
    let keys: Vec<Value> = sorted.into_iter().map(Value::from).collect();
    sqlx::query(
        "DELETE p FROM JSON_TABLE(?, '$[*]' COLUMNS (id BIGINT PATH '$')) j \
         STRAIGHT_JOIN parked_reports p FORCE INDEX (PRIMARY) ON p.parked_id = j.id",
    )
    .bind(json_rows(&keys))
    .execute(tx)
    .await?;
    Ok(())
}
