use std::collections::BTreeMap;

use async_trait::async_trait;
use serde_json::{Value, json};
use sqlx::SqliteConnection;

use super::{SqliteLedger, delays, ending, frames, from_sqlx, json_rows, outbox, settling};
use crate::broker::{Member, ReportFrame};
use crate::clock::Timestamp;
use crate::domain::id::{InstanceId, MessageId, OutboxId};
use crate::domain::kind::MessageType;
use crate::domain::phase::Phase;
use crate::ledger::delays::RETRY;
use crate::ledger::rows::{NewDelay, NewEvent};
use crate::ledger::settling::latest;
use crate::ledger::submissions::{ClaimedRow, LookedRow};
use crate::ledger::{
    Claim, ClaimedCall, Dispatch, Hold, LedgerError, Looked, Settlement, Submissions,
};

#[async_trait]
impl Submissions for SqliteLedger {
    async fn look(&self, messages: &[MessageId]) -> Result<Vec<Looked>, LedgerError> {
        let rows: Vec<LookedRow> = sqlx::query_as(
            "SELECT m.message_id, m.partner_id, m.created_at, m.sealed FROM json_each(?) j \
             CROSS JOIN messages m ON m.message_id = j.value",
        )
        .bind(super::intake::id_list(messages.iter().copied()))
        .fetch_all(self.readers())
        .await
        .map_err(from_sqlx)?;
        rows.into_iter().map(LookedRow::read).collect()
    }

    async fn claim(
        &self,
        me: InstanceId,
        claims: &[Claim],
        now: Timestamp,
    ) -> Result<Vec<ClaimedCall>, LedgerError> {
        let claims = claims.to_vec();
        self.writer
            .run(move |connection| {
                Box::pin(async move {
                    let mut calls = Vec::with_capacity(claims.len());
                    for claim in &claims {
                        take(&mut *connection, me, claim, now).await?;
                        calls.push(held(&mut *connection, claim).await?);
                    }
                    Ok(calls)
                })
            })
            .await
    }

    async fn reread(&self, claim: &Claim) -> Result<ClaimedCall, LedgerError> {
        let claim = claim.clone();
        // Through the writer: it waits for the commit whose answer was lost.
        self.writer
            .run(move |connection| Box::pin(async move { held(connection, &claim).await }))
            .await
    }

    async fn hold(
        &self,
        kind: MessageType,
        members: &[Member],
        why: Hold,
        due: Timestamp,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let members = members.to_vec();
        let faulty = why == Hold::Faulty;
        let (event, note) = why.event();
        self.writer
            .run(move |connection| {
                Box::pin(async move {
                    let rows: Vec<Value> = members
                        .iter()
                        .map(|member| json!([member.id.to_column(), member.attempt]))
                        .collect();
                    let held: Vec<(MessageId, i64)> = sqlx::query_as(
                        "UPDATE messages SET phase = ?1, \
                         route_closed = max(route_closed, ?4), poison = poison + ?5 \
                         FROM json_each(?2) j WHERE messages.message_id = j.value->>0 \
                         AND phase = ?3 AND attempt = j.value->>1 \
                         RETURNING message_id, attempt",
                    )
                    .bind(i64::from(Phase::Waiting.number()))
                    .bind(json_rows(&rows))
                    .bind(i64::from(Phase::Queued.number()))
                    .bind(i64::from(!faulty))
                    .bind(i64::from(faulty))
                    .fetch_all(&mut *connection)
                    .await
                    .map_err(from_sqlx)?;
                    let waiting: Vec<_> = held
                        .iter()
                        .map(|(message, attempt)| NewDelay {
                            message: *message,
                            attempt: *attempt,
                            group: i64::from(kind.number()),
                            due,
                        })
                        .collect();
                    delays::add(&mut *connection, RETRY, &waiting).await?;
                    let events: Vec<_> = held
                        .iter()
                        .map(|(message, _)| NewEvent {
                            message: *message,
                            kind: event,
                            note: note.to_owned(),
                        })
                        .collect();
                    ending::add_events(connection, &events, now).await
                })
            })
            .await
    }

    async fn settle(
        &self,
        me: InstanceId,
        outbox_id: OutboxId,
        settlements: &[Settlement],
        retire: &[OutboxId],
    ) -> Result<Option<Dispatch>, LedgerError> {
        let (settlements, retire) = (settlements.to_vec(), retire.to_vec());
        let version = self.frame_version.get();
        self.writer
            .run(move |connection| {
                Box::pin(async move {
                    outbox::delete(&mut *connection, &retire).await?;
                    let reports = settling::carry_out(&mut *connection, &settlements).await?;
                    let now = latest(&settlements);
                    let publications = ReportFrame::publications(&reports, version);
                    frames::keep(connection, me, outbox_id, publications, now).await
                })
            })
            .await
    }
}

async fn take(
    connection: &mut SqliteConnection,
    me: InstanceId,
    claim: &Claim,
    now: Timestamp,
) -> Result<(), LedgerError> {
    let mut by_attempt: BTreeMap<u16, Vec<MessageId>> = BTreeMap::new();
    for member in &claim.members {
        by_attempt
            .entry(member.attempt)
            .or_default()
            .push(member.id);
    }
    for (attempt, ids) in by_attempt {
        sqlx::query(
            "UPDATE messages SET phase = ?1, owner = ?2, submission_id = ?3, route = ?4, \
             provider_account = ?5, vendor_message_id = NULL, claimed_at = ?6, route_closed = 0 \
             WHERE message_id IN (SELECT value FROM json_each(?7)) \
             AND phase = ?8 AND attempt = ?9 AND valid_until > ?6",
        )
        .bind(i64::from(Phase::Submitting.number()))
        .bind(me.to_column())
        .bind(claim.submission.to_column())
        .bind(claim.route.as_str())
        .bind(claim.account.as_str())
        .bind(now.millis())
        .bind(super::intake::id_list(ids))
        .bind(i64::from(Phase::Queued.number()))
        .bind(i64::from(attempt))
        .execute(&mut *connection)
        .await
        .map_err(from_sqlx)?;
    }
    Ok(())
}

async fn held(
    connection: &mut SqliteConnection,
    claim: &Claim,
) -> Result<ClaimedCall, LedgerError> {
    let ids = super::intake::id_list(claim.members.iter().map(|member| member.id));
    let rows: Vec<ClaimedRow> = sqlx::query_as(
        "SELECT m.message_id, m.partner_id, m.message_type, m.purpose, m.lane, m.attempt, m.sealed, \
         m.valid_until, m.poison, \
         coalesce(p.webhook_sent = 1 AND p.webhook_url IS NOT NULL, 0) AS tell_sent \
         FROM json_each(?1) j CROSS JOIN messages m ON m.message_id = j.value \
         LEFT JOIN partners p ON p.partner_id = m.partner_id \
         WHERE m.submission_id = ?2 AND m.phase = ?3 ORDER BY j.key",
    )
    .bind(ids)
    .bind(claim.submission.to_column())
    .bind(i64::from(Phase::Submitting.number()))
    .fetch_all(connection)
    .await
    .map_err(from_sqlx)?;
    let messages = rows
        .into_iter()
        .map(ClaimedRow::read)
        .collect::<Result<_, _>>()?;
    Ok(ClaimedCall { messages })
}
