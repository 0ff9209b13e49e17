//! Outbox rows are written here and nowhere else.

use sqlx::MySqlConnection;

use super::Fault;
use crate::broker::Publication;
use crate::clock::Timestamp;
use crate::domain::id::{InstanceId, OutboxId};
use crate::ledger::{Dispatch, frames};

pub(super) use crate::ledger::frames::{read, send_frames};

/// Writes the outbox row of a transaction; nothing if there is nothing to publish.
pub(super) async fn keep(
    transaction: &mut MySqlConnection,
    me: InstanceId,
    outbox: OutboxId,
    publications: Vec<Publication>,
    now: Timestamp,
) -> Result<Option<Dispatch>, Fault> {
    if publications.is_empty() {
        return Ok(None);
    }
    sqlx::query("INSERT INTO outbox (outbox_id, owner, created_at, frames) VALUES (?, ?, ?, ?)")
        .bind(outbox)
        .bind(me)
        .bind(now.millis())
        .bind(frames::to_stored(&publications))
        .execute(transaction)
        .await?;
    Ok(Some(Dispatch {
        outbox,
        frames: publications,
    }))
}
