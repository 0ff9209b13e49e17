//! The ledger that is filled: the private server's, or the file of the one process. The gateway runs
//! meanwhile, so that nothing may hold the ledger for long.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use sqlx::sqlite::{SqliteConnectOptions, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Executor as _, SqliteConnection};

use super::statement::{Dialect, MOST_NUMBERS};
use crate::command::bench::stage::House;
use crate::command::ground::parts::{Part, Parts, SCHEMA};

/// How many messages one statement puts into a file, which has one writer: the gateway waits five
/// seconds for it at most.
const CHUNK_OF_FILE: u64 = 10_000;
/// The longest wait until a server has written its pages, and until a file is free.
const PATIENCE: Duration = Duration::from_secs(1_200);
const FILE_IS_FREE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(500);
/// So few pages are not written at any moment, even when hardly anything happens.
const FEW_PAGES: u64 = 500;
/// As many pages a second as any disk takes.
const FAST: &str = "20000";

/// Where the messages go.
pub(super) enum Ledger<'a> {
    Server(&'a Parts),
    File(Box<SqliteConnection>),
}

impl<'a> Ledger<'a> {
    /// The ledger of this house.
    pub(super) async fn open(house: &'a House) -> anyhow::Result<Self> {
        match &house.parts {
            Some(parts) => Ok(Self::Server(parts)),
            None => Self::open_file(&house.ledger_file()).await,
        }
    }

    /// Not synced at each commit, as the gateway does: what is lost of a bench is nobody's.
    async fn open_file(file: &Path) -> anyhow::Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .busy_timeout(FILE_IS_FREE)
            .synchronous(SqliteSynchronous::Off);
        Ok(Self::File(Box::new(options.connect().await?)))
    }

    pub(super) const fn dialect(&self) -> Dialect {
        match self {
            Self::Server(_) => Dialect::Mysql,
            Self::File(_) => Dialect::Sqlite,
        }
    }

    /// How many messages one statement may have.
    pub(super) const fn chunk(&self) -> u64 {
        match self {
            Self::Server(_) => MOST_NUMBERS,
            Self::File(_) => CHUNK_OF_FILE,
        }
    }

    /// Carries out a statement, a transaction by itself.
    pub(super) async fn run(&mut self, sql: String) -> anyhow::Result<()> {
        match self {
            Self::Server(parts) => ask(parts, &sql).await.map(drop),
            Self::File(connection) => {
                connection.execute(AssertSqlSafe(sql)).await?;
                Ok(())
            }
        }
    }

    /// Waits until what was filled in is on the disk, as it would be after two months: it is not to be
    /// written while something is measured.
    pub(super) async fn settle(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Server(parts) => flush(parts).await,
            Self::File(_) => {
                self.run("PRAGMA synchronous = FULL".to_owned()).await?;
                self.run("PRAGMA wal_checkpoint(TRUNCATE)".to_owned()).await
            }
        }
    }

    /// How large the messages are with their indexes, in bytes; of a file, all there is.
    pub(super) async fn size(&mut self) -> anyhow::Result<u64> {
        match self {
            Self::Server(parts) => {
                ask(parts, "ANALYZE TABLE messages").await?;
                let size = "SELECT data_length + index_length FROM information_schema.tables \
                            WHERE table_schema = database() AND table_name = 'messages'";
                number(&ask(parts, size).await?)
            }
            Self::File(connection) => {
                let size = "SELECT page_count * page_size FROM pragma_page_count(), \
                            pragma_page_size()";
                let size: i64 = sqlx::query_scalar(size)
                    .fetch_one(&mut **connection)
                    .await?;
                Ok(u64::try_from(size)?)
            }
        }
    }
}

/// Has the server write its changed pages as fast as it can, and waits until it has.
async fn flush(parts: &Parts) -> anyhow::Result<()> {
    let usual = "SELECT CONCAT_WS(' ', @@global.innodb_max_dirty_pages_pct, \
                 @@global.innodb_io_capacity, @@global.innodb_io_capacity_max)";
    let usual = ask(parts, usual).await?;
    let [pages, pace, most] = usual.split_whitespace().collect::<Vec<_>>()[..] else {
        bail!("the ledger's usual pace is {usual}");
    };
    // The most comes first: a server draws the other along where it would be beyond it.
    let paced = |pages: &str, pace: &str, most: &str| {
        format!(
            "SET GLOBAL innodb_io_capacity_max = {most}; SET GLOBAL innodb_io_capacity = {pace}; \
             SET GLOBAL innodb_max_dirty_pages_pct = {pages}"
        )
    };
    ask(parts, &paced("0", FAST, FAST)).await?;
    let begun = Instant::now();
    while dirty_pages(parts).await? > FEW_PAGES {
        if begun.elapsed() > PATIENCE {
            bail!("the ledger has not written its pages within {PATIENCE:?}");
        }
        tokio::time::sleep(LOOK).await;
    }
    ask(parts, &paced(pages, pace, most)).await.map(drop)
}

async fn dirty_pages(parts: &Parts) -> anyhow::Result<u64> {
    let said = ask(
        parts,
        "SHOW GLOBAL STATUS LIKE 'Innodb_buffer_pool_pages_dirty'",
    )
    .await?;
    number(said.split_whitespace().last().unwrap_or_default())
}

async fn ask(parts: &Parts, sql: &str) -> anyhow::Result<String> {
    parts
        .client(Part::Mysql, &["-N", SCHEMA, "-e", sql])
        .await
        .context("filling the ledger")
}

fn number(said: &str) -> anyhow::Result<u64> {
    let said = said.trim();
    said.parse().with_context(|| format!("{said} is no number"))
}
