//! Outbox rows are written here and nowhere else.

use sqlx::SqliteConnection;

use super::from_sqlx;
use crate::broker::Publication;
use crate::clock::Timestamp;
use crate::domain::id::{InstanceId, OutboxId};
use crate::ledger::{Dispatch, LedgerError, frames};

pub(super) use crate::ledger::frames::{read, send_frames};

/// Writes the outbox row of a transaction; nothing if there is nothing to publish.
pub(super) async fn keep(
    connection: &mut SqliteConnection,
    me: InstanceId,
    outbox: OutboxId,
    publications: Vec<Publication>,
    now: Timestamp,
) -> Result<Option<Dispatch>, LedgerError> {
    if publications.is_empty() {
        return Ok(None);
    }
    sqlx::query("INSERT INTO outbox (outbox_id, owner, created_at, frames) VALUES (?, ?, ?, ?)")
        .bind(outbox.to_column())
        .bind(me.to_column())
        .bind(now.millis())
        .bind(frames::to_stored(&publications))
        .execute(connection)
        .await
        .map_err(from_sqlx)?;
    Ok(Some(Dispatch {
        outbox,
        frames: publications,
    }))
}
