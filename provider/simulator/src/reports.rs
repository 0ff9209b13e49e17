//! Reports that wait for their time. One heap per vendor, no task per message.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pabal_common::domain::id::MessageId;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::outcome::Ending;

/// How a report names its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Notation {
    /// As the answer did.
    Usual,
    /// The same id, written otherwise.
    Other,
    /// By an id that nobody was told.
    Unknown,
}

/// One report.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Item {
    pub(crate) vendor: u64,
    pub(crate) message: MessageId,
    pub(crate) ending: Ending,
    pub(crate) notation: Notation,
}

impl Item {
    /// The vendor id the report bears.
    pub(crate) const fn shown_vendor(&self) -> u64 {
        match self.notation {
            Notation::Usual | Notation::Other => self.vendor,
            // Real ids grow from the start time; the top bit is never theirs.
            Notation::Unknown => self.vendor | 1 << 63,
        }
    }
}

/// The waiting reports of one vendor.
#[derive(Default)]
pub(crate) struct Reports {
    heap: Mutex<Heap>,
    changed: Notify,
}

#[derive(Default)]
struct Heap {
    waiting: BinaryHeap<Reverse<Due>>,
    scheduled: u64,
}

impl Reports {
    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Adds reports, each due after its delay.
    pub(crate) fn schedule(&self, items: impl IntoIterator<Item = (Duration, Item)>) {
        let now = Instant::now();
        let mut heap = self.lock();
        let before = heap.waiting.peek().map(|Reverse(due)| due.at);
        for (delay, item) in items {
            heap.scheduled += 1;
            let due = Due {
                at: now + delay,
                order: heap.scheduled,
                item,
            };
            heap.waiting.push(Reverse(due));
        }
        let after = heap.waiting.peek().map(|Reverse(due)| due.at);
        drop(heap);
        if before != after {
            self.changed.notify_waiters();
        }
    }

    /// Takes out what is due, at most `max`.
    pub(crate) fn take_due(&self, max: usize) -> Vec<Item> {
        let now = Instant::now();
        let mut heap = self.lock();
        let mut due = Vec::new();
        while due.len() < max
            && let Some(Reverse(first)) = heap.waiting.peek()
            && first.at <= now
        {
            due.push(first.item);
            heap.waiting.pop();
        }
        due
    }

    /// Waits until something is due.
    pub(crate) async fn due(&self) {
        loop {
            let changed = self.changed.notified();
            let first = self.lock().waiting.peek().map(|Reverse(due)| due.at);
            match first {
                Some(at) if at <= Instant::now() => return,
                Some(at) => tokio::select! {
                    () = changed => {}
                    () = sleep_until(at) => return,
                },
                None => changed.await,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Heap> {
        self.heap.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Due {
    at: Instant,
    order: u64,
    item: Item,
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Due {}
