use async_trait::async_trait;

use super::{SqliteLedger, from_sqlx};
use crate::ledger::installation::read;
use crate::ledger::{Installation, KeyFingerprint, LedgerError};

#[async_trait]
impl Installation for SqliteLedger {
    async fn key_fingerprint(&self) -> Result<Option<KeyFingerprint>, LedgerError> {
        let stored: Option<Vec<u8>> =
            sqlx::query_scalar("SELECT key_fingerprint FROM installation")
                .fetch_optional(self.readers())
                .await
                .map_err(from_sqlx)?;
        stored.as_deref().map(read).transpose()
    }

    async fn keep_key_fingerprint(
        &self,
        mine: KeyFingerprint,
    ) -> Result<KeyFingerprint, LedgerError> {
        self.writer
            .run(move |connection| {
                Box::pin(async move {
                    let kept: Vec<u8> = sqlx::query_scalar(
                        "INSERT INTO installation (one, key_fingerprint) VALUES (1, ?) \
                         ON CONFLICT (one) DO UPDATE SET one = 1 RETURNING key_fingerprint",
                    )
                    .bind(mine.as_slice())
                    .fetch_one(connection)
                    .await
                    .map_err(from_sqlx)?;
                    read(&kept)
                })
            })
            .await
    }
}
