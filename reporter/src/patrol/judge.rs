//! What a message that stands still needs. Pure: everything it depends on is passed in.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pabal_common::broker::QueueName;
use pabal_common::clock::Timestamp;
use pabal_common::domain::id::{InstanceId, SubmissionId};
use pabal_common::domain::kind::Lane;
use pabal_common::domain::phase::Phase;
use pabal_common::domain::report::VendorAccount;
use pabal_common::ledger::{Overdue, Watched};

use crate::config::Margins;

/// How much older than the longest call a claim must be before nobody can still hold it.
const CALL_SLACK: Duration = Duration::from_secs(60);

/// A recorded answer whose report waits behind others gets another one only after so many
/// margins: doubling the reports would make a long queue longer.
const PATIENCE: u32 = 10;

/// What there is to do about a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// Its call has lost its owner: the outcome is unknown.
    TakeOver(SubmissionId, Orphaned),
    /// The broker has lost its frame.
    QueueAgain,
    /// Its deadline has passed, and its vendor can be asked before it ends.
    Ask,
    /// Its deadline has passed.
    Expire,
    /// The report of its recorded answer was lost.
    ReportAgain,
    /// It waits, and it must be seen whether anything will wake it.
    DelayAgain,
}

/// Why a call has no owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Orphaned {
    /// The owner's lease lapsed.
    Lapsed,
    /// The claim is older than any call can be.
    TooOld,
}

impl Orphaned {
    /// For the message's events.
    pub const fn why(self) -> &'static str {
        match self {
            Self::Lapsed => "its sender is gone",
            Self::TooOld => "its call lasted longer than any call can",
        }
    }
}

/// What is known of a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueState {
    /// Frames that are ready; nothing if the broker does not say.
    pub ready: Option<u64>,
    /// When the frame taken last was queued.
    pub taken: Option<Timestamp>,
}

/// What a judgement depends on beside the message.
#[derive(Clone, Debug)]
pub struct Context {
    /// The time now.
    pub now: Timestamp,
    /// This process; it knows better what it has in hand itself.
    pub me: InstanceId,
    /// Whether this process has been alive for a whole lease without a gap.
    pub unbroken: bool,
    /// Owners that have no lease, by the ledger's word.
    pub lapsed: BTreeSet<InstanceId>,
    /// The longest a vendor call can last.
    pub call_limit: Duration,
    /// How long a message may stand still.
    pub margins: Margins,
    /// Whether frames can be published now; if not, the outbox is where they are.
    pub publishing: bool,
    /// The queues that are doubted, without those that take no frames now: of these the outbox has
    /// them.
    pub queues: BTreeMap<QueueName, QueueState>,
    /// How long a message may wait for a report.
    pub overdue: Overdue,
    /// How long past that a message stays whose vendor can be asked.
    pub ask_grace: Duration,
    /// The accounts that can be asked.
    pub askable: BTreeSet<VendorAccount>,
}

/// What has to be found out before messages can be judged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Doubts {
    /// Owners of calls.
    pub owners: BTreeSet<InstanceId>,
    /// Queues in which messages, or the reports of their answers, have been for long.
    pub queues: BTreeSet<QueueName>,
}

/// What has to be found out to judge these messages.
pub fn doubts(rows: &[Watched], now: Timestamp, margins: Margins) -> Doubts {
    let mut doubts = Doubts::default();
    for row in rows {
        let margin = margins.of(row.queue.lane());
        match row.phase {
            Phase::Submitting => doubts.owners.extend(row.owner),
            Phase::Queued if now.since(row.queued_at) > margin => {
                doubts.queues.insert(row.queue);
            }
            Phase::Answered if row.answered_at.is_some_and(|at| now.since(at) > margin) => {
                doubts.queues.insert(QueueName::Report);
            }
            _ => {}
        }
    }
    doubts
}

/// What there is to do about one message; usually nothing.
pub fn judge(row: &Watched, context: &Context) -> Option<Duty> {
    match row.phase {
        Phase::Queued if row.valid_until <= context.now => Some(Duty::Expire),
        Phase::Queued => context.frame_lost(row).then_some(Duty::QueueAgain),
        Phase::Waiting if row.valid_until <= context.now => Some(Duty::Expire),
        Phase::Waiting => context.long_waiting(row).then_some(Duty::DelayAgain),
        // A call in flight is never ended by time: it becomes unknown first.
        Phase::Submitting => context.orphaned(row),
        Phase::Unknown | Phase::Answered if context.is_overdue(row) => Some(context.last_duty(row)),
        Phase::Answered => context.report_lost(row).then_some(Duty::ReportAgain),
        Phase::Unknown | Phase::Done => None,
    }
}

impl Margins {
    const fn of(self, lane: Lane) -> Duration {
        match lane {
            Lane::Express => self.express,
            Lane::Ordinary | Lane::Bulk => self.ordinary,
        }
    }
}

impl Context {
    /// Past the margin, and either nothing is ready in its queue or what was queued after it has
    /// been taken long since.
    fn frame_lost(&self, row: &Watched) -> bool {
        let margin = self.margins.of(row.queue.lane());
        let Some(queue) = self.queues.get(&row.queue) else {
            return false;
        };
        let none_ready = queue.ready == Some(0);
        let overtaken = queue
            .taken
            .is_some_and(|taken| taken.since(row.queued_at) > margin);
        let waited = self.now.since(row.queued_at) > margin;
        self.publishing && waited && (none_ready || overtaken)
    }

    fn report_lost(&self, row: &Watched) -> bool {
        let margin = self.margins.of(row.queue.lane());
        let waited = row
            .answered_at
            .map_or(Duration::ZERO, |at| self.now.since(at));
        let Some(reports) = self.queues.get(&QueueName::Report) else {
            return false;
        };
        let none_ready = reports.ready == Some(0);
        let patience = if none_ready {
            margin
        } else {
            margin * PATIENCE
        };
        self.publishing && waited > patience
    }

    /// Since when it waits the row does not say: since the last move it knows of, at the earliest.
    fn long_waiting(&self, row: &Watched) -> bool {
        let moved = row
            .claimed_at
            .map_or(row.queued_at, |at| at.max(row.queued_at));
        self.now.since(moved) > self.margins.of(row.queue.lane())
    }

    fn orphaned(&self, row: &Watched) -> Option<Duty> {
        let owner = row
            .owner
            .filter(|owner| *owner != self.me && self.unbroken)?;
        let age = row
            .claimed_at
            .map_or(Duration::ZERO, |at| self.now.since(at));
        let why = if self.lapsed.contains(&owner) {
            Orphaned::Lapsed
        } else if age > self.call_limit + CALL_SLACK {
            Orphaned::TooOld
        } else {
            return None;
        };
        Some(Duty::TakeOver(row.submission?, why))
    }

    fn is_overdue(&self, row: &Watched) -> bool {
        self.deadline(row) <= self.now
    }

    /// What can be asked is asked before it ends without a result.
    fn last_duty(&self, row: &Watched) -> Duty {
        let open = row.answered_at.is_none();
        let askable = row
            .account
            .as_ref()
            .is_some_and(|account| self.askable.contains(account));
        match open && askable && self.now < self.deadline(row).plus(self.ask_grace) {
            true => Duty::Ask,
            false => Duty::Expire,
        }
    }

    fn deadline(&self, row: &Watched) -> Timestamp {
        let from = row.claimed_at.unwrap_or(row.queued_at);
        from.plus(self.overdue.after(row.kind))
    }
}

#[cfg(test)]
mod tests;
