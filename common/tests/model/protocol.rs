//! What each step does: the rules of sender, sweeps and reporter around the phase machine.

use pabal_common::domain::id::SubmissionId;
use pabal_common::domain::phase::{Event, Phase, Settled};
use stateright::{Model, Property};

use super::actions::{Action, Answer, Commit, Word};
use super::claiming::{claim, give_frame_back, hold, kill, reread};
use super::state::{Faults, Frame, Member, Note, Said, Task, Vendor, World, account, vendor_id};

/// How a vendor's report names a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    /// By our id: it always finds its message.
    Ours,
    /// By the vendor's id alone: it is parked until that id is known.
    Theirs,
}

/// Which deadlines there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deadlines {
    /// All of them, and they may pass at any moment.
    All,
    /// Only those after submission: a message that waits to be sent must find its own way.
    AfterSubmission,
    /// None: a message must be ended by an answer or a report.
    None,
}

/// A rule that is broken on purpose, to see that the checker finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    None,
    /// An UNKNOWN message is queued again.
    ResendsUnknown,
    /// A take-over makes the message WAITING instead of UNKNOWN.
    TakesOverToWaiting,
    /// The reporter counts and tells a final report without looking whether the message ended.
    CountsWithoutLooking,
    /// A sender whose claim's answer was lost calls without reading back.
    CallsBeforeItsClaimIsSure,
    /// A lost answer is settled as if nothing had been taken.
    TakesLostForNotTaken,
    /// A late settlement goes to the message, whatever call it is in by now.
    SettlesWithoutTheCall,
    /// Nobody takes over from a dead sender.
    NeverTakesOver,
    /// A sender does not compare its claims with what it has in hand.
    NeverComparesItsClaims,
    /// A purged frame is not put into the outbox again.
    NeverQueuesAgain,
    /// A purged final answer is not put into the outbox again.
    NeverReportsAgain,
}

/// What is explored.
#[derive(Clone, Debug)]
pub(crate) struct Protocol {
    /// Messages, all in one frame and so in one call: 1 or 2.
    pub(crate) messages: usize,
    /// What may go wrong.
    pub(crate) faults: Faults,
    /// What the vendor may say of a message.
    pub(crate) words: Vec<Word>,
    /// Whether it may be out of reach.
    pub(crate) not_connected: bool,
    /// Retries after the first attempt that did not connect.
    pub(crate) retries: u16,
    /// How often the vendor pushes back, a message.
    pub(crate) throttles: u8,
    /// What its reports may say, and how many it sends of a message at most.
    pub(crate) reports: Vec<Said>,
    pub(crate) reports_sent: u8,
    pub(crate) names: Names,
    pub(crate) deadlines: Deadlines,
    /// Claims are taken over from senders that live, too, as from one whose call took too long.
    pub(crate) hasty: bool,
    /// A sender looks at its lease before the first byte.
    pub(crate) checks_lease: bool,
    pub(crate) flaw: Flaw,
}

impl Model for Protocol {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let vendor = Vendor {
            taken: 0,
            account: None,
            reached: false,
            written_again: false,
            reports: self.reports_sent,
            throttles: self.throttles,
        };
        vec![World::accepted(self.messages, &vendor, self.faults)]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        self.possible(world, actions);
    }

    fn next_state(&self, before: &World, action: Action) -> Option<World> {
        let mut world = before.clone();
        if let Some(fault) = action.fault() {
            world.spend(fault);
        }
        self.carry_out(&mut world, action);
        (world != *before).then_some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        super::properties::all()
    }
}

impl Protocol {
    fn carry_out(&self, world: &mut World, action: Action) {
        match action {
            Action::Take(place, frame) => {
                world.remove_frame(&frame);
                world.senders[place].task = Task::Took(frame);
            }
            Action::Claim(place, commit) => claim(world, place, commit),
            Action::Hold(place) => hold(world, place),
            Action::Reread(place) => reread(world, place),
            Action::RereadFails(place) => give_frame_back(world, place),
            Action::CheckLease(place) => self.check_lease(world, place),
            Action::Call(place, answer) => {
                if let Task::Cleared {
                    frame,
                    call,
                    members,
                } = world.senders[place].task.clone()
                {
                    self.call(world, place, frame, call, &members, &answer);
                }
            }
            Action::CallUnsure(place, answer) => {
                if let Task::Unsure { frame, call } = world.senders[place].task.clone() {
                    let members = frame.clone();
                    self.call(world, place, frame, call, &members, &answer);
                }
            }
            Action::Settle(place, commit) => self.settle(world, place, commit),
            Action::CompareOwnClaims(_, message) => {
                if let Some(submission) = world.messages[message].row.submission {
                    world.move_row(message, &Event::TakeOver { submission });
                }
            }
            Action::Renew(place) => world.senders[place].lapsed = false,
            Action::Kill(place) => kill(world, place),
            Action::Freeze(place) => world.senders[place].frozen = true,
            Action::Thaw(place) => world.senders[place].frozen = false,
            Action::Stall(place) | Action::Lapse(place) => world.senders[place].lapsed = true,
            Action::TakeOver(message) => self.take_over(world, message),
            Action::Release(message) => {
                if let Some(attempt) = world.messages[message].delay.take() {
                    world.move_row(message, &Event::Release { attempt });
                }
            }
            Action::QueueAgain(message) => {
                world.put_frame(vec![(message, world.messages[message].row.attempt)]);
            }
            Action::ReportAgain(message) => world.report_answer(message),
            Action::Deadline(message) => {
                world.move_row(message, &Event::Deadline);
                // No delay of an ended message has to fire.
                world.messages[message].delay = None;
            }
            Action::Double(frame) => world.put_frame(frame),
            Action::Lose(frame) => world.remove_frame(&frame),
            Action::DoubleReport(note) => world.put_note(note),
            Action::LoseReport(note) => world.remove_note(&note),
            Action::VendorReports(message, said) => {
                world.vendor[message].reports -= 1;
                world.put_note(Note {
                    message,
                    call: None,
                    said,
                });
            }
            Action::Apply(note) => self.apply(world, &note),
            Action::ResendUnknown(message) => {
                world.messages[message].row.phase = Phase::Queued;
                world.put_frame(vec![(message, world.messages[message].row.attempt)]);
            }
        }
    }

    fn check_lease(&self, world: &mut World, place: usize) {
        let sender = &mut world.senders[place];
        let Task::Claimed {
            frame,
            call,
            members,
        } = sender.task.clone()
        else {
            return;
        };
        sender.task = if sender.lapsed && self.checks_lease {
            let back = Settled::NotTaken { charged: false };
            let settled = members
                .iter()
                .map(|(message, _)| (*message, back.clone()))
                .collect();
            Task::Ended {
                frame,
                call,
                settled,
            }
        } else {
            Task::Cleared {
                frame,
                call,
                members,
            }
        };
    }

    fn call(
        &self,
        world: &mut World,
        place: usize,
        frame: Frame,
        call: SubmissionId,
        members: &[Member],
        answer: &Answer,
    ) {
        let settled = members
            .iter()
            .enumerate()
            .map(|(at, (message, attempt))| {
                let settled = match answer {
                    Answer::NotConnected => self.not_connected(*attempt),
                    Answer::Each(words) => self.written(world, place, *message, words[at]),
                };
                (*message, settled)
            })
            .collect();
        world.senders[place].task = Task::Ended {
            frame,
            call,
            settled,
        };
    }

    fn not_connected(&self, attempt: u16) -> Settled {
        if attempt >= self.retries {
            return Settled::Final(Said::NotConnected.verdict(), None);
        }
        Settled::NotTaken { charged: true }
    }

    /// The bytes of one message reach the vendor.
    fn written(&self, world: &mut World, place: usize, message: usize, word: Word) -> Settled {
        let vendor = &mut world.vendor[message];
        vendor.written_again |= vendor.reached;
        vendor.reached |= word != Word::Throttled;
        if matches!(word, Word::Taken | Word::Delivered | Word::LostTaken) {
            vendor.taken += 1;
            vendor.account = Some(place);
        }
        match word {
            Word::Taken => Settled::Taken(vendor_id(message)),
            Word::Delivered => Settled::Final(Said::Delivered.verdict(), vendor_id(message)),
            Word::Refused => Settled::Final(Said::Failed.verdict(), None),
            Word::Throttled => {
                vendor.throttles -= 1;
                Settled::NotTaken { charged: false }
            }
            Word::LostTaken | Word::LostNotTaken => match self.flaw {
                Flaw::TakesLostForNotTaken => Settled::NotTaken { charged: true },
                _ => Settled::Lost,
            },
        }
    }

    fn settle(&self, world: &mut World, place: usize, commit: Commit) {
        let Task::Ended { call, settled, .. } = world.senders[place].task.clone() else {
            return;
        };
        for (message, settled) in settled {
            let submission = match self.flaw {
                Flaw::SettlesWithoutTheCall => world.messages[message].row.submission,
                _ => Some(call),
            };
            if let Some(submission) = submission {
                world.move_row(
                    message,
                    &Event::Settle {
                        submission,
                        settled,
                    },
                );
            }
        }
        // Otherwise it settles again.
        if commit == Commit::Known {
            world.senders[place].task = Task::Idle;
        }
    }

    fn take_over(&self, world: &mut World, message: usize) {
        let held = &mut world.messages[message];
        if self.flaw == Flaw::TakesOverToWaiting {
            held.row.phase = Phase::Waiting;
            held.delay = Some(held.row.attempt);
        } else if let Some(submission) = held.row.submission {
            world.move_row(message, &Event::TakeOver { submission });
        }
    }

    fn apply(&self, world: &mut World, note: &Note) {
        world.remove_note(note);
        let message = note.message;
        let verdict = note.said.verdict();
        let (from, id) = match note.call {
            // A sender's own report says for which account its call was.
            Some(_) => (world.messages[message].row.account.clone(), None),
            None => (
                world.vendor[message].account.map(account),
                vendor_id(message),
            ),
        };
        let Some(from) = from else { return };
        let ended = world.phase(message) == Phase::Done;
        world.move_row(
            message,
            &Event::Report {
                account: from,
                vendor_id: id,
                by_our_id: note.call.is_some() || self.names == Names::Ours,
                submission: note.call.map(SubmissionId::from_number),
                verdict,
            },
        );
        if ended && verdict.is_final() && self.flaw == Flaw::CountsWithoutLooking {
            world.messages[message].counted += 1;
            world.messages[message].told += 1;
        }
    }
}
