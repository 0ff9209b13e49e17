//! The stack of many processes: the ledger on MySQL or MariaDB, the queues on RabbitMQ, the limits
//! on Redis. Every test has a schema, a queue prefix and a key prefix of its own, which are deleted
//! with the stack, also when the test fails.

use std::time::{SystemTime, UNIX_EPOCH};

use pabal_common::broker::rabbit::{RabbitBroker, RabbitConfig};
use reqwest::Url;
use sqlx::{AssertSqlSafe, Connection as _, MySqlConnection};
use tokio::net::TcpStream;

use crate::tap::Tap;

/// What the ledger is called among the things a run leaves behind.
pub(crate) const LEDGER: &str = "said to MySQL";

const MYSQL: Server = Server {
    name: "MySQL",
    versions: "MySQL 8 or MariaDB 10.11",
    variable: "PABAL_TEST_LEDGER_URL",
    usual: "mysql://root@127.0.0.1:3306",
    port: 3306,
};
const RABBIT: Server = Server {
    name: "RabbitMQ",
    versions: "RabbitMQ 3.10 or newer",
    variable: "PABAL_TEST_BROKER_URL",
    usual: "amqp://guest:guest@127.0.0.1:5672/%2f",
    port: 5672,
};
const REDIS: Server = Server {
    name: "Redis",
    versions: "Redis 7",
    variable: "PABAL_TEST_QUOTA_URL",
    usual: "redis://127.0.0.1:6379",
    port: 6379,
};

/// A server that all tests share.
struct Server {
    name: &'static str,
    versions: &'static str,
    /// The environment variable that names another.
    variable: &'static str,
    usual: &'static str,
    port: u16,
}

impl Server {
    /// Its URL. The test fails if nobody is there: a gateway would wait for it.
    async fn url(&self) -> Url {
        let Self {
            versions, variable, ..
        } = self;
        let given = std::env::var(variable);
        let url: Url = given
            .as_deref()
            .unwrap_or(self.usual)
            .parse()
            .unwrap_or_else(|error| panic!("{variable} is not a URL: {error}"));
        let place = self.place(&url);
        if let Err(error) = TcpStream::connect(&place).await {
            panic!("no {versions} at {place} ({error}): start one, or name another in {variable}");
        }
        url
    }

    /// Host and port.
    fn place(&self, url: &Url) -> String {
        let host = url.host_str().unwrap_or("127.0.0.1");
        format!("{host}:{}", url.port().unwrap_or(self.port))
    }
}

/// A place of the test's own on each of the servers.
pub(crate) struct Stack {
    ledger: Url,
    schema: String,
    broker: RabbitConfig,
    quota: Url,
    keys: String,
    /// Where somebody listens: in the way to MySQL, RabbitMQ and Redis.
    taps: Option<[Tap; 3]>,
}

impl Stack {
    pub(crate) async fn open() -> Self {
        let (ledger, broker, quota) = (MYSQL.url().await, RABBIT.url().await, REDIS.url().await);
        let own = format!("{:016x}", fastrand::u64(..));
        let schema = format!("pabal_test_{}_{own}", seconds());
        run(&ledger, &format!("CREATE DATABASE {schema}")).await;
        Self {
            ledger,
            schema,
            broker: RabbitConfig {
                url: broker.to_string(),
                password: None,
                prefix: format!("pabal-test.{own}."),
                window: 500,
            },
            quota,
            keys: format!("pabal-test-{own}:"),
            taps: None,
        }
    }

    /// One that can tell what was [said](Self::said) to the servers.
    pub(crate) async fn overheard() -> Self {
        let mut stack = Self::open().await;
        let broker = stack.broker.url.parse().unwrap();
        stack.taps = Some([
            Tap::on(MYSQL.place(&stack.ledger)).await,
            Tap::on(RABBIT.place(&broker)).await,
            Tap::on(REDIS.place(&stack.quota)).await,
        ]);
        stack
    }

    /// What leads a gateway to it.
    pub(crate) fn settings(&self) -> Vec<(String, String)> {
        let mut ledger = self.ledger.clone();
        ledger.set_path(&self.schema);
        let mut broker: Url = self.broker.url.parse().unwrap();
        let mut quota = self.quota.clone();
        if let Some([mysql, rabbit, redis]) = &self.taps {
            // In words that can be read on the way.
            ledger.set_query(Some("ssl-mode=DISABLED"));
            for (url, tap) in [
                (&mut ledger, mysql),
                (&mut broker, rabbit),
                (&mut quota, redis),
            ] {
                tap.lead(url);
            }
        }
        [
            ("ledger.url", ledger.as_str()),
            ("broker.url", broker.as_str()),
            ("broker.prefix", &self.broker.prefix),
            ("quota.url", quota.as_str()),
            ("quota.prefix", &self.keys),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .to_vec()
    }

    /// What was said to the servers: the server and the bytes. Each was told something, else nobody
    /// has listened.
    pub(crate) fn said(&self) -> Vec<(String, Vec<u8>)> {
        let taps = self.taps.as_ref().expect("somebody listens");
        let names = [MYSQL, RABBIT, REDIS].map(|server| server.name);
        let said = names.into_iter().zip(taps).map(|(name, tap)| {
            let bytes = tap.said();
            assert!(!bytes.is_empty(), "nothing was said to {name}");
            (format!("said to {name}"), bytes)
        });
        said.collect()
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        let (ledger, schema) = (self.ledger.clone(), self.schema.clone());
        let (broker, quota, keys) = (self.broker.clone(), self.quota.clone(), self.keys.clone());
        // The test's own runtime cannot be waited on here.
        let deleted = std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async {
                drop_schema(&ledger, &schema).await;
                RabbitBroker::delete_topology(&broker).await.unwrap();
            });
            delete_keys(&quota, &keys);
        });
        if deleted.join().is_err() && !std::thread::panicking() {
            panic!("{} and what belongs to it was left behind", self.schema);
        }
    }
}

fn seconds() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap().as_secs()
}

async fn connect(ledger: &Url) -> MySqlConnection {
    let connected = MySqlConnection::connect(ledger.as_str()).await;
    connected.unwrap_or_else(|error| panic!("{}: {error}", MYSQL.variable))
}

async fn run(ledger: &Url, sql: &str) {
    let mut connection = connect(ledger).await;
    let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(&mut connection)
        .await;
    done.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// Many tests do so at once, and the server lets one at a time.
async fn drop_schema(ledger: &Url, schema: &str) {
    let patience = "SET SESSION lock_wait_timeout = 120, innodb_lock_wait_timeout = 120";
    run(ledger, &format!("{patience}; DROP DATABASE {schema}")).await;
}

fn delete_keys(quota: &Url, prefix: &str) {
    let client = redis::Client::open(quota.as_str()).unwrap();
    let mut connection = client.get_connection().unwrap();
    let mut scan = redis::cmd("SCAN");
    scan.cursor_arg(0)
        .arg("MATCH")
        .arg(format!("{prefix}*"))
        .arg("COUNT")
        .arg(1000);
    let keys: Vec<String> = scan
        .iter(&mut connection)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    if !keys.is_empty() {
        redis::cmd("DEL").arg(keys).exec(&mut connection).unwrap();
    }
}
