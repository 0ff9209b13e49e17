//! Who waits for a permit: a line for each type and lane, served in the order of coming.

use std::collections::BTreeMap;

use pabal_common::domain::kind::{Lane, MessageType};
use tokio::sync::oneshot;

use super::permit::NoRoute;

/// A slot and tokens of a route, taken from it but not yet in anybody's hand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grant {
    /// The route, by its place in the book.
    pub(super) route: usize,
    /// How many messages.
    pub(super) size: usize,
}

/// What a waiter is told.
pub(super) type Reply = Result<Grant, NoRoute>;

/// A place in the lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) lane: Lane,
    pub(super) kind: MessageType,
    number: u64,
}

/// The lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    express: ByType,
    ordinary: ByType,
    bulk: ByType,
    last: u64,
}

type ByType = BTreeMap<MessageType, BTreeMap<u64, Waiter>>;

#[derive(Debug)]
struct Waiter {
    wanted: usize,
    reply: oneshot::Sender<Reply>,
}

impl Lines {
    /// Joins the end of a line.
    pub(super) fn join(
        &mut self,
        kind: MessageType,
        lane: Lane,
        wanted: usize,
    ) -> (Ticket, oneshot::Receiver<Reply>) {
        let (reply, told) = oneshot::channel();
        self.last += 1;
        let number = self.last;
        self.of(lane)
            .entry(kind)
            .or_default()
            .insert(number, Waiter { wanted, reply });
        (Ticket { lane, kind, number }, told)
    }

    /// Leaves a line; `false` if the waiter has been told already.
    pub(super) fn leave(&mut self, ticket: Ticket) -> bool {
        self.remove(ticket).is_some()
    }

    /// Who has waited longest in a lane, leaving out the types in `stuck`, and for how many
    /// messages.
    pub(super) fn first(&self, lane: Lane, stuck: &[MessageType]) -> Option<(Ticket, usize)> {
        let lines = match lane {
            Lane::Express => &self.express,
            Lane::Ordinary => &self.ordinary,
            Lane::Bulk => &self.bulk,
        };
        lines
            .iter()
            .filter(|(kind, _)| !stuck.contains(kind))
            .filter_map(|(kind, line)| {
                let (number, waiter) = line.first_key_value()?;
                let ticket = Ticket {
                    lane,
                    kind: *kind,
                    number: *number,
                };
                Some((ticket, waiter.wanted))
            })
            .min_by_key(|(ticket, _)| ticket.number)
    }

    /// Tells a waiter, who thereby leaves the line.
    pub(super) fn tell(&mut self, ticket: Ticket, reply: Reply) {
        if let Some(waiter) = self.remove(ticket) {
            // Nobody stops listening before having left the line under the same lock.
            let _ = waiter.reply.send(reply);
        }
    }

    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.express.is_empty() && self.ordinary.is_empty() && self.bulk.is_empty()
    }

    fn remove(&mut self, ticket: Ticket) -> Option<Waiter> {
        let lines = self.of(ticket.lane);
        let line = lines.get_mut(&ticket.kind)?;
        let waiter = line.remove(&ticket.number);
        if line.is_empty() {
            lines.remove(&ticket.kind);
        }
        waiter
    }

    fn of(&mut self, lane: Lane) -> &mut ByType {
        match lane {
            Lane::Express => &mut self.express,
            Lane::Ordinary => &mut self.ordinary,
            Lane::Bulk => &mut self.bulk,
        }
    }
}
