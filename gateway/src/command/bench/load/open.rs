//! The open loop: requests are due by a schedule, whatever the answers do. Each is measured from when
//! it was due, so that a stall counts for every request it held up and not for one alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Outbox;
use super::letter::Letter;
use super::line::{Line, Target};
use super::schedule::Schedule;
use super::worker::Worker;

/// A load at a steady rate.
pub(in crate::command::bench) struct Open<'a> {
    /// Where to; connections are spread over them.
    pub(in crate::command::bench) targets: &'a [Target],
    /// What.
    pub(in crate::command::bench) letter: Letter,
    /// How many requests may be under way; those due beyond wait, and are measured so.
    pub(in crate::command::bench) connections: usize,
    /// When requests are due.
    pub(in crate::command::bench) schedule: Schedule,
    /// Counts the messages accepted so far.
    pub(in crate::command::bench) count: Arc<AtomicUsize>,
}

impl Open<'_> {
    /// Sends all that is scheduled, and waits until the last answer has come.
    pub(in crate::command::bench) async fn run(self) -> anyhow::Result<Outbox> {
        self.run_until(&CancellationToken::new()).await
    }

    /// The same, but what falls due after `enough` is not sent.
    pub(in crate::command::bench) async fn run_until(
        self,
        enough: &CancellationToken,
    ) -> anyhow::Result<Outbox> {
        let letter = Arc::new(self.letter);
        let mut lines = Vec::new();
        for target in self.targets.iter().cycle().take(self.connections) {
            let mut line = Line::new(target.clone());
            line.connect().await?;
            lines.push(line);
        }
        let desk = Arc::new(Desk {
            begun: Instant::now(),
            schedule: self.schedule,
            due: Semaphore::new(0),
            next: AtomicU64::new(0),
            end: AtomicU64::new(self.schedule.count()),
            count: self.count,
        });
        if desk.schedule.count() == 0 {
            desk.due.close();
        }
        let mut workers = JoinSet::new();
        for line in lines {
            workers.spawn(work(Arc::clone(&desk), line, Arc::clone(&letter)));
        }
        // Whoever is broken off has had enough too.
        let over = enough.child_token();
        let _with_this = over.clone().drop_guard();
        let pacer = Arc::clone(&desk);
        let paced = tokio::task::spawn_blocking(move || pacer.pace(&over));
        let mut all = Outbox::new();
        all.begun = desk.begun;
        while let Some(sent) = workers.join_next().await {
            all.add(sent?);
        }
        paced.await?;
        Ok(all)
    }
}

struct Desk {
    begun: Instant,
    schedule: Schedule,
    /// One permit for each request that is due and not begun. Closed when all are begun.
    due: Semaphore,
    next: AtomicU64,
    /// How many requests there will have been.
    end: AtomicU64,
    count: Arc<AtomicUsize>,
}

impl Desk {
    /// Hands out requests as they fall due. On a thread of its own: the runtime's timer is late by up
    /// to a millisecond, which would be most of what is measured.
    fn pace(&self, over: &CancellationToken) {
        let mut handed = 0;
        while handed < self.schedule.count() && !over.is_cancelled() {
            let due = self.schedule.due_by(self.begun.elapsed());
            self.due
                .add_permits(usize::try_from(due - handed).unwrap_or(0));
            handed = due;
            let next = self.begun + self.schedule.due(handed);
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        self.end_after(handed);
    }

    /// Nothing is handed out after this many.
    fn end_after(&self, count: u64) {
        self.end.store(count, Ordering::SeqCst);
        // Whoever takes the last one closes; if it is taken already, nobody else will.
        if self.next.load(Ordering::SeqCst) >= count {
            self.due.close();
        }
    }

    /// The next request that is due, and since when; nothing once all are begun.
    async fn next(&self) -> Option<(u64, Instant)> {
        self.due.acquire().await.ok()?.forget();
        let number = self.next.fetch_add(1, Ordering::SeqCst);
        if number + 1 == self.end.load(Ordering::SeqCst) {
            self.due.close();
        }
        Some((number, self.begun + self.schedule.due(number)))
    }
}

async fn work(desk: Arc<Desk>, line: Line, letter: Arc<Letter>) -> Outbox {
    let size = letter.size();
    let step = u64::try_from(size).unwrap_or(u64::MAX);
    let mut worker = Worker::new(line);
    while let Some((number, due)) = desk.next().await {
        worker.is_late(Instant::now().saturating_duration_since(due));
        if !worker.send(&letter, number * step, due).await {
            break;
        }
        desk.count.fetch_add(size, Ordering::Relaxed);
    }
    worker.close(desk.begun)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A desk of which so many requests were handed out and so many taken.
    async fn desk(handed: usize, taken: usize) -> Desk {
        let desk = Desk {
            begun: Instant::now(),
            schedule: Schedule::new(1_000, std::time::Duration::from_secs(1)),
            due: Semaphore::new(handed),
            next: AtomicU64::new(0),
            end: AtomicU64::new(1_000),
            count: Arc::default(),
        };
        for _ in 0..taken {
            desk.next().await.unwrap();
        }
        desk
    }

    #[tokio::test]
    async fn once_it_is_enough_what_is_due_already_is_sent_and_nothing_more() {
        for (handed, taken) in [(0, 0), (3, 0), (3, 2), (3, 3)] {
            let desk = desk(handed, taken).await;
            desk.end_after(handed as u64);
            let mut more = 0;
            while desk.next().await.is_some() {
                more += 1;
            }
            assert_eq!(taken + more, handed);
        }
    }
}
