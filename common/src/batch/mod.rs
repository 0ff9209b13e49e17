//! Group commit: many callers, one transaction.
//!
//! Whatever waits is taken whenever a commit returns. There is no timer: a lone caller is served at
//! once, and the busier it gets the larger the batches grow, up to a number of items and of bytes.
//! The commit of a lone caller belongs to its trace; what several share belongs to none of theirs.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Span;

use crate::telemetry::trace;

mod committer;
#[cfg(test)]
mod tests;

use committer::Committer;

/// How large batches and the waiting room may be. A limit of 0 is taken as 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// The most items in one commit.
    pub items: usize,
    /// The most bytes in one commit, by the weight given; a heavier item is committed alone.
    pub bytes: usize,
    /// The most items that wait for a commit; beyond it, submitting waits.
    pub queue: usize,
    /// How many commits may be under way at once: 1 where the ledger has one writer.
    pub parallel: usize,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self {
            items: 512,
            bytes: 4 << 20,
            queue: 4096,
            parallel: 1,
        }
    }
}

/// What is batched, and how.
#[derive(Debug)]
pub struct Batching<I, E> {
    /// The name in the metrics.
    pub name: &'static str,
    /// The limits.
    pub limits: BatchLimits,
    /// An item's size in bytes.
    pub weight: fn(&I) -> usize,
    /// Whether this error may be the fault of one item. The batch is then halved until that item
    /// fails alone; any other error fails every member of its batch.
    pub splits: fn(&E) -> bool,
}

impl<I, E> Clone for Batching<I, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<I, E> Copy for Batching<I, E> {}

/// Why an item has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError<E> {
    /// The commit it was part of failed.
    #[error(transparent)]
    Failed(E),
    /// Shutting down: the item was not taken.
    #[error("shutting down")]
    Closed,
    /// The commit ended without a word about the item. It may or may not have happened.
    #[error("the outcome of the commit is not known")]
    Lost,
}

type Outcome<O, E> = Result<O, BatchError<E>>;
type Reply<O, E> = oneshot::Sender<Vec<Outcome<O, E>>>;

/// Items of one caller that go into one batch together.
struct Group<I, O, E> {
    items: Vec<I>,
    bytes: usize,
    reply: Reply<O, E>,
    /// What its caller is traced in.
    span: Span,
    /// Its place in the waiting room, free again when a batch takes the group.
    place: OwnedSemaphorePermit,
}

/// The way in to one kind of group commit. Clones share it.
pub struct GroupCommit<I, O, E> {
    batching: Batching<I, E>,
    intake: mpsc::UnboundedSender<Group<I, O, E>>,
    /// Bounds the intake by items; the channel alone would count groups.
    room: Arc<Semaphore>,
}

impl<I, O, E> Clone for GroupCommit<I, O, E> {
    fn clone(&self) -> Self {
        Self {
            batching: self.batching,
            intake: self.intake.clone(),
            room: Arc::clone(&self.room),
        }
    }
}

impl<I, O, E> GroupCommit<I, O, E>
where
    I: Clone + Send + Sync + 'static,
    O: Send + 'static,
    E: Clone + Send + 'static,
{
    /// Starts committing, in a task that `tracker` waits for. `commit` does everything or nothing
    /// and returns one result per item, in order.
    ///
    /// After `shutdown` nothing more is taken; what was submitted is committed, and the task ends.
    /// It also ends when every clone of the returned value is gone.
    pub fn start<F, C>(
        batching: Batching<I, E>,
        commit: F,
        shutdown: CancellationToken,
        tracker: &TaskTracker,
    ) -> Self
    where
        F: Fn(Arc<[I]>) -> C + Send + Sync + 'static,
        C: Future<Output = Result<Vec<O>, E>> + Send + 'static,
    {
        let limits = batching.limits.at_least_one();
        let batching = Batching { limits, ..batching };
        let (intake, groups) = mpsc::unbounded_channel();
        let room = Arc::new(Semaphore::new(limits.queue));
        let committer = Committer::new(batching, commit, groups, Arc::clone(&room), shutdown);
        tracker.spawn(committer.run());
        Self {
            batching,
            intake,
            room,
        }
    }

    /// Commits one item together with whatever else waits, and returns its result.
    ///
    /// Waits for room first; a caller that goes away before there is room has submitted nothing,
    /// one that goes away later has its item committed all the same.
    ///
    /// # Errors
    /// [`BatchError`].
    pub async fn submit(&self, item: I) -> Result<O, BatchError<E>> {
        let answers = self.offer(vec![item]).await.ok_or(BatchError::Closed)?;
        let mut outcomes = answers.await.map_err(|_| BatchError::Lost)?;
        outcomes.pop().unwrap_or(Err(BatchError::Lost))
    }

    /// Commits items in order, in one batch if they fit in one, and returns a result for each.
    pub async fn submit_all(&self, items: Vec<I>) -> Vec<Result<O, BatchError<E>>> {
        let mut offered = Vec::new();
        for group in self.groups(items) {
            offered.push((group.len(), self.offer(group).await));
        }
        let mut outcomes = Vec::new();
        for (count, answers) in offered {
            let answered = match answers {
                Some(answers) => answers.await.unwrap_or_else(|_| all_lost(count)),
                None => (0..count).map(|_| Err(BatchError::Closed)).collect(),
            };
            outcomes.extend(answered);
        }
        outcomes
    }

    /// Waits until the task that commits has ended: after a shutdown, or because it failed. Until
    /// then it is as good as a clone.
    pub fn ended(&self) -> impl Future<Output = ()> + Send + use<I, O, E> {
        let intake = self.intake.clone();
        async move { intake.closed().await }
    }

    /// Puts a group that fits into one batch into the waiting room; `None` when shutting down.
    async fn offer(&self, items: Vec<I>) -> Option<oneshot::Receiver<Vec<Outcome<O, E>>>> {
        let places = u32::try_from(items.len()).ok()?;
        let place = Arc::clone(&self.room)
            .acquire_many_owned(places)
            .await
            .ok()?;
        let bytes = items.iter().map(self.batching.weight).sum();
        let (reply, answers) = oneshot::channel();
        let group = Group {
            items,
            bytes,
            reply,
            span: trace::current(),
            place,
        };
        self.intake.send(group).ok()?;
        Some(answers)
    }

    /// Cuts items into groups that each fit into one batch and into the waiting room.
    fn groups(&self, items: Vec<I>) -> Vec<Vec<I>> {
        let limits = self.batching.limits;
        let most = limits.items.min(limits.queue);
        let mut groups: Vec<Vec<I>> = Vec::new();
        let mut bytes = 0;
        for item in items {
            let weight = (self.batching.weight)(&item);
            match groups.last_mut() {
                Some(group) if group.len() < most && bytes + weight <= limits.bytes => {
                    group.push(item);
                    bytes += weight;
                }
                _ => {
                    groups.push(vec![item]);
                    bytes = weight;
                }
            }
        }
        groups
    }
}

impl BatchLimits {
    fn at_least_one(self) -> Self {
        Self {
            items: self.items.max(1),
            bytes: self.bytes.max(1),
            queue: self
                .queue
                .clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize)),
            parallel: self.parallel.max(1),
        }
    }
}

fn all_lost<O, E>(count: usize) -> Vec<Outcome<O, E>> {
    (0..count).map(|_| Err(BatchError::Lost)).collect()
}
