//! Connections, and the schema.

use std::str::FromStr as _;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::mysql::{MySqlConnectOptions, MySqlDatabaseError, MySqlPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, MySqlPool};

use super::MysqlConfig;
use super::transaction::from_sqlx;
use crate::deadline::in_time;
use crate::ledger::LedgerError;

/// The number of this program as a reader of the schema; a schema may ask for a higher one.
const READER: i64 = 1;
/// How long a connection may take to be had.
const ACQUIRE: Duration = Duration::from_secs(3);
/// How long bringing the schema up to date may take, waiting for another process that does it
/// included.
const MIGRATION: Duration = Duration::from_secs(300);
/// A connection is closed when idle for so long, seen within as long again: before the server closes
/// it. And anyway after so long, so that a server that moved behind its name is found.
const IDLE: Duration = Duration::from_secs(7);
const LIFETIME: Duration = Duration::from_secs(1800);
/// What every connection is set to: strict, so that nothing is cut off silently, and rows are not
/// waited for longer than anyone waits for the answer. Who says nothing for longer than a
/// transaction may take is frozen or gone: the server undoes what it had begun and frees its rows,
/// which it would otherwise hold for eight hours.
const SESSION: &str = "SET SESSION autocommit = 1, innodb_lock_wait_timeout = 3, \
                       wait_timeout = 15, \
                       sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,\
                       ERROR_FOR_DIVISION_BY_ZERO,NO_ZERO_IN_DATE,NO_ZERO_DATE'";
const ISOLATION: &str = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED";

/// Connects, at once and not only when first used, so that a wrong setting is told at the start.
pub(super) async fn connect(config: &MysqlConfig) -> Result<MySqlPool, LedgerError> {
    let options = options(config)?;
    let place = place(&options);
    // Not by the pool, which would try a port where nobody listens until its time is over, and then
    // tell only that.
    let first = async {
        let connection = options.connect().await;
        connection.map_err(|error| not_connected(&place, &error))
    };
    let first = in_time(ACQUIRE, first).await?;
    let _ = in_time(ACQUIRE, async { Ok::<_, LedgerError>(first.close().await) }).await;
    Ok(MySqlPoolOptions::new()
        .max_connections(config.connections.max(2))
        .acquire_timeout(ACQUIRE)
        .idle_timeout(IDLE)
        .max_lifetime(LIFETIME)
        // What is done first on it is the test.
        .test_before_acquire(false)
        .after_connect(|connection, _| {
            Box::pin(async move {
                connection.execute(ISOLATION).await?;
                connection.execute(SESSION).await?;
                Ok(())
            })
        })
        .connect_lazy_with(options))
}

fn options(config: &MysqlConfig) -> Result<MySqlConnectOptions, LedgerError> {
    let wrong = |cause: &dyn std::fmt::Display| {
        LedgerError::Misconfigured(format!(
            "ledger.url cannot be used: {cause}; it looks like mysql://user@host:3306/schema"
        ))
    };
    if !config.url.starts_with("mysql://") && !config.url.starts_with("mariadb://") {
        return Err(wrong(&"it does not begin with mysql://"));
    }
    let mut options = MySqlConnectOptions::from_str(&config.url).map_err(|error| wrong(&error))?;
    if options.get_database().is_none_or(str::is_empty) {
        return Err(wrong(&"it names no schema"));
    }
    if let Some(password) = &config.password {
        options = options.password(password.expose_secret());
    }
    Ok(options
        .charset("utf8mb4")
        .collation("utf8mb4_bin")
        .pipes_as_concat(false)
        .no_engine_substitution(false)
        .statement_cache_capacity(256))
}

/// Where the ledger is, without user and password.
fn place(options: &MySqlConnectOptions) -> String {
    let schema = options.get_database().unwrap_or_default();
    format!("{}:{}/{schema}", options.get_host(), options.get_port())
}

fn not_connected(place: &str, error: &sqlx::Error) -> LedgerError {
    match server_number(error) {
        Some(1045 | 1698 | 1130 | 1251 | 1862) => LedgerError::Misconfigured(format!(
            "the ledger at {place} refuses the login: {error}; check the user in ledger.url and \
             ledger.password_file"
        )),
        Some(1049) => LedgerError::Misconfigured(format!(
            "the ledger at {place} has no such schema: create it with CREATE DATABASE, or correct \
             ledger.url"
        )),
        Some(number) if is_missing_right(number) => missing_right(error),
        _ => LedgerError::Unavailable(format!("{place}: {error}")),
    }
}

/// Whether an error of this number means that the user lacks a right.
pub(super) const fn is_missing_right(number: u16) -> bool {
    matches!(number, 1044 | 1142 | 1143 | 1227 | 1370 | 1419)
}

pub(super) fn missing_right(error: &sqlx::Error) -> LedgerError {
    LedgerError::Misconfigured(format!(
        "the ledger does not let this user do what it must: {error}; grant the user in ledger.url \
         all rights on the schema"
    ))
}

/// Brings the schema up to date. Forward only; of many processes that start together one does it,
/// and where there is nothing to do no right to do it is needed.
pub(super) async fn migrate(pool: &MySqlPool) -> Result<(), LedgerError> {
    let mut migrator = sqlx::migrate!("../migrations/mysql");
    // A newer program may have been here and have left a schema that this one still reads.
    migrator.set_ignore_missing(true);
    // The migrator would ask for its lock in a way that MariaDB does not grant, and not look.
    migrator.set_locking(false);
    if !is_up_to_date(pool, &migrator).await? {
        in_time(MIGRATION, migrate_alone(pool, &migrator)).await?;
    }
    check_reader(pool).await
}

/// Whether every migration has been carried out as this program knows it.
async fn is_up_to_date(pool: &MySqlPool, migrator: &Migrator) -> Result<bool, LedgerError> {
    let applied: Result<Vec<(i64, Vec<u8>)>, _> =
        sqlx::query_as("SELECT version, checksum FROM _sqlx_migrations WHERE success")
            .fetch_all(pool)
            .await;
    match applied {
        Ok(applied) => Ok(migrator.iter().all(|known| {
            let same = |(version, checksum): &(i64, Vec<u8>)| {
                *version == known.version && checksum.as_slice() == &*known.checksum
            };
            applied.iter().any(same)
        })),
        // No such table, or no right to look at one that is not there.
        Err(error) if matches!(server_number(&error), Some(1146 | 1142)) => Ok(false),
        Err(error) => Err(from_sqlx(&error)),
    }
}

/// Migrates under a lock of the server, which ends with the connection.
async fn migrate_alone(pool: &MySqlPool, migrator: &Migrator) -> Result<(), LedgerError> {
    let mut connection = pool.acquire().await.map_err(|error| from_sqlx(&error))?;
    connection.close_on_drop();
    let mine: Option<i64> =
        sqlx::query_scalar("SELECT get_lock(concat('pabal ', sha1(database())), ?)")
            .bind(i64::try_from(MIGRATION.as_secs()).unwrap_or(i64::MAX))
            .fetch_one(&mut *connection)
            .await
            .map_err(|error| from_sqlx(&error))?;
    if mine != Some(1) {
        return Err(LedgerError::Unavailable(
            "the lock for bringing the schema up to date cannot be had".to_owned(),
        ));
    }
    migrator.run(&mut *connection).await.map_err(not_migrated)
}

fn not_migrated(error: MigrateError) -> LedgerError {
    match error {
        MigrateError::Dirty(version) => LedgerError::Schema(format!(
            "migration {version} was broken off half-way: restore the schema from before the \
             upgrade, or finish its statements by hand and set success = 1 in _sqlx_migrations"
        )),
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            not_read(&error, LedgerError::Schema(error.to_string()))
        }
        other => LedgerError::Schema(other.to_string()),
    }
}

/// Refuses a schema that is not there, or that this program must not read.
pub(super) async fn check_reader(pool: &MySqlPool) -> Result<(), LedgerError> {
    let read = sqlx::query_scalar("SELECT min_reader FROM schema_info").fetch_one(pool);
    let min_reader: i64 = read.await.map_err(|error| {
        let empty = "it is empty: start a service once, or run `pabal migrate`".to_owned();
        match server_number(&error) {
            Some(1146) => LedgerError::Schema(empty),
            _ => not_read(&error, LedgerError::Schema(error.to_string())),
        }
    })?;
    if min_reader > READER {
        return Err(LedgerError::Schema(format!(
            "it needs a program that reads version {min_reader}; this one reads {READER}: start the \
             newer program"
        )));
    }
    Ok(())
}

/// What an error says while the schema is looked at or changed; `otherwise` if it is the schema's.
fn not_read(error: &sqlx::Error, otherwise: LedgerError) -> LedgerError {
    match server_number(error) {
        Some(number) if is_missing_right(number) => missing_right(error),
        // It stops, waits for a lock, or is read-only for now.
        None | Some(1053 | 1205 | 1213 | 1290 | 1317 | 1792 | 1836 | 1927) => {
            LedgerError::Unavailable(error.to_string())
        }
        Some(_) => otherwise,
    }
}

/// The server's error number, if it was the server that refused.
pub(super) fn server_number(error: &sqlx::Error) -> Option<u16> {
    let error = error.as_database_error()?;
    error
        .try_downcast_ref::<MySqlDatabaseError>()
        .map(MySqlDatabaseError::number)
}
