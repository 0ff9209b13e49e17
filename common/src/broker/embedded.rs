//! The embedded broker: queues as a table in the ledger's SQLite file.
//!
//! Publishing is a job of its own for the ledger's writer, so a frame is as durable as a message.
//! Which frames are in a hand only the process knows: after a restart all of them are ready again,
//! at the head, in their order.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use sqlx::{SqliteConnection, SqlitePool};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};

use super::{Broker, BrokerError, Delivery, Publication, QueueName, Subscription};
use crate::ledger::LedgerError;
use crate::ledger::sqlite::{SqliteLedger, Writer};

/// How many frames are read ahead per queue.
const AHEAD: i64 = 64;
/// How many acknowledgements share one statement.
const ACKS: usize = 512;
/// How long `publish` waits for the disk.
const CONFIRM: Duration = Duration::from_secs(10);

/// Queues in the ledger's SQLite file, for one process.
#[derive(Clone)]
pub struct EmbeddedBroker {
    writer: Writer,
    readers: SqlitePool,
    queues: Arc<HashMap<QueueName, Arc<Queue>>>,
    done: mpsc::Sender<Done>,
    mark: Option<PathBuf>,
    /// Frames up to here were there at the start and may have been in a hand before.
    before_start: i64,
}

impl std::fmt::Debug for EmbeddedBroker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EmbeddedBroker")
    }
}

enum Done {
    Acked(i64),
    Flush(tokio::sync::oneshot::Sender<()>),
}

/// One queue's frames that are ready in memory, and how many there are in all.
struct Queue {
    name: QueueName,
    state: Mutex<State>,
    /// Serialises reading ahead, so that two subscribers do not read the same frames.
    reading: tokio::sync::Mutex<()>,
    arrived: Notify,
}

#[derive(Default)]
struct State {
    /// Given back: they go first, in their order.
    returned: BTreeMap<i64, Bytes>,
    /// Read ahead.
    ahead: VecDeque<(i64, Bytes)>,
    /// The last frame read ahead.
    cursor: i64,
    /// Ready in all, in memory or not. For a moment it may be one too low, when a frame is taken
    /// before its publisher has counted it.
    ready: i64,
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EmbeddedBroker {
    /// The queues in `ledger`'s file. `mark` names the file that keeps the highest ledger counter
    /// seen: beside the ledger's own file, so that putting back an old copy of that one file is
    /// noticed.
    ///
    /// # Errors
    /// [`LedgerError`] if the file cannot be read.
    pub async fn open(ledger: &SqliteLedger, mark: Option<PathBuf>) -> Result<Self, LedgerError> {
        let unavailable = |error: sqlx::Error| LedgerError::Unavailable(error.to_string());
        let counts: Vec<(i64, i64)> = sqlx::query_as(
            "SELECT queue, count(*) FROM broker_frames WHERE dead = 0 GROUP BY queue",
        )
        .fetch_all(ledger.readers())
        .await
        .map_err(unavailable)?;
        let before_start: Option<i64> =
            sqlx::query_scalar("SELECT max(frame_id) FROM broker_frames")
                .fetch_one(ledger.readers())
                .await
                .map_err(unavailable)?;
        let queues = QueueName::all()
            .map(|name| {
                let number = i64::from(name.number());
                let count = counts.iter().find(|(queue, _)| *queue == number);
                let ready = count.map_or(0, |(_, count)| *count);
                let queue = Queue {
                    name,
                    state: Mutex::new(State {
                        ready,
                        ..State::default()
                    }),
                    reading: tokio::sync::Mutex::default(),
                    arrived: Notify::new(),
                };
                (name, Arc::new(queue))
            })
            .collect();
        let (done, finished) = mpsc::channel(8 * ACKS);
        tokio::spawn(delete_acked(ledger.writer().clone(), finished));
        Ok(Self {
            writer: ledger.writer().clone(),
            readers: ledger.readers().clone(),
            queues: Arc::new(queues),
            done,
            mark,
            before_start: before_start.unwrap_or(0),
        })
    }

    /// Waits until every acknowledgement given so far is on disk.
    pub async fn flush(&self) {
        let (tell, told) = tokio::sync::oneshot::channel();
        if self.done.send(Done::Flush(tell)).await.is_ok() {
            let _ = told.await;
        }
    }

    fn queue(&self, name: QueueName) -> Result<&Arc<Queue>, BrokerError> {
        self.queues.get(&name).ok_or(BrokerError::Returned(name))
    }
}

#[async_trait]
impl Broker for EmbeddedBroker {
    async fn publish(&self, frames: Vec<Publication>) -> Result<(), BrokerError> {
        let queues = frames
            .iter()
            .map(|frame| self.queue(frame.queue).cloned())
            .collect::<Result<Vec<_>, _>>()?;
        let writer = self.writer.clone();
        // In a task of its own: a commit goes on when its caller gives up, and then the frames are
        // there and have to be counted and told.
        let published = tokio::spawn(async move {
            writer
                .run(move |connection| Box::pin(insert(connection, frames)))
                .await?;
            for queue in queues {
                queue.state().ready += 1;
                queue.arrived.notify_waiters();
            }
            Ok::<(), LedgerError>(())
        });
        tokio::time::timeout(CONFIRM, published)
            .await
            .map_err(|_| BrokerError::Unavailable("not confirmed in time".into()))?
            .map_err(|error| BrokerError::Unavailable(error.to_string()))?
            .map_err(|error| BrokerError::Unavailable(error.to_string()))
    }

    async fn subscribe(
        &self,
        queue: QueueName,
        prefetch: u16,
    ) -> Result<Box<dyn Subscription>, BrokerError> {
        Ok(Box::new(EmbeddedSubscription {
            broker: self.clone(),
            queue: Arc::clone(self.queue(queue)?),
            hands: Arc::new(Semaphore::new(usize::from(prefetch.max(1)))),
        }))
    }

    async fn ready(&self, queue: QueueName) -> Result<u64, BrokerError> {
        Ok(u64::try_from(self.queue(queue)?.state().ready).unwrap_or(0))
    }

    async fn dead_frames(&self, limit: usize) -> Result<Vec<Box<dyn Delivery>>, BrokerError> {
        let rows: Vec<(i64, i64, Vec<u8>)> = sqlx::query_as(
            "SELECT frame_id, queue, body FROM broker_frames WHERE dead = 1 LIMIT ?",
        )
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.readers)
        .await
        .map_err(|error| BrokerError::Unavailable(error.to_string()))?;
        Ok(rows
            .into_iter()
            .map(|(id, queue, body)| {
                let name = u8::try_from(queue).ok().and_then(QueueName::from_number);
                Box::new(DeadFrame {
                    broker: self.clone(),
                    id,
                    queue: name.unwrap_or(QueueName::Report),
                    body: body.into(),
                }) as Box<dyn Delivery>
            })
            .collect())
    }

    async fn remember_mark(&self, counter: u64) -> Result<(), BrokerError> {
        let Some(path) = &self.mark else {
            return Ok(());
        };
        let unavailable = |error: std::io::Error| BrokerError::Unavailable(error.to_string());
        let fresh = path.with_extension("new");
        tokio::fs::write(&fresh, counter.to_string())
            .await
            .map_err(unavailable)?;
        tokio::fs::rename(&fresh, path).await.map_err(unavailable)
    }

    async fn recall_mark(&self) -> Result<u64, BrokerError> {
        let Some(path) = &self.mark else { return Ok(0) };
        match tokio::fs::read_to_string(path).await {
            // A mark that was cut off by a power failure says nothing.
            Ok(text) => Ok(text.trim().parse().unwrap_or(0)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(BrokerError::Unavailable(error.to_string())),
        }
    }
}

async fn insert(
    connection: &mut SqliteConnection,
    frames: Vec<Publication>,
) -> Result<(), LedgerError> {
    for frame in frames {
        sqlx::query("INSERT INTO broker_frames (queue, body) VALUES (?, ?)")
            .bind(i64::from(frame.queue.number()))
            .bind(frame.body.as_ref())
            .execute(&mut *connection)
            .await
            .map_err(|error| LedgerError::Unavailable(error.to_string()))?;
    }
    Ok(())
}

/// Deletes acknowledged frames, many in one statement.
async fn delete_acked(writer: Writer, mut finished: mpsc::Receiver<Done>) {
    let mut batch = Vec::with_capacity(ACKS);
    while finished.recv_many(&mut batch, ACKS).await > 0 {
        let mut ids = String::from("[");
        let mut flushed = Vec::new();
        for done in batch.drain(..) {
            match done {
                Done::Acked(id) => {
                    if ids.len() > 1 {
                        ids.push(',');
                    }
                    ids.push_str(&id.to_string());
                }
                Done::Flush(tell) => flushed.push(tell),
            }
        }
        ids.push(']');
        let deleted = writer.run(move |connection| {
            Box::pin(async move {
                sqlx::query(
                    "DELETE FROM broker_frames \
                     WHERE frame_id IN (SELECT value FROM json_each(?))",
                )
                .bind(ids)
                .execute(connection)
                .await
                .map_err(|error| LedgerError::Unavailable(error.to_string()))?;
                Ok(())
            })
        });
        if let Err(error) = deleted.await {
            // They come again after a restart, and find nothing to do.
            tracing::warn!(%error, "acknowledged frames could not be deleted");
        }
        for tell in flushed {
            let _ = tell.send(());
        }
    }
}

/// A frame on its way into a hand.
struct Taken {
    id: i64,
    body: Bytes,
    /// It was in a hand of this process before.
    returned: bool,
}

struct EmbeddedSubscription {
    broker: EmbeddedBroker,
    queue: Arc<Queue>,
    hands: Arc<Semaphore>,
}

#[async_trait]
impl Subscription for EmbeddedSubscription {
    async fn next(&mut self) -> Option<Box<dyn Delivery>> {
        let hand = Arc::clone(&self.hands).acquire_owned().await.ok()?;
        loop {
            let arrived = self.queue.arrived.notified();
            tokio::pin!(arrived);
            // Listening begins before looking: what arrives in between is not missed.
            arrived.as_mut().enable();
            if let Some(Taken { id, body, returned }) = self.take() {
                let redelivered = returned || id <= self.broker.before_start;
                return Some(Box::new(Frame {
                    broker: self.broker.clone(),
                    queue: Arc::clone(&self.queue),
                    id,
                    body,
                    redelivered,
                    kept: true,
                    _hand: hand,
                }));
            }
            if self.read_ahead().await {
                continue;
            }
            arrived.await;
        }
    }
}

impl EmbeddedSubscription {
    /// The first frame in memory; what was given back goes first.
    fn take(&self) -> Option<Taken> {
        let mut state = self.queue.state();
        let returned = state.returned.pop_first();
        let (returned, (id, body)) = match returned {
            Some(frame) => (true, frame),
            None => (false, state.ahead.pop_front()?),
        };
        state.ready -= 1;
        Some(Taken { id, body, returned })
    }

    /// Reads more frames from the file; whether there is anything in memory now.
    async fn read_ahead(&self) -> bool {
        let _reading = self.queue.reading.lock().await;
        let cursor = {
            let state = self.queue.state();
            if !state.ahead.is_empty() || !state.returned.is_empty() {
                return true;
            }
            state.cursor
        };
        // idx_frame_queue
        let rows: Result<Vec<(i64, Vec<u8>)>, _> = sqlx::query_as(
            "SELECT frame_id, body FROM broker_frames \
             WHERE dead = 0 AND queue = ? AND frame_id > ? ORDER BY frame_id LIMIT ?",
        )
        .bind(i64::from(self.queue.name.number()))
        .bind(cursor)
        .bind(AHEAD)
        .fetch_all(&self.broker.readers)
        .await;
        match rows {
            Ok(rows) => {
                let mut state = self.queue.state();
                if let Some((last, _)) = rows.last() {
                    state.cursor = *last;
                }
                state
                    .ahead
                    .extend(rows.into_iter().map(|(id, body)| (id, body.into())));
                !state.ahead.is_empty()
            }
            Err(error) => {
                tracing::warn!(%error, queue = %self.queue.name, "reading a queue failed");
                tokio::time::sleep(Duration::from_millis(200)).await;
                true
            }
        }
    }
}

/// A frame in a hand.
struct Frame {
    broker: EmbeddedBroker,
    queue: Arc<Queue>,
    id: i64,
    body: Bytes,
    redelivered: bool,
    /// Whether it goes back when it is dropped.
    kept: bool,
    _hand: OwnedSemaphorePermit,
}

#[async_trait]
impl Delivery for Frame {
    fn body(&self) -> &Bytes {
        &self.body
    }

    fn queue(&self) -> QueueName {
        self.queue.name
    }

    fn redelivered(&self) -> bool {
        self.redelivered
    }

    async fn ack(mut self: Box<Self>) {
        self.kept = false;
        let _ = self.broker.done.send(Done::Acked(self.id)).await;
    }

    async fn reject(mut self: Box<Self>) {
        let id = self.id;
        let marked = self
            .broker
            .writer
            .run(move |connection| {
                Box::pin(async move {
                    sqlx::query("UPDATE broker_frames SET dead = 1 WHERE frame_id = ?")
                        .bind(id)
                        .execute(connection)
                        .await
                        .map_err(|error| LedgerError::Unavailable(error.to_string()))?;
                    Ok(())
                })
            })
            .await;
        // If that failed, dropping it gives the frame back.
        self.kept = marked.is_err();
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        if self.kept {
            let mut state = self.queue.state();
            state
                .returned
                .insert(self.id, std::mem::take(&mut self.body));
            state.ready += 1;
            drop(state);
            self.queue.arrived.notify_waiters();
        }
    }
}

/// A frame of the dead-letter queue.
struct DeadFrame {
    broker: EmbeddedBroker,
    id: i64,
    queue: QueueName,
    body: Bytes,
}

#[async_trait]
impl Delivery for DeadFrame {
    fn body(&self) -> &Bytes {
        &self.body
    }

    fn queue(&self) -> QueueName {
        self.queue
    }

    fn redelivered(&self) -> bool {
        true
    }

    async fn ack(self: Box<Self>) {
        let _ = self.broker.done.send(Done::Acked(self.id)).await;
        self.broker.flush().await;
    }

    async fn reject(self: Box<Self>) {}
}
