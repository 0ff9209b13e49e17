use std::time::Duration;

use async_trait::async_trait;
use sqlx::SqliteConnection;

use super::{SqliteLedger, from_sqlx};
use crate::clock::Timestamp;
use crate::domain::id::PartnerId;
use crate::ledger::partners::{PartnerRow, Presented, RefreshRow, SenderRow};
use crate::ledger::{
    Blocked, LedgerError, NewPartner, Partner, PartnerStatus, Partners, RefreshOutcome,
    RefreshToken, RegisteredSender,
};

const SELECT: &str = "SELECT partner_id, name, active, secret_hash, credential_version, per_second, \
                      express_per_second, unencodable, webhook_url, webhook_secret, \
                      webhook_other_secret, webhook_other_until, webhook_batch, webhook_sent, \
                      webhook_disabled, created_at FROM partners";

const SELECT_ONE: &str = "SELECT partner_id, name, active, secret_hash, credential_version, per_second, \
     express_per_second, unencodable, webhook_url, webhook_secret, webhook_other_secret, \
     webhook_other_until, webhook_batch, webhook_sent, webhook_disabled, created_at \
     FROM partners WHERE partner_id = ?";

#[async_trait]
impl Partners for SqliteLedger {
    async fn add_partner(&self, new: &NewPartner) -> Result<bool, LedgerError> {
        let new = new.clone();
        self.writer
            .run(move |connection| {
                Box::pin(async move {
                    if !insert(&mut *connection, &new.partner).await? {
                        return Ok(false);
                    }
                    for number in &new.senders {
                        let at = new.partner.created_at;
                        add_sender(&mut *connection, &new.partner.id, number, at).await?;
                    }
                    Ok(true)
                })
            })
            .await
    }

    async fn partner(&self, id: &PartnerId) -> Result<Option<Partner>, LedgerError> {
        let row: Option<PartnerRow> = sqlx::query_as(SELECT_ONE)
            .bind(id.as_str())
            .fetch_optional(self.readers())
            .await
            .map_err(from_sqlx)?;
        row.map(PartnerRow::into_partner).transpose()
    }

    async fn partners(&self) -> Result<Vec<Partner>, LedgerError> {
        let rows: Vec<PartnerRow> = sqlx::query_as(SELECT)
            .fetch_all(self.readers())
            .await
            .map_err(from_sqlx)?;
        rows.into_iter().map(PartnerRow::into_partner).collect()
    }

    async fn update_partner(&self, read: &Partner, changed: &Partner) -> Result<bool, LedgerError> {
        let (read, partner, now) = (read.clone(), changed.clone(), self.clock.now());
        self.writer
            .run(move |connection| {
                Box::pin(async move {
                    let found: Option<PartnerRow> = sqlx::query_as(SELECT_ONE)
                        .bind(read.id.as_str())
                        .fetch_optional(&mut *connection)
                        .await
                        .map_err(from_sqlx)?;
                    if found.map(PartnerRow::into_partner).transpose()? != Some(read) {
                        return Ok(false);
                    }
                    let updated = sqlx::query(
                        "UPDATE partners SET name = ?, active = ?, secret_hash = ?, \
                         credential_version = ?, per_second = ?, express_per_second = ?, \
                         unencodable = ?, webhook_url = ?, webhook_secret = ?, \
                         webhook_other_secret = ?, webhook_other_until = ?, webhook_batch = ?, \
                         webhook_sent = ?, webhook_disabled = ?, updated_at = ? \
                         WHERE partner_id = ?",
                    )
                    .bind(&partner.name)
                    .bind(partner.status == PartnerStatus::Active)
                    .bind(&partner.secret_hash)
                    .bind(i64::from(partner.credential_version))
                    .bind(i64::from(partner.per_second))
                    .bind(i64::from(partner.express_per_second))
                    .bind(partner.unencodable.to_string())
                    .bind(&partner.webhook.url)
                    .bind(&partner.webhook.secret)
                    .bind(&partner.webhook.other_secret)
                    .bind(partner.webhook.other_until.map(Timestamp::millis))
                    .bind(i64::from(partner.webhook.batch))
                    .bind(partner.webhook.sent)
                    .bind(&partner.webhook.disabled)
                    .bind(now.millis())
                    .bind(partner.id.as_str())
                    .execute(connection)
                    .await
                    .map_err(from_sqlx)?;
                    Ok(updated.rows_affected() == 1)
                })
            })
            .await
    }

    async fn senders(&self, partner: &PartnerId) -> Result<Vec<String>, LedgerError> {
        sqlx::query_scalar(
            "SELECT number FROM sender_numbers WHERE partner_id = ? AND blocked_at IS NULL",
        )
        .bind(partner.as_str())
        .fetch_all(self.readers())
        .await
        .map_err(from_sqlx)
    }

    async fn registered_senders(
        &self,
        partner: &PartnerId,
    ) -> Result<Vec<RegisteredSender>, LedgerError> {
        let rows: Vec<SenderRow> = sqlx::query_as(
            "SELECT number, blocked_at, blocked_why FROM sender_numbers WHERE partner_id = ? \
             ORDER BY number",
        )
        .bind(partner.as_str())
        .fetch_all(self.readers())
        .await
        .map_err(from_sqlx)?;
        Ok(rows.into_iter().map(SenderRow::read).collect())
    }

    async fn block_sender(
        &self,
        partner: &PartnerId,
        number: &str,
        blocked: &Blocked,
    ) -> Result<bool, LedgerError> {
        let (partner, number, blocked) = (partner.clone(), number.to_owned(), blocked.clone());
        self.writer
            .run(move |connection| {
                Box::pin(async move {
                    let updated = sqlx::query(
                        "UPDATE sender_numbers SET blocked_at = ?, blocked_why = ? \
                         WHERE partner_id = ? AND number = ? AND blocked_at IS NULL",
                    )
                    .bind(blocked.since.millis())
                    .bind(blocked.why)
                    .bind(partner.as_str())
                    .bind(number)
                    .execute(connection)
                    .await
                    .map_err(from_sqlx)?;
                    Ok(updated.rows_affected() == 1)
                })
            })
            .await
    }

    async fn allow_sender(
        &self,
        partner: &PartnerId,
        number: &str,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let (partner, number) = (partner.clone(), number.to_owned());
        self.writer
            .run(move |connection| {
                Box::pin(async move { add_sender(connection, &partner, &number, now).await })
            })
            .await
    }

    async fn keep_refresh(&self, token: &RefreshToken, now: Timestamp) -> Result<(), LedgerError> {
        let token = token.clone();
        self.writer
            .run(move |connection| {
                Box::pin(async move { insert_refresh(connection, &token, now).await })
            })
            .await
    }

    async fn rotate_refresh(
        &self,
        presented: &[u8; 32],
        next_hash: &[u8; 32],
        next_expires_at: Timestamp,
        grace: Duration,
        now: Timestamp,
    ) -> Result<RefreshOutcome, LedgerError> {
        let (presented, hash) = (*presented, *next_hash);
        self.writer
            .run(move |connection| {
                Box::pin(async move {
                    let Some(row) = find_refresh(&mut *connection, &presented).await? else {
                        return Ok(RefreshOutcome::Invalid);
                    };
                    match row.present(hash, next_expires_at, grace, now)? {
                        Presented::Invalid => Ok(RefreshOutcome::Invalid),
                        Presented::Reused(partner) => {
                            revoke_family(connection, &row.family).await?;
                            Ok(RefreshOutcome::Reused(partner))
                        }
                        Presented::Rotated(next) => {
                            use_up(&mut *connection, &presented, now).await?;
                            insert_refresh(connection, &next, now).await?;
                            Ok(RefreshOutcome::Rotated(next.partner))
                        }
                    }
                })
            })
            .await
    }

    async fn revoke_refresh(&self, hash: &[u8; 32]) -> Result<(), LedgerError> {
        let hash = *hash;
        self.writer
            .run(move |connection| {
                Box::pin(async move {
                    match find_refresh(&mut *connection, &hash).await? {
                        Some(row) => revoke_family(connection, &row.family).await,
                        None => Ok(()),
                    }
                })
            })
            .await
    }

    async fn revoke_refresh_of(&self, partner: &PartnerId) -> Result<(), LedgerError> {
        let partner = partner.clone();
        self.writer
            .run(move |connection| {
                Box::pin(async move {
                    sqlx::query("UPDATE refresh_tokens SET revoked = 1 WHERE partner_id = ?")
                        .bind(partner.as_str())
                        .execute(connection)
                        .await
                        .map_err(from_sqlx)?;
                    Ok(())
                })
            })
            .await
    }
}

async fn insert(connection: &mut SqliteConnection, partner: &Partner) -> Result<bool, LedgerError> {
    let added = sqlx::query(
        "INSERT INTO partners (partner_id, name, active, secret_hash, credential_version, \
         per_second, express_per_second, unencodable, webhook_url, webhook_secret, \
         webhook_other_secret, webhook_other_until, webhook_batch, webhook_sent, \
         webhook_disabled, created_at, updated_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
    )
    .bind(partner.id.as_str())
    .bind(&partner.name)
    .bind(partner.status == PartnerStatus::Active)
    .bind(&partner.secret_hash)
    .bind(i64::from(partner.credential_version))
    .bind(i64::from(partner.per_second))
    .bind(i64::from(partner.express_per_second))
    .bind(partner.unencodable.to_string())
    .bind(&partner.webhook.url)
    .bind(&partner.webhook.secret)
    .bind(&partner.webhook.other_secret)
    .bind(partner.webhook.other_until.map(Timestamp::millis))
    .bind(i64::from(partner.webhook.batch))
    .bind(partner.webhook.sent)
    .bind(&partner.webhook.disabled)
    .bind(partner.created_at.millis())
    .bind(partner.created_at.millis())
    .execute(connection)
    .await
    .map_err(from_sqlx)?;
    Ok(added.rows_affected() == 1)
}

async fn add_sender(
    connection: &mut SqliteConnection,
    partner: &PartnerId,
    number: &str,
    now: Timestamp,
) -> Result<(), LedgerError> {
    sqlx::query(
        "INSERT INTO sender_numbers (partner_id, number, created_at) VALUES (?, ?, ?) \
         ON CONFLICT (partner_id, number) DO UPDATE SET blocked_at = NULL, blocked_why = NULL",
    )
    .bind(partner.as_str())
    .bind(number)
    .bind(now.millis())
    .execute(connection)
    .await
    .map_err(from_sqlx)?;
    Ok(())
}

async fn find_refresh(
    connection: &mut SqliteConnection,
    hash: &[u8; 32],
) -> Result<Option<RefreshRow>, LedgerError> {
    sqlx::query_as(
        "SELECT family, partner_id, expires_at, used_at, revoked FROM refresh_tokens \
         WHERE token_hash = ?",
    )
    .bind(hash.as_slice())
    .fetch_optional(connection)
    .await
    .map_err(from_sqlx)
}

async fn use_up(
    connection: &mut SqliteConnection,
    hash: &[u8; 32],
    now: Timestamp,
) -> Result<(), LedgerError> {
    sqlx::query("UPDATE refresh_tokens SET used_at = coalesce(used_at, ?) WHERE token_hash = ?")
        .bind(now.millis())
        .bind(hash.as_slice())
        .execute(connection)
        .await
        .map_err(from_sqlx)?;
    Ok(())
}

async fn insert_refresh(
    connection: &mut SqliteConnection,
    token: &RefreshToken,
    now: Timestamp,
) -> Result<(), LedgerError> {
    sqlx::query(
        "INSERT INTO refresh_tokens (token_hash, family, partner_id, created_at, expires_at) \
         VALUES (?, ?, ?, ?, ?)",
    )
    .bind(token.hash.as_slice())
    .bind(token.family.as_slice())
    .bind(token.partner.as_str())
    .bind(now.millis())
    .bind(token.expires_at.millis())
    .execute(connection)
    .await
    .map_err(from_sqlx)?;
    Ok(())
}

async fn revoke_family(
    connection: &mut SqliteConnection,
    family: &[u8],
) -> Result<(), LedgerError> {
    sqlx::query("UPDATE refresh_tokens SET revoked = 1 WHERE family = ?")
        .bind(family)
        .execute(connection)
        .await
        .map_err(from_sqlx)?;
    Ok(())
}
