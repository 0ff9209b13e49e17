//! The task that gathers groups into batches and commits them.

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span};

use super::{BatchError, Batching, Group, Outcome, Reply, all_lost};
use crate::telemetry::metric;

pub(super) struct Committer<I, O, E, F> {
    batching: Batching<I, E>,
    commit: Arc<F>,
    intake: mpsc::UnboundedReceiver<Group<I, O, E>>,
    room: Arc<Semaphore>,
    shutdown: CancellationToken,
    /// The group that did not fit into the last batch: the first of the next.
    carried: Option<Group<I, O, E>>,
    /// Commits under way. Each is a task of its own, so that a panic in one ends only that batch.
    under_way: JoinSet<()>,
}

/// Groups that are committed together.
struct Batch<I, O, E> {
    items: Vec<I>,
    bytes: usize,
    replies: Vec<(usize, Reply<O, E>)>,
    /// What its only caller is traced in.
    span: Span,
}

impl<I, O, E, F, C> Committer<I, O, E, F>
where
    I: Clone + Send + Sync + 'static,
    O: Send + 'static,
    E: Clone + Send + 'static,
    F: Fn(Arc<[I]>) -> C + Send + Sync + 'static,
    C: Future<Output = Result<Vec<O>, E>> + Send + 'static,
{
    pub(super) fn new(
        batching: Batching<I, E>,
        commit: F,
        intake: mpsc::UnboundedReceiver<Group<I, O, E>>,
        room: Arc<Semaphore>,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            batching,
            commit: Arc::new(commit),
            intake,
            room,
            shutdown,
            carried: None,
            under_way: JoinSet::new(),
        }
    }

    pub(super) async fn run(mut self) {
        loop {
            while self.under_way.len() >= self.batching.limits.parallel {
                self.one_returned().await;
            }
            let Some(first) = self.next_group().await else {
                break;
            };
            let batch = self.fill(first);
            metric::batch_size(self.batching.name, batch.items.len());
            let commit = Arc::clone(&self.commit);
            let (batching, span) = (self.batching, batch.span.clone());
            let settled = batch.settle(batching, commit).instrument(span);
            self.under_way.spawn(settled);
        }
        while !self.under_way.is_empty() {
            self.one_returned().await;
        }
    }

    async fn one_returned(&mut self) {
        if let Some(Err(error)) = self.under_way.join_next().await {
            tracing::error!(batch = self.batching.name, %error, "a commit ended without a result");
        }
    }

    /// The next group, waiting for one. After the shutdown only what was submitted before; `None`
    /// when that is done.
    async fn next_group(&mut self) -> Option<Group<I, O, E>> {
        if let Some(carried) = self.carried.take() {
            return Some(carried);
        }
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => {
                self.room.close();
                self.intake.close();
                self.intake.recv().await
            }
            group = self.intake.recv() => group,
        }
    }

    /// Adds what waits to `first`, as far as it fits.
    fn fill(&mut self, first: Group<I, O, E>) -> Batch<I, O, E> {
        let limits = self.batching.limits;
        let mut batch = Batch {
            items: Vec::new(),
            bytes: 0,
            replies: Vec::new(),
            span: Span::none(),
        };
        batch.add(first);
        while let Ok(group) = self.intake.try_recv() {
            let fits = batch.items.len() + group.items.len() <= limits.items
                && batch.bytes + group.bytes <= limits.bytes;
            if !fits {
                self.carried = Some(group);
                break;
            }
            batch.add(group);
        }
        batch
    }
}

impl<I, O, E> Batch<I, O, E>
where
    I: Clone,
    E: Clone,
{
    fn add(&mut self, group: Group<I, O, E>) {
        drop(group.place);
        let is_alone = self.replies.is_empty() || self.span == group.span;
        self.span = if is_alone { group.span } else { Span::none() };
        self.replies.push((group.items.len(), group.reply));
        self.items.extend(group.items);
        self.bytes += group.bytes;
    }

    /// Commits the batch and tells every submitter that still listens.
    async fn settle<F, C>(self, batching: Batching<I, E>, commit: Arc<F>)
    where
        F: Fn(Arc<[I]>) -> C,
        C: Future<Output = Result<Vec<O>, E>>,
    {
        let outcomes = commit_in_parts(self.items.into(), batching, commit.as_ref()).await;
        let mut outcomes = outcomes.into_iter();
        for (count, reply) in self.replies {
            // A submitter that went away does not hear how it ended.
            let _ = reply.send(outcomes.by_ref().take(count).collect());
        }
    }
}

/// Commits all items at once; where an error may be one item's fault, in halves, the first half
/// first, so that order decides between items that exclude each other.
async fn commit_in_parts<I, O, E, F, C>(
    items: Arc<[I]>,
    batching: Batching<I, E>,
    commit: &F,
) -> Vec<Outcome<O, E>>
where
    I: Clone,
    E: Clone,
    F: Fn(Arc<[I]>) -> C,
    C: Future<Output = Result<Vec<O>, E>>,
{
    let mut outcomes = Vec::with_capacity(items.len());
    let mut parts = vec![items];
    while let Some(part) = parts.pop() {
        match commit(Arc::clone(&part)).await {
            Ok(results) if results.len() == part.len() => {
                outcomes.extend(results.into_iter().map(Ok));
            }
            Ok(results) => {
                let (items, results) = (part.len(), results.len());
                tracing::error!(batch = batching.name, items, results, "a result is missing");
                outcomes.extend(all_lost(items));
            }
            Err(error) if part.len() > 1 && (batching.splits)(&error) => {
                let (first, second) = part.split_at(part.len() / 2);
                parts.push(second.into());
                parts.push(first.into());
            }
            Err(error) => {
                outcomes.extend(part.iter().map(|_| Err(BatchError::Failed(error.clone()))));
            }
        }
    }
    outcomes
}
