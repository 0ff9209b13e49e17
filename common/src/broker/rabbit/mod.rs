//! The queues on RabbitMQ.
//!
//! Two connections: one publishes, the other consumes and asks. RabbitMQ stops reading from a
//! connection that publishes while its memory or disk runs short, and acknowledgements must pass
//! all the same. Each connection has a supervisor; nothing is left to the client library's own
//! recovery.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt as _;
use futures::stream::FuturesOrdered;
use lapin::options::{BasicGetOptions, BasicNackOptions};
use secrecy::SecretString;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use self::address::Address;
use self::delivery::{RabbitDelivery, Source};
use self::lane::{Entry, Lane, Outgoing, Unroutable};
use self::link::Link;
use self::mark::Mark;
use self::subscription::Feeder;
use self::topology::{Names, Seen, Topology};
use super::{Broker, BrokerError, Delivery, Publication, QueueName, Subscription};
use crate::telemetry::trace::traceparent;

mod address;
mod delivery;
mod fault;
mod lane;
mod link;
mod mark;
mod subscription;
mod topology;
mod trace;

/// How long the broker may take to answer a command.
const ANSWER: Duration = Duration::from_secs(5);
/// How long it may take to confirm frames.
const CONFIRM: Duration = Duration::from_secs(10);
/// How long `close` waits for the connections to end.
const GOODBYE: Duration = Duration::from_secs(5);

/// Where the broker is and how its queues are named.
#[derive(Clone)]
pub struct RabbitConfig {
    /// `amqp://user@host:5672/vhost`, or `amqps://` for TLS.
    pub url: String,
    /// The password, if it is not part of the URL.
    pub password: Option<SecretString>,
    /// What every name at the broker begins with; empty where the vhost is Pabal's alone.
    pub prefix: String,
    /// How many frames of one queue may be published and not yet confirmed.
    pub window: usize,
}

/// Without the URL, which may hold a password.
impl std::fmt::Debug for RabbitConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RabbitConfig")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

/// Queues on RabbitMQ 3.10 or newer, shared by any number of processes.
///
/// Its tasks end with [`close`](Self::close), or soon after it is dropped.
pub struct RabbitBroker {
    topology: Arc<Topology>,
    publishing: Link,
    consuming: Link,
    lanes: HashMap<QueueName, Entry>,
    mark: Mark,
    tasks: TaskTracker,
    stop: CancellationToken,
    _stop_when_dropped: DropGuard,
}

impl RabbitBroker {
    /// Connects, declares the queues and checks that they are as declared.
    ///
    /// # Errors
    /// [`BrokerError::Misconfigured`] for what waiting does not heal: the address, the password,
    /// the vhost, missing rights, a queue that exists with other properties.
    /// [`BrokerError::Unavailable`] for what may come back.
    pub async fn connect(config: RabbitConfig) -> Result<Self, BrokerError> {
        let address = Arc::new(Address::new(&config)?);
        let names = Arc::new(Names::new(&config.prefix)?);
        let consumer = link::connect(&address, "consume").await?;
        let declared = topology::declare(&consumer, &names, &address).await;
        if let Err(error) = declared {
            link::hang_up(&consumer).await;
            return Err(error);
        }
        let publisher = match link::connect(&address, "publish").await {
            Ok(publisher) => publisher,
            Err(error) => {
                link::hang_up(&consumer).await;
                return Err(error);
            }
        };

        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let start =
            |connection, purpose| Link::start(&address, purpose, connection, &tasks, stop.clone());
        let consuming = start(consumer, "consume");
        let publishing = start(publisher, "publish");
        let topology = Arc::new(Topology::new(names, address, consuming.clone()));
        let window = config.window.max(1);
        let lanes = QueueName::all()
            .map(|queue| {
                let (entry, inbox) = Entry::new(window);
                let lane = Lane::new(queue, publishing.clone(), Arc::clone(&topology), inbox);
                tasks.spawn(stop.clone().run_until_cancelled_owned(lane.run()));
                (queue, entry)
            })
            .collect();
        let mark = Mark::start(&topology, &consuming, &publishing, &tasks, &stop);
        let broker = Self {
            topology,
            publishing,
            consuming,
            lanes,
            mark,
            tasks,
            _stop_when_dropped: stop.clone().drop_guard(),
            stop,
        };
        if let Err(error) = broker.check_rights().await {
            broker.close().await;
            return Err(error);
        }
        Ok(broker)
    }

    /// Declaring asks for other rights than publishing and consuming. A broker that does not answer
    /// now, or takes no frames for want of memory, proves nothing.
    async fn check_rights(&self) -> Result<(), BrokerError> {
        for checked in [
            self.publish_nowhere().await,
            self.take_dead(1).await.map(drop),
        ] {
            if let Err(error @ BrokerError::Misconfigured(_)) = checked {
                return Err(error);
            }
        }
        Ok(())
    }

    /// A frame for no queue, which the broker confirms and forgets.
    async fn publish_nowhere(&self) -> Result<(), BrokerError> {
        let (names, address) = (self.topology.names(), self.topology.address());
        let mut link = self.publishing.clone();
        let published = async {
            let channel = lane::confirming(&self.publishing, &self.topology).await?;
            let published = lane::publish_alone(&channel, names.nowhere(), &[], Unroutable::Drop);
            fault::answered(ANSWER, published, address).await.map(drop)
        };
        tokio::select! {
            biased;
            published = published => published,
            lost = link.lost() => Err(lost),
        }
    }

    /// Ends every subscription and connection. What is not acknowledged by now is ready again at
    /// the broker, in its order. Give acknowledgements before.
    pub async fn close(&self) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(GOODBYE, self.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!("the broker's connections did not end in time");
        }
    }

    /// Deletes every queue and exchange of `config.prefix` with all that is in them: for tests, and
    /// for the operator who removes an installation. Nothing may be using them.
    ///
    /// # Errors
    /// [`BrokerError`], like [`connect`](Self::connect).
    pub async fn delete_topology(config: &RabbitConfig) -> Result<(), BrokerError> {
        let address = Arc::new(Address::new(config)?);
        let names = Names::new(&config.prefix)?;
        let connection = link::connect(&address, "delete").await?;
        let deleted = topology::delete(&connection, &names, &address).await;
        link::hang_up(&connection).await;
        deleted
    }

    async fn count(&self, queue: QueueName) -> Result<u64, BrokerError> {
        let name = self.topology.names().queue(queue);
        let seen = topology::look(&self.consuming, name, self.topology.address()).await?;
        if seen == Seen::NOTHING {
            return self.count_inside(queue).await;
        }
        Ok(seen.ready)
    }

    /// RabbitMQ says "no frames and no consumers" also of a queue whose leader does not answer. So
    /// where it says that, a frame is asked for, which only the leader can answer, and given back.
    /// Nobody consumes from such a queue, so nobody is disturbed.
    async fn count_inside(&self, queue: QueueName) -> Result<u64, BrokerError> {
        let (name, address) = (self.topology.names().queue(queue), self.topology.address());
        let channel = self.consuming.channel().await?;
        let got = channel.basic_get(name, BasicGetOptions { no_ack: false });
        let Some(got) = fault::answered(ANSWER, got, address).await? else {
            return Ok(0);
        };
        let requeue = BasicNackOptions {
            requeue: true,
            multiple: false,
        };
        let given_back = got.delivery.acker.nack(requeue);
        fault::answered(ANSWER, given_back, address).await?;
        Ok(u64::from(got.message_count) + 1)
    }

    /// Takes frames out of the dead-letter queue; dropping them gives them back.
    async fn take_dead(&self, limit: usize) -> Result<Vec<RabbitDelivery>, BrokerError> {
        let mut frames = Vec::new();
        if limit == 0 {
            return Ok(frames);
        }
        let channel = self.consuming.channel().await?;
        let hands = Arc::new(());
        let names = self.topology.names();
        while frames.len() < limit {
            let options = BasicGetOptions { no_ack: false };
            let got = channel.basic_get(names.dead_queue(), options);
            match fault::answered(ANSWER, got, self.topology.address()).await? {
                Some(got) => frames.push(RabbitDelivery::new(
                    got.delivery,
                    Source::Dead(Arc::clone(names)),
                    channel.clone(),
                    Arc::clone(&hands),
                    self.stop.clone(),
                )),
                None => break,
            }
        }
        Ok(frames)
    }
}

#[async_trait]
impl Broker for RabbitBroker {
    async fn publish(&self, frames: Vec<Publication>) -> Result<(), BrokerError> {
        // While the broker is away or refuses, nobody waits for it.
        self.publishing.connection()?;
        let traceparent = traceparent();
        let mut confirms = FuturesOrdered::new();
        for Publication { queue, body } in frames {
            let outgoing = Outgoing {
                body,
                traceparent: traceparent.clone(),
            };
            let lane = self.lanes.get(&queue).ok_or(BrokerError::Returned(queue))?;
            let told = lane.hand_in(outgoing).await?;
            confirms.push_back(told);
        }
        while let Some(told) = confirms.next().await {
            told.map_err(|_| closed())??;
        }
        Ok(())
    }

    async fn probe(&self) -> Result<(), BrokerError> {
        self.publish_nowhere().await
    }

    async fn subscribe(
        &self,
        queue: QueueName,
        prefetch: u16,
    ) -> Result<Box<dyn Subscription>, BrokerError> {
        let feeder = Feeder::new(
            queue,
            prefetch.max(1),
            self.consuming.clone(),
            Arc::clone(&self.topology),
            self.stop.clone(),
        );
        Ok(Box::new(feeder.start(&self.tasks).await?))
    }

    async fn ready(&self, queue: QueueName) -> Result<u64, BrokerError> {
        match self.count(queue).await {
            // Deleted behind our back: once it is there again it is empty.
            Err(BrokerError::Returned(_)) => {
                self.topology.repair().await;
                self.count(queue).await.map_err(|error| match error {
                    BrokerError::Returned(_) => unavailable(&format!("{queue} is missing")),
                    error => error,
                })
            }
            counted => counted,
        }
    }

    async fn dead_frames(&self, limit: usize) -> Result<Vec<Box<dyn Delivery>>, BrokerError> {
        let frames = match self.take_dead(limit).await {
            Err(BrokerError::Returned(_)) => {
                self.topology.repair().await;
                Vec::new()
            }
            taken => taken?,
        };
        Ok(frames
            .into_iter()
            .map(|frame| Box::new(frame) as Box<dyn Delivery>)
            .collect())
    }

    async fn remember_mark(&self, counter: u64) -> Result<(), BrokerError> {
        self.mark.raise(counter).await.map(drop)
    }

    async fn recall_mark(&self) -> Result<u64, BrokerError> {
        self.mark.raise(0).await
    }
}

impl fmt::Debug for RabbitBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RabbitBroker")
    }
}

fn unavailable(why: &str) -> BrokerError {
    BrokerError::Unavailable(why.to_owned())
}

fn closed() -> BrokerError {
    unavailable("closed")
}
