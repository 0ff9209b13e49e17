//! The closed loop: as many requests under way as there are connections, each followed by the next.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::Outbox;
use super::letter::Letter;
use super::line::{Line, Target};
use super::worker::Worker;

/// A load as fast as it is answered.
pub(in crate::command::bench) struct Closed<'a> {
    /// Where to; connections are spread over them.
    pub(in crate::command::bench) targets: &'a [Target],
    /// What.
    pub(in crate::command::bench) letter: Letter,
    /// How many connections.
    pub(in crate::command::bench) connections: usize,
    /// For how long requests are begun.
    pub(in crate::command::bench) lasts: Duration,
    /// Counts the messages accepted so far.
    pub(in crate::command::bench) count: Arc<AtomicUsize>,
}

impl Closed<'_> {
    /// Sends until the time is over and the last answer has come.
    pub(in crate::command::bench) async fn run(self) -> anyhow::Result<Outbox> {
        self.run_up_to(u64::MAX).await
    }

    /// The same, but no more than so many messages, rounded up to whole requests.
    pub(in crate::command::bench) async fn run_up_to(self, most: u64) -> anyhow::Result<Outbox> {
        let letter = Arc::new(self.letter);
        let next = Arc::new(AtomicU64::new(0));
        let mut lines = Vec::new();
        for target in self.targets.iter().cycle().take(self.connections) {
            let mut line = Line::new(target.clone());
            line.connect().await?;
            lines.push(line);
        }
        let begun = Instant::now();
        let mut workers = JoinSet::new();
        for line in lines {
            let (letter, next) = (Arc::clone(&letter), Arc::clone(&next));
            let count = Arc::clone(&self.count);
            let end = End {
                most,
                begun,
                lasts: self.lasts,
            };
            workers.spawn(work(line, letter, next, count, end));
        }
        let mut all = Outbox::new();
        while let Some(sent) = workers.join_next().await {
            all.add(sent?);
        }
        Ok(all)
    }
}

/// When a load has sent enough.
#[derive(Clone, Copy)]
struct End {
    /// After so many messages.
    most: u64,
    begun: Instant,
    /// After so long.
    lasts: Duration,
}

async fn work(
    line: Line,
    letter: Arc<Letter>,
    next: Arc<AtomicU64>,
    count: Arc<AtomicUsize>,
    end: End,
) -> Outbox {
    let size = letter.size();
    let step = u64::try_from(size).unwrap_or(u64::MAX);
    let mut worker = Worker::new(line);
    while end.begun.elapsed() < end.lasts {
        let first = next.fetch_add(step, Ordering::Relaxed);
        if first >= end.most {
            break;
        }
        if !worker.send(&letter, first, Instant::now()).await {
            break;
        }
        count.fetch_add(size, Ordering::Relaxed);
    }
    worker.close(end.begun)
}
