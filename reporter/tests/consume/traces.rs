use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use pabal_common::broker::{
    Broker, BrokerError, Delivery, Publication, QueueName, SharedBroker, Subscription,
};

use crate::spans::{Spans, traceparent_before};
use crate::world::{World, until};

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Queues whose frames were all published in one trace.
struct Traced(SharedBroker);

#[async_trait]
impl Broker for Traced {
    async fn publish(&self, frames: Vec<Publication>) -> Result<(), BrokerError> {
        self.0.publish(frames).await
    }

    async fn subscribe(
        &self,
        queue: QueueName,
        prefetch: u16,
    ) -> Result<Box<dyn Subscription>, BrokerError> {
        let frames = self.0.subscribe(queue, prefetch).await?;
        Ok(Box::new(TracedFrames(frames)))
    }

    async fn ready(&self, queue: QueueName) -> Result<u64, BrokerError> {
        self.0.ready(queue).await
    }

    async fn dead_frames(&self, limit: usize) -> Result<Vec<Box<dyn Delivery>>, BrokerError> {
        self.0.dead_frames(limit).await
    }

    async fn remember_mark(&self, counter: u64) -> Result<(), BrokerError> {
        self.0.remember_mark(counter).await
    }

    async fn recall_mark(&self) -> Result<u64, BrokerError> {
        self.0.recall_mark().await
    }
}

struct TracedFrames(Box<dyn Subscription>);

#[async_trait]
impl Subscription for TracedFrames {
    async fn next(&mut self) -> Option<Box<dyn Delivery>> {
        let frame = self.0.next().await?;
        Some(Box::new(TracedFrame(frame)))
    }
}

struct TracedFrame(Box<dyn Delivery>);

#[async_trait]
impl Delivery for TracedFrame {
    fn body(&self) -> &Bytes {
        self.0.body()
    }

    fn queue(&self) -> QueueName {
        self.0.queue()
    }

    fn redelivered(&self) -> bool {
        self.0.redelivered()
    }

    fn traceparent(&self) -> Option<&str> {
        Some(TRACE)
    }

    async fn ack(self: Box<Self>) {
        self.0.ack().await;
    }

    async fn reject(self: Box<Self>) {
        self.0.reject().await;
    }
}

#[tokio::test]
async fn a_report_frame_is_seen_to_in_the_trace_it_was_published_in() {
    let spans = Spans::default();
    let _traced = tracing::subscriber::set_default(spans.subscriber());
    let mut world = World::new().await;
    world.node.broker = Arc::new(Traced(world.node.broker.clone()));
    world.publish_bytes(QueueName::Report, b"no frame").await;
    let consumer = world.consume();
    until("the frame is seen to", async || {
        !spans.named("frame").is_empty()
    })
    .await;
    world.stop();
    consumer.await.unwrap();
    let [frame] = spans.named("frame").try_into().unwrap();
    assert_eq!(traceparent_before(&frame).as_deref(), Some(TRACE));
    let said: Vec<_> = frame.events.iter().map(|event| &*event.name).collect();
    assert_eq!(said, ["a report frame cannot be read"]);
}
