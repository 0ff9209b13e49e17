//! Which outbox rows this process is busy with.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::broker::QueueName;
use crate::domain::id::OutboxId;
use crate::ledger::Dispatch;

/// The most rows that are remembered as confirmed, and as confirmed in part. A forgotten one is published again, which is
/// harmless, and retired then.
const MOST_CONFIRMED: usize = 1 << 14;

/// What may be done with a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grip {
    /// It is now in hand: publish it.
    Taken,
    /// Someone else in this process publishes it.
    InHand,
    /// It is published and confirmed.
    Confirmed,
}

/// Rows being published, and rows confirmed but not yet retired. A row is never in both. Of rows
/// that could not be published as a whole, the queues that have confirmed.
#[derive(Debug, Default)]
pub(super) struct Hand {
    held: HashSet<OutboxId>,
    confirmed: BTreeSet<OutboxId>,
    parts: HashMap<OutboxId, BTreeSet<QueueName>>,
}

impl Hand {
    pub(super) fn take(&mut self, row: OutboxId) -> Grip {
        if self.confirmed.contains(&row) {
            Grip::Confirmed
        } else if self.held.insert(row) {
            Grip::Taken
        } else {
            Grip::InHand
        }
    }

    pub(super) fn release(&mut self, row: OutboxId) {
        self.held.remove(&row);
    }

    pub(super) fn confirm(&mut self, row: OutboxId) {
        self.held.remove(&row);
        self.parts.remove(&row);
        self.keep(row);
    }

    /// Remembers that one queue of a row has confirmed.
    pub(super) fn confirm_part(&mut self, row: OutboxId, queue: QueueName) {
        if self.parts.len() < MOST_CONFIRMED || self.parts.contains_key(&row) {
            self.parts.entry(row).or_default().insert(queue);
        }
    }

    /// What of a row has still to be published.
    pub(super) fn left_of<T>(
        &self,
        row: OutboxId,
        mut queues: BTreeMap<QueueName, T>,
    ) -> BTreeMap<QueueName, T> {
        if let Some(confirmed) = self.parts.get(&row) {
            queues.retain(|queue, _| !confirmed.contains(queue));
        }
        queues
    }

    /// Rows were given away: what is known of them is no longer ours to know.
    pub(super) fn forget_parts(&mut self) {
        self.parts.clear();
    }

    /// Takes out confirmed rows to be retired, oldest first.
    pub(super) fn take_confirmed(&mut self, most: usize) -> Vec<OutboxId> {
        let oldest = std::iter::from_fn(|| self.confirmed.pop_first());
        oldest.take(most).collect()
    }

    /// The same, if there are at least so many.
    pub(super) fn take_confirmed_if(&mut self, least: usize, most: usize) -> Vec<OutboxId> {
        match self.confirmed.len() >= least {
            true => self.take_confirmed(most),
            false => Vec::new(),
        }
    }

    pub(super) fn put_back(&mut self, rows: impl IntoIterator<Item = OutboxId>) {
        for row in rows {
            self.keep(row);
        }
    }

    /// The rows that no one is busy with.
    pub(super) fn free(&self, rows: Vec<Dispatch>) -> Vec<Dispatch> {
        let free = |row: &Dispatch| {
            !self.held.contains(&row.outbox) && !self.confirmed.contains(&row.outbox)
        };
        rows.into_iter().filter(free).collect()
    }

    fn keep(&mut self, row: OutboxId) {
        if self.confirmed.len() < MOST_CONFIRMED {
            self.confirmed.insert(row);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(number: u64) -> OutboxId {
        OutboxId::from_number(number)
    }

    fn dispatch(number: u64) -> Dispatch {
        Dispatch {
            outbox: row(number),
            frames: Vec::new(),
        }
    }

    #[test]
    fn a_row_in_hand_is_not_taken_a_second_time_until_released() {
        let mut hand = Hand::default();
        assert_eq!(hand.take(row(1)), Grip::Taken);
        assert_eq!(hand.take(row(1)), Grip::InHand);
        hand.release(row(1));
        assert_eq!(hand.take(row(1)), Grip::Taken);
    }

    #[test]
    fn only_rows_neither_in_hand_nor_confirmed_are_free() {
        let mut hand = Hand::default();
        hand.take(row(1));
        hand.take(row(2));
        hand.confirm(row(2));
        let free = hand.free((1..=4).map(dispatch).collect());
        assert_eq!(free, [dispatch(3), dispatch(4)]);
        assert_eq!(hand.take(row(2)), Grip::Confirmed);
    }

    #[test]
    fn confirmed_rows_are_taken_out_oldest_first_and_come_back_when_put_back() {
        let mut hand = Hand::default();
        for number in [3, 1, 2] {
            hand.confirm(row(number));
        }
        assert_eq!(hand.take_confirmed(2), [row(1), row(2)]);
        hand.put_back([row(1)]);
        assert_eq!(hand.take_confirmed(9), [row(1), row(3)]);
        assert_eq!(hand.take_confirmed(9), []);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut hand = Hand::default();
        hand.put_back((0..100_000).map(row));
        assert_eq!(hand.take_confirmed(usize::MAX).len(), MOST_CONFIRMED);
    }
}
