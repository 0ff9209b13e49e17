//! The implementations under test, and what every test needs of one.

use std::sync::Arc;
use std::time::Duration;

use futures::future::LocalBoxFuture;
use pabal_common::domain::id::{ClientMsgId, MessageId, PartnerId};
use pabal_common::quota::redis::{RedisConfig, RedisQuota};
use pabal_common::quota::{LocalQuota, Meter, Quota, Room};

/// Long enough for anything that will happen at all.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Limits nobody has used yet.
pub(crate) struct Fixture {
    quota: Arc<dyn Quota>,
    _keys: Option<Keys>,
}

impl Fixture {
    /// The limits. A closure that asks for them holds the whole house, keys and all.
    pub(crate) fn quota(&self) -> &dyn Quota {
        &*self.quota
    }
}

type Opening = fn() -> LocalBoxFuture<'static, Fixture>;

/// Runs a test against every implementation.
pub(crate) async fn each<Test, Running>(test: Test)
where
    Test: Fn(Fixture) -> Running,
    Running: Future<Output = ()>,
{
    let all: [Opening; 3] = [
        || Box::pin(async { local() }),
        || Box::pin(shared()),
        || Box::pin(async { without_redis() }),
    ];
    for open in all {
        test(open().await).await;
    }
}

/// Runs a test where each receiver limits by itself.
pub(crate) async fn each_alone<Test, Running>(test: Test)
where
    Test: Fn(Fixture) -> Running,
    Running: Future<Output = ()>,
{
    for open in [local, without_redis] {
        test(open()).await;
    }
}

/// Runs a test where accepted client ids are remembered.
pub(crate) async fn each_with_memory<Test, Running>(test: Test)
where
    Test: Fn(Fixture) -> Running,
    Running: Future<Output = ()>,
{
    test(local()).await;
    test(shared().await).await;
}

fn local() -> Fixture {
    Fixture {
        quota: Arc::new(LocalQuota::new()),
        _keys: None,
    }
}

async fn shared() -> Fixture {
    let keys = Keys::new();
    Fixture {
        quota: Arc::new(keys.connect().await),
        _keys: Some(keys),
    }
}

fn without_redis() -> Fixture {
    let quota = RedisQuota::start(config("redis+unix:///nowhere/at/all", "none:"));
    Fixture {
        quota: Arc::new(quota.unwrap()),
        _keys: None,
    }
}

pub(crate) fn config(url: &str, prefix: &str) -> RedisConfig {
    RedisConfig {
        url: url.to_owned(),
        password: None,
        prefix: prefix.to_owned(),
    }
}

/// The server that tests share, and a prefix of the test's own; its keys are deleted at the end.
pub(crate) struct Keys {
    url: String,
    prefix: String,
}

impl Keys {
    pub(crate) fn new() -> Self {
        let given = std::env::var("PABAL_TEST_QUOTA_URL");
        Self {
            url: given.unwrap_or_else(|_| "redis://127.0.0.1:6379".to_owned()),
            prefix: format!("pabal-test-{}-{:x}:", std::process::id(), fastrand::u64(..)),
        }
    }

    /// Limits that share these keys with others.
    pub(crate) async fn connect(&self) -> RedisQuota {
        match RedisQuota::connect(config(&self.url, &self.prefix)).await {
            Ok(quota) => quota,
            Err(error) => panic!(
                "start a Redis 7 on 127.0.0.1:6379, or name one by PABAL_TEST_QUOTA_URL: {error}"
            ),
        }
    }

    /// A connection of the test's own.
    pub(crate) fn server(&self) -> redis::Connection {
        let client = redis::Client::open(self.url.as_str()).unwrap();
        client.get_connection().expect("Redis is reachable")
    }

    /// Deletes what is kept under the prefix.
    pub(crate) fn delete(&self) {
        let mut server = self.server();
        let keys = self.all(&mut server);
        if !keys.is_empty() {
            redis::cmd("DEL").arg(keys).exec(&mut server).unwrap();
        }
    }

    /// The one key that ends so.
    pub(crate) fn key(&self, end: &str) -> String {
        format!("{}{end}", self.prefix)
    }

    pub(crate) fn all(&self, server: &mut redis::Connection) -> Vec<String> {
        let mut scan = redis::cmd("SCAN");
        scan.cursor_arg(0)
            .arg("MATCH")
            .arg(format!("{}*", self.prefix))
            .arg("COUNT")
            .arg(1000);
        let found = scan.iter::<String>(server).unwrap();
        found.map(Result::unwrap).collect()
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.delete();
        }
    }
}

pub(crate) fn partner(name: &str) -> PartnerId {
    name.parse().unwrap()
}

pub(crate) fn client(id: &str) -> ClientMsgId {
    id.parse().unwrap()
}

pub(crate) async fn take(quota: &dyn Quota, name: &str, per_second: u32, items: u32) -> Room {
    let partner = partner(name);
    quota
        .take(&partner, Meter::Messages, per_second, items)
        .await
}

/// Takes one by one until there is no room; how many there were.
pub(crate) async fn take_all(quota: &dyn Quota, name: &str, per_second: u32) -> u32 {
    let mut granted = 0;
    while take(quota, name, per_second, 1).await == Room::Granted {
        granted += 1;
    }
    granted
}

/// Waits until something is so that will be so.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let came = tokio::time::timeout(DEADLINE, waiting).await;
    assert!(came.is_ok(), "not in time: {what}");
}

pub(crate) const MESSAGE: MessageId = MessageId::from_number(7);
