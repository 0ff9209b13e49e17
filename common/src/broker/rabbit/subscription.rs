//! Frames from one queue, over any number of connections.
//!
//! RabbitMQ tells a consumer that its queue was deleted, but not if the queue is declared again at
//! once: then the new queue may count the old consumer as its own and hand it frames that never
//! arrive, until the consumer's channel is closed. So channels are closed when queues were declared
//! again, and a subscription to which nothing comes is renewed from time to time.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt as _;
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Consumer};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::delivery::{RabbitDelivery, Source};
use super::link::{Link, Pause};
use super::topology::{self, Topology};
use super::{ANSWER, fault};
use crate::broker::{BrokerError, Delivery, QueueName, Subscription};

/// How long nothing may come before a subscription is renewed.
const QUIET: Duration = Duration::from_secs(15);

/// The end of a feeder's work that is held by whoever subscribed.
pub(super) struct RabbitSubscription {
    frames: mpsc::Receiver<RabbitDelivery>,
}

#[async_trait]
impl Subscription for RabbitSubscription {
    async fn next(&mut self) -> Option<Box<dyn Delivery>> {
        let frame = self.frames.recv().await?;
        Some(Box::new(frame))
    }
}

/// Brings frames to a subscription, and subscribes again whenever the broker ended it.
pub(super) struct Feeder {
    queue: QueueName,
    name: ShortString,
    prefetch: u16,
    link: Link,
    topology: Arc<Topology>,
    /// One for each frame in hand.
    hands: Arc<()>,
    stop: CancellationToken,
}

/// Why a feeder ended one subscription at the broker.
enum End {
    /// Nobody wants frames any more.
    Unwanted,
    /// The broker ended it, or the channel was lost.
    Lost,
}

struct Subscribed {
    channel: Channel,
    consumer: Consumer,
}

impl Feeder {
    pub(super) fn new(
        queue: QueueName,
        prefetch: u16,
        link: Link,
        topology: Arc<Topology>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            queue,
            name: topology.names().queue(queue),
            prefetch,
            link,
            topology,
            hands: Arc::default(),
            stop,
        }
    }

    /// Subscribes, and goes on in a task.
    pub(super) async fn start(
        self,
        tasks: &TaskTracker,
    ) -> Result<RabbitSubscription, BrokerError> {
        let subscribed = match self.subscribe().await {
            Err(BrokerError::Returned(_)) => {
                self.topology.repair().await;
                self.subscribe().await
            }
            subscribed => subscribed,
        };
        let subscribed = subscribed.map_err(|error| self.missing(error))?;
        // One frame waits here; the others of the prefetch wait in the client library.
        let (sender, frames) = mpsc::channel(1);
        let stop = self.stop.clone();
        tasks.spawn(stop.run_until_cancelled_owned(self.run(subscribed, sender)));
        Ok(RabbitSubscription { frames })
    }

    async fn run(self, mut subscribed: Subscribed, frames: mpsc::Sender<RabbitDelivery>) {
        while let End::Lost = self.feed(subscribed, &frames).await {
            tracing::debug!(queue = %self.queue, "a subscription ended; subscribing again");
            tokio::select! {
                again = self.subscribe_again() => subscribed = again,
                () = frames.closed() => return,
            }
        }
    }

    async fn feed(&self, mut subscribed: Subscribed, frames: &mpsc::Sender<RabbitDelivery>) -> End {
        let mut repaired = self.topology.repaired();
        loop {
            let Ok(place) = frames.reserve().await else {
                subscribed.give_back().await;
                return End::Unwanted;
            };
            let delivery = tokio::select! {
                biased;
                () = frames.closed() => {
                    subscribed.give_back().await;
                    return End::Unwanted;
                }
                delivery = subscribed.consumer.next() => delivery,
                _ = repaired.changed() => {
                    subscribed.close().await;
                    return End::Lost;
                }
                () = sleep(QUIET) => {
                    if !self.may_be_deaf().await {
                        continue;
                    }
                    subscribed.give_back().await;
                    return End::Lost;
                }
            };
            let Some(Ok(delivery)) = delivery else {
                return End::Lost;
            };
            // What came before its channel was lost comes again.
            if !delivery.acker.poisoned() {
                place.send(RabbitDelivery::new(
                    delivery,
                    Source::Queue(self.queue),
                    subscribed.channel.clone(),
                    Arc::clone(&self.hands),
                    self.stop.clone(),
                ));
            }
        }
    }

    /// Whether a new subscription might hear more. With nothing in hand it costs nothing to try;
    /// else only if the queue has frames for which there is room, or does not know its consumers.
    async fn may_be_deaf(&self) -> bool {
        let in_hand = Arc::strong_count(&self.hands) - 1;
        if in_hand == 0 {
            return true;
        }
        let room = in_hand < usize::from(self.prefetch);
        match topology::look(&self.link, self.name.clone(), self.topology.address()).await {
            Ok(seen) => seen.consumers == 0 || (room && seen.ready > 0),
            Err(BrokerError::Returned(_)) => true,
            // The link is seen to elsewhere.
            Err(_) => false,
        }
    }

    async fn subscribe_again(&self) -> Subscribed {
        let mut pause = Pause::new();
        loop {
            match self.subscribe().await {
                Ok(subscribed) => return subscribed,
                Err(BrokerError::Returned(_)) => self.topology.repair().await,
                Err(error) => {
                    tracing::debug!(queue = %self.queue, %error, "not subscribed yet");
                }
            }
            pause.keep().await;
        }
    }

    async fn subscribe(&self) -> Result<Subscribed, BrokerError> {
        let address = self.topology.address();
        let channel = self.link.channel().await?;
        let qos = channel.basic_qos(self.prefetch, BasicQosOptions::default());
        fault::answered(ANSWER, qos, address).await?;
        let consuming = channel.basic_consume(
            self.name.clone(),
            ShortString::default(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        );
        let consumer = fault::answered(ANSWER, consuming, address).await?;
        Ok(Subscribed { channel, consumer })
    }

    fn missing(&self, error: BrokerError) -> BrokerError {
        match error {
            BrokerError::Returned(_) => super::unavailable(&format!("{} is missing", self.queue)),
            error => error,
        }
    }
}

impl Subscribed {
    /// Gives back everything, also what is in hand: that comes again, as after a lost connection.
    async fn close(self) {
        let closed = self.channel.close(200, "subscribing again".into());
        // If that fails the channel is lost already.
        let _ = tokio::time::timeout(ANSWER, closed).await;
    }

    /// Cancels the consumer and gives back what it has in store, in its order.
    async fn give_back(mut self) {
        let tag = self.consumer.tag();
        let cancelled = self
            .channel
            .basic_cancel(tag, BasicCancelOptions::default());
        // If that fails the channel is lost, and everything on it is ready again.
        let _ = tokio::time::timeout(ANSWER, cancelled).await;
        while let Ok(Some(Ok(delivery))) = tokio::time::timeout(ANSWER, self.consumer.next()).await
        {
            let options = BasicNackOptions {
                requeue: true,
                multiple: false,
            };
            let _ = delivery.acker.nack(options).await;
        }
    }
}
