use async_trait::async_trait;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use super::{SqliteLedger, frames, from_sqlx, json_list};
use crate::broker::Publication;
use crate::clock::Timestamp;
use crate::domain::id::{DeadLetterId, InstanceId, OutboxId};
use crate::ledger::letters::{Again, LetterRow};
use crate::ledger::{
    DeadLetter, DeadLetterFilter, DeadLetters, Dispatch, LedgerError, NewDeadLetter,
};

#[async_trait]
impl DeadLetters for SqliteLedger {
    async fn bury(&self, letters: &[NewDeadLetter], now: Timestamp) -> Result<(), LedgerError> {
        let letters = letters.to_vec();
        self.writer
            .run(move |connection| {
                Box::pin(async move {
                    for letter in &letters {
                        insert(&mut *connection, letter, now).await?;
                    }
                    Ok(())
                })
            })
            .await
    }

    async fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
    ) -> Result<Vec<DeadLetter>, LedgerError> {
        let rows: Vec<LetterRow> = select(filter)
            .build_query_as()
            .fetch_all(self.readers())
            .await
            .map_err(from_sqlx)?;
        rows.into_iter().map(LetterRow::into_letter).collect()
    }

    async fn replay(
        &self,
        me: InstanceId,
        outbox: OutboxId,
        filter: &DeadLetterFilter,
        now: Timestamp,
    ) -> Result<(u32, Option<Dispatch>), LedgerError> {
        let filter = filter.clone();
        self.writer
            .run(move |connection| {
                Box::pin(async move {
                    let rows: Vec<LetterRow> = select(&filter)
                        .build_query_as()
                        .fetch_all(&mut *connection)
                        .await
                        .map_err(from_sqlx)?;
                    let letters: Vec<DeadLetter> = rows
                        .into_iter()
                        .map(LetterRow::into_letter)
                        .collect::<Result<_, _>>()?;
                    let mut publications = Vec::new();
                    for one in &letters {
                        publications
                            .extend(send_again(&mut *connection, me, &one.letter, now).await?);
                    }
                    sqlx::query(
                        "UPDATE dead_letters SET replayed_at = ? \
                         WHERE dead_letter_id IN (SELECT value FROM json_each(?))",
                    )
                    .bind(now.millis())
                    .bind(json_list(
                        letters.iter().map(|one| one.letter.id.to_column()),
                    ))
                    .execute(&mut *connection)
                    .await
                    .map_err(from_sqlx)?;
                    let replayed = u32::try_from(letters.len()).unwrap_or(u32::MAX);
                    let dispatch = frames::keep(connection, me, outbox, publications, now).await?;
                    Ok((replayed, dispatch))
                })
            })
            .await
    }
}

pub(super) async fn insert(
    connection: &mut SqliteConnection,
    letter: &NewDeadLetter,
    now: Timestamp,
) -> Result<(), LedgerError> {
    sqlx::query(
        "INSERT INTO dead_letters (dead_letter_id, kind, partner_id, subject, reason, attempts, \
         payload, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
    )
    .bind(letter.id.to_column())
    .bind(letter.kind.name())
    .bind(letter.partner.as_ref().map(ToString::to_string))
    .bind(&letter.subject)
    .bind(&letter.reason)
    .bind(i64::from(letter.attempts))
    .bind(&letter.payload)
    .bind(now.millis())
    .execute(connection)
    .await
    .map_err(from_sqlx)?;
    Ok(())
}

/// Makes one dead letter go again; what is published comes back.
async fn send_again(
    connection: &mut SqliteConnection,
    me: InstanceId,
    letter: &NewDeadLetter,
    now: Timestamp,
) -> Result<Option<Publication>, LedgerError> {
    let (id, body, results) = match Again::of(letter)? {
        Again::Webhook { id, body, results } => (id, body, results),
        Again::Frame(publication) => return Ok(Some(publication)),
    };
    sqlx::query(
        "INSERT INTO webhooks (webhook_id, partner_id, owner, attempt, next_attempt_at, \
         results, body, created_at) VALUES (?1, ?2, ?3, 0, ?4, ?5, ?6, ?4) \
         ON CONFLICT DO NOTHING",
    )
    .bind(id.to_column())
    .bind(letter.partner.as_ref().map(ToString::to_string))
    .bind(me.to_column())
    .bind(now.millis())
    .bind(results)
    .bind(body)
    .execute(connection)
    .await
    .map_err(from_sqlx)?;
    Ok(None)
}

fn select(filter: &DeadLetterFilter) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new(
        "SELECT dead_letter_id, kind, partner_id, subject, reason, attempts, payload, \
         created_at, replayed_at FROM dead_letters WHERE dead_letter_id > ",
    );
    query.push_bind(filter.after.map_or(i64::MIN, DeadLetterId::to_column));
    if let Some(partner) = &filter.partner {
        query
            .push(" AND partner_id = ")
            .push_bind(partner.to_string());
    }
    if let Some(kind) = filter.kind {
        query.push(" AND kind = ").push_bind(kind.name());
    }
    if let Some(from) = filter.from {
        query.push(" AND created_at >= ").push_bind(from.millis());
    }
    if let Some(to) = filter.to {
        query.push(" AND created_at < ").push_bind(to.millis());
    }
    if !filter.ids.is_empty() {
        let ids = json_list(filter.ids.iter().map(|id| id.to_column()));
        query
            .push(" AND dead_letter_id IN (SELECT value FROM json_each(")
            .push_bind(ids);
        query.push("))");
    }
    query
        .push(" ORDER BY dead_letter_id LIMIT ")
        .push_bind(i64::from(filter.limit));
    query
}
