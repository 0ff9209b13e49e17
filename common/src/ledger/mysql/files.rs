use async_trait::async_trait;
use sqlx::{query, query_as, query_scalar};

use super::{MysqlLedger, json_ids};
use crate::clock::Timestamp;
use crate::domain::id::{FileId, PartnerId};
use crate::ledger::files::FileRow;
use crate::ledger::{Files, LedgerError, StoredFile};

#[async_trait]
impl Files for MysqlLedger {
    async fn keep_file(&self, file: &StoredFile) -> Result<(), LedgerError> {
        self.transact(file, |tx, file| {
            Box::pin(async move {
                query(
                    "INSERT INTO files (file_id, partner_id, sha256, bytes, media_type, width, \
                     height, purpose, sealed_name, created_at, expires_at) \
                     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                )
                .bind(file.id)
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
                .execute(tx)
                .await?;
                Ok(())
            })
        })
        .await
    }

    async fn files(&self, ids: &[FileId]) -> Result<Vec<StoredFile>, LedgerError> {
        let rows: Vec<FileRow> = self
            .read(&ids, |connection, ids| {
                Box::pin(async move {
                    let rows = query_as(
                        "SELECT f.file_id, f.partner_id, f.sha256, f.bytes, f.media_type, \
                         f.width, f.height, f.purpose, f.sealed_name, f.created_at, f.expires_at \
                         FROM JSON_TABLE(?, '$[*]' COLUMNS \
                         (id CHAR(13) CHARACTER SET ascii PATH '$')) j \
                         STRAIGHT_JOIN files f ON f.file_id = j.id",
                    )
                    .bind(json_ids(ids.iter()))
                    .fetch_all(connection)
                    .await?;
                    Ok(rows)
                })
            })
            .await?;
        rows.into_iter().map(FileRow::into_file).collect()
    }

    async fn hold_files(&self, ids: &[FileId], until: Timestamp) -> Result<(), LedgerError> {
        self.transact(&(in_order(ids), until), |tx, (ids, until)| {
            Box::pin(async move {
                query(
                    "UPDATE JSON_TABLE(?, '$[*]' COLUMNS \
                     (id CHAR(13) CHARACTER SET ascii PATH '$')) j \
                     STRAIGHT_JOIN files f ON f.file_id = j.id \
                     SET f.expires_at = ? WHERE f.expires_at < ?",
                )
                .bind(json_ids(ids.iter()))
                .bind(until.millis())
                .bind(until.millis())
                .execute(tx)
                .await?;
                Ok(())
            })
        })
        .await
    }

    async fn file_bytes(&self, partner: &PartnerId) -> Result<u64, LedgerError> {
        let bytes: i64 = self
            .read(partner, |connection, partner| {
                Box::pin(async move {
                    let bytes = query_scalar(
                        "SELECT CAST(coalesce(sum(bytes), 0) AS SIGNED) FROM files \
                         WHERE partner_id = ?",
                    )
                    .bind(partner.as_str())
                    .fetch_one(connection)
                    .await?;
                    Ok(bytes)
                })
            })
            .await?;
        Ok(u64::try_from(bytes).unwrap_or(0))
    }

    async fn expired_files(
        &self,
        before: Timestamp,
        limit: u32,
    ) -> Result<Vec<FileId>, LedgerError> {
        self.read(&(before, limit), |connection, (before, limit)| {
            Box::pin(async move {
                let ids = query_scalar(
                    "SELECT file_id FROM files WHERE expires_at < ? ORDER BY expires_at LIMIT ?",
                )
                .bind(before.millis())
                .bind(*limit)
                .fetch_all(connection)
                .await?;
                Ok(ids)
            })
        })
        .await
    }

    async fn forget_files(&self, ids: &[FileId], before: Timestamp) -> Result<u32, LedgerError> {
        self.transact(&(in_order(ids), before), |tx, (ids, before)| {
            Box::pin(async move {
                let gone = query(
                    "DELETE f FROM JSON_TABLE(?, '$[*]' COLUMNS \
                     (id CHAR(13) CHARACTER SET ascii PATH '$')) j \
                     STRAIGHT_JOIN files f ON f.file_id = j.id WHERE f.expires_at < ?",
                )
                .bind(json_ids(ids.iter()))
                .bind(before.millis())
                .execute(tx)
                .await?;
                Ok(u32::try_from(gone.rows_affected()).unwrap_or(u32::MAX))
            })
        })
        .await
    }
}

/// Rows are locked in the order of their key.
fn in_order(ids: &[FileId]) -> Vec<FileId> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids.dedup();
    ids
}
