//! Queues on a RabbitMQ server, of one test alone, and ways to get at them without the broker.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties};
use pabal_common::broker::rabbit::{RabbitBroker, RabbitConfig};
use pabal_common::broker::{BrokerError, SharedBroker};

use crate::stack::Kept;

/// Where the server is, as a user who may do everything.
pub(crate) fn url() -> String {
    std::env::var("PABAL_TEST_BROKER_URL")
        .unwrap_or_else(|_| "amqp://guest:guest@127.0.0.1:5672/%2f".to_owned())
}

/// Queues with a prefix of their own; deleted at the end.
pub(crate) struct Server {
    pub(crate) config: RabbitConfig,
    brokers: Mutex<Vec<Arc<RabbitBroker>>>,
}

impl Server {
    /// No queues yet.
    pub(crate) async fn empty() -> Self {
        let config = RabbitConfig {
            url: url(),
            password: None,
            prefix: format!("pabal-test.{:016x}.", fastrand::u64(..)),
            window: 500,
        };
        Self {
            config,
            brokers: Mutex::default(),
        }
    }

    /// A process on these queues.
    pub(crate) async fn connect(&self) -> Arc<RabbitBroker> {
        self.connect_as(self.config.clone()).await
    }

    /// A process that reaches the server at another address.
    pub(crate) async fn connect_by(&self, address: std::net::SocketAddr) -> Arc<RabbitBroker> {
        self.connect_as(self.config_by(address)).await
    }

    /// The same queues at another address.
    pub(crate) fn config_by(&self, address: std::net::SocketAddr) -> RabbitConfig {
        let mut uri: lapin::uri::AMQPUri = self.config.url.parse().unwrap();
        uri.authority.host = address.ip().to_string();
        uri.authority.port = address.port();
        RabbitConfig {
            url: uri.to_string(),
            ..self.config.clone()
        }
    }

    pub(crate) async fn connect_as(&self, config: RabbitConfig) -> Arc<RabbitBroker> {
        let broker = RabbitBroker::connect(config).await.unwrap_or_else(|error| {
            panic!(
                "no RabbitMQ 3.10 or newer for the tests: {error}. Start one on 127.0.0.1:5672 \
                 (guest/guest), or name one in PABAL_TEST_BROKER_URL"
            )
        });
        let broker = Arc::new(broker);
        self.brokers.lock().unwrap().push(Arc::clone(&broker));
        broker
    }

    /// Where the server listens.
    pub(crate) fn address(&self) -> (String, u16) {
        let uri: lapin::uri::AMQPUri = self.config.url.parse().unwrap();
        (uri.authority.host, uri.authority.port)
    }

    pub(crate) fn name(&self, name: &str) -> String {
        format!("{}{name}", self.config.prefix)
    }

    /// A way to the server beside the broker.
    pub(crate) async fn beside(&self) -> Beside {
        let connection = Connection::connect(&self.config.url, ConnectionProperties::default())
            .await
            .unwrap();
        let channel = connection.create_channel().await.unwrap();
        Beside {
            _connection: connection,
            channel,
        }
    }
}

/// A channel that knows nothing of the broker.
pub(crate) struct Beside {
    _connection: Connection,
    pub(crate) channel: Channel,
}

impl Beside {
    pub(crate) async fn delete(&self, queue: String) {
        self.channel
            .queue_delete(queue.into(), QueueDeleteOptions::default())
            .await
            .unwrap();
    }

    /// Declares a queue that is not as the broker wants it.
    pub(crate) async fn declare_classic(&self, queue: String) {
        self.channel
            .queue_declare(
                queue.into(),
                QueueDeclareOptions::durable(),
                FieldTable::default(),
            )
            .await
            .unwrap();
    }

    pub(crate) async fn count(&self, queue: String) -> u32 {
        self.channel
            .queue_declare(
                queue.into(),
                QueueDeclareOptions::durable().passive(),
                FieldTable::default(),
            )
            .await
            .unwrap()
            .message_count()
    }
}

#[async_trait(?Send)]
impl Kept for Server {
    async fn restart(&self) -> SharedBroker {
        let old = std::mem::take(&mut *self.brokers.lock().unwrap());
        for broker in old {
            broker.close().await;
        }
        self.connect().await
    }

    /// An acknowledgement goes out before the connection ends.
    async fn flush(&self) {}
}

impl Drop for Server {
    fn drop(&mut self) {
        // First the brokers, so that none declares its queues again.
        self.brokers.lock().unwrap().clear();
        let config = self.config.clone();
        // The test's own runtime may be the one that is running this.
        let deleted = std::thread::spawn(move || {
            tokio::runtime::Runtime::new()
                .unwrap()
                .block_on(RabbitBroker::delete_topology(&config))
        });
        let deleted: Result<(), BrokerError> = deleted.join().unwrap();
        if !std::thread::panicking() {
            deleted.unwrap();
        }
    }
}
