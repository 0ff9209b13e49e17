use async_trait::async_trait;
use sqlx::{MySqlConnection, query, query_scalar};

use super::{Fault, MysqlLedger};
use crate::ledger::installation::read;
use crate::ledger::{Installation, KeyFingerprint, LedgerError};

#[async_trait]
impl Installation for MysqlLedger {
    async fn key_fingerprint(&self) -> Result<Option<KeyFingerprint>, LedgerError> {
        self.read(&(), |connection, ()| Box::pin(kept(connection)))
            .await
    }

    async fn keep_key_fingerprint(
        &self,
        mine: KeyFingerprint,
    ) -> Result<KeyFingerprint, LedgerError> {
        self.singly(&mine, |connection, mine| {
            Box::pin(async move {
                query(
                    "INSERT INTO installation (one, key_fingerprint) VALUES (1, ?) \
                     ON DUPLICATE KEY UPDATE one = VALUES(one)",
                )
                .bind(mine.as_slice())
                .execute(&mut *connection)
                .await?;
                Ok(kept(connection).await?.unwrap_or(*mine))
            })
        })
        .await
    }
}

async fn kept(connection: &mut MySqlConnection) -> Result<Option<KeyFingerprint>, Fault> {
    let stored: Option<Vec<u8>> = query_scalar("SELECT key_fingerprint FROM installation")
        .fetch_optional(connection)
        .await?;
    Ok(stored.as_deref().map(read).transpose()?)
}
