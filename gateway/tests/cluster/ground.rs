//! A schema, a queue prefix and a key prefix of one test, removed at the end.

use std::str::FromStr as _;

use pabal_common::broker::rabbit::{RabbitBroker, RabbitConfig};
use sqlx::mysql::MySqlConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, MySqlConnection};
use tokio::runtime::Runtime;

/// What one test has of the three servers.
pub(crate) struct Ground {
    /// The URL of its schema.
    pub(crate) ledger: String,
    /// The broker's URL.
    pub(crate) broker: String,
    /// Redis' URL.
    pub(crate) quota: String,
    /// The schema's name, and what every name at the others begins with.
    pub(crate) name: String,
    server: MySqlConnectOptions,
}

impl Ground {
    /// An empty schema; nothing yet at the others.
    pub(crate) async fn new() -> Self {
        let given = |name: &str, usual: &str| std::env::var(name).unwrap_or(usual.to_owned());
        let ledger = given("PABAL_TEST_LEDGER_URL", "mysql://root@127.0.0.1:3306");
        let server = MySqlConnectOptions::from_str(&ledger).unwrap();
        let name = format!("pabal_cluster_{:016x}", fastrand::u64(..));
        let ground = Self {
            ledger: server.clone().database(&name).to_url_lossy().to_string(),
            broker: given(
                "PABAL_TEST_BROKER_URL",
                "amqp://guest:guest@127.0.0.1:5672/%2f",
            ),
            quota: given("PABAL_TEST_QUOTA_URL", "redis://127.0.0.1:6379"),
            name,
            server,
        };
        let create = format!("CREATE DATABASE {}", ground.name);
        execute(&mut connect(&ground.server).await, create).await;
        ground
    }

    /// What every name at the broker begins with.
    pub(crate) fn queues(&self) -> String {
        format!("{}.", self.name)
    }

    /// What every key in Redis begins with.
    pub(crate) fn keys(&self) -> String {
        format!("{}:", self.name)
    }

    /// A connection to the schema, beside the programs.
    pub(crate) async fn session(&self) -> MySqlConnection {
        connect(&self.server.clone().database(&self.name)).await
    }

    /// Runs statements, one after the other.
    pub(crate) async fn run(&self, statements: &[&str]) {
        let mut session = self.session().await;
        for statement in statements {
            execute(&mut session, (*statement).to_owned()).await;
        }
    }

    /// The one number that a statement reads.
    pub(crate) async fn number(&self, statement: &str) -> i64 {
        let read = sqlx::query_scalar(AssertSqlSafe(statement.to_owned()));
        read.fetch_one(&mut self.session().await).await.unwrap()
    }

    /// The words that a statement reads.
    pub(crate) async fn words(&self, statement: &str) -> Vec<String> {
        let read = sqlx::query_scalar(AssertSqlSafe(statement.to_owned()));
        read.fetch_all(&mut self.session().await).await.unwrap()
    }

    /// Deletes every key in Redis.
    pub(crate) fn forget_keys(&self) -> usize {
        let client = redis::Client::open(self.quota.as_str()).unwrap();
        let mut server = client.get_connection().unwrap();
        let mut scan = redis::cmd("SCAN");
        scan.cursor_arg(0)
            .arg("MATCH")
            .arg(self.keys() + "*")
            .arg("COUNT")
            .arg(1000);
        let found = scan.iter::<String>(&mut server).unwrap();
        let keys: Vec<_> = found.map(Result::unwrap).collect();
        if !keys.is_empty() {
            redis::cmd("DEL").arg(&keys).exec(&mut server).unwrap();
        }
        keys.len()
    }

    /// Where a server listens, of its URL.
    pub(crate) fn address(url: &str) -> std::net::SocketAddr {
        use std::net::ToSocketAddrs as _;

        let (_, rest) = url.split_once("://").unwrap();
        let authority = rest.split('/').next().unwrap();
        let place = authority.rsplit('@').next().unwrap();
        place.to_socket_addrs().unwrap().next().unwrap()
    }

    /// The same server, by another address.
    pub(crate) fn by(url: &str, address: std::net::SocketAddr) -> String {
        let (scheme, rest) = url.split_once("://").unwrap();
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let user = authority.rsplit_once('@').map(|(user, _)| user);
        match user {
            Some(user) => format!("{scheme}://{user}@{address}/{path}"),
            None => format!("{scheme}://{address}/{path}"),
        }
    }

    async fn remove(server: MySqlConnectOptions, name: String, broker: RabbitConfig) {
        let mut session = connect(&server).await;
        for statement in [
            format!("DROP DATABASE IF EXISTS {name}"),
            // One test makes a user of this name.
            format!("DROP USER IF EXISTS {name}@'%', {name}@'localhost'"),
        ] {
            execute(&mut session, statement).await;
        }
        RabbitBroker::delete_topology(&broker).await.unwrap();
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), self.name.clone());
        let broker = RabbitConfig {
            url: self.broker.clone(),
            password: None,
            prefix: self.queues(),
            window: 1,
        };
        // The test's own runtime may be the one that is running this.
        let removing = std::thread::spawn(move || {
            let runtime = Runtime::new().unwrap();
            runtime.block_on(Self::remove(server, name, broker));
        });
        let removed = removing.join();
        self.forget_keys();
        if !std::thread::panicking() {
            removed.expect("the test leaves nothing behind");
        }
    }
}

async fn connect(server: &MySqlConnectOptions) -> MySqlConnection {
    server.connect().await.unwrap_or_else(|error| {
        panic!(
            "no MySQL 8 or MariaDB 10.11 for the tests: {error}. Start one on 127.0.0.1:3306 whose \
             root has no password, or name one in PABAL_TEST_LEDGER_URL"
        )
    })
}

async fn execute(session: &mut MySqlConnection, statement: String) {
    sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(session)
        .await
        .unwrap();
}
