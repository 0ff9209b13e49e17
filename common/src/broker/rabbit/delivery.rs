//! A frame in hand.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt as _;
use lapin::options::{BasicAckOptions, BasicNackOptions, BasicRejectOptions};
use lapin::{Acker, Channel};
use tokio_util::sync::CancellationToken;

use super::topology::Names;
use super::{ANSWER, trace};
use crate::broker::{Delivery, QueueName};

/// RabbitMQ writes here which queue a frame died in first.
const DIED_IN: &str = "x-first-death-queue";

/// Where a frame was taken from.
pub(super) enum Source {
    /// Its queue.
    Queue(QueueName),
    /// The dead-letter queue.
    Dead(Arc<Names>),
}

/// A frame in hand. What it says on a channel that is no more is lost, and the frame comes again.
pub(super) struct RabbitDelivery {
    body: Bytes,
    queue: QueueName,
    dead: bool,
    redelivered: bool,
    traceparent: Option<String>,
    acker: Acker,
    /// Whether it goes back when it is dropped.
    kept: bool,
    /// The channel lives as long as a frame on it is in hand.
    _channel: Channel,
    /// Counts what is in hand.
    _hand: Arc<()>,
    /// At the end the broker takes back everything at once, in its order.
    stop: CancellationToken,
}

impl RabbitDelivery {
    pub(super) fn new(
        delivery: lapin::message::Delivery,
        source: Source,
        channel: Channel,
        hand: Arc<()>,
        stop: CancellationToken,
    ) -> Self {
        let (queue, dead) = match source {
            Source::Queue(queue) => (queue, false),
            Source::Dead(names) => {
                let died_in = trace::text(&delivery.properties, DIED_IN);
                let queue = died_in.and_then(|name| names.parse(&name));
                // Brought there by other hands: it is kept, and shown as a report.
                (queue.unwrap_or(QueueName::Report), true)
            }
        };
        Self {
            queue,
            dead,
            redelivered: delivery.redelivered,
            traceparent: trace::read(&delivery.properties),
            body: delivery.data.into(),
            acker: delivery.acker,
            kept: true,
            _channel: channel,
            _hand: hand,
            stop,
        }
    }
}

#[async_trait]
impl Delivery for RabbitDelivery {
    fn body(&self) -> &Bytes {
        &self.body
    }

    fn queue(&self) -> QueueName {
        self.queue
    }

    fn redelivered(&self) -> bool {
        self.redelivered
    }

    fn traceparent(&self) -> Option<&str> {
        self.traceparent.as_deref()
    }

    async fn ack(mut self: Box<Self>) {
        self.kept = false;
        let acked = self.acker.ack(BasicAckOptions::default());
        note(tokio::time::timeout(ANSWER, acked).await, self.queue);
    }

    async fn reject(mut self: Box<Self>) {
        // The dead-letter queue has no other behind it: what is in it goes back.
        self.kept = self.dead;
        if !self.dead {
            let rejected = self.acker.reject(BasicRejectOptions { requeue: false });
            note(tokio::time::timeout(ANSWER, rejected).await, self.queue);
        }
    }
}

fn note(said: Result<lapin::Result<bool>, tokio::time::error::Elapsed>, queue: QueueName) {
    if !matches!(said, Ok(Ok(true))) {
        tracing::debug!(%queue, "a frame comes again: its channel is lost");
    }
}

impl Drop for RabbitDelivery {
    fn drop(&mut self) {
        if self.kept && !self.stop.is_cancelled() {
            let options = BasicNackOptions {
                requeue: true,
                multiple: false,
            };
            // The first step puts it on its way; the rest would only wait for the socket.
            let _ = self.acker.nack(options).now_or_never();
        }
    }
}
