//! Who waits for a permit: in each lane a line for those that the same routes fit, served in the
//! order of coming.

use std::collections::BTreeMap;

use pabal_common::domain::kind::{Lane, MessageType};
use tokio::sync::oneshot;

use super::fit::Fit;
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

/// Those that the same routes fit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Group {
    pub(super) kind: MessageType,
    pub(super) fit: Fit,
}

/// A place in the lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) lane: Lane,
    pub(super) group: Group,
    number: u64,
}

/// The lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    express: ByGroup,
    ordinary: ByGroup,
    bulk: ByGroup,
    last: u64,
}

type ByGroup = BTreeMap<Group, BTreeMap<u64, Waiter>>;

#[derive(Debug)]
struct Waiter {
    wanted: usize,
    reply: oneshot::Sender<Reply>,
}

impl Lines {
    /// Joins the end of a line.
    pub(super) fn join(
        &mut self,
        group: Group,
        lane: Lane,
        wanted: usize,
    ) -> (Ticket, oneshot::Receiver<Reply>) {
        let (reply, told) = oneshot::channel();
        self.last += 1;
        let number = self.last;
        self.of(lane)
            .entry(group.clone())
            .or_default()
            .insert(number, Waiter { wanted, reply });
        let ticket = Ticket {
            lane,
            group,
            number,
        };
        (ticket, told)
    }

    /// Leaves a line; `false` if the waiter has been told already.
    pub(super) fn leave(&mut self, ticket: &Ticket) -> bool {
        self.remove(ticket).is_some()
    }

    /// Who has waited longest in a lane, leaving out the groups in `stuck`, and for how many
    /// messages.
    pub(super) fn first(&self, lane: Lane, stuck: &[Group]) -> Option<(Ticket, usize)> {
        let lines = match lane {
            Lane::Express => &self.express,
            Lane::Ordinary => &self.ordinary,
            Lane::Bulk => &self.bulk,
        };
        let open = lines.iter().filter(|(group, _)| !stuck.contains(group));
        let firsts = open.filter_map(|(group, line)| Some((group, line.first_key_value()?)));
        let (group, (number, waiter)) = firsts.min_by_key(|(_, (number, _))| **number)?;
        let ticket = Ticket {
            lane,
            group: group.clone(),
            number: *number,
        };
        Some((ticket, waiter.wanted))
    }

    /// Tells a waiter, who thereby leaves the line.
    pub(super) fn tell(&mut self, ticket: &Ticket, reply: Reply) {
        if let Some(waiter) = self.remove(ticket) {
            // Nobody stops listening before having left the line under the same lock.
            let _ = waiter.reply.send(reply);
        }
    }

    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.express.is_empty() && self.ordinary.is_empty() && self.bulk.is_empty()
    }

    fn remove(&mut self, ticket: &Ticket) -> Option<Waiter> {
        let lines = self.of(ticket.lane);
        let line = lines.get_mut(&ticket.group)?;
        let waiter = line.remove(&ticket.number);
        if line.is_empty() {
            lines.remove(&ticket.group);
        }
        waiter
    }

    fn of(&mut self, lane: Lane) -> &mut ByGroup {
        match lane {
            Lane::Express => &mut self.express,
            Lane::Ordinary => &mut self.ordinary,
            Lane::Bulk => &mut self.bulk,
        }
    }
}
