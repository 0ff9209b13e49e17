use std::collections::HashSet;
use std::sync::LazyLock;

use async_trait::async_trait;
use serde_json::json;
use sqlx::{MySqlConnection, query, query_as, query_scalar};

use super::{Fault, MysqlLedger, frames, json_ids, json_rows, outbox};
use crate::broker::{FrameVersion, QueueName};
use crate::domain::id::{InstanceId, MessageId, OutboxId};
use crate::domain::message::NewMessage;
use crate::domain::phase::Phase;
use crate::domain::status::Status;
use crate::ledger::intake::{
    SIZES, accepted_at, in_key_order, kept_frames, outcomes, per_day, pieces, places,
};
use crate::ledger::rows::{lane_number, purpose_number, status_number};
use crate::ledger::{Accepted, AcceptedBatch, Intake, LedgerError};

#[async_trait]
impl Intake for MysqlLedger {
    async fn accept(
        &self,
        me: InstanceId,
        outbox: OutboxId,
        messages: &[NewMessage],
        retire: &[OutboxId],
    ) -> Result<AcceptedBatch, LedgerError> {
        let offer = Offer {
            me,
            outbox,
            messages,
            retire,
            version: self.frame_version.get(),
        };
        self.transact(&offer, |tx, offer| Box::pin(accept(tx, offer)))
            .await
    }
}

struct Offer<'a> {
    me: InstanceId,
    outbox: OutboxId,
    messages: &'a [NewMessage],
    retire: &'a [OutboxId],
    version: FrameVersion,
}

async fn accept(tx: &mut MySqlConnection, offer: &Offer<'_>) -> Result<AcceptedBatch, Fault> {
    let messages = offer.messages;
    let known = known(tx, messages).await?;
    insert(tx, messages).await?;
    let outcomes = read_back(tx, messages).await?;
    outbox::delete(tx, offer.retire).await?;
    let dispatch = frames::keep(
        tx,
        offer.me,
        offer.outbox,
        kept_frames(messages, &outcomes, offer.version),
        accepted_at(messages),
    )
    .await?;
    let new = messages
        .iter()
        .zip(&outcomes)
        .filter(|(message, outcome)| **outcome == Accepted::Kept && !known.contains(&message.id))
        .map(|(message, _)| message);
    count(tx, offer.me, new).await?;
    Ok(AcceptedBatch { outcomes, dispatch })
}

/// Which of the message ids are there before anything is inserted: those offered again after a
/// commit whose answer was lost. The locks wait for such a commit where it is still under way.
async fn known(
    tx: &mut MySqlConnection,
    messages: &[NewMessage],
) -> Result<HashSet<MessageId>, Fault> {
    let mut ids: Vec<MessageId> = messages.iter().map(|message| message.id).collect();
    ids.sort_unstable();
    let known = query_scalar(
        "SELECT m.message_id FROM (SELECT * FROM JSON_TABLE(?, '$[*]' \
         COLUMNS (id CHAR(13) CHARACTER SET ascii PATH '$')) list) j STRAIGHT_JOIN messages m \
         ON m.message_id = j.id FOR UPDATE",
    )
    .bind(json_ids(ids))
    .fetch_all(tx)
    .await?;
    Ok(known.into_iter().collect())
}

static INSERTS: LazyLock<[String; 3]> = LazyLock::new(|| {
    SIZES.map(|rows| {
        let one = "(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)";
        format!(
            "INSERT INTO messages (message_id, partner_id, client_msg_id, digest, message_type, \
             purpose, lane, status, phase, queue, queued_at, created_at, valid_until, \
             recipient_hash, detail, sealed) VALUES {} \
             ON DUPLICATE KEY UPDATE message_id = messages.message_id",
            vec![one; rows].join(",")
        )
    })
});

/// Inserts what is new, and locks what is there already.
async fn insert(tx: &mut MySqlConnection, messages: &[NewMessage]) -> Result<(), Fault> {
    for (size, piece) in pieces(&in_key_order(messages)) {
        let statement: &'static str = INSERTS[size].as_str();
        let mut insert = query(statement);
        for message in piece {
            insert = insert
                .bind(message.id)
                .bind(message.partner.as_str())
                .bind(message.client_msg_id.as_str())
                .bind(message.digest.as_slice())
                .bind(message.kind.number())
                .bind(purpose_number(message.purpose))
                .bind(lane_number(message.lane))
                .bind(status_number(Status::Received))
                .bind(Phase::Queued.number())
                .bind(QueueName::of(message.kind, message.lane).number())
                .bind(message.accepted_at.millis())
                .bind(message.accepted_at.millis())
                .bind(message.valid_until.millis())
                .bind(message.recipient_hash.as_slice())
                .bind(message.metadata.as_deref())
                .bind(message.sealed.as_slice());
        }
        insert.execute(&mut *tx).await?;
    }
    Ok(())
}

async fn read_back(
    tx: &mut MySqlConnection,
    messages: &[NewMessage],
) -> Result<Vec<Accepted>, Fault> {
    // By uk_message_partner_client_msg, once per key.
    let found = query_as(
        "SELECT j.place, m.message_id, m.digest FROM JSON_TABLE(?, '$[*]' COLUMNS ( \
         place BIGINT PATH '$[0]', \
         partner_id VARCHAR(32) CHARACTER SET ascii PATH '$[1]', \
         client_msg_id VARCHAR(64) CHARACTER SET ascii PATH '$[2]')) j \
         STRAIGHT_JOIN messages m FORCE INDEX (uk_message_partner_client_msg) \
         ON m.partner_id = j.partner_id AND m.client_msg_id = j.client_msg_id",
    )
    .bind(json_rows(&places(messages)))
    .fetch_all(tx)
    .await?;
    Ok(outcomes(messages, found))
}

/// In how many slots a partner's day is counted, so that receivers do not wait for each other.
const SLOTS: u64 = 16;

/// Counts what was accepted here and now; last of all, because the rows are hot.
async fn count(
    tx: &mut MySqlConnection,
    me: InstanceId,
    new: impl Iterator<Item = &NewMessage>,
) -> Result<(), Fault> {
    let slot = me.number() % SLOTS;
    let days: Vec<_> = per_day(new)
        .into_iter()
        .map(|((partner, day, kind), rows)| json!([partner.as_str(), day, kind, slot, rows]))
        .collect();
    if days.is_empty() {
        return Ok(());
    }
    query(
        "INSERT INTO partner_daily_accepted (partner_id, stat_date, message_type, slot, accepted) \
         SELECT j.partner, j.day, j.kind, j.slot, j.new FROM JSON_TABLE(?, '$[*]' COLUMNS ( \
         partner VARCHAR(32) CHARACTER SET ascii PATH '$[0]', day INT PATH '$[1]', \
         kind INT PATH '$[2]', slot INT PATH '$[3]', new BIGINT PATH '$[4]')) j \
         ON DUPLICATE KEY UPDATE \
         accepted = partner_daily_accepted.accepted + VALUES(accepted)",
    )
    .bind(json_rows(&days))
    .execute(tx)
    .await?;
    Ok(())
}
