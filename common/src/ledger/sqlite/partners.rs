use std::time::Duration;

use async_trait::async_trait;
use sqlx::{FromRow, SqliteConnection};

use super::{SqliteLedger, from_sqlx, partner_id};
use crate::clock::Timestamp;
use crate::domain::id::PartnerId;
use crate::ledger::{
    LedgerError, NewPartner, Partner, PartnerStatus, Partners, RefreshOutcome, RefreshToken,
    WebhookSettings,
};

const SELECT: &str = "SELECT partner_id, name, active, secret_hash, credential_version, per_second, \
                      express_per_second, unencodable, webhook_url, webhook_secret, \
                      webhook_other_secret, webhook_other_until, webhook_batch, webhook_sent, \
                      webhook_disabled, created_at FROM partners";

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
        let row: Option<PartnerRow> = sqlx::query_as(
            "SELECT partner_id, name, active, secret_hash, credential_version, per_second, \
             express_per_second, unencodable, webhook_url, webhook_secret, webhook_other_secret, \
             webhook_other_until, webhook_batch, webhook_sent, webhook_disabled, created_at \
             FROM partners WHERE partner_id = ?",
        )
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

    async fn update_partner(&self, partner: &Partner) -> Result<bool, LedgerError> {
        let (partner, now) = (partner.clone(), self.clock.now());
        self.writer
            .run(move |connection| {
                Box::pin(async move {
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
        sqlx::query_scalar("SELECT number FROM sender_numbers WHERE partner_id = ?")
            .bind(partner.as_str())
            .fetch_all(self.readers())
            .await
            .map_err(from_sqlx)
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
                    if row.revoked || row.expires_at <= now.millis() {
                        return Ok(RefreshOutcome::Invalid);
                    }
                    let partner = partner_id(&row.partner_id)?;
                    let reused = row
                        .used_at
                        .is_some_and(|at| now.since(Timestamp::from_millis(at)) > grace);
                    if reused {
                        revoke_family(connection, &row.family).await?;
                        return Ok(RefreshOutcome::Reused(partner));
                    }
                    sqlx::query(
                        "UPDATE refresh_tokens SET used_at = coalesce(used_at, ?) \
                         WHERE token_hash = ?",
                    )
                    .bind(now.millis())
                    .bind(presented.as_slice())
                    .execute(&mut *connection)
                    .await
                    .map_err(from_sqlx)?;
                    let family =
                        row.family.as_slice().try_into().map_err(|_| {
                            LedgerError::Corrupt("family of a refresh token".into())
                        })?;
                    let next = RefreshToken {
                        hash,
                        family,
                        partner: partner.clone(),
                        expires_at: next_expires_at,
                    };
                    insert_refresh(connection, &next, now).await?;
                    Ok(RefreshOutcome::Rotated(partner))
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

#[derive(FromRow)]
struct PartnerRow {
    partner_id: String,
    name: String,
    active: bool,
    secret_hash: String,
    credential_version: i64,
    per_second: i64,
    express_per_second: i64,
    unencodable: String,
    webhook_url: Option<String>,
    webhook_secret: Vec<u8>,
    webhook_other_secret: Option<Vec<u8>>,
    webhook_other_until: Option<i64>,
    webhook_batch: i64,
    webhook_sent: bool,
    webhook_disabled: Option<String>,
    created_at: i64,
}

impl PartnerRow {
    fn into_partner(self) -> Result<Partner, LedgerError> {
        let whole = |number: i64| u32::try_from(number).unwrap_or(u32::MAX);
        Ok(Partner {
            id: partner_id(&self.partner_id)?,
            name: self.name,
            status: if self.active {
                PartnerStatus::Active
            } else {
                PartnerStatus::Disabled
            },
            secret_hash: self.secret_hash,
            credential_version: whole(self.credential_version),
            per_second: whole(self.per_second),
            express_per_second: whole(self.express_per_second),
            unencodable: self
                .unencodable
                .parse()
                .map_err(|_| LedgerError::Corrupt("policy for characters".into()))?,
            webhook: WebhookSettings {
                url: self.webhook_url,
                secret: self.webhook_secret,
                other_secret: self.webhook_other_secret,
                other_until: self.webhook_other_until.map(Timestamp::from_millis),
                batch: u16::try_from(self.webhook_batch).unwrap_or(1),
                sent: self.webhook_sent,
                disabled: self.webhook_disabled,
            },
            created_at: Timestamp::from_millis(self.created_at),
        })
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
         ON CONFLICT DO NOTHING",
    )
    .bind(partner.as_str())
    .bind(number)
    .bind(now.millis())
    .execute(connection)
    .await
    .map_err(from_sqlx)?;
    Ok(())
}

#[derive(FromRow)]
struct RefreshRow {
    family: Vec<u8>,
    partner_id: String,
    expires_at: i64,
    used_at: Option<i64>,
    revoked: bool,
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
