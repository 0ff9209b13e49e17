//! The one writer. Every transaction is a job; jobs that wait together share one commit, and with
//! it one sync of the disk. Each runs in a savepoint of its own, so that one that fails takes
//! nothing of the others with it.

use std::panic::AssertUnwindSafe;
use std::path::Path;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, SqliteConnection};
use tokio::sync::{mpsc, oneshot};

use crate::ledger::LedgerError;
use crate::telemetry::metric;

/// The most jobs in one commit; bounds how long the first of them waits.
const JOBS: usize = 64;
/// How many jobs may wait before callers do.
const WAITING: usize = 1024;

/// What a job leaves behind: how to tell its caller once the commit is known.
struct Ran {
    failed: bool,
    answer: Box<dyn FnOnce(Result<(), LedgerError>) + Send>,
}

type Job = Box<dyn for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Ran> + Send>;

enum Order {
    Run(Job),
    /// Close the file after everything that was ordered before.
    Close(oneshot::Sender<()>),
}

/// A handle to the writer; the writer ends when it is closed or the last handle is dropped.
#[derive(Clone)]
pub(crate) struct Writer {
    orders: mpsc::Sender<Order>,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Writer")
    }
}

impl Writer {
    /// Opens the writing connection and starts the writer.
    pub(super) async fn open(options: &SqliteConnectOptions) -> Result<Self, LedgerError> {
        let connection = options.connect().await.map_err(from_sqlx)?;
        let (orders, waiting) = mpsc::channel(WAITING);
        tokio::spawn(write(connection, waiting));
        Ok(Self { orders })
    }

    /// Closes the file once everything ordered so far is committed; later orders find it closed.
    pub(super) async fn close(&self) {
        let (tell, told) = oneshot::channel();
        if self.orders.send(Order::Close(tell)).await.is_ok() {
            let _ = told.await;
        }
    }

    /// Runs `work` in a transaction; its result is returned only after the commit. The transaction
    /// goes on if the caller goes away.
    pub(crate) async fn run<T, F>(&self, work: F) -> Result<T, LedgerError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, LedgerError>>
            + Send
            + 'static,
    {
        let (tell, told) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            Box::pin(async move {
                let result = work(connection).await;
                Ran {
                    failed: result.is_err(),
                    answer: Box::new(move |commit| {
                        let _ = tell.send(result.and_then(|value| commit.map(|()| value)));
                    }),
                }
            })
        });
        let closed = |_| LedgerError::Unavailable("the ledger is closed".into());
        self.orders.send(Order::Run(job)).await.map_err(closed)?;
        let dropped = |_| LedgerError::Unavailable("the transaction was not carried out".into());
        told.await.map_err(dropped)?
    }
}

async fn write(mut connection: SqliteConnection, mut waiting: mpsc::Receiver<Order>) {
    let (mut orders, mut closing) = (Vec::with_capacity(JOBS), None);
    while closing.is_none() && waiting.recv_many(&mut orders, JOBS).await > 0 {
        let mut jobs = Vec::with_capacity(orders.len());
        for order in orders.drain(..) {
            match order {
                Order::Run(job) => jobs.push(job),
                Order::Close(tell) => closing = Some(tell),
            }
        }
        if !jobs.is_empty() {
            let started = std::time::Instant::now();
            commit_together(&mut connection, &mut jobs).await;
            metric::ledger_commit(started.elapsed());
        }
    }
    if let Err(error) = connection.close().await {
        tracing::warn!(%error, "closing the ledger failed");
    }
    if let Some(tell) = closing {
        let _ = tell.send(());
    }
}

async fn commit_together(connection: &mut SqliteConnection, jobs: &mut Vec<Job>) {
    if let Err(error) = connection.execute("BEGIN IMMEDIATE").await {
        let error = from_sqlx(error);
        for job in jobs.drain(..) {
            // Nothing was written: running the job outside a transaction only to get its answer
            // would write. Dropping it tells the caller that the writer could not serve it.
            drop(job);
        }
        tracing::error!(%error, "the ledger refused a transaction");
        return;
    }
    let mut ran = Vec::with_capacity(jobs.len());
    let mut broken = None;
    for job in jobs.drain(..) {
        match in_savepoint(connection, job).await {
            Ok(one) => ran.push(one),
            Err(error) => {
                broken = Some(from_sqlx(error));
                break;
            }
        }
    }
    let committed = match broken {
        None => connection
            .execute("COMMIT")
            .await
            .map(|_| ())
            .map_err(from_sqlx),
        Some(error) => Err(error),
    };
    if committed.is_err() {
        let _ = connection.execute("ROLLBACK").await;
    }
    for one in ran {
        (one.answer)(committed.clone());
    }
}

async fn in_savepoint(connection: &mut SqliteConnection, job: Job) -> Result<Ran, sqlx::Error> {
    connection.execute("SAVEPOINT job").await?;
    let ran = AssertUnwindSafe(job(connection)).catch_unwind().await;
    // A job that panics is a bug of ours in one transaction, not the end of the ledger.
    let ran = ran.unwrap_or_else(|_| {
        tracing::error!("a transaction panicked and was rolled back");
        Ran {
            failed: true,
            answer: Box::new(|_| {}),
        }
    });
    if ran.failed {
        connection.execute("ROLLBACK TO job").await?;
    }
    connection.execute("RELEASE job").await?;
    Ok(ran)
}

/// Sorts the driver's errors into ours.
pub(super) fn from_sqlx(error: sqlx::Error) -> LedgerError {
    match &error {
        sqlx::Error::Database(database) => match database.kind() {
            sqlx::error::ErrorKind::UniqueViolation
            | sqlx::error::ErrorKind::ForeignKeyViolation
            | sqlx::error::ErrorKind::NotNullViolation
            | sqlx::error::ErrorKind::CheckViolation => LedgerError::Refused(error.to_string()),
            _ => LedgerError::Unavailable(error.to_string()),
        },
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
            LedgerError::Corrupt(error.to_string())
        }
        _ => LedgerError::Unavailable(error.to_string()),
    }
}

/// The connection options of every connection: WAL, synced at every commit.
pub(super) fn options(file: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(file)
        .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal)
        .synchronous(sqlx::sqlite::SqliteSynchronous::Full)
        .busy_timeout(std::time::Duration::from_secs(5))
        .foreign_keys(true)
        .statement_cache_capacity(256)
        .pragma("cache_size", "-65536")
        .pragma("wal_autocheckpoint", "4000")
}
