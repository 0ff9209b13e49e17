//! What has to exist at the broker.
//!
//! Quorum queues: a frame is confirmed when a majority has it on disk, and one that is given back
//! goes to the head. A frame that is rejected goes through the dead-letter exchange at least once:
//! its queue keeps it until the dead-letter queue has confirmed it. The mark is a queue of one
//! message ([`super::mark`]).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lapin::options::{
    ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions,
    QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Connection, ExchangeKind};
use tokio::sync::watch;

use super::ANSWER;
use super::address::Address;
use super::fault;
use super::link::Link;
use crate::broker::{BrokerError, QueueName};

/// The longest prefix; a name at the broker has at most 255 bytes.
const LONGEST_PREFIX: usize = 128;
/// How often missing queues are declared again at the most.
const REPAIR: Duration = Duration::from_millis(500);
/// However often a frame comes again, it may not be thrown away for that. RabbitMQ 4 limits
/// deliveries to 20 unless told otherwise, and -1 lifts the limit there, but means "none at all" to
/// older versions. A limit out of reach says the same to all of them, and stays the same when a
/// server is upgraded in place.
const DELIVERIES: i64 = 1_000_000_000_000;

/// The names at the broker.
#[derive(Debug)]
pub(super) struct Names {
    prefix: String,
}

impl Names {
    pub(super) fn new(prefix: &str) -> Result<Self, BrokerError> {
        let usable = prefix.len() <= LONGEST_PREFIX
            && !prefix.starts_with("amq.")
            && prefix.chars().all(|c| c.is_ascii_graphic());
        if !usable {
            return Err(BrokerError::Misconfigured(format!(
                "broker.prefix {prefix:?} cannot begin a queue's name: use at most \
                 {LONGEST_PREFIX} visible ASCII characters that do not begin with \"amq.\""
            )));
        }
        Ok(Self {
            prefix: prefix.to_owned(),
        })
    }

    pub(super) fn queue(&self, queue: QueueName) -> ShortString {
        self.with(queue.name())
    }

    /// The queue with this name at the broker.
    pub(super) fn parse(&self, name: &str) -> Option<QueueName> {
        QueueName::parse(name.strip_prefix(&self.prefix)?)
    }

    pub(super) fn dead_exchange(&self) -> ShortString {
        self.with("dead.exchange")
    }

    pub(super) fn dead_queue(&self) -> ShortString {
        self.with("dead.queue")
    }

    pub(super) fn mark(&self) -> ShortString {
        self.with("ledger.mark.queue")
    }

    /// Exists only while someone moves the mark.
    pub(super) fn mark_lock(&self) -> ShortString {
        self.with("ledger.mark.lock")
    }

    /// Never exists.
    pub(super) fn nowhere(&self) -> ShortString {
        self.with("nowhere")
    }

    fn with(&self, name: &str) -> ShortString {
        format!("{}{name}", self.prefix).into()
    }
}

/// The queues of a running broker, which are declared again when they are missing.
pub(super) struct Topology {
    names: Arc<Names>,
    address: Arc<Address>,
    link: Link,
    last_repair: Mutex<Option<Instant>>,
    repaired: watch::Sender<()>,
}

impl Topology {
    pub(super) fn new(names: Arc<Names>, address: Arc<Address>, link: Link) -> Self {
        Self {
            names,
            address,
            link,
            last_repair: Mutex::default(),
            repaired: watch::Sender::new(()),
        }
    }

    pub(super) fn names(&self) -> &Arc<Names> {
        &self.names
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Declares everything again, unless that was done just now.
    pub(super) async fn repair(&self) {
        if !self.is_due() {
            return;
        }
        tracing::warn!(
            broker = %self.address, prefix = self.names.prefix,
            "a queue is missing at the broker; declaring the queues again"
        );
        let declared = match self.link.connection() {
            Ok(connection) => declare(&connection, &self.names, &self.address).await,
            Err(error) => Err(error),
        };
        match declared {
            Ok(()) => self.repaired.send_replace(()),
            Err(error) => tracing::error!(%error, "the queues could not be declared again"),
        }
    }

    /// Changes whenever queues were declared again.
    pub(super) fn repaired(&self) -> watch::Receiver<()> {
        self.repaired.subscribe()
    }

    fn is_due(&self) -> bool {
        let now = Instant::now();
        let mut last = self
            .last_repair
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let due = last.is_none_or(|last| now.duration_since(last) >= REPAIR);
        if due {
            *last = Some(now);
        }
        due
    }
}

/// Declares what is missing and checks the rest.
pub(super) async fn declare(
    connection: &Connection,
    names: &Names,
    address: &Address,
) -> Result<(), BrokerError> {
    let declaration = Declaration {
        connection,
        address,
    };
    declaration.dead_letters(names).await?;
    declaration
        .queue(&names.mark(), FieldTable::default())
        .await?;
    for queue in QueueName::all() {
        let mut arguments = FieldTable::default();
        arguments.insert(
            "x-dead-letter-exchange".into(),
            text(names.dead_exchange().as_str()),
        );
        arguments.insert("x-dead-letter-strategy".into(), text("at-least-once"));
        // What "at-least-once" asks for. The queues have no length limit of ours, so it refuses
        // nothing unless a policy sets one; then the publisher is told, as it has to be.
        arguments.insert("x-overflow".into(), text("reject-publish"));
        declaration.queue(&names.queue(queue), arguments).await?;
    }
    Ok(())
}

struct Declaration<'a> {
    connection: &'a Connection,
    address: &'a Address,
}

impl Declaration<'_> {
    async fn dead_letters(&self, names: &Names) -> Result<(), BrokerError> {
        let (exchange, queue) = (names.dead_exchange(), names.dead_queue());
        self.queue(&queue, FieldTable::default()).await?;
        let channel = self.channel().await?;
        let declared = channel.exchange_declare(
            exchange.clone(),
            ExchangeKind::Fanout,
            ExchangeDeclareOptions {
                durable: true,
                ..Default::default()
            },
            FieldTable::default(),
        );
        fault::answered(ANSWER, declared, self.address).await?;
        let bound = channel.queue_bind(
            queue,
            exchange,
            ShortString::default(),
            QueueBindOptions::default(),
            FieldTable::default(),
        );
        fault::answered(ANSWER, bound, self.address).await
    }

    /// Declares a quorum queue; on a channel of its own, because a refusal closes it.
    async fn queue(
        &self,
        name: &ShortString,
        mut arguments: FieldTable,
    ) -> Result<(), BrokerError> {
        arguments.insert("x-queue-type".into(), text("quorum"));
        arguments.insert(
            "x-delivery-limit".into(),
            AMQPValue::LongLongInt(DELIVERIES),
        );
        let channel = self.channel().await?;
        let declared =
            channel.queue_declare(name.clone(), QueueDeclareOptions::durable(), arguments);
        fault::answered(ANSWER, declared, self.address).await?;
        Ok(())
    }

    async fn channel(&self) -> Result<Channel, BrokerError> {
        fault::answered(ANSWER, self.connection.create_channel(), self.address).await
    }
}

/// What the broker says of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// How many frames are ready.
    pub(super) ready: u64,
    /// How many consumers it has.
    pub(super) consumers: u32,
}

impl Seen {
    /// What is said of an empty queue without consumers, and of one whose leader does not answer.
    pub(super) const NOTHING: Self = Self {
        ready: 0,
        consumers: 0,
    };
}

/// Looks at a queue. A missing one is [`BrokerError::Returned`].
pub(super) async fn look(
    link: &Link,
    name: ShortString,
    address: &Address,
) -> Result<Seen, BrokerError> {
    // On a channel of its own: a missing queue closes it.
    let channel = link.channel().await?;
    let options = QueueDeclareOptions::durable().passive();
    let declared = channel.queue_declare(name, options, FieldTable::default());
    let queue = fault::answered(ANSWER, declared, address).await?;
    Ok(Seen {
        ready: u64::from(queue.message_count()),
        consumers: queue.consumer_count(),
    })
}

/// Deletes everything of these names.
pub(super) async fn delete(
    connection: &Connection,
    names: &Names,
    address: &Address,
) -> Result<(), BrokerError> {
    let channel = fault::answered(ANSWER, connection.create_channel(), address).await?;
    let queues = QueueName::all().map(|queue| names.queue(queue));
    for queue in queues.chain([names.dead_queue(), names.mark()]) {
        let deleted = channel.queue_delete(queue, QueueDeleteOptions::default());
        fault::answered(ANSWER, deleted, address).await?;
    }
    let deleted = channel.exchange_delete(names.dead_exchange(), ExchangeDeleteOptions::default());
    fault::answered(ANSWER, deleted, address).await
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_queue_is_found_again_by_its_name_at_the_broker() {
        let names = Names::new("a.").unwrap();
        for queue in QueueName::all() {
            assert_eq!(names.parse(names.queue(queue).as_str()), Some(queue));
        }
        assert_eq!(names.parse("report.queue"), None);
    }

    #[test]
    fn a_prefix_that_cannot_begin_a_name_is_refused_by_its_setting() {
        for prefix in ["amq.", "a b", "ä", &"x".repeat(129)] {
            let error = Names::new(prefix).unwrap_err().to_string();
            assert!(error.starts_with("broker.prefix "), "{error}");
        }
    }
}
