use std::time::Duration;

use async_trait::async_trait;
use sqlx::{MySqlConnection, query, query_as, query_scalar};

use super::{Fault, MysqlLedger, lease_now};
use crate::clock::Timestamp;
use crate::domain::id::PartnerId;
use crate::ledger::partners::{PartnerRow, Presented, RefreshRow, SenderRow};
use crate::ledger::{
    Blocked, LedgerError, NewPartner, Partner, PartnerStatus, Partners, RefreshOutcome,
    RefreshToken, RegisteredSender,
};

macro_rules! partner_columns {
    () => {
        "partner_id, name, active, secret_hash, credential_version, per_second, \
         express_per_second, unencodable, webhook_url, webhook_secret, webhook_other_secret, \
         webhook_other_until, webhook_batch, webhook_sent, webhook_disabled, created_at"
    };
}

#[async_trait]
impl Partners for MysqlLedger {
    async fn add_partner(&self, new: &NewPartner) -> Result<bool, LedgerError> {
        self.transact(new, |tx, new| Box::pin(add(tx, new))).await
    }

    async fn partner(&self, id: &PartnerId) -> Result<Option<Partner>, LedgerError> {
        let row: Option<PartnerRow> = self
            .read(id, |connection, id| {
                Box::pin(async move {
                    let row = query_as(concat!(
                        "SELECT ",
                        partner_columns!(),
                        " FROM partners WHERE partner_id = ?"
                    ))
                    .bind(id.as_str())
                    .fetch_optional(connection)
                    .await?;
                    Ok(row)
                })
            })
            .await?;
        row.map(PartnerRow::into_partner).transpose()
    }

    async fn partners(&self) -> Result<Vec<Partner>, LedgerError> {
        let rows: Vec<PartnerRow> = self
            .read(&(), |connection, ()| {
                Box::pin(async move {
                    let rows = query_as(concat!(
                        "SELECT ",
                        partner_columns!(),
                        " FROM partners ORDER BY partner_id"
                    ))
                    .fetch_all(connection)
                    .await?;
                    Ok(rows)
                })
            })
            .await?;
        rows.into_iter().map(PartnerRow::into_partner).collect()
    }

    async fn update_partner(&self, read: &Partner, changed: &Partner) -> Result<bool, LedgerError> {
        let given = (read, changed, self.lease_clock.given());
        self.transact(&given, |tx, (read, changed, now)| {
            Box::pin(async move {
                if find(tx, &read.id).await?.as_ref() != Some(*read) {
                    return Ok(false);
                }
                update(tx, changed, *now).await?;
                Ok(true)
            })
        })
        .await
    }

    async fn senders(&self, partner: &PartnerId) -> Result<Vec<String>, LedgerError> {
        self.read(partner, |connection, partner| {
            Box::pin(async move {
                let numbers = query_scalar(
                    "SELECT number FROM sender_numbers WHERE partner_id = ? \
                     AND blocked_at IS NULL",
                )
                .bind(partner.as_str())
                .fetch_all(connection)
                .await?;
                Ok(numbers)
            })
        })
        .await
    }

    async fn registered_senders(
        &self,
        partner: &PartnerId,
    ) -> Result<Vec<RegisteredSender>, LedgerError> {
        let rows: Vec<SenderRow> = self
            .read(partner, |connection, partner| {
                Box::pin(async move {
                    let rows = query_as(
                        "SELECT number, blocked_at, blocked_why FROM sender_numbers \
                         WHERE partner_id = ? ORDER BY number",
                    )
                    .bind(partner.as_str())
                    .fetch_all(connection)
                    .await?;
                    Ok(rows)
                })
            })
            .await?;
        Ok(rows.into_iter().map(SenderRow::read).collect())
    }

    async fn block_sender(
        &self,
        partner: &PartnerId,
        number: &str,
        blocked: &Blocked,
    ) -> Result<bool, LedgerError> {
        let given = (partner, number, blocked);
        self.transact(&given, |tx, (partner, number, blocked)| {
            Box::pin(async move {
                let updated = query(
                    "UPDATE sender_numbers SET blocked_at = ?, blocked_why = ? \
                     WHERE partner_id = ? AND number = ? AND blocked_at IS NULL",
                )
                .bind(blocked.since.millis())
                .bind(&blocked.why)
                .bind(partner.as_str())
                .bind(number)
                .execute(tx)
                .await?;
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
        let given = (partner, number, now);
        self.transact(&given, |tx, (partner, number, now)| {
            Box::pin(add_sender(tx, partner, number, *now))
        })
        .await
    }

    async fn keep_refresh(&self, token: &RefreshToken, now: Timestamp) -> Result<(), LedgerError> {
        let given = (token, now);
        self.transact(&given, |tx, (token, now)| {
            Box::pin(insert_refresh(tx, token, *now))
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
        let rotation = Rotation {
            presented: *presented,
            next: *next_hash,
            next_expires_at,
            grace,
            now,
        };
        self.transact(&rotation, |tx, rotation| Box::pin(rotate(tx, rotation)))
            .await
    }

    async fn revoke_refresh(&self, hash: &[u8; 32]) -> Result<(), LedgerError> {
        self.transact(hash, |tx, hash| {
            Box::pin(async move {
                match lock_refresh(tx, hash).await? {
                    Some(row) => revoke_family(tx, &row.family).await,
                    None => Ok(()),
                }
            })
        })
        .await
    }

    async fn revoke_refresh_of(&self, partner: &PartnerId) -> Result<(), LedgerError> {
        self.transact(partner, |tx, partner| {
            Box::pin(async move {
                lock_partner(tx, partner.as_str()).await?;
                // By idx_refresh_partner.
                query("UPDATE refresh_tokens SET revoked = TRUE WHERE partner_id = ?")
                    .bind(partner.as_str())
                    .execute(tx)
                    .await?;
                Ok(())
            })
        })
        .await
    }
}

async fn add(tx: &mut MySqlConnection, new: &NewPartner) -> Result<bool, Fault> {
    match insert(tx, &new.partner).await {
        Err(fault) if fault.is_duplicate() => return Ok(false),
        outcome => outcome?,
    }
    for number in &new.senders {
        add_sender(tx, &new.partner.id, number, new.partner.created_at).await?;
    }
    Ok(true)
}

async fn insert(tx: &mut MySqlConnection, partner: &Partner) -> Result<(), Fault> {
    query(concat!(
        "INSERT INTO partners (",
        partner_columns!(),
        ", updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    ))
    .bind(partner.id.as_str())
    .bind(&partner.name)
    .bind(partner.status == PartnerStatus::Active)
    .bind(&partner.secret_hash)
    .bind(partner.credential_version)
    .bind(partner.per_second)
    .bind(partner.express_per_second)
    .bind(partner.unencodable.to_string())
    .bind(&partner.webhook.url)
    .bind(&partner.webhook.secret)
    .bind(&partner.webhook.other_secret)
    .bind(partner.webhook.other_until.map(Timestamp::millis))
    .bind(partner.webhook.batch)
    .bind(partner.webhook.sent)
    .bind(&partner.webhook.disabled)
    .bind(partner.created_at.millis())
    .bind(partner.created_at.millis())
    .execute(tx)
    .await?;
    Ok(())
}

/// Locks a partner's row, if there is one.
async fn lock_partner(tx: &mut MySqlConnection, partner: &str) -> Result<(), Fault> {
    query("SELECT 1 FROM partners WHERE partner_id = ? FOR UPDATE")
        .bind(partner)
        .fetch_optional(tx)
        .await?;
    Ok(())
}

/// A partner, its row locked.
async fn find(tx: &mut MySqlConnection, id: &PartnerId) -> Result<Option<Partner>, Fault> {
    let row: Option<PartnerRow> = query_as(concat!(
        "SELECT ",
        partner_columns!(),
        " FROM partners WHERE partner_id = ? FOR UPDATE"
    ))
    .bind(id.as_str())
    .fetch_optional(tx)
    .await?;
    Ok(row.map(PartnerRow::into_partner).transpose()?)
}

async fn update(
    tx: &mut MySqlConnection,
    partner: &Partner,
    now: Option<i64>,
) -> Result<(), Fault> {
    query(concat!(
        "UPDATE partners SET name = ?, active = ?, secret_hash = ?, credential_version = ?, \
         per_second = ?, express_per_second = ?, unencodable = ?, webhook_url = ?, \
         webhook_secret = ?, webhook_other_secret = ?, webhook_other_until = ?, \
         webhook_batch = ?, webhook_sent = ?, webhook_disabled = ?, updated_at = ",
        lease_now!(),
        " WHERE partner_id = ?"
    ))
    .bind(&partner.name)
    .bind(partner.status == PartnerStatus::Active)
    .bind(&partner.secret_hash)
    .bind(partner.credential_version)
    .bind(partner.per_second)
    .bind(partner.express_per_second)
    .bind(partner.unencodable.to_string())
    .bind(&partner.webhook.url)
    .bind(&partner.webhook.secret)
    .bind(&partner.webhook.other_secret)
    .bind(partner.webhook.other_until.map(Timestamp::millis))
    .bind(partner.webhook.batch)
    .bind(partner.webhook.sent)
    .bind(&partner.webhook.disabled)
    .bind(now)
    .bind(partner.id.as_str())
    .execute(tx)
    .await?;
    Ok(())
}

async fn add_sender(
    tx: &mut MySqlConnection,
    partner: &PartnerId,
    number: &str,
    now: Timestamp,
) -> Result<(), Fault> {
    query(
        "INSERT INTO sender_numbers (partner_id, number, created_at) VALUES (?, ?, ?) \
         ON DUPLICATE KEY UPDATE blocked_at = NULL, blocked_why = NULL",
    )
    .bind(partner.as_str())
    .bind(number)
    .bind(now.millis())
    .execute(tx)
    .await?;
    Ok(())
}

struct Rotation {
    presented: [u8; 32],
    next: [u8; 32],
    next_expires_at: Timestamp,
    grace: Duration,
    now: Timestamp,
}

async fn rotate(tx: &mut MySqlConnection, rotation: &Rotation) -> Result<RefreshOutcome, Fault> {
    let Rotation {
        presented,
        next,
        next_expires_at,
        grace,
        now,
    } = *rotation;
    let Some(row) = lock_refresh(tx, &presented).await? else {
        return Ok(RefreshOutcome::Invalid);
    };
    match row.present(next, next_expires_at, grace, now)? {
        Presented::Invalid => Ok(RefreshOutcome::Invalid),
        Presented::Reused(partner) => {
            revoke_family(tx, &row.family).await?;
            Ok(RefreshOutcome::Reused(partner))
        }
        Presented::Rotated(next) => {
            use_up(tx, &presented, now).await?;
            insert_refresh(tx, &next, now).await?;
            Ok(RefreshOutcome::Rotated(next.partner))
        }
    }
}

/// Reads a refresh token with its partner's row locked, which lets one at a time rotate and revoke:
/// locking the tokens themselves would miss a successor that is just being written.
async fn lock_refresh(
    tx: &mut MySqlConnection,
    hash: &[u8; 32],
) -> Result<Option<RefreshRow>, Fault> {
    let partner: Option<String> =
        query_scalar("SELECT partner_id FROM refresh_tokens WHERE token_hash = ?")
            .bind(hash.as_slice())
            .fetch_optional(&mut *tx)
            .await?;
    let Some(partner) = partner else {
        return Ok(None);
    };
    lock_partner(tx, &partner).await?;
    let row = query_as(
        "SELECT family, partner_id, expires_at, used_at, revoked FROM refresh_tokens \
         WHERE token_hash = ? FOR UPDATE",
    )
    .bind(hash.as_slice())
    .fetch_optional(tx)
    .await?;
    Ok(row)
}

async fn use_up(tx: &mut MySqlConnection, hash: &[u8; 32], now: Timestamp) -> Result<(), Fault> {
    query("UPDATE refresh_tokens SET used_at = coalesce(used_at, ?) WHERE token_hash = ?")
        .bind(now.millis())
        .bind(hash.as_slice())
        .execute(tx)
        .await?;
    Ok(())
}

async fn insert_refresh(
    tx: &mut MySqlConnection,
    token: &RefreshToken,
    now: Timestamp,
) -> Result<(), Fault> {
    query(
        "INSERT INTO refresh_tokens (token_hash, family, partner_id, created_at, expires_at) \
         VALUES (?, ?, ?, ?, ?)",
    )
    .bind(token.hash.as_slice())
    .bind(token.family.as_slice())
    .bind(token.partner.as_str())
    .bind(now.millis())
    .bind(token.expires_at.millis())
    .execute(tx)
    .await?;
    Ok(())
}

async fn revoke_family(tx: &mut MySqlConnection, family: &[u8]) -> Result<(), Fault> {
    // By idx_refresh_family.
    query("UPDATE refresh_tokens SET revoked = TRUE WHERE family = ?")
        .bind(family)
        .execute(tx)
        .await?;
    Ok(())
}
