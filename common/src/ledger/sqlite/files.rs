use async_trait::async_trait;

use super::{SqliteLedger, from_sqlx, json_list};
use crate::clock::Timestamp;
use crate::domain::id::{FileId, PartnerId};
use crate::ledger::files::FileRow;
use crate::ledger::{Files, LedgerError, StoredFile};

#[async_trait]
impl Files for SqliteLedger {
    async fn keep_file(&self, file: &StoredFile) -> Result<(), LedgerError> {
        let file = file.clone();
        self.writer
            .run(move |connection| {
                Box::pin(async move {
                    sqlx::query(
                        "INSERT INTO files (file_id, partner_id, sha256, bytes, media_type, width, \
                         height, purpose, sealed_name, created_at, expires_at) \
                         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    )
                    .bind(file.id.to_column())
                    .bind(file.partner.as_str())
                    .bind(file.sha256.bytes().as_slice())
                    .bind(i64::try_from(file.bytes).unwrap_or(i64::MAX))
                    .bind(&file.media_type)
                    .bind(file.pixels.map(|(width, _)| i64::from(width)))
                    .bind(file.pixels.map(|(_, height)| i64::from(height)))
                    .bind(i64::from(file.purpose.number()))
                    .bind(&file.sealed_name)
                    .bind(file.created_at.millis())
                    .bind(file.expires_at.millis())
                    .execute(connection)
                    .await
                    .map_err(from_sqlx)?;
                    Ok(())
                })
            })
            .await
    }

    async fn files(&self, ids: &[FileId]) -> Result<Vec<StoredFile>, LedgerError> {
        let rows: Vec<FileRow> = sqlx::query_as(
            "SELECT f.file_id, f.partner_id, f.sha256, f.bytes, f.media_type, f.width, f.height, \
             f.purpose, f.sealed_name, f.created_at, f.expires_at \
             FROM json_each(?) j CROSS JOIN files f ON f.file_id = j.value",
        )
        .bind(json_list(ids.iter().map(|id| id.to_column())))
        .fetch_all(self.readers())
        .await
        .map_err(from_sqlx)?;
        rows.into_iter().map(FileRow::into_file).collect()
    }

    async fn hold_files(&self, ids: &[FileId], until: Timestamp) -> Result<(), LedgerError> {
        let ids = json_list(ids.iter().map(|id| id.to_column()));
        self.writer
            .run(move |connection| {
                Box::pin(async move {
                    sqlx::query(
                        "UPDATE files SET expires_at = ? WHERE expires_at < ? \
                         AND file_id IN (SELECT value FROM json_each(?))",
                    )
                    .bind(until.millis())
                    .bind(until.millis())
                    .bind(ids)
                    .execute(connection)
                    .await
                    .map_err(from_sqlx)?;
                    Ok(())
                })
            })
            .await
    }

    async fn file_bytes(&self, partner: &PartnerId) -> Result<u64, LedgerError> {
        let bytes: i64 =
            sqlx::query_scalar("SELECT coalesce(sum(bytes), 0) FROM files WHERE partner_id = ?")
                .bind(partner.as_str())
                .fetch_one(self.readers())
                .await
                .map_err(from_sqlx)?;
        Ok(u64::try_from(bytes).unwrap_or(0))
    }

    async fn expired_files(
        &self,
        before: Timestamp,
        limit: u32,
    ) -> Result<Vec<FileId>, LedgerError> {
        sqlx::query_scalar(
            "SELECT file_id FROM files WHERE expires_at < ? ORDER BY expires_at LIMIT ?",
        )
        .bind(before.millis())
        .bind(i64::from(limit))
        .fetch_all(self.readers())
        .await
        .map_err(from_sqlx)
    }

    async fn forget_files(&self, ids: &[FileId], before: Timestamp) -> Result<u32, LedgerError> {
        let ids = json_list(ids.iter().map(|id| id.to_column()));
        self.writer
            .run(move |connection| {
                Box::pin(async move {
                    let gone = sqlx::query(
                        "DELETE FROM files WHERE expires_at < ? \
                         AND file_id IN (SELECT value FROM json_each(?))",
                    )
                    .bind(before.millis())
                    .bind(ids)
                    .execute(connection)
                    .await
                    .map_err(from_sqlx)?;
                    Ok(u32::try_from(gone.rows_affected()).unwrap_or(u32::MAX))
                })
            })
            .await
    }
}
