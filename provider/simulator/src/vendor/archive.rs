//! What a vendor that is polled can tell of the messages it took.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use pabal_common::clock::Timestamp;
use pabal_common::domain::id::MessageId;

use super::Member;
use crate::outcome::{Ending, Outcome};
use crate::reports::Item;

/// How many results and messages are remembered.
pub(super) const REMEMBERED: usize = 1_000_000;

/// What can be polled and asked for.
pub(crate) struct Archive {
    epoch: u64,
    log: VecDeque<Logged>,
    /// How many were dropped from the log's head.
    dropped: usize,
    known: HashMap<MessageId, Known>,
    order: VecDeque<MessageId>,
}

/// A result that polls may see.
#[derive(Clone, Copy)]
pub(super) struct Logged {
    pub(super) item: Item,
    pub(super) at: Timestamp,
}

/// What became of a message.
#[derive(Clone, Copy)]
pub(super) struct Known {
    pub(super) vendor: u64,
    pub(super) ending: Ending,
    /// From when on the ending is known.
    pub(super) final_at: Option<Timestamp>,
}

impl Known {
    /// Whether the ending is known by `now`.
    pub(super) fn is_final(&self, now: Timestamp) -> bool {
        self.final_at.is_some_and(|at| at <= now)
    }
}

/// Results after a cursor.
pub(super) struct Page {
    pub(super) results: Vec<Logged>,
    /// The cursor after them.
    pub(super) next: String,
    /// Whether there are more after them.
    pub(super) more: bool,
}

impl Archive {
    pub(super) fn new(epoch: u64) -> Self {
        Self {
            epoch,
            log: VecDeque::new(),
            dropped: 0,
            known: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    /// Remembers a message that was taken; its result, if one is owed, is known after `delay`.
    pub(super) fn remember(
        &mut self,
        member: &Member,
        vendor: u64,
        at: Timestamp,
        delay: Option<Duration>,
    ) {
        let final_at = match (member.outcome, delay) {
            (Outcome::ReportNever, _) => None,
            (_, delay) => Some(at.plus(delay.unwrap_or_default())),
        };
        let known = Known {
            vendor,
            ending: member.outcome.ending(),
            final_at,
        };
        if self.known.insert(member.message, known).is_none() {
            self.order.push_back(member.message);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    /// Makes results visible to polls.
    pub(super) fn publish(&mut self, items: &[Item], at: Timestamp) {
        for item in items {
            self.log.push_back(Logged { item: *item, at });
            if self.log.len() > REMEMBERED {
                self.log.pop_front();
                self.dropped += 1;
            }
        }
    }

    /// What is known of a message.
    pub(super) fn known(&self, message: MessageId) -> Option<&Known> {
        self.known.get(&message)
    }

    /// The results after `cursor`, at most `limit`, oldest first.
    pub(super) fn page(&self, cursor: Option<&str>, limit: usize) -> Page {
        let from = self.position(cursor);
        let waiting = self.log.iter().skip(from - self.dropped);
        let results: Vec<_> = waiting.take(limit).copied().collect();
        let next = from + results.len();
        Page {
            next: format!("{}-{next}", self.epoch),
            more: next < self.dropped + self.log.len(),
            results,
        }
    }

    /// A cursor of another log starts at this one's head.
    fn position(&self, cursor: Option<&str>) -> usize {
        cursor
            .and_then(|cursor| cursor.split_once('-'))
            .filter(|(epoch, _)| *epoch == self.epoch.to_string())
            .and_then(|(_, position)| position.parse().ok())
            .unwrap_or(0)
            .clamp(self.dropped, self.dropped + self.log.len())
    }
}
