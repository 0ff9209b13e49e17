//! The ledger on MySQL 8 or MariaDB 10.11 and later: many processes, READ COMMITTED, own SQL.
//!
//! A writing method is one transaction, begun again as a whole if the server chose it as the victim
//! of a deadlock; but for what everybody's heartbeat touches, where each statement is one. Rows are
//! locked in the order of their key, and the daily statistics last. Lists are bound as one JSON
//! document and read with `JSON_TABLE`, so that a statement's text never depends on how many there
//! are and its plan is prepared once. Where rows are locked, the list stands in a sub-select: MySQL
//! refuses to lock beside a `JSON_TABLE`, and MariaDB does not know `FOR UPDATE OF`.

use std::sync::Arc;

use secrecy::SecretString;
use sqlx::MySqlPool;

use super::LedgerError;
use super::frames::AgreedVersion;
use super::rows::message_columns;
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
mod session;
mod settling;
mod submissions;
mod templates;
mod transaction;
mod upkeep;
mod webhooks;

use transaction::Fault;

/// Where the ledger is.
#[derive(Clone)]
pub struct MysqlConfig {
    /// `mysql://user@host:3306/schema`.
    pub url: String,
    /// The password, if it is not part of the URL.
    pub password: Option<SecretString>,
    /// The most connections held at once.
    pub connections: u32,
    /// By which clock leases run.
    pub lease_clock: LeaseClock,
}

/// Without the URL, which may hold a password.
impl std::fmt::Debug for MysqlConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MysqlConfig")
            .field("connections", &self.connections)
            .finish_non_exhaustive()
    }
}

/// By which clock leases run.
#[derive(Clone, Debug)]
pub enum LeaseClock {
    /// The database's own: the one clock that all processes share.
    Database,
    /// One that is given, so that a test can let a lease lapse.
    Given(Arc<dyn Clock>),
}

impl LeaseClock {
    /// The time to bind where a statement says `coalesce(?, <the database's clock>)`.
    fn given(&self) -> Option<i64> {
        match self {
            Self::Database => None,
            Self::Given(clock) => Some(clock.now().millis()),
        }
    }
}

/// The database's clock in milliseconds, unless a time is bound.
macro_rules! lease_now {
    () => {
        "coalesce(?, CAST(unix_timestamp(now(3)) * 1000 AS SIGNED))"
    };
}
use lease_now;

/// The ledger of many processes.
#[derive(Clone, Debug)]
pub struct MysqlLedger {
    pool: MySqlPool,
    lease_clock: LeaseClock,
    frame_version: AgreedVersion,
}

impl MysqlLedger {
    /// Connects, and brings the schema up to date under the database's own lock.
    ///
    /// # Errors
    /// [`LedgerError::Misconfigured`] names the setting that is wrong; [`LedgerError::Schema`] if the
    /// schema is newer than this program can read or a migration fails;
    /// [`LedgerError::Unavailable`] if the database may come back.
    pub async fn open(config: &MysqlConfig) -> Result<Self, LedgerError> {
        let ledger = Self::connect(config).await?;
        session::migrate(&ledger.pool).await?;
        Ok(ledger)
    }

    /// Connects to a schema that is there already, and changes nothing: for commands.
    ///
    /// # Errors
    /// As [`open`](Self::open); [`LedgerError::Schema`] also where there is no schema yet.
    pub async fn visit(config: &MysqlConfig) -> Result<Self, LedgerError> {
        let ledger = Self::connect(config).await?;
        session::check_reader(&ledger.pool).await?;
        Ok(ledger)
    }

    async fn connect(config: &MysqlConfig) -> Result<Self, LedgerError> {
        Ok(Self {
            pool: session::connect(config).await?,
            lease_clock: config.lease_clock.clone(),
            frame_version: AgreedVersion::default(),
        })
    }

    /// Closes every connection.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// A count of rows.
async fn count(ledger: &MysqlLedger, sql: &'static str) -> Result<u64, LedgerError> {
    let rows: i64 = ledger
        .read(&sql, |connection, sql| {
            Box::pin(async move { Ok(sqlx::query_scalar(*sql).fetch_one(connection).await?) })
        })
        .await?;
    Ok(u64::try_from(rows).unwrap_or(0))
}

/// Rows of values as one JSON array of arrays, for `JSON_TABLE(?, '$[*]' COLUMNS (… PATH '$[n]'))`.
fn json_rows(rows: &[serde_json::Value]) -> String {
    serde_json::Value::Array(rows.to_vec()).to_string()
}

/// Ids as one JSON array of texts, for `JSON_TABLE(?, '$[*]' COLUMNS (id CHAR(13) … PATH '$'))`.
fn json_ids<Id: std::fmt::Display>(ids: impl IntoIterator<Item = Id>) -> String {
    // An id needs no escaping.
    let mut text = String::from("[");
    for (place, id) in ids.into_iter().enumerate() {
        if place > 0 {
            text.push(',');
        }
        text.push('"');
        text.push_str(&id.to_string());
        text.push('"');
    }
    text.push(']');
    text
}
