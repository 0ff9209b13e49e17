//! The highest ledger counter, kept in a queue of one message.
//!
//! It may never go back, whoever writes at the same time and whoever dies at any step, and a reader
//! must not take a message in another's hand for none. So whoever moves it first takes a lock: an
//! exclusive queue, which the broker removes with the connection of its holder. Under the lock the
//! messages are taken, a new one with a higher counter is published and confirmed, and only then
//! the old ones are acknowledged. Dying in between leaves two messages, of which the higher counts.
//!
//! Who only reads, or has nothing higher, gives the messages back and publishes nothing: a process
//! can join while the broker takes no frames. All but the publishing goes over the connection that
//! consumes.

use std::sync::Arc;
use std::time::Duration;

use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicNackOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::FieldTable;
use lapin::{Acker, Channel, Confirmation};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::address::Address;
use super::lane::Unroutable;
use super::link::Link;
use super::topology::Topology;
use super::{ANSWER, CONFIRM, closed, fault, lane, unavailable};
use crate::broker::{BrokerError, QueueName};
use crate::deadline::in_time;

/// How many callers share one move.
const TOGETHER: usize = 64;
/// How long the lock may be in another's hand.
const LOCKED: Duration = Duration::from_secs(3);
/// How often an empty queue is looked at again: a holder of the lock may have died just now, and
/// its message may come back a moment after its lock is gone.
const LOOKS: u32 = 4;
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

struct Raise {
    counter: u64,
    tell: oneshot::Sender<Result<u64, BrokerError>>,
}

/// The mark. Its moves are made one at a time, by a task that finishes what it began.
pub(super) struct Mark {
    raises: mpsc::Sender<Raise>,
}

impl Mark {
    pub(super) fn start(
        topology: &Arc<Topology>,
        consuming: &Link,
        publishing: &Link,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Self {
        let (raises, inbox) = mpsc::channel(TOGETHER);
        let keeper = Keeper {
            topology: Arc::clone(topology),
            consuming: consuming.clone(),
            publishing: publishing.clone(),
        };
        tasks.spawn(stop.clone().run_until_cancelled_owned(keeper.run(inbox)));
        Self { raises }
    }

    /// Raises the mark to at least `counter`; returns where it is.
    pub(super) async fn raise(&self, counter: u64) -> Result<u64, BrokerError> {
        let (tell, told) = oneshot::channel();
        let raise = Raise { counter, tell };
        self.raises.send(raise).await.map_err(|_| closed())?;
        told.await.map_err(|_| closed())?
    }
}

struct Keeper {
    topology: Arc<Topology>,
    consuming: Link,
    publishing: Link,
}

impl Keeper {
    async fn run(self, mut inbox: mpsc::Receiver<Raise>) {
        let mut raises = Vec::new();
        while inbox.recv_many(&mut raises, TOGETHER).await > 0 {
            let counter = raises.iter().map(|raise| raise.counter).max().unwrap_or(0);
            let outcome = self.raise(counter).await;
            for raise in raises.drain(..) {
                let _ = raise.tell.send(outcome.clone());
            }
        }
    }

    async fn raise(&self, counter: u64) -> Result<u64, BrokerError> {
        let mut link = self.consuming.clone();
        let raised = async {
            let channel = self.lock().await?;
            let raised = in_time(CONFIRM, self.raise_locked(&channel, counter)).await;
            self.unlock(&channel).await;
            raised
        };
        let raised = tokio::select! {
            biased;
            raised = raised => raised,
            lost = link.lost() => Err(lost),
        };
        match raised {
            Err(BrokerError::Returned(_)) => {
                self.topology.repair().await;
                Err(unavailable("the queue of the ledger mark was missing"))
            }
            raised => raised,
        }
    }

    /// Waits for the lock; returns the channel on which it was taken.
    async fn lock(&self) -> Result<Channel, BrokerError> {
        let patience = Instant::now() + LOCKED;
        loop {
            let channel = self.consuming.channel().await?;
            let locked = channel.queue_declare(
                self.topology.names().mark_lock(),
                QueueDeclareOptions::exclusive(),
                FieldTable::default(),
            );
            match tokio::time::timeout(ANSWER, locked).await {
                Ok(Ok(_)) => return Ok(channel),
                Ok(Err(error)) if fault::is_locked(&error) && Instant::now() < patience => {
                    sleep(Duration::from_millis(fastrand::u64(10..50))).await;
                }
                Ok(Err(error)) if fault::is_locked(&error) => {
                    return Err(unavailable("another process is busy with the ledger mark"));
                }
                Ok(Err(error)) => {
                    return Err(fault::of_command(&error, self.topology.address()));
                }
                Err(_) => return Err(unavailable("the ledger mark could not be locked in time")),
            }
        }
    }

    /// If that fails, the lock is this process's still, and its next move takes it again; or the
    /// connection is lost, and the lock with it.
    async fn unlock(&self, channel: &Channel) {
        let name = self.topology.names().mark_lock();
        let unlocked = channel.queue_delete(name.clone(), QueueDeleteOptions::default());
        if let Ok(Ok(_)) = tokio::time::timeout(ANSWER, unlocked).await {
            return;
        }
        // The channel was closed by what failed on it.
        if let Ok(channel) = self.consuming.channel().await {
            let unlocked = channel.queue_delete(name, QueueDeleteOptions::default());
            let _ = tokio::time::timeout(ANSWER, unlocked).await;
        }
    }

    async fn raise_locked(&self, channel: &Channel, counter: u64) -> Result<u64, BrokerError> {
        let mut old = self.take_all(channel).await?;
        for _ in 1..LOOKS {
            if !old.is_empty() {
                break;
            }
            sleep(BETWEEN_LOOKS).await;
            old = self.take_all(channel).await?;
        }
        let kept = old.iter().map(|old| old.counter).max().unwrap_or(0);
        let raised = match counter > kept {
            true => self.publish(counter).await.map(|()| counter),
            false => Ok(kept),
        };
        let is_replaced = raised.as_ref().is_ok_and(|raised| *raised > kept);
        for old in old {
            old.end(is_replaced, self.topology.address()).await?;
        }
        raised
    }

    async fn take_all(&self, channel: &Channel) -> Result<Vec<Kept>, BrokerError> {
        let name = self.topology.names().mark();
        let mut kept = Vec::new();
        loop {
            let got = channel.basic_get(name.clone(), BasicGetOptions { no_ack: false });
            let got = fault::answered(ANSWER, got, self.topology.address()).await?;
            let Some(got) = got else { return Ok(kept) };
            kept.push(Kept::read(got.delivery));
        }
    }

    async fn publish(&self, counter: u64) -> Result<(), BrokerError> {
        let (name, body) = (self.topology.names().mark(), counter.to_string());
        let mut link = self.publishing.clone();
        let published = async {
            let channel = lane::confirming(&self.publishing, &self.topology).await?;
            let published =
                lane::publish_alone(&channel, name, body.as_bytes(), Unroutable::Return);
            fault::answered(ANSWER, published, self.topology.address()).await
        };
        let confirmation = tokio::select! {
            biased;
            published = published => published?,
            lost = link.lost() => return Err(lost),
        };
        match confirmation {
            Confirmation::Ack(None) => Ok(()),
            Confirmation::Ack(Some(_)) => Err(BrokerError::Returned(QueueName::Report)),
            _ => Err(unavailable("refused the ledger mark")),
        }
    }
}

/// A message of the mark's queue.
struct Kept {
    counter: u64,
    acker: Acker,
}

impl Kept {
    fn read(delivery: lapin::message::Delivery) -> Self {
        let text = std::str::from_utf8(&delivery.data).ok();
        let counter = text.and_then(|text| text.parse().ok()).unwrap_or_else(|| {
            tracing::error!("a message in the queue of the ledger mark is not a counter");
            0
        });
        Self {
            counter,
            acker: delivery.acker,
        }
    }

    /// It leaves the queue if another has replaced it, else it is ready again.
    async fn end(self, is_replaced: bool, address: &Address) -> Result<(), BrokerError> {
        let ended = async {
            if is_replaced {
                return self.acker.ack(BasicAckOptions::default()).await;
            }
            let options = BasicNackOptions {
                requeue: true,
                multiple: false,
            };
            self.acker.nack(options).await
        };
        fault::answered(ANSWER, ended, address).await.map(drop)
    }
}
