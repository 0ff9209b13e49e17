//! The queues. They carry ids and reports, never content, and they only hasten: what may happen to
//! a message the ledger decides.
//!
//! One [`Broker`] port; the embedded one keeps its queues in the ledger's own SQLite file, the other
//! one on RabbitMQ.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tracing::Span;

use crate::domain::kind::{Channel, Lane, MessageType};
use crate::telemetry::trace;

mod embedded;
mod frame;
pub mod rabbit;

pub use embedded::EmbeddedBroker;
pub use frame::{
    FRAME_IDS, FRAME_VERSION, FrameError, FrameVersion, Member, ReadersTooOld, ReportFrame,
    SendFrame,
};

/// A queue's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QueueName {
    /// `send.<channel>.queue` and its twins, express and bulk.
    Send(Channel, Lane),
    /// `send.retry.queue` and its twins: due retries of every type.
    Retry(Lane),
    /// `report.queue`.
    Report,
}

impl QueueName {
    /// Every queue.
    pub fn all() -> impl Iterator<Item = Self> {
        let lanes = || Lane::ALL.into_iter();
        Channel::ALL
            .into_iter()
            .flat_map(move |channel| lanes().map(move |lane| Self::Send(channel, lane)))
            .chain(lanes().map(Self::Retry))
            .chain([Self::Report])
    }

    /// The queue in which a message of this type starts.
    pub const fn of(kind: MessageType, lane: Lane) -> Self {
        Self::Send(kind.channel(), lane)
    }

    /// The name at the broker.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Send(Channel::Sms, Lane::Ordinary) => "send.sms.queue",
            Self::Send(Channel::Sms, Lane::Express) => "send.sms.queue.express",
            Self::Send(Channel::Sms, Lane::Bulk) => "send.sms.queue.bulk",
            Self::Send(Channel::Lms, Lane::Ordinary) => "send.lms.queue",
            Self::Send(Channel::Lms, Lane::Express) => "send.lms.queue.express",
            Self::Send(Channel::Lms, Lane::Bulk) => "send.lms.queue.bulk",
            Self::Send(Channel::Mms, Lane::Ordinary) => "send.mms.queue",
            Self::Send(Channel::Mms, Lane::Express) => "send.mms.queue.express",
            Self::Send(Channel::Mms, Lane::Bulk) => "send.mms.queue.bulk",
            Self::Send(Channel::Kakao, Lane::Ordinary) => "send.kakao.queue",
            Self::Send(Channel::Kakao, Lane::Express) => "send.kakao.queue.express",
            Self::Send(Channel::Kakao, Lane::Bulk) => "send.kakao.queue.bulk",
            Self::Send(Channel::Naver, Lane::Ordinary) => "send.naver.queue",
            Self::Send(Channel::Naver, Lane::Express) => "send.naver.queue.express",
            Self::Send(Channel::Naver, Lane::Bulk) => "send.naver.queue.bulk",
            Self::Send(Channel::Rcs, Lane::Ordinary) => "send.rcs.queue",
            Self::Send(Channel::Rcs, Lane::Express) => "send.rcs.queue.express",
            Self::Send(Channel::Rcs, Lane::Bulk) => "send.rcs.queue.bulk",
            Self::Send(Channel::Email, Lane::Ordinary) => "send.email.queue",
            Self::Send(Channel::Email, Lane::Express) => "send.email.queue.express",
            Self::Send(Channel::Email, Lane::Bulk) => "send.email.queue.bulk",
            Self::Retry(Lane::Ordinary) => "send.retry.queue",
            Self::Retry(Lane::Express) => "send.retry.queue.express",
            Self::Retry(Lane::Bulk) => "send.retry.queue.bulk",
            Self::Report => "report.queue",
        }
    }

    /// The queue with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::all().find(|queue| queue.name() == name)
    }

    /// The number in the ledger; never reused.
    pub const fn number(self) -> u8 {
        match self {
            Self::Send(channel, lane) => {
                let place = match channel {
                    Channel::Sms => 1,
                    Channel::Lms => 2,
                    Channel::Mms => 3,
                    Channel::Kakao => 4,
                    Channel::Naver => 5,
                    Channel::Rcs => 6,
                    Channel::Email => 7,
                };
                match lane {
                    Lane::Ordinary => place * 2,
                    Lane::Express => place * 2 + 1,
                    Lane::Bulk => 20 + place,
                }
            }
            Self::Retry(Lane::Ordinary) => 100,
            Self::Retry(Lane::Express) => 101,
            Self::Report => 102,
            Self::Retry(Lane::Bulk) => 103,
        }
    }

    /// The queue with this number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::all().find(|queue| queue.number() == number)
    }

    /// The lane.
    pub const fn lane(self) -> Lane {
        match self {
            Self::Send(_, lane) | Self::Retry(lane) => lane,
            Self::Report => Lane::Ordinary,
        }
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One broker message to be published: a frame for a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// Where it goes.
    pub queue: QueueName,
    /// An encoded [`SendFrame`] or [`ReportFrame`].
    pub body: Bytes,
}

/// Why the broker could not do something. What was published may or may not have arrived; the
/// outbox publishes it again, and a frame that comes twice is harmless.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BrokerError {
    /// It cannot be reached, refuses, or did not confirm in time.
    #[error("broker unavailable: {0}")]
    Unavailable(String),
    /// A setting is wrong, or a queue is there with other properties, so that trying again is no
    /// use: the sentence names the setting and the remedy.
    #[error("{0}")]
    Misconfigured(String),
    /// This queue took a frame not, though the broker is there: it is full, or has nowhere to put it.
    #[error("{0} refused a frame")]
    Refused(QueueName),
    /// It could not route the frame to a queue.
    #[error("frame for {0} was returned unrouted")]
    Returned(QueueName),
}

/// The queues.
#[async_trait]
pub trait Broker: Send + Sync {
    /// Publishes frames and waits until the broker has confirmed every one of them as durable. It
    /// is a commit of its own, never part of the caller's.
    ///
    /// # Errors
    /// [`BrokerError`] if any frame is not confirmed; some of them may have arrived all the same.
    async fn publish(&self, frames: Vec<Publication>) -> Result<(), BrokerError>;

    /// Whether frames can be published at all now, whatever becomes of any one queue.
    ///
    /// # Errors
    /// [`BrokerError`] if they cannot.
    async fn probe(&self) -> Result<(), BrokerError> {
        self.publish(Vec::new()).await
    }

    /// Subscribes to a queue; at most `prefetch` frames are in hand at a time. The subscription
    /// heals itself when the connection to the broker is lost.
    ///
    /// # Errors
    /// [`BrokerError`] if it cannot be set up at all.
    async fn subscribe(
        &self,
        queue: QueueName,
        prefetch: u16,
    ) -> Result<Box<dyn Subscription>, BrokerError>;

    /// How many frames are ready in a queue, not counting those in hand. 0 is said only of a queue
    /// that is known to be empty: frames that are missed there are lost, and are made anew.
    ///
    /// # Errors
    /// [`BrokerError`] if the broker does not say, or the queue itself does not answer.
    async fn ready(&self, queue: QueueName) -> Result<u64, BrokerError>;

    /// Takes up to `limit` frames that no one could read from the dead-letter queue, each with the
    /// queue it came from; they leave the queue when [`Delivery::ack`] is called.
    ///
    /// # Errors
    /// [`BrokerError`] if the broker does not answer.
    async fn dead_frames(&self, limit: usize) -> Result<Vec<Box<dyn Delivery>>, BrokerError>;

    /// Remembers the highest ledger counter seen, outside the ledger.
    ///
    /// # Errors
    /// [`BrokerError`] if it cannot be kept.
    async fn remember_mark(&self, counter: u64) -> Result<(), BrokerError>;

    /// The highest ledger counter remembered; 0 if none.
    ///
    /// # Errors
    /// [`BrokerError`] if it cannot be read.
    async fn recall_mark(&self) -> Result<u64, BrokerError>;
}

/// A stream of frames from one queue. Dropping it gives back every frame that was not yet handed
/// out; frames in hand stay with their [`Delivery`].
#[async_trait]
pub trait Subscription: Send {
    /// The next frame; waits for one. Cancellation safe. `None` when the broker was closed.
    async fn next(&mut self) -> Option<Box<dyn Delivery>>;
}

/// A frame in hand. Dropping it without a word gives it back to the head of its queue.
#[async_trait]
pub trait Delivery: Send + Sync {
    /// The encoded frame.
    fn body(&self) -> &Bytes;

    /// The queue it was first published to.
    fn queue(&self) -> QueueName;

    /// Whether it may have been in a hand before.
    fn redelivered(&self) -> bool;

    /// The trace it was published in (W3C `traceparent`), if the broker carries that.
    fn traceparent(&self) -> Option<&str> {
        None
    }

    /// A span to handle the frame in, which goes on with the trace it was published in. It is for
    /// traces alone; where none are exported it is no span.
    fn span(&self) -> Span {
        let span = tracing::info_span!(
            target: trace::TRACES_ALONE,
            parent: None,
            "frame",
            otel.kind = "consumer",
            queue = self.queue().name(),
        );
        if let Some(traceparent) = self.traceparent() {
            trace::go_on(&span, traceparent);
        }
        span
    }

    /// Done with: it leaves the queue. If this is lost, the frame comes again.
    async fn ack(self: Box<Self>);

    /// Cannot be read: it goes to the dead-letter queue.
    async fn reject(self: Box<Self>);
}

/// The broker a process uses.
pub type SharedBroker = Arc<dyn Broker>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_queue_is_found_again_by_name_and_by_number() {
        for queue in QueueName::all() {
            assert_eq!(QueueName::parse(queue.name()), Some(queue));
            assert_eq!(QueueName::from_number(queue.number()), Some(queue));
        }
        assert_eq!(QueueName::all().count(), 25);
    }

    #[test]
    fn a_queue_that_lies_in_ledgers_keeps_its_number() {
        let numbers = |lane| Channel::ALL.map(|channel| QueueName::Send(channel, lane).number());
        assert_eq!(numbers(Lane::Ordinary), [2, 4, 6, 8, 10, 12, 14]);
        assert_eq!(numbers(Lane::Express), [3, 5, 7, 9, 11, 13, 15]);
        assert_eq!(numbers(Lane::Bulk), [21, 22, 23, 24, 25, 26, 27]);
        let retries = Lane::ALL.map(|lane| QueueName::Retry(lane).number());
        assert_eq!(
            (retries, QueueName::Report.number()),
            ([100, 101, 103], 102)
        );
    }
}
