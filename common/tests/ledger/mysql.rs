//! The implementation on MySQL or MariaDB, in a schema of its own on the server that
//! `PABAL_TEST_LEDGER_URL` names, else on this machine's.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use pabal_common::clock::ManualClock;
use pabal_common::domain::id::MessageId;
use pabal_common::domain::report::Verdict;
use pabal_common::ledger::mysql::{LeaseClock, MysqlConfig, MysqlLedger};
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions, MySqlSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions as _, MySqlConnection, MySqlPool};

use crate::sqlite::clock;
use crate::stack::{BackDoor, Fixture, Hidden, Place};

/// Which server the tests use.
const SERVER: &str = "PABAL_TEST_LEDGER_URL";
const USUAL: &str = "mysql://root@127.0.0.1:3306";
/// A schema older than this was left behind by a test that was killed.
const LEFT_BEHIND: Duration = Duration::from_secs(3600);

/// A fresh ledger.
pub(crate) async fn open() -> Fixture {
    let schema = Schema::create().await;
    let clock = clock();
    let ledger = schema.ledger(&clock).await;
    let back = schema.back_door().await;
    let place = Place::Schema {
        _schema: Box::new(schema),
    };
    Fixture::new(Arc::new(ledger), clock, Arc::new(back), place).await
}

/// A schema that is dropped with it.
pub(crate) struct Schema {
    server: MySqlConnectOptions,
    pub(crate) name: String,
}

impl Schema {
    /// A new and empty one.
    pub(crate) async fn create() -> Self {
        let server = server();
        let mut connection = connect(&server).await;
        sweep(&mut connection).await;
        let name = format!("pabal_test_{}_{:08x}", seconds(), fastrand::u32(..));
        run(&mut connection, &format!("CREATE DATABASE {name}")).await;
        Self { server, name }
    }

    /// Where the server is: host and port.
    pub(crate) fn server(&self) -> String {
        format!("{}:{}", self.server.get_host(), self.server.get_port())
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        let options = self.server.clone().database(&self.name);
        options.to_url_lossy().to_string()
    }

    /// Where it is for those who come through another address, in plain words that can be read there.
    pub(crate) fn url_through(&self, address: &str) -> String {
        let options = self.server.clone().database(&self.name);
        let mut url = options.ssl_mode(MySqlSslMode::Disabled).to_url_lossy();
        let (host, port) = address.split_once(':').unwrap();
        url.set_host(Some(host)).unwrap();
        url.set_port(port.parse().ok()).unwrap();
        url.to_string()
    }

    /// How to open it, with leases by a clock of the test's.
    pub(crate) fn config(&self, clock: &Arc<ManualClock>) -> MysqlConfig {
        MysqlConfig {
            url: self.url(),
            password: None,
            connections: 8,
            lease_clock: LeaseClock::Given(clock.clone()),
        }
    }

    /// The ledger in it.
    pub(crate) async fn ledger(&self, clock: &Arc<ManualClock>) -> MysqlLedger {
        MysqlLedger::open(&self.config(clock)).await.unwrap()
    }

    /// A way in beside the ledger's own.
    pub(crate) async fn back_door(&self) -> MysqlBackDoor {
        let options = self.server.clone().database(&self.name);
        let pool = MySqlPoolOptions::new().max_connections(1);
        MysqlBackDoor(pool.connect_with(options).await.unwrap())
    }

    /// A connection that is not part of any pool.
    pub(crate) async fn session(&self) -> MySqlConnection {
        connect(&self.server.clone().database(&self.name)).await
    }

    /// A user without any rights, of the same name as the schema; dropped with it.
    pub(crate) async fn user(&self, password: &str) -> String {
        let sql = format!("CREATE USER {}@'%' IDENTIFIED BY '{password}'", self.name);
        run(&mut self.session().await, &sql).await;
        self.name.clone()
    }

    /// Gives a user rights on the schema.
    pub(crate) async fn grant(&self, rights: &str, user: &str) {
        let sql = format!("GRANT {rights} ON {}.* TO {user}@'%'", self.name);
        run(&mut self.session().await, &sql).await;
    }
}

impl Drop for Schema {
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), self.name.clone());
        // The test's own runtime cannot be waited on here.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let mut connection = connect(&server).await;
                // The test's own runtime stands still, and a test that failed may have left a
                // transaction open.
                end_sessions(&mut connection, &name).await;
                remove(&mut connection, &name).await;
            });
        });
        if dropped.join().is_err() && !std::thread::panicking() {
            panic!("{} could not be dropped", self.name);
        }
    }
}

fn server() -> MySqlConnectOptions {
    let url = std::env::var(SERVER).unwrap_or_else(|_| USUAL.to_owned());
    url.parse()
        .unwrap_or_else(|error| panic!("{SERVER} is not the URL of a MySQL server: {error}"))
}

async fn connect(options: &MySqlConnectOptions) -> MySqlConnection {
    options.connect().await.unwrap_or_else(|error| {
        panic!(
            "no MySQL or MariaDB at {}:{} ({error}): start one, or name another in {SERVER}",
            options.get_host(),
            options.get_port()
        )
    })
}

pub(crate) async fn run(connection: &mut MySqlConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(connection)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// Every other session in a schema.
pub(crate) async fn sessions(connection: &mut MySqlConnection, schema: &str) -> Vec<i64> {
    sqlx::query_scalar(
        "SELECT CAST(id AS SIGNED) FROM information_schema.processlist \
         WHERE db = ? AND id <> connection_id()",
    )
    .bind(schema)
    .fetch_all(connection)
    .await
    .unwrap()
}

/// Ends every other session in a schema.
pub(crate) async fn end_sessions(connection: &mut MySqlConnection, schema: &str) {
    for id in sessions(connection, schema).await {
        // Whoever has gone meanwhile cannot be ended.
        let _ = sqlx::raw_sql(AssertSqlSafe(format!("KILL CONNECTION {id}")))
            .execute(&mut *connection)
            .await;
    }
}

/// Drops a schema and its user. Many tests do so at once, and the server lets one at a time.
async fn remove(connection: &mut MySqlConnection, name: &str) {
    let patience = "SET SESSION lock_wait_timeout = 120, innodb_lock_wait_timeout = 120";
    run(connection, patience).await;
    run(connection, &format!("DROP DATABASE IF EXISTS {name}")).await;
    run(connection, &format!("DROP USER IF EXISTS {name}@'%'")).await;
}

fn seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// Drops what killed tests left behind.
async fn sweep(connection: &mut MySqlConnection) {
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT CONVERT(schema_name USING utf8mb4) FROM information_schema.schemata \
         WHERE schema_name LIKE 'pabal\\_test\\_%'",
    )
    .fetch_all(&mut *connection)
    .await
    .unwrap();
    for name in names {
        let made: Option<u64> = name.split('_').nth(2).and_then(|text| text.parse().ok());
        if made.is_some_and(|made| made + LEFT_BEHIND.as_secs() < seconds()) {
            remove(connection, &name).await;
        }
    }
}

pub(crate) struct MysqlBackDoor(MySqlPool);

#[derive(sqlx::FromRow)]
struct HiddenRow {
    verdict: Option<String>,
    reason: Option<String>,
    route_closed: bool,
    retry: Option<i64>,
    ask: bool,
}

#[async_trait]
impl BackDoor for MysqlBackDoor {
    async fn hidden(&self, id: MessageId) -> Hidden {
        let row: HiddenRow = sqlx::query_as(
            "SELECT verdict, reason, route_closed, \
             (SELECT attempt FROM delays d WHERE d.message_id = m.message_id AND d.kind = 1) \
             AS retry, \
             EXISTS (SELECT 1 FROM delays d WHERE d.message_id = m.message_id AND d.kind = 2) \
             AS ask FROM messages m WHERE m.message_id = ?",
        )
        .bind(id.to_string())
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
        format!("'{id}'")
    }

    async fn run(&self, sql: &str) {
        sqlx::query(AssertSqlSafe(sql.to_owned()))
            .execute(&self.0)
            .await
            .unwrap();
    }

    async fn count(&self, sql: &str) -> u64 {
        let count: i64 =
            sqlx::query_scalar(AssertSqlSafe(format!("SELECT CAST(({sql}) AS SIGNED)")))
                .fetch_one(&self.0)
                .await
                .unwrap();
        u64::try_from(count).unwrap()
    }
}
