//! The embedded implementation, in a file of its own.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use pabal_common::clock::{ManualClock, Timestamp};
use pabal_common::domain::id::MessageId;
use pabal_common::domain::report::Verdict;
use pabal_common::ledger::sqlite::SqliteLedger;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, SqlitePool};
use tempfile::TempDir;

use crate::stack::{BackDoor, Fixture, Hidden, Place, START};

/// A fresh ledger.
pub(crate) async fn open() -> Fixture {
    let (folder, clock) = (folder(), clock());
    let file = folder.path().join("pabal.db");
    let ledger = SqliteLedger::open(&file, clock.clone()).await.unwrap();
    let back = SqliteBackDoor(connect(&file).await);
    let place = Place::Folder { _folder: folder };
    Fixture::new(Arc::new(ledger), clock, Arc::new(back), place).await
}

pub(crate) fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(Timestamp::parse_rfc3339(START).unwrap()))
}

/// A folder in memory where the system has one: what is tested here is not the disk.
pub(crate) fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

/// A connection beside the ledger's own.
pub(crate) async fn connect(file: &Path) -> SqlitePool {
    let options = SqliteConnectOptions::new().filename(file);
    SqlitePoolOptions::new()
        .max_connections(1)
        .connect_with(options)
        .await
        .unwrap()
}

struct SqliteBackDoor(SqlitePool);

#[derive(sqlx::FromRow)]
struct HiddenRow {
    verdict: Option<String>,
    reason: Option<String>,
    route_closed: bool,
    retry: Option<i64>,
    ask: bool,
}

#[async_trait]
impl BackDoor for SqliteBackDoor {
    async fn hidden(&self, id: MessageId) -> Hidden {
        let row: HiddenRow = sqlx::query_as(
            "SELECT verdict, reason, route_closed, \
             (SELECT attempt FROM delays d WHERE d.message_id = ?1 AND d.kind = 1) AS retry, \
             EXISTS (SELECT 1 FROM delays d WHERE d.message_id = ?1 AND d.kind = 2) AS ask \
             FROM messages WHERE message_id = ?1",
        )
        .bind(id.to_column())
        .fetch_one(&self.0)
        .await
        .unwrap();
        Hidden {
            verdict: row
                .verdict
                .map(|name| Verdict::from_stored(&name, row.reason.as_deref()).unwrap()),
            route_closed: row.route_closed,
            retry: row.retry.map(|attempt| u16::try_from(attempt).unwrap()),
            ask: row.ask,
        }
    }

    fn id(&self, id: MessageId) -> String {
        id.to_column().to_string()
    }

    async fn run(&self, sql: &str) {
        sqlx::query(AssertSqlSafe(sql.to_owned()))
            .execute(&self.0)
            .await
            .unwrap();
    }

    async fn count(&self, sql: &str) -> u64 {
        let count: i64 = sqlx::query_scalar(AssertSqlSafe(sql.to_owned()))
            .fetch_one(&self.0)
            .await
            .unwrap();
        u64::try_from(count).unwrap()
    }
}
