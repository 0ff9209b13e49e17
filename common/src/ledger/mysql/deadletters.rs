use std::collections::BTreeSet;

use async_trait::async_trait;
use sqlx::{MySql, MySqlConnection, QueryBuilder};

use super::{Fault, MysqlLedger, frames, json_ids};
use crate::broker::Publication;
use crate::clock::Timestamp;
use crate::domain::id::{DeadLetterId, InstanceId, OutboxId};
use crate::ledger::letters::{Again, LetterRow};
use crate::ledger::{
    DeadLetter, DeadLetterFilter, DeadLetters, Dispatch, LedgerError, NewDeadLetter,
};

#[async_trait]
impl DeadLetters for MysqlLedger {
    async fn bury(&self, letters: &[NewDeadLetter], now: Timestamp) -> Result<(), LedgerError> {
        self.transact(&(letters, now), |tx, (letters, now)| {
            Box::pin(bury(tx, letters, *now))
        })
        .await
    }

    async fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
    ) -> Result<Vec<DeadLetter>, LedgerError> {
        self.read(filter, |connection, filter| {
            Box::pin(find(connection, filter))
        })
        .await
    }

    async fn replay(
        &self,
        me: InstanceId,
        outbox: OutboxId,
        filter: &DeadLetterFilter,
        now: Timestamp,
    ) -> Result<(u32, Option<Dispatch>), LedgerError> {
        self.transact(
            &(me, outbox, filter, now),
            |tx, (me, outbox, filter, now)| Box::pin(replay(tx, *me, *outbox, filter, *now)),
        )
        .await
    }
}

/// Keeps dead letters; one that is kept already stays as it is.
pub(super) async fn bury(
    tx: &mut MySqlConnection,
    letters: &[NewDeadLetter],
    now: Timestamp,
) -> Result<(), Fault> {
    let mut sorted: Vec<&NewDeadLetter> = letters.iter().collect();
    sorted.sort_by_key(|letter| letter.id);
    for letter in sorted {
        sqlx::query(
            "INSERT INTO dead_letters (dead_letter_id, kind, partner_id, subject, reason, \
             attempts, payload, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?) \
             ON DUPLICATE KEY UPDATE dead_letter_id = VALUES(dead_letter_id)",
        )
        .bind(letter.id)
        .bind(letter.kind.name())
        .bind(letter.partner.as_ref().map(ToString::to_string))
        .bind(&letter.subject)
        .bind(&letter.reason)
        .bind(i64::from(letter.attempts))
        .bind(&letter.payload)
        .bind(now.millis())
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}

/// The letters are not locked: of two operators who send the same one again the second waits for the
/// first at the webhook row, and leaves it as it is.
async fn replay(
    tx: &mut MySqlConnection,
    me: InstanceId,
    outbox: OutboxId,
    filter: &DeadLetterFilter,
    now: Timestamp,
) -> Result<(u32, Option<Dispatch>), Fault> {
    let letters = find(&mut *tx, filter).await?;
    let mut publications = Vec::new();
    for one in &letters {
        publications.extend(send_again(&mut *tx, me, &one.letter, now).await?);
    }
    sqlx::query(
        "UPDATE JSON_TABLE(?, '$[*]' COLUMNS (id CHAR(13) CHARACTER SET ascii PATH '$')) j \
         STRAIGHT_JOIN dead_letters l ON l.dead_letter_id = j.id SET l.replayed_at = ?",
    )
    .bind(json_ids(letters.iter().map(|one| one.letter.id)))
    .bind(now.millis())
    .execute(&mut *tx)
    .await?;
    let replayed = u32::try_from(letters.len()).unwrap_or(u32::MAX);
    let dispatch = frames::keep(tx, me, outbox, publications, now).await?;
    Ok((replayed, dispatch))
}

/// Makes one dead letter go again; what is published comes back.
async fn send_again(
    tx: &mut MySqlConnection,
    me: InstanceId,
    letter: &NewDeadLetter,
    now: Timestamp,
) -> Result<Option<Publication>, Fault> {
    let (id, body, results) = match Again::of(letter)? {
        Again::Webhook { id, body, results } => (id, body, results),
        Again::Frame(publication) => return Ok(Some(publication)),
    };
    sqlx::query(
        "INSERT INTO webhooks (webhook_id, partner_id, owner, attempt, next_attempt_at, \
         results, body, created_at) VALUES (?, ?, ?, 0, ?, ?, ?, ?) \
         ON DUPLICATE KEY UPDATE webhook_id = VALUES(webhook_id)",
    )
    .bind(id)
    .bind(letter.partner.as_ref().map(ToString::to_string))
    .bind(me)
    .bind(now.millis())
    .bind(results)
    .bind(body)
    .bind(now.millis())
    .execute(tx)
    .await?;
    Ok(None)
}

async fn find(
    connection: &mut MySqlConnection,
    filter: &DeadLetterFilter,
) -> Result<Vec<DeadLetter>, Fault> {
    let rows: Vec<LetterRow> = select(filter)
        .build_query_as()
        .fetch_all(connection)
        .await?;
    let letters: Result<_, LedgerError> = rows.into_iter().map(LetterRow::into_letter).collect();
    Ok(letters?)
}

fn select(filter: &DeadLetterFilter) -> QueryBuilder<MySql> {
    let mut query = QueryBuilder::new(
        "SELECT l.dead_letter_id, l.kind, l.partner_id, l.subject, l.reason, l.attempts, \
         l.payload, l.created_at, l.replayed_at FROM ",
    );
    if !filter.ids.is_empty() {
        // Each once, and in order.
        let ids: BTreeSet<&DeadLetterId> = filter.ids.iter().collect();
        query
            .push("JSON_TABLE(")
            .push_bind(json_ids(ids))
            .push(", '$[*]' COLUMNS (id CHAR(13) CHARACTER SET ascii PATH '$')) j ");
        query.push("STRAIGHT_JOIN dead_letters l ON l.dead_letter_id = j.id");
    } else if filter.partner.is_some() {
        // It holds the primary key as its second part, so that a page is one range of it.
        query.push("dead_letters l FORCE INDEX (idx_dead_letter_partner)");
    } else {
        query.push("dead_letters l FORCE INDEX (PRIMARY)");
    }
    query
        .push(" WHERE l.dead_letter_id > ")
        .push_bind(filter.after.map(|id| id.to_string()).unwrap_or_default());
    if let Some(partner) = &filter.partner {
        query
            .push(" AND l.partner_id = ")
            .push_bind(partner.to_string());
    }
    if let Some(kind) = filter.kind {
        query.push(" AND l.kind = ").push_bind(kind.name());
    }
    if let Some(from) = filter.from {
        query.push(" AND l.created_at >= ").push_bind(from.millis());
    }
    if let Some(to) = filter.to {
        query.push(" AND l.created_at < ").push_bind(to.millis());
    }
    query
        .push(" ORDER BY l.dead_letter_id LIMIT ")
        .push_bind(i64::from(filter.limit));
    query
}
