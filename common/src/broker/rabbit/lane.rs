//! Publishing to one queue.
//!
//! Whatever waits goes out together, and the next lot when all of it is answered. A lane has a
//! channel of its own, so that a queue that does not confirm holds up no other.
//!
//! An unroutable frame is returned first and confirmed then, and the client library hands the
//! returned frame to whichever confirm comes next. Only when every confirm of a lot is in is it
//! known which of its frames were returned; each carries its number for that.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::join_all;
use lapin::message::BasicReturnMessage;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::link::Link;
use super::topology::Topology;
use super::{ANSWER, CONFIRM, closed, fault, trace, unavailable};
use crate::broker::{BrokerError, QueueName};
use crate::deadline::in_time;

/// The most frames that go out together.
const LOT: usize = 512;
/// Kept by the broker on disk.
const PERSISTENT: u8 = 2;

type Outcome = Result<(), BrokerError>;

/// A frame on its way out.
pub(super) struct Outgoing {
    pub(super) body: Bytes,
    pub(super) traceparent: Option<Arc<str>>,
}

/// Who waits for a frame's confirm.
pub(super) struct Caller {
    pub(super) tell: oneshot::Sender<Outcome>,
    /// The frame's place among the queue's unconfirmed.
    pub(super) room: OwnedSemaphorePermit,
}

/// Where frames for one queue go in. Its places are its own: a queue that confirms nothing takes
/// none from the others.
pub(super) struct Entry {
    outgoing: mpsc::Sender<(Outgoing, Caller)>,
    room: Arc<Semaphore>,
}

impl Entry {
    /// With room for `window` frames, and the end from which the lane takes them.
    pub(super) fn new(window: usize) -> (Self, mpsc::Receiver<(Outgoing, Caller)>) {
        let (outgoing, inbox) = mpsc::channel(window);
        let room = Arc::new(Semaphore::new(window));
        (Self { outgoing, room }, inbox)
    }

    /// Hands a frame in once there is a place for it; returns where to hear of it.
    pub(super) async fn hand_in(
        &self,
        outgoing: Outgoing,
    ) -> Result<oneshot::Receiver<Outcome>, BrokerError> {
        let room = Arc::clone(&self.room).acquire_owned();
        let room = match tokio::time::timeout(CONFIRM, room).await {
            Ok(Ok(room)) => room,
            _ => return Err(unavailable("too many frames wait for their confirm")),
        };
        let (tell, told) = oneshot::channel();
        let handed = self.outgoing.send((outgoing, Caller { tell, room }));
        handed.await.map_err(|_| closed())?;
        Ok(told)
    }
}

/// The way to one queue.
pub(super) struct Lane {
    queue: QueueName,
    name: ShortString,
    link: Link,
    topology: Arc<Topology>,
    inbox: mpsc::Receiver<(Outgoing, Caller)>,
    channel: Option<Channel>,
    /// The number of the next frame; never used twice.
    next: u64,
}

impl Lane {
    pub(super) fn new(
        queue: QueueName,
        link: Link,
        topology: Arc<Topology>,
        inbox: mpsc::Receiver<(Outgoing, Caller)>,
    ) -> Self {
        Self {
            queue,
            name: topology.names().queue(queue),
            link,
            topology,
            inbox,
            channel: None,
            next: 0,
        }
    }

    pub(super) async fn run(mut self) {
        let mut lot = Vec::new();
        while self.inbox.recv_many(&mut lot, LOT).await > 0 {
            // Who has given up has left the frame to the outbox.
            let waits = |(_, caller): &(Outgoing, Caller)| !caller.tell.is_closed();
            let (lot, mut callers): (Vec<_>, Vec<_>) = lot.drain(..).filter(waits).unzip();
            if lot.is_empty() {
                continue;
            }
            let outcomes = tokio::select! {
                biased;
                outcomes = self.bring(&lot) => outcomes,
                () = nobody_waits(&mut callers) => {
                    // As after an error: late answers must not meet the frames of another lot.
                    self.channel = None;
                    continue;
                }
            };
            for (caller, outcome) in callers.into_iter().zip(outcomes) {
                drop(caller.room);
                // Who has given up meanwhile is not told.
                let _ = caller.tell.send(outcome);
            }
        }
    }

    async fn bring(&mut self, lot: &[Outgoing]) -> Vec<Outcome> {
        let mut link = self.link.clone();
        let outcomes = tokio::select! {
            biased;
            outcomes = in_time(CONFIRM, self.publish(lot)) => outcomes,
            lost = link.lost() => Err(lost),
        };
        let outcomes = outcomes.unwrap_or_else(|error| vec![Err(error); lot.len()]);
        if outcomes.iter().any(is_returned) {
            self.topology.repair().await;
        }
        if outcomes.iter().any(Result::is_err) {
            // An answer that is still to come must not meet the frames of another lot.
            self.channel = None;
        }
        outcomes
    }

    async fn publish(&mut self, lot: &[Outgoing]) -> Result<Vec<Outcome>, BrokerError> {
        let first = self.next;
        self.next += lot.len() as u64;
        let channel = self.channel().await?;
        let publish = |(number, outgoing)| self.publish_one(&channel, number, outgoing);
        let answers = join_all((first..).zip(lot).map(publish)).await;

        let mut returned = HashSet::new();
        let mut outcomes = Vec::with_capacity(lot.len());
        for answer in answers {
            let (outcome, message) = match answer {
                Ok(Confirmation::Ack(message)) => (Ok(()), message),
                Ok(Confirmation::Nack(message)) => (Err(BrokerError::Refused(self.queue)), message),
                Ok(Confirmation::NotRequested) => (Err(unavailable("confirms nothing")), None),
                Err(error) => (
                    Err(fault::of_command(&error, self.topology.address())),
                    None,
                ),
            };
            returned.extend(message.as_ref().and_then(number));
            outcomes.push(outcome);
        }
        for (number, outcome) in (first..).zip(&mut outcomes) {
            if returned.contains(&number) {
                *outcome = Err(BrokerError::Returned(self.queue));
            }
        }
        Ok(outcomes)
    }

    async fn publish_one(
        &self,
        channel: &Channel,
        number: u64,
        outgoing: &Outgoing,
    ) -> lapin::Result<Confirmation> {
        let properties = BasicProperties::default()
            .with_delivery_mode(PERSISTENT)
            .with_message_id(number.to_string().into());
        let options = BasicPublishOptions {
            mandatory: true,
            immediate: false,
        };
        channel
            .basic_publish(
                ShortString::default(),
                self.name.clone(),
                options,
                &outgoing.body,
                trace::write(properties, outgoing.traceparent.as_deref()),
            )
            .await?
            .await
    }

    /// The channel, or a new one with confirms.
    async fn channel(&mut self) -> Result<Channel, BrokerError> {
        if let Some(channel) = &self.channel
            && channel.status().connected()
        {
            return Ok(channel.clone());
        }
        let channel = confirming(&self.link, &self.topology).await?;
        self.channel = Some(channel.clone());
        Ok(channel)
    }
}

/// A new channel on which the broker confirms what is published.
pub(super) async fn confirming(link: &Link, topology: &Topology) -> Result<Channel, BrokerError> {
    let channel = link.channel().await?;
    let selected = channel.confirm_select(ConfirmSelectOptions::default());
    fault::answered(ANSWER, selected, topology.address()).await?;
    Ok(channel)
}

/// What becomes of a message for a queue that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unroutable {
    /// It is returned, and confirmed then.
    Return,
    /// It is confirmed.
    Drop,
}

/// Publishes one message, while no other of its channel waits for its confirm.
pub(super) async fn publish_alone(
    channel: &Channel,
    queue: ShortString,
    body: &[u8],
    unroutable: Unroutable,
) -> lapin::Result<Confirmation> {
    let options = BasicPublishOptions {
        mandatory: unroutable == Unroutable::Return,
        immediate: false,
    };
    let properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
    channel
        .basic_publish(ShortString::default(), queue, options, body, properties)
        .await?
        .await
}

async fn nobody_waits(callers: &mut [Caller]) {
    for caller in callers {
        caller.tell.closed().await;
    }
}

fn number(message: &BasicReturnMessage) -> Option<u64> {
    let id = message.delivery.properties.message_id().as_ref()?;
    id.as_str().parse().ok()
}

fn is_returned(outcome: &Outcome) -> bool {
    matches!(outcome, Err(BrokerError::Returned(_)))
}
