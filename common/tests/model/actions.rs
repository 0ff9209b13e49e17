//! Everything that can happen next, and whose doing it is.

use pabal_common::domain::phase::Phase;

use super::protocol::{Deadlines, Flaw, Names, Protocol};
use super::state::{Faults, Frame, Member, Note, SENDERS, Said, Task, World, instance};

/// How a commit ended for the one who waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Commit {
    /// It happened.
    Known,
    /// It happened, but the answer was lost.
    LostDone,
    /// It did not happen, but the answer was lost.
    LostUndone,
}

/// What the vendor says of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    Taken,
    Delivered,
    Refused,
    Throttled,
    /// No word that can be read; it took the message.
    LostTaken,
    /// No word that can be read; it did not take the message.
    LostNotTaken,
}

/// How a call ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    NotConnected,
    /// A word for each member.
    Each(Vec<Word>),
}

/// One step of the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    // A sender, by place.
    Take(usize, Frame),
    Claim(usize, Commit),
    Hold(usize),
    Reread(usize),
    RereadFails(usize),
    CheckLease(usize),
    Call(usize, Answer),
    Settle(usize, Commit),
    CompareOwnClaims(usize, usize),
    Renew(usize),
    // What happens to a sender.
    Kill(usize),
    Freeze(usize),
    Thaw(usize),
    Stall(usize),
    Lapse(usize),
    // Sweeps, for a message.
    TakeOver(usize),
    Release(usize),
    QueueAgain(usize),
    ReportAgain(usize),
    Deadline(usize),
    // The broker.
    Double(Frame),
    Lose(Frame),
    DoubleReport(Note),
    LoseReport(Note),
    // The vendor and the reporter.
    VendorReports(usize, Said),
    Apply(Note),
    // Only with a flaw.
    ResendUnknown(usize),
    CallUnsure(usize, Answer),
}

impl Action {
    /// Whether the system itself will do it if nothing else happens. The rest may never happen:
    /// faults, a vendor's reports, the end of a freeze.
    pub(crate) const fn is_bound_to_happen(&self) -> bool {
        match self {
            Self::Take(..)
            | Self::Reread(_)
            | Self::CheckLease(_)
            | Self::Call(..)
            | Self::CompareOwnClaims(..)
            | Self::Renew(_)
            | Self::Lapse(_)
            | Self::TakeOver(_)
            | Self::Release(_)
            | Self::QueueAgain(_)
            | Self::ReportAgain(_)
            | Self::Deadline(_)
            | Self::Apply(_) => true,
            Self::Claim(_, commit) | Self::Settle(_, commit) => matches!(commit, Commit::Known),
            _ => false,
        }
    }
}

const KILL: fn(&mut Faults) -> &mut u8 = |faults| &mut faults.kills;
const FREEZE: fn(&mut Faults) -> &mut u8 = |faults| &mut faults.freezes;
const STALL: fn(&mut Faults) -> &mut u8 = |faults| &mut faults.stalls;
const DOUBLE: fn(&mut Faults) -> &mut u8 = |faults| &mut faults.doubles;
const LOSE: fn(&mut Faults) -> &mut u8 = |faults| &mut faults.losses;
const COMMIT: fn(&mut Faults) -> &mut u8 = |faults| &mut faults.commits;
const FORGET: fn(&mut Faults) -> &mut u8 = |faults| &mut faults.forgets;
const CLOSE: fn(&mut Faults) -> &mut u8 = |faults| &mut faults.closures;

impl Action {
    /// Which fault it is, if it is one.
    pub(crate) const fn fault(&self) -> Option<fn(&mut Faults) -> &mut u8> {
        Some(match self {
            Self::Kill(_) => KILL,
            Self::Freeze(_) => FREEZE,
            Self::Stall(_) => STALL,
            Self::Double(_) | Self::DoubleReport(_) => DOUBLE,
            Self::Lose(_) | Self::LoseReport(_) => LOSE,
            Self::RereadFails(_) => FORGET,
            Self::Claim(_, Commit::LostDone | Commit::LostUndone)
            | Self::Settle(_, Commit::LostDone | Commit::LostUndone) => COMMIT,
            Self::Hold(_) => CLOSE,
            _ => return None,
        })
    }
}

impl Protocol {
    /// Everything that can happen to `world`.
    pub(crate) fn possible(&self, world: &World, actions: &mut Vec<Action>) {
        for place in 0..SENDERS {
            self.of_sender(world, place, actions);
        }
        for message in 0..world.messages.len() {
            self.of_sweeps(world, message, actions);
            self.of_vendor(world, message, actions);
        }
        of_broker(world, actions);
        self.of_reporter(world, actions);
        actions.retain(|action| {
            action
                .fault()
                .is_none_or(|fault| world.faults.allows(fault))
        });
    }

    fn of_sender(&self, world: &World, place: usize, actions: &mut Vec<Action>) {
        let sender = &world.senders[place];
        // What happens to a process that holds nothing changes nothing.
        let at_stake = sender.task != Task::Idle || owns(world, place).next().is_some();
        if at_stake {
            actions.push(Action::Kill(place));
        }
        if sender.frozen {
            actions.push(Action::Thaw(place));
            if !sender.lapsed {
                actions.push(Action::Lapse(place));
            }
            return;
        }
        if at_stake {
            actions.extend([Action::Freeze(place), Action::Stall(place)]);
        }
        if sender.lapsed {
            actions.push(Action::Renew(place));
        } else if self.flaw != Flaw::NeverComparesItsClaims {
            let forgotten = owns(world, place)
                .filter(|message| world.messages[*message].row.submission != sender.task.call());
            actions.extend(forgotten.map(|message| Action::CompareOwnClaims(place, message)));
        }
        match &sender.task {
            // The senders are alike, so the first one begins.
            Task::Idle if !sender.lapsed && (place == 0 || world.begun()) => {
                let mut frames = world.frames.clone();
                frames.dedup();
                actions.extend(frames.into_iter().map(|frame| Action::Take(place, frame)));
            }
            Task::Idle => {}
            Task::Took(_) => actions.extend([
                Action::Claim(place, Commit::Known),
                Action::Claim(place, Commit::LostDone),
                Action::Claim(place, Commit::LostUndone),
                Action::Hold(place),
            ]),
            Task::Unsure { frame, .. } => {
                actions.extend([Action::Reread(place), Action::RereadFails(place)]);
                if self.flaw == Flaw::CallsBeforeItsClaimIsSure {
                    let answers = self.answers(world, frame);
                    actions.extend(answers.map(|answer| Action::CallUnsure(place, answer)));
                }
            }
            Task::Claimed { .. } => actions.push(Action::CheckLease(place)),
            Task::Cleared { members, .. } => {
                let answers = self.answers(world, members);
                actions.extend(answers.map(|answer| Action::Call(place, answer)));
            }
            Task::Ended { .. } => actions.extend([
                Action::Settle(place, Commit::Known),
                Action::Settle(place, Commit::LostDone),
            ]),
        }
    }

    /// Every way the vendor can answer a call for these members.
    fn answers(&self, world: &World, members: &[Member]) -> impl Iterator<Item = Answer> {
        let mut each: Vec<Vec<Word>> = vec![Vec::new()];
        for (message, _) in members {
            let throttles = world.vendor[*message].throttles > 0;
            let words = self
                .words
                .iter()
                .filter(|word| throttles || **word != Word::Throttled);
            each = words
                .flat_map(|word| {
                    each.iter()
                        .map(|said| said.iter().copied().chain([*word]).collect())
                })
                .collect();
        }
        let refused = self.not_connected.then_some(Answer::NotConnected);
        each.into_iter().map(Answer::Each).chain(refused)
    }

    fn of_sweeps(&self, world: &World, message: usize, actions: &mut Vec<Action>) {
        let held = &world.messages[message];
        if held.delay.is_some() {
            actions.push(Action::Release(message));
        }
        match held.row.phase {
            Phase::Submitting if self.takes_over(world, message) => {
                actions.push(Action::TakeOver(message));
            }
            Phase::Queued if self.is_lost(world, message) => {
                actions.push(Action::QueueAgain(message));
            }
            Phase::Answered if held.row.verdict.is_some() => {
                let on_its_way = world.reports.iter().any(|note| {
                    note.message == message && note.call == held.row.submission.map(|c| c.number())
                });
                if !on_its_way && self.flaw != Flaw::NeverReportsAgain {
                    actions.push(Action::ReportAgain(message));
                }
            }
            Phase::Unknown if self.flaw == Flaw::ResendsUnknown => {
                actions.push(Action::ResendUnknown(message));
            }
            _ => {}
        }
        let overdue = match (held.row.phase, self.deadlines) {
            (Phase::Submitting | Phase::Done, _) | (_, Deadlines::None) => false,
            (Phase::Queued | Phase::Waiting, deadlines) => deadlines == Deadlines::All,
            (Phase::Unknown | Phase::Answered, _) => true,
        };
        if overdue {
            actions.push(Action::Deadline(message));
        }
    }

    fn takes_over(&self, world: &World, message: usize) -> bool {
        let may = self.hasty || world.owner_lapsed(message);
        self.flaw != Flaw::NeverTakesOver && may
    }

    /// QUEUED, and no frame for it is ready or in the hand of a process that runs: by then a
    /// process that runs has long carried out what it had in hand.
    fn is_lost(&self, world: &World, message: usize) -> bool {
        let member = (message, world.messages[message].row.attempt);
        let ready = world.frames.iter().any(|frame| frame.contains(&member));
        let in_hand = world.senders.iter().any(|sender| {
            matches!(&sender.task, Task::Took(frame) if !sender.frozen && frame.contains(&member))
        });
        self.flaw != Flaw::NeverQueuesAgain && !ready && !in_hand
    }

    fn of_vendor(&self, world: &World, message: usize, actions: &mut Vec<Action>) {
        let vendor = &world.vendor[message];
        if vendor.taken > 0 && vendor.reports > 0 {
            let said = self.reports.iter().copied();
            actions.extend(said.map(|said| Action::VendorReports(message, said)));
        }
    }

    fn of_reporter(&self, world: &World, actions: &mut Vec<Action>) {
        let mut notes = world.reports.clone();
        notes.dedup();
        let known = |note: &Note| {
            let by_id = note.call.is_some() || self.names == Names::Ours;
            by_id || world.messages[note.message].row.vendor_id.is_some()
        };
        actions.extend(notes.into_iter().filter(known).map(Action::Apply));
    }
}

/// The messages that a sender has claimed, as the ledger knows it.
fn owns(world: &World, place: usize) -> impl Iterator<Item = usize> {
    let me = Some(instance(place, world.senders[place].incarnation));
    let mine = move |message: &usize| {
        let row = &world.messages[*message].row;
        row.phase == Phase::Submitting && row.owner == me
    };
    (0..world.messages.len()).filter(mine)
}

fn of_broker(world: &World, actions: &mut Vec<Action>) {
    let mut frames = world.frames.clone();
    frames.dedup();
    for frame in frames {
        actions.extend([Action::Double(frame.clone()), Action::Lose(frame)]);
    }
    let mut notes = world.reports.clone();
    notes.dedup();
    for note in notes {
        actions.extend([Action::DoubleReport(note.clone()), Action::LoseReport(note)]);
    }
}
