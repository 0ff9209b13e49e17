use std::collections::{BTreeMap, HashSet};
use std::sync::LazyLock;

use async_trait::async_trait;
use sqlx::SqliteConnection;

use super::rows::{lane_number, purpose_number, status_number};
use super::{SqliteLedger, frames, from_sqlx, json_list};
use crate::broker::{Member, QueueName};
use crate::domain::id::{InstanceId, MessageId, OutboxId};
use crate::domain::message::NewMessage;
use crate::domain::phase::Phase;
use crate::domain::status::Status;
use crate::ledger::{Accepted, AcceptedBatch, Duplicate, Intake, LedgerError};

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
        self.writer
            .run(move |connection| {
                Box::pin(async move {
                    super::outbox::delete(&mut *connection, &retire).await?;
                    let inserted = insert(&mut *connection, &messages).await?;
                    count(&mut *connection, &messages, &inserted).await?;
                    let outcomes = read_back(&mut *connection, &messages).await?;
                    let kept = messages
                        .iter()
                        .zip(&outcomes)
                        .filter(|(_, outcome)| **outcome == Accepted::Kept)
                        .map(|(message, _)| {
                            let queue = QueueName::of(message.kind, message.lane);
                            (
                                queue,
                                message.kind,
                                Member {
                                    id: message.id,
                                    attempt: 0,
                                },
                            )
                        });
                    let now = messages
                        .first()
                        .map(|first| first.accepted_at)
                        .unwrap_or_default();
                    let publications = frames::send_frames(kept, now);
                    let dispatch = frames::keep(connection, me, outbox, publications, now).await?;
                    Ok(AcceptedBatch { outcomes, dispatch })
                })
            })
            .await
    }
}

/// How many rows one statement inserts; the largest that fits is taken.
const SIZES: [usize; 3] = [64, 8, 1];

static INSERTS: LazyLock<[String; 3]> = LazyLock::new(|| {
    SIZES.map(|rows| {
        let one = "(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)";
        format!(
            "INSERT INTO messages (message_id, partner_id, client_msg_id, digest, message_type, \
             purpose, lane, status, phase, queue, queued_at, created_at, valid_until, \
             recipient_hash, detail, sealed) VALUES {} ON CONFLICT DO NOTHING \
             RETURNING message_id",
            vec![one; rows].join(",")
        )
    })
});

/// Inserts what is new; returns the ids that were.
async fn insert(
    connection: &mut SqliteConnection,
    messages: &[NewMessage],
) -> Result<HashSet<i64>, LedgerError> {
    let mut inserted = HashSet::with_capacity(messages.len());
    // In the order of the unique key, as every implementation does it: unsorted batches that
    // overlap would wait for each other where rows are locked. The sort is stable, so of two with
    // the same key the caller's first is kept.
    let mut sorted: Vec<&NewMessage> = messages.iter().collect();
    sorted.sort_by(|a, b| (&a.partner, &a.client_msg_id).cmp(&(&b.partner, &b.client_msg_id)));
    let mut rest = sorted.as_slice();
    while !rest.is_empty() {
        let place = SIZES
            .iter()
            .position(|size| *size <= rest.len())
            .unwrap_or(SIZES.len() - 1);
        let (chunk, after) = rest.split_at(SIZES[place]);
        rest = after;
        let statement: &'static str = INSERTS[place].as_str();
        let mut query = sqlx::query_scalar::<_, i64>(statement);
        for message in chunk {
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
        inserted.extend(query.fetch_all(&mut *connection).await.map_err(from_sqlx)?);
    }
    Ok(inserted)
}

/// Counts what was accepted here and now. A message that is offered again after a commit whose
/// answer was lost is kept, and not counted a second time.
async fn count(
    connection: &mut SqliteConnection,
    messages: &[NewMessage],
    inserted: &HashSet<i64>,
) -> Result<(), LedgerError> {
    let mut days: BTreeMap<(&str, i32, u8), i64> = BTreeMap::new();
    for message in messages {
        if inserted.contains(&message.id.to_column()) {
            let day = message.accepted_at.kst_day().number();
            let key = (message.partner.as_str(), day, message.kind.number());
            *days.entry(key).or_default() += 1;
        }
    }
    for ((partner, day, kind), accepted) in days {
        sqlx::query(
            "INSERT INTO partner_daily_accepted (partner_id, stat_date, message_type, accepted) \
             VALUES (?, ?, ?, ?) ON CONFLICT (partner_id, stat_date, message_type) \
             DO UPDATE SET accepted = accepted + excluded.accepted",
        )
        .bind(partner)
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
    let keys: Vec<serde_json::Value> = messages
        .iter()
        .map(|message| {
            serde_json::json!([message.partner.as_str(), message.client_msg_id.as_str()])
        })
        .collect();
    // By uk_message_partner_client_msg, once per key.
    let found: Vec<(i64, i64, Vec<u8>)> = sqlx::query_as(
        "SELECT j.key, m.message_id, m.digest FROM json_each(?) j CROSS JOIN messages m \
         ON m.partner_id = j.value->>0 AND m.client_msg_id = j.value->>1",
    )
    .bind(serde_json::Value::Array(keys).to_string())
    .fetch_all(connection)
    .await
    .map_err(from_sqlx)?;
    let mut outcomes = vec![Accepted::IdTaken; messages.len()];
    for (place, id, digest) in found {
        let Some((message, outcome)) = usize::try_from(place)
            .ok()
            .and_then(|place| Some((messages.get(place)?, outcomes.get_mut(place)?)))
        else {
            continue;
        };
        let id = MessageId::from_column(id);
        *outcome = if id == message.id {
            Accepted::Kept
        } else if digest == message.digest {
            Accepted::Repeated(id, Duplicate::Same)
        } else {
            Accepted::Repeated(id, Duplicate::Conflict)
        };
    }
    Ok(outcomes)
}

/// Message ids for `json_each`.
pub(super) fn id_list(ids: impl IntoIterator<Item = MessageId>) -> String {
    json_list(ids.into_iter().map(MessageId::to_column))
}
