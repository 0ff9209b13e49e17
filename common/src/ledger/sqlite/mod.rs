//! The ledger on SQLite: one file, write-ahead log, synced at every commit, one writer.
//!
//! Every writing method is one job of the one writer; reads go through a small pool beside it.
//! Lists of ids are bound as one JSON array, so that a statement's text never depends on how many
//! there are and its plan is prepared once.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::SqlitePool;
use sqlx::sqlite::SqlitePoolOptions;

use super::LedgerError;
use super::frames::AgreedVersion;
use super::rows::{known, message_columns, partner_id};
use crate::clock::Clock;

mod deadletters;
mod delays;
mod ending;
mod files;
mod frames;
mod installation;
mod instances;
mod intake;
mod outbox;
mod partners;
mod queries;
mod reports;
mod routes;
mod settling;
mod submissions;
mod templates;
mod upkeep;
mod webhooks;
mod writer;

pub(crate) use writer::Writer;
use writer::from_sqlx;

/// The number of this program as a reader of the schema; a schema may ask for a higher one.
const READER: i64 = 1;
/// How many connections read.
const READERS: u32 = 4;

/// The embedded ledger.
#[derive(Clone, Debug)]
pub struct SqliteLedger {
    writer: Writer,
    readers: SqlitePool,
    /// SQLite has no clock of its own: this is "the ledger's clock" by which leases run.
    clock: Arc<dyn Clock>,
    frame_version: AgreedVersion,
}

impl SqliteLedger {
    /// Opens the ledger, makes it if there is none, and migrates it under SQLite's own lock.
    ///
    /// # Errors
    /// [`LedgerError::Schema`] if the schema is newer than this program can read or a migration
    /// fails; [`LedgerError::Unavailable`] if the file cannot be opened.
    pub async fn open(file: &Path, clock: Arc<dyn Clock>) -> Result<Self, LedgerError> {
        migrate(file).await?;
        let options = writer::options(file);
        let writer = Writer::open(&options.clone().create_if_missing(true)).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(Duration::from_secs(5))
            .idle_timeout(None)
            .connect_with(options.read_only(true))
            .await
            .map_err(from_sqlx)?;
        Ok(Self {
            writer,
            readers,
            clock,
            frame_version: AgreedVersion::default(),
        })
    }

    /// The writer, for the embedded broker, whose queues live in the same file.
    pub(crate) fn writer(&self) -> &Writer {
        &self.writer
    }

    /// The reading connections, likewise.
    pub(crate) fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    /// Forgets every earlier process. Only for the process that has locked the data folder: nobody
    /// else can be alive then.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn forget_instances(&self) -> Result<(), LedgerError> {
        self.writer
            .run(|connection| {
                Box::pin(async move {
                    sqlx::query("DELETE FROM instances")
                        .execute(connection)
                        .await
                        .map_err(from_sqlx)?;
                    Ok(())
                })
            })
            .await
    }

    /// Commits everything handed over so far and closes the file: nothing of the ledger is open in
    /// this process afterwards.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// Waits until everything handed to the writer so far is committed.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn flush(&self) -> Result<(), LedgerError> {
        self.writer.run(|_| Box::pin(async { Ok(()) })).await
    }
}

/// Brings the schema up to date. Forward only.
///
/// # Errors
/// [`LedgerError::Schema`].
pub async fn migrate(file: &Path) -> Result<(), LedgerError> {
    use sqlx::{ConnectOptions as _, Connection as _};

    let schema = |error: &dyn std::fmt::Display| LedgerError::Schema(error.to_string());
    let mut connection = writer::options(file)
        .create_if_missing(true)
        .connect()
        .await
        .map_err(|error| schema(&error))?;
    let mut migrator = sqlx::migrate!("../migrations/sqlite");
    // A newer program may have been here and have left a schema that this one still reads.
    migrator.set_ignore_missing(true);
    migrator
        .run(&mut connection)
        .await
        .map_err(|error| schema(&error))?;
    let min_reader: i64 = sqlx::query_scalar("SELECT min_reader FROM schema_info")
        .fetch_one(&mut connection)
        .await
        .map_err(|error| schema(&error))?;
    connection.close().await.map_err(|error| schema(&error))?;
    if min_reader > READER {
        return Err(LedgerError::Schema(format!(
            "it needs a program that reads version {min_reader}; this one reads {READER}"
        )));
    }
    Ok(())
}

/// A list of numbers as one JSON array, for `json_each`.
fn json_list(numbers: impl IntoIterator<Item = i64>) -> String {
    let mut text = String::from("[");
    for (place, number) in numbers.into_iter().enumerate() {
        if place > 0 {
            text.push(',');
        }
        text.push_str(&number.to_string());
    }
    text.push(']');
    text
}

/// Rows of values as one JSON array of arrays, for `json_each` with `value->>n`.
fn json_rows(rows: &[serde_json::Value]) -> String {
    serde_json::Value::Array(rows.to_vec()).to_string()
}

/// A count of rows.
async fn count(ledger: &SqliteLedger, sql: &'static str) -> Result<u64, LedgerError> {
    let rows: i64 = sqlx::query_scalar(sql)
        .fetch_one(ledger.readers())
        .await
        .map_err(from_sqlx)?;
    Ok(u64::try_from(rows).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use super::*;
    use crate::broker::FrameVersion;
    use crate::clock::SystemClock;
    use crate::domain::id::{InstanceId, OutboxId};
    use crate::domain::report::{Report, VendorAccount, Verdict};
    use crate::ledger::{Instances as _, Outbox as _};

    #[tokio::test]
    async fn frames_are_written_in_the_version_that_was_agreed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pabal.db");
        let ledger = SqliteLedger::open(&file, Arc::new(SystemClock))
            .await
            .unwrap();
        let report = Report {
            account: VendorAccount::new("carrier", "main"),
            vendor_id: None,
            message: None,
            submission: None,
            verdict: Verdict::Delivered,
            vendor_code: None,
            occurred_at: SystemClock.now(),
        };
        let (me, now) = (InstanceId::from_number(1), SystemClock.now());
        for number in [2, 1] {
            ledger.set_frame_version(FrameVersion::pretended(number));
            let outbox = OutboxId::from_number(number.into());
            let kept = ledger.keep_reports(me, outbox, from_ref(&report), None, now);
            let written = &kept.await.unwrap().unwrap().frames[0].body;
            // The version is the first field of every frame.
            assert_eq!(u32::from(written[1]), number);
        }
    }

    #[tokio::test]
    async fn a_transaction_that_panics_does_not_end_the_ledger() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pabal.db");
        let ledger = SqliteLedger::open(&file, Arc::new(SystemClock))
            .await
            .unwrap();
        let lost = ledger
            .writer
            .run::<(), _>(|_| Box::pin(async { panic!("on purpose") }))
            .await;
        assert!(matches!(lost, Err(LedgerError::Unavailable(_))));
        ledger.forget_instances().await.unwrap();
        ledger.close().await;
        assert!(ledger.forget_instances().await.is_err());
        assert!(!folder.path().join("pabal.db-wal").exists());
    }
}
