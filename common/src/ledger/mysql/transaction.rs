//! How a connection is used: within a time limit, as one transaction, begun again after a deadlock.

use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use sqlx::error::ErrorKind;
use sqlx::pool::PoolConnection;
use sqlx::{Executor as _, MySql, MySqlConnection};

use super::MysqlLedger;
use super::session::{is_missing_right, missing_right, server_number};
use crate::deadline::in_time;
use crate::ledger::LedgerError;
use crate::telemetry::metric;

/// How long a transaction or a read may take, every statement and a new connection included.
const LIMIT: Duration = Duration::from_secs(10);
/// How long a read of whole tables may take.
const LONG: Duration = Duration::from_secs(600);
const REPEATABLE: &str = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ";
const SNAPSHOT: &str = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY";
/// How often a transaction is tried that keeps being the victim of deadlocks.
const TRIES: u32 = 8;
/// The longest pause before the next try, times the number of tries so far.
const PAUSE: Duration = Duration::from_millis(10);

/// Why a transaction was not carried out.
pub(super) enum Fault {
    /// The database or the way to it.
    Database(sqlx::Error),
    /// What was found there.
    Ledger(LedgerError),
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl From<LedgerError> for Fault {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error)
    }
}

impl From<Fault> for LedgerError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Database(error) => from_sqlx(&error),
            Fault::Ledger(error) => error,
        }
    }
}

impl Fault {
    /// Whether the server undid the transaction to let another through (1213).
    fn is_deadlock(&self) -> bool {
        self.server_number() == Some(1213)
    }

    /// Whether the connection was cut before or while it was used: by the network, or by a server
    /// that stops (1053), kills it (1317, 1927) or had enough of waiting (4031).
    fn is_cut(&self) -> bool {
        matches!(self, Self::Database(sqlx::Error::Io(_)))
            || matches!(self.server_number(), Some(1053 | 1317 | 1927 | 4031))
    }

    /// Whether a row of this key is there already (1062).
    pub(super) fn is_duplicate(&self) -> bool {
        self.server_number() == Some(1062)
    }

    fn server_number(&self) -> Option<u16> {
        match self {
            Self::Database(error) => server_number(error),
            Self::Ledger(_) => None,
        }
    }
}

/// What is done on a connection.
pub(super) type Work<'c, T> = BoxFuture<'c, Result<T, Fault>>;

/// A connection that is lent out. One that is not given back in order is closed: it may be in the
/// middle of an answer that never comes, and the server undoes what it had begun.
struct Lent {
    connection: PoolConnection<MySql>,
    in_order: bool,
}

impl Deref for Lent {
    type Target = MySqlConnection;

    fn deref(&self) -> &MySqlConnection {
        &self.connection
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut MySqlConnection {
        &mut self.connection
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if !self.in_order {
            self.connection.close_on_drop();
        }
    }
}

impl Lent {
    async fn commit(mut self) -> Result<(), Fault> {
        self.execute("COMMIT").await?;
        self.in_order = true;
        Ok(())
    }

    async fn roll_back(mut self) {
        self.in_order = self.execute("ROLLBACK").await.is_ok();
    }
}

impl MysqlLedger {
    /// Carries `work` out as one transaction on what is `given`, from its beginning again if the
    /// server undoes it because of a deadlock.
    pub(super) async fn transact<Given, T>(
        &self,
        given: &Given,
        work: impl for<'c> Fn(&'c mut MySqlConnection, &'c Given) -> Work<'c, T> + Send + Sync,
    ) -> Result<T, LedgerError>
    where
        Given: Sync,
        T: Send,
    {
        let started = Instant::now();
        let tried = async {
            let mut tries = 1;
            loop {
                match self.attempt(given, &work).await {
                    Err(fault) if fault.is_deadlock() && tries < TRIES => {
                        tokio::time::sleep(PAUSE.mul_f64(f64::from(tries) * fastrand::f64())).await;
                        tries += 1;
                    }
                    outcome => return outcome.map_err(LedgerError::from),
                }
            }
        };
        let outcome = in_time(LIMIT, tried).await;
        metric::ledger_commit(started.elapsed());
        outcome
    }

    async fn attempt<Given, T>(
        &self,
        given: &Given,
        work: &(impl for<'c> Fn(&'c mut MySqlConnection, &'c Given) -> Work<'c, T> + Send + Sync),
    ) -> Result<T, Fault>
    where
        Given: Sync,
        T: Send,
    {
        let mut lent = self.begin().await?;
        match work(&mut lent, given).await {
            Ok(done) => {
                lent.commit().await?;
                Ok(done)
            }
            Err(fault) => {
                lent.roll_back().await;
                Err(fault)
            }
        }
    }

    /// Begins a transaction. BEGIN is also the test whether a connection still stands: where it
    /// fails nothing has happened, and the next connection is tried, until one is new.
    async fn begin(&self) -> Result<Lent, Fault> {
        let mut left = self.pool.options().get_max_connections();
        loop {
            let mut lent = self.lend().await?;
            match lent.execute("BEGIN").await {
                Ok(_) => return Ok(lent),
                Err(error) if left == 0 => return Err(error.into()),
                Err(_) => left -= 1,
            }
        }
    }

    /// Carries a read out, outside any transaction; on another connection if the one that was had
    /// no longer stood.
    pub(super) async fn read<Given, T>(
        &self,
        given: &Given,
        work: impl for<'c> Fn(&'c mut MySqlConnection, &'c Given) -> Work<'c, T> + Send + Sync,
    ) -> Result<T, LedgerError>
    where
        Given: Sync,
        T: Send,
    {
        self.singly(given, work).await
    }

    /// Carries statements out each as a transaction of its own, so that no lock outlives its
    /// statement, whatever becomes of this process meanwhile. They must bear to be carried out
    /// twice: all of them are, if a connection no longer stood or a deadlock undid one.
    pub(super) async fn singly<Given, T>(
        &self,
        given: &Given,
        work: impl for<'c> Fn(&'c mut MySqlConnection, &'c Given) -> Work<'c, T> + Send + Sync,
    ) -> Result<T, LedgerError>
    where
        Given: Sync,
        T: Send,
    {
        let carried_out = async {
            let mut left = self.pool.options().get_max_connections();
            loop {
                let mut lent = self.lend().await?;
                let outcome = work(&mut lent, given).await;
                match outcome {
                    Err(fault) if (fault.is_cut() || fault.is_deadlock()) && left > 0 => left -= 1,
                    outcome => {
                        lent.in_order = !outcome.as_ref().is_err_and(Fault::is_cut);
                        return outcome;
                    }
                }
            }
        };
        in_time(LIMIT, async {
            carried_out.await.map_err(LedgerError::from)
        })
        .await
    }

    /// Carries a long read out on one snapshot of the whole ledger, which locks nothing. Its
    /// connection, set for this once, is not used again.
    pub(super) async fn snapshot<T>(
        &self,
        work: impl for<'c> FnOnce(&'c mut MySqlConnection) -> Work<'c, T> + Send,
    ) -> Result<T, LedgerError>
    where
        T: Send,
    {
        let read = async {
            let mut lent = self.lend().await?;
            lent.execute(REPEATABLE).await?;
            lent.execute(SNAPSHOT).await?;
            work(&mut lent).await
        };
        in_time(LONG, async { read.await.map_err(LedgerError::from) }).await
    }

    async fn lend(&self) -> Result<Lent, Fault> {
        Ok(Lent {
            connection: self.pool.acquire().await?,
            in_order: false,
        })
    }
}

/// Sorts the driver's errors into ours.
pub(super) fn from_sqlx(error: &sqlx::Error) -> LedgerError {
    match error {
        sqlx::Error::Database(database) => match database.kind() {
            ErrorKind::UniqueViolation
            | ErrorKind::ForeignKeyViolation
            | ErrorKind::NotNullViolation
            | ErrorKind::CheckViolation => LedgerError::Refused(error.to_string()),
            _ if breaks_a_column(error) => LedgerError::Refused(error.to_string()),
            _ if server_number(error).is_some_and(is_missing_right) => missing_right(error),
            _ => LedgerError::Unavailable(error.to_string()),
        },
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
            LedgerError::Corrupt(error.to_string())
        }
        _ => LedgerError::Unavailable(error.to_string()),
    }
}

/// A value that does not fit its column: too long, out of range, not of its character set.
fn breaks_a_column(error: &sqlx::Error) -> bool {
    matches!(
        server_number(error),
        Some(1264 | 1265 | 1366 | 1406 | 3140 | 3819 | 4025)
    )
}
