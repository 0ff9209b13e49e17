use std::sync::LazyLock;

use async_trait::async_trait;
use serde_json::json;
use sqlx::{MySqlConnection, query, query_as};

use super::{Fault, MysqlLedger, frames, json_rows, outbox};
use crate::broker::{FrameVersion, QueueName};
use crate::domain::id::{InstanceId, OutboxId};
use crate::domain::message::NewMessage;
use crate::domain::phase::Phase;
use crate::domain::status::Status;
use crate::ledger::intake::{
    SIZES, accepted_at, in_key_order, kept, kept_frames, outcomes, per_day, pieces, places,
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
        let all_new = self
            .transact(&offer, |tx, offer| Box::pin(accept_new(tx, offer)))
            .await?;
        match all_new {
            Some(batch) => Ok(batch),
            None => {
                self.transact(&offer, |tx, offer| Box::pin(accept_mixed(tx, offer)))
                    .await
            }
        }
    }
}

struct Offer<'a> {
    me: InstanceId,
    outbox: OutboxId,
    messages: &'a [NewMessage],
    retire: &'a [OutboxId],
    version: FrameVersion,
}

/// Almost always every message is new, and nothing needs to be read back: the server refuses the
/// whole statement otherwise. `None` if it did; nothing is kept then.
async fn accept_new(
    tx: &mut MySqlConnection,
    offer: &Offer<'_>,
) -> Result<Option<AcceptedBatch>, Fault> {
    match insert(tx, &NEW, offer.messages).await {
        Err(fault) if fault.is_duplicate() => {
            sqlx::Executor::execute(tx, "ROLLBACK").await?;
            return Ok(None);
        }
        inserted => inserted?,
    }
    let outcomes = vec![Accepted::Kept; offer.messages.len()];
    keep(tx, offer, outcomes).await.map(Some)
}

/// What is there already is left as it is, and found when everything is read back.
async fn accept_mixed(tx: &mut MySqlConnection, offer: &Offer<'_>) -> Result<AcceptedBatch, Fault> {
    insert(tx, &MIXED, offer.messages).await?;
    let outcomes = read_back(tx, offer.messages).await?;
    keep(tx, offer, outcomes).await
}

/// Everything beside the rows themselves.
async fn keep(
    tx: &mut MySqlConnection,
    offer: &Offer<'_>,
    outcomes: Vec<Accepted>,
) -> Result<AcceptedBatch, Fault> {
    let messages = offer.messages;
    outbox::delete(tx, offer.retire).await?;
    let dispatch = frames::keep(
        tx,
        offer.me,
        offer.outbox,
        kept_frames(messages, &outcomes, offer.version),
        accepted_at(messages),
    )
    .await?;
    count(tx, offer.me, kept(messages, &outcomes)).await?;
    Ok(AcceptedBatch { outcomes, dispatch })
}

type Inserts = LazyLock<[String; SIZES.len()]>;

/// Refused if one is not new.
static NEW: Inserts = LazyLock::new(|| inserts(""));
/// Inserts what is new, and locks what is there already.
static MIXED: Inserts =
    LazyLock::new(|| inserts(" ON DUPLICATE KEY UPDATE message_id = messages.message_id"));

fn inserts(otherwise: &str) -> [String; SIZES.len()] {
    SIZES.map(|rows| {
        let one = "(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)";
        format!(
            "INSERT INTO messages (message_id, partner_id, client_msg_id, digest, message_type, \
             purpose, lane, status, phase, queue, queued_at, created_at, valid_until, \
             recipient_hash, detail, sealed) VALUES {}{otherwise}",
            vec![one; rows].join(",")
        )
    })
}

async fn insert(
    tx: &mut MySqlConnection,
    inserts: &'static Inserts,
    messages: &[NewMessage],
) -> Result<(), Fault> {
    for (size, piece) in pieces(&in_key_order(messages)) {
        let statement: &'static str = inserts[size].as_str();
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
