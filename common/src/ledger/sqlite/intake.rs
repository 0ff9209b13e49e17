use std::sync::LazyLock;

use async_trait::async_trait;
use sqlx::SqliteConnection;

use super::{SqliteLedger, frames, from_sqlx, json_list, json_rows};
use crate::broker::QueueName;
use crate::domain::id::{InstanceId, MessageId, OutboxId};
use crate::domain::message::NewMessage;
use crate::domain::phase::Phase;
use crate::domain::status::Status;
use crate::ledger::intake::{
    SIZES, accepted_at, in_key_order, kept, kept_frames, outcomes, per_day, pieces, places,
};
use crate::ledger::rows::{lane_number, purpose_number, status_number};
use crate::ledger::{Accepted, AcceptedBatch, Intake, LedgerError};

#[async_trait]
impl Intake for SqliteLedger {
    async fn accept(
        &self,
        me: InstanceId,
        outbox: OutboxId,
        messages: &[NewMessage],
        retire: &[OutboxId],
    ) -> Result<AcceptedBatch, LedgerError> {
        let (messages, retire) = (messages.to_vec(), retire.to_vec());
        let version = self.frame_version.get();
        self.writer
            .run(move |connection| {
                Box::pin(async move {
                    super::outbox::delete(&mut *connection, &retire).await?;
                    insert(&mut *connection, &messages).await?;
                    let outcomes = read_back(&mut *connection, &messages).await?;
                    count(&mut *connection, kept(&messages, &outcomes)).await?;
                    let publications = kept_frames(&messages, &outcomes, version);
                    let now = accepted_at(&messages);
                    let dispatch = frames::keep(connection, me, outbox, publications, now).await?;
                    Ok(AcceptedBatch { outcomes, dispatch })
                })
            })
            .await
    }
}

static INSERTS: LazyLock<[String; SIZES.len()]> = LazyLock::new(|| {
    SIZES.map(|rows| {
        let one = "(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)";
        format!(
            "INSERT INTO messages (message_id, partner_id, client_msg_id, digest, message_type, \
             purpose, lane, status, phase, queue, queued_at, created_at, valid_until, \
             recipient_hash, detail, sealed) VALUES {} ON CONFLICT DO NOTHING",
            vec![one; rows].join(",")
        )
    })
});

/// Inserts what is new.
async fn insert(
    connection: &mut SqliteConnection,
    messages: &[NewMessage],
) -> Result<(), LedgerError> {
    for (size, piece) in pieces(&in_key_order(messages)) {
        let statement: &'static str = INSERTS[size].as_str();
        let mut query = sqlx::query(statement);
        for message in piece {
            query = query
                .bind(message.id.to_column())
                .bind(message.partner.as_str())
                .bind(message.client_msg_id.as_str())
                .bind(message.digest.as_slice())
                .bind(i64::from(message.kind.number()))
                .bind(purpose_number(message.purpose))
                .bind(lane_number(message.lane))
                .bind(status_number(Status::Received))
                .bind(i64::from(Phase::Queued.number()))
                .bind(i64::from(
                    QueueName::of(message.kind, message.lane).number(),
                ))
                .bind(message.accepted_at.millis())
                .bind(message.accepted_at.millis())
                .bind(message.valid_until.millis())
                .bind(message.recipient_hash.as_slice())
                .bind(message.metadata.as_deref())
                .bind(message.sealed.as_slice());
        }
        query.execute(&mut *connection).await.map_err(from_sqlx)?;
    }
    Ok(())
}

/// Counts what was accepted here and now.
async fn count(
    connection: &mut SqliteConnection,
    new: impl Iterator<Item = &NewMessage>,
) -> Result<(), LedgerError> {
    for ((partner, day, kind), accepted) in per_day(new) {
        sqlx::query(
            "INSERT INTO partner_daily_accepted (partner_id, stat_date, message_type, accepted) \
             VALUES (?, ?, ?, ?) ON CONFLICT (partner_id, stat_date, message_type) \
             DO UPDATE SET accepted = accepted + excluded.accepted",
        )
        .bind(partner.as_str())
        .bind(day)
        .bind(i64::from(kind))
        .bind(accepted)
        .execute(&mut *connection)
        .await
        .map_err(from_sqlx)?;
    }
    Ok(())
}

async fn read_back(
    connection: &mut SqliteConnection,
    messages: &[NewMessage],
) -> Result<Vec<Accepted>, LedgerError> {
    // By uk_message_partner_client_msg, once per key.
    let found = sqlx::query_as(
        "SELECT j.value->>0, m.message_id, m.digest FROM json_each(?) j CROSS JOIN messages m \
         ON m.partner_id = j.value->>1 AND m.client_msg_id = j.value->>2",
    )
    .bind(json_rows(&places(messages)))
    .fetch_all(connection)
    .await
    .map_err(from_sqlx)?;
    Ok(outcomes(messages, found))
}

/// Message ids for `json_each`.
pub(super) fn id_list(ids: impl IntoIterator<Item = MessageId>) -> String {
    json_list(ids.into_iter().map(MessageId::to_column))
}
