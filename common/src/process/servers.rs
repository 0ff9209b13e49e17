//! The servers of a cluster: MySQL, RabbitMQ and Redis, connected.

use std::sync::Arc;

use super::StorageError;
use super::backends::Servers;
use super::settings::place_of;
use super::waiting::Waiting;
use crate::broker::rabbit::{RabbitBroker, RabbitConfig};
use crate::broker::{Broker as _, BrokerError, SharedBroker};
use crate::http::health::{Part, Readiness};
use crate::ledger::mysql::{MysqlConfig, MysqlLedger};
use crate::ledger::{LedgerError, SharedLedger};
use crate::quota::redis::{RedisConfig, RedisQuota};
use crate::quota::{Quota, QuotaError};

/// A connected ledger and broker.
pub(super) struct Connected {
    ledger: MysqlLedger,
    broker: Arc<RabbitBroker>,
}

/// Connects to both and migrates the ledger; waits for what is away.
pub(super) async fn connect(
    servers: &Servers,
    readiness: &Readiness,
) -> Result<Connected, StorageError> {
    Ok(Connected {
        ledger: ledger(&servers.ledger, readiness.part("ledger")).await?,
        broker: Arc::new(broker(&servers.broker, readiness.part("broker")).await?),
    })
}

async fn ledger(config: &MysqlConfig, part: Part) -> Result<MysqlLedger, LedgerError> {
    let what = place("the ledger", &config.url);
    let mut waiting = Waiting::new(part, &what);
    loop {
        match MysqlLedger::open(config).await {
            Ok(ledger) => {
                waiting.over();
                return Ok(ledger);
            }
            Err(error) => waiting.after(error).await?,
        }
    }
}

async fn broker(config: &RabbitConfig, part: Part) -> Result<RabbitBroker, BrokerError> {
    let what = place("the broker", &config.url);
    let mut waiting = Waiting::new(part, &what);
    loop {
        match RabbitBroker::connect(config.clone()).await {
            Ok(broker) => {
                waiting.over();
                return Ok(broker);
            }
            Err(error) => waiting.after(error).await?,
        }
    }
}

/// How a server is called in a log line.
fn place(what: &str, url: &str) -> String {
    format!("{what} at {}", place_of(url))
}

impl Connected {
    pub(super) fn ledger(&self) -> SharedLedger {
        Arc::new(self.ledger.clone())
    }

    pub(super) fn broker(&self) -> SharedBroker {
        self.broker.clone()
    }

    pub(super) async fn close(&self) {
        self.broker.close().await;
        self.ledger.close().await;
    }
}

/// A ledger that a command looks at, and the way to its broker.
pub(super) struct Visited {
    ledger: MysqlLedger,
    broker: RabbitConfig,
}

/// Connects to the ledger as it is.
pub(super) async fn visit(servers: &Servers) -> Result<Visited, StorageError> {
    Ok(Visited {
        ledger: MysqlLedger::visit(&servers.ledger).await?,
        broker: servers.broker.clone(),
    })
}

/// Connects to the ledger and brings its schema up to date.
pub(super) async fn migrate(servers: &Servers) -> Result<Visited, StorageError> {
    Ok(Visited {
        ledger: MysqlLedger::open(&servers.ledger).await?,
        broker: servers.broker.clone(),
    })
}

impl Visited {
    pub(super) fn ledger(&self) -> SharedLedger {
        Arc::new(self.ledger.clone())
    }

    /// Asks the broker for the highest ledger counter that was kept there.
    pub(super) async fn recall_mark(&self) -> Result<u64, BrokerError> {
        let broker = RabbitBroker::connect(self.broker.clone()).await?;
        let mark = broker.recall_mark().await;
        broker.close().await;
        mark
    }

    pub(super) async fn close(&self) {
        self.ledger.close().await;
    }
}

/// Limits counted in Redis. While it is away, which it says itself, they are local.
pub(super) async fn quota(config: &RedisConfig) -> Result<Arc<dyn Quota>, QuotaError> {
    let quota = RedisQuota::start(config.clone())?;
    match quota.check().await {
        Ok(()) | Err(QuotaError::Unavailable(_)) => Ok(Arc::new(quota)),
        Err(wrong) => Err(wrong),
    }
}
