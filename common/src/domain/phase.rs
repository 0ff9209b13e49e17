//! The phase machine: everything that may ever happen to a message's row, as one pure function.
//!
//! The ledger's conditional updates do the same in SQL and are tested against [`step`]; a model
//! checker explores it with two senders, a reporter and a sweep, crashes and lost commits. Any
//! move that is not here does not happen: a duplicated, late or reordered queue message, report or
//! answer finds no matching arm and changes nothing.

use super::id::{InstanceId, SubmissionId};
use super::reason::Reason;
use super::report::{VendorAccount, VendorMessageId, Verdict};
use super::status::Status;

/// Where a message's row is. Internal; partners see [`Status`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// In a queue, or in the outbox on its way there.
    Queued,
    /// Its time has not come: a retry, a deferral, or no usable route.
    Waiting,
    /// A sender holds it for one vendor call.
    Submitting,
    /// The call may have been taken; the answer is lost.
    Unknown,
    /// The vendor has answered.
    Answered,
    /// Ended. Nothing moves it again.
    Done,
}

impl Phase {
    /// Every phase.
    pub const ALL: [Self; 6] = [
        Self::Queued,
        Self::Waiting,
        Self::Submitting,
        Self::Unknown,
        Self::Answered,
        Self::Done,
    ];

    /// The number in the ledger; never reused.
    pub const fn number(self) -> u8 {
        match self {
            Self::Queued => 1,
            Self::Waiting => 2,
            Self::Submitting => 3,
            Self::Unknown => 4,
            Self::Answered => 5,
            Self::Done => 6,
        }
    }

    /// The phase with this number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.number() == number)
    }
}

/// The part of a message's row that decides what may happen to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Row {
    /// Where it is.
    pub phase: Phase,
    /// What the partner sees.
    pub status: Status,
    /// How many attempts failed to connect.
    pub attempt: u16,
    /// Who holds it, or held it last; nobody once a backup was put back.
    pub owner: Option<InstanceId>,
    /// The call it was claimed for, kept after the call ended so that late answers match.
    pub submission: Option<SubmissionId>,
    /// The vendor account of that call.
    pub account: Option<VendorAccount>,
    /// The vendor's id, once known.
    pub vendor_id: Option<VendorMessageId>,
    /// A final answer that the reporter has still to carry out.
    pub verdict: Option<Verdict>,
    /// It waits because no route was usable.
    pub route_closed: bool,
}

impl Row {
    /// A row at acceptance.
    pub const fn accepted() -> Self {
        Self {
            phase: Phase::Queued,
            status: Status::Received,
            attempt: 0,
            owner: None,
            submission: None,
            account: None,
            vendor_id: None,
            verdict: None,
            route_closed: false,
        }
    }
}

/// How a call ended for one of its messages, as its owner saw it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Settled {
    /// The vendor has it.
    Taken(Option<VendorMessageId>),
    /// The answer itself is final: delivered, or definitively refused, or given up.
    Final(Verdict, Option<VendorMessageId>),
    /// Surely not taken. `charged`: it counts as an attempt (not connected); otherwise throttled or
    /// given back before the first byte.
    NotTaken {
        /// Whether it counts as an attempt.
        charged: bool,
    },
    /// The answer was lost after the first byte.
    Lost,
}

/// Something that wants to move a row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// A sender with a permit in hand takes it for a call; only while its validity lasts.
    Claim {
        /// The sender.
        owner: InstanceId,
        /// The call.
        submission: SubmissionId,
        /// The vendor account of the route.
        account: VendorAccount,
        /// The attempt the frame was made for.
        attempt: u16,
    },
    /// A sender finds no usable route for it, or cannot work on it.
    Hold {
        /// The attempt the frame was made for.
        attempt: u16,
        /// Whether working on it failed, and it was not for want of a route.
        faulty: bool,
    },
    /// The call's owner says how it ended.
    Settle {
        /// The call.
        submission: SubmissionId,
        /// How it ended.
        settled: Settled,
    },
    /// Anyone: the owner's lease lapsed, its claim is older than any call can be, or the owner
    /// itself finds that it no longer has the call in hand.
    TakeOver {
        /// The claim, by its call.
        submission: SubmissionId,
    },
    /// Anyone: its delay is due.
    Release {
        /// The attempt the delay was written for.
        attempt: u16,
    },
    /// A person says that the ledger went back in time.
    Restore,
    /// A vendor's report, or a sender's final answer on its way through the report queue.
    Report {
        /// Whose report.
        account: VendorAccount,
        /// The vendor's id, if it is in the report.
        vendor_id: Option<VendorMessageId>,
        /// The report names our own message id.
        by_our_id: bool,
        /// The call it answers, if a sender made it.
        submission: Option<SubmissionId>,
        /// What it says.
        verdict: Verdict,
    },
    /// The sweep: the deadline of the row's phase has passed.
    Deadline,
}

/// What must be written in the same transaction as the move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// An outbox row with a frame for the send queue.
    Enqueue,
    /// A delay row.
    Delay,
    /// An ask row, if the vendor can be asked.
    Ask,
    /// An outbox row with the final answer for the report queue.
    Report,
    /// Statistics and, where the partner wants one, the webhook row.
    End(Status, Option<Reason>),
    /// A final report came after the message had ended without one, or for an earlier call: kept
    /// as an event, changes nothing.
    Stray,
}

/// A move and what goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The row after the move.
    pub row: Row,
    /// What must be written with it.
    pub effects: Vec<Effect>,
}

/// What `event` does to `row`; `None` if nothing.
pub fn step(row: &Row, event: &Event) -> Option<Step> {
    match event {
        Event::Claim {
            owner,
            submission,
            account,
            attempt,
        } => {
            let takes = row.phase == Phase::Queued && row.attempt == *attempt;
            takes.then(|| Step {
                row: Row {
                    phase: Phase::Submitting,
                    owner: Some(*owner),
                    submission: Some(*submission),
                    account: Some(account.clone()),
                    vendor_id: None,
                    route_closed: false,
                    ..row.clone()
                },
                effects: vec![],
            })
        }
        Event::Hold { attempt, faulty } => {
            let holds = row.phase == Phase::Queued && row.attempt == *attempt;
            holds.then(|| Step {
                row: Row {
                    phase: Phase::Waiting,
                    route_closed: !faulty || row.route_closed,
                    ..row.clone()
                },
                effects: vec![Effect::Delay],
            })
        }
        Event::Settle {
            submission,
            settled,
        } => settle(row, *submission, settled),
        Event::TakeOver { submission } => {
            let taken = row.phase == Phase::Submitting && row.submission == Some(*submission);
            taken.then(|| unknown(row))
        }
        Event::Release { attempt } => {
            let due = row.phase == Phase::Waiting && row.attempt == *attempt;
            due.then(|| Step {
                row: Row {
                    phase: Phase::Queued,
                    ..row.clone()
                },
                effects: vec![Effect::Enqueue],
            })
        }
        Event::Restore => {
            let doubtful = matches!(
                row.phase,
                Phase::Queued | Phase::Waiting | Phase::Submitting
            );
            // Nobody holds it any more: a sender's word about a call of before the backup proves
            // nothing about what was sent after it.
            doubtful.then(|| {
                unknown(&Row {
                    owner: None,
                    ..row.clone()
                })
            })
        }
        Event::Report {
            account,
            vendor_id,
            by_our_id,
            submission,
            verdict,
        } => {
            let ours = belongs(row, account, vendor_id.as_ref(), *by_our_id, *submission);
            report(row, *verdict, vendor_id.as_ref(), ours)
        }
        Event::Deadline => deadline(row),
    }
}

fn settle(row: &Row, submission: SubmissionId, settled: &Settled) -> Option<Step> {
    if row.submission != Some(submission) {
        return None;
    }
    let undecided = matches!(row.phase, Phase::Submitting | Phase::Unknown);
    // A report may have outrun the answer; a final answer still has to be remembered then.
    let open = undecided || (row.phase == Phase::Answered && row.verdict.is_none());
    match settled {
        Settled::Taken(vendor_id) if undecided => Some(Step {
            row: Row {
                phase: Phase::Answered,
                status: Status::Sent,
                vendor_id: vendor_id.clone().or_else(|| row.vendor_id.clone()),
                ..row.clone()
            },
            effects: vec![],
        }),
        Settled::Final(verdict, vendor_id) if open => Some(Step {
            row: Row {
                phase: Phase::Answered,
                status: match verdict {
                    Verdict::Delivered => Status::Sent,
                    Verdict::Taken | Verdict::Failed(_) => row.status,
                },
                vendor_id: vendor_id.clone().or_else(|| row.vendor_id.clone()),
                verdict: Some(*verdict),
                ..row.clone()
            },
            effects: vec![Effect::Report],
        }),
        // From UNKNOWN too: whoever took the call over could not know that no byte had left.
        Settled::NotTaken { charged } if undecided && row.owner.is_some() => Some(Step {
            row: Row {
                phase: Phase::Waiting,
                attempt: row.attempt + u16::from(*charged),
                ..row.clone()
            },
            effects: vec![Effect::Delay],
        }),
        Settled::Lost if row.phase == Phase::Submitting => Some(unknown(row)),
        _ => None,
    }
}

fn report(
    row: &Row,
    verdict: Verdict,
    vendor_id: Option<&VendorMessageId>,
    ours: bool,
) -> Option<Step> {
    let stray = || Step {
        row: row.clone(),
        effects: vec![Effect::Stray],
    };
    if row.phase == Phase::Done {
        return (verdict.is_final() && row.status == Status::Expired).then(stray);
    }
    // A report that outran its answer, or whose answer was lost, brings the vendor's id.
    let identified = || Row {
        vendor_id: match ours {
            true => row.vendor_id.clone().or_else(|| vendor_id.cloned()),
            false => row.vendor_id.clone(),
        },
        ..row.clone()
    };
    match verdict {
        Verdict::Delivered => Some(end(&identified(), Status::Delivered, None)),
        Verdict::Failed(reason) if ours => Some(end(&identified(), Status::Failed, Some(reason))),
        Verdict::Failed(_) => Some(stray()),
        Verdict::Taken => {
            let moves = ours && matches!(row.phase, Phase::Submitting | Phase::Unknown);
            moves.then(|| Step {
                row: Row {
                    phase: Phase::Answered,
                    status: Status::Sent,
                    vendor_id: vendor_id.cloned().or_else(|| row.vendor_id.clone()),
                    ..row.clone()
                },
                effects: vec![],
            })
        }
    }
}

/// Whether a report speaks of the row's current submission.
fn belongs(
    row: &Row,
    account: &VendorAccount,
    vendor_id: Option<&VendorMessageId>,
    by_our_id: bool,
    submission: Option<SubmissionId>,
) -> bool {
    let submitted = matches!(
        row.phase,
        Phase::Submitting | Phase::Unknown | Phase::Answered
    );
    // Nobody knows the account of a message that was not yet claimed in a backup that was put back;
    // our own id says enough then.
    let others = row.account.as_ref().is_some_and(|own| own != account);
    if !submitted || others {
        return false;
    }
    if submission.is_some() {
        return row.submission == submission;
    }
    match (row.vendor_id.as_ref(), vendor_id) {
        (Some(known), Some(told)) => known == told,
        _ => by_our_id,
    }
}

fn deadline(row: &Row) -> Option<Step> {
    match row.phase {
        Phase::Queued | Phase::Waiting if row.route_closed => {
            Some(end(row, Status::Failed, Some(Reason::RouteDown)))
        }
        Phase::Queued | Phase::Waiting => {
            Some(end(row, Status::Expired, Some(Reason::ValidityPassed)))
        }
        Phase::Unknown | Phase::Answered => Some(match row.verdict {
            Some(Verdict::Delivered) => end(row, Status::Delivered, None),
            Some(Verdict::Failed(reason)) => end(row, Status::Failed, Some(reason)),
            _ if row.phase == Phase::Unknown => {
                end(row, Status::Expired, Some(Reason::UnknownOutcome))
            }
            _ => end(row, Status::Expired, Some(Reason::NoReport)),
        }),
        // A call in flight is never ended by time: it becomes UNKNOWN first.
        Phase::Submitting | Phase::Done => None,
    }
}

fn unknown(row: &Row) -> Step {
    Step {
        row: Row {
            phase: Phase::Unknown,
            ..row.clone()
        },
        effects: vec![Effect::Ask],
    }
}

fn end(row: &Row, status: Status, reason: Option<Reason>) -> Step {
    Step {
        row: Row {
            phase: Phase::Done,
            status,
            ..row.clone()
        },
        effects: vec![Effect::End(status, reason)],
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn account() -> impl Strategy<Value = VendorAccount> {
        prop_oneof![
            Just(VendorAccount::new("a", "1")),
            Just(VendorAccount::new("b", "1"))
        ]
    }

    fn vendor_id() -> impl Strategy<Value = Option<VendorMessageId>> {
        prop_oneof![
            Just(None),
            Just(VendorMessageId::new("v1")),
            Just(VendorMessageId::new("v2"))
        ]
    }

    fn verdict() -> impl Strategy<Value = Verdict> {
        prop_oneof![
            Just(Verdict::Taken),
            Just(Verdict::Delivered),
            Just(Verdict::Failed(Reason::Spam))
        ]
    }

    fn final_verdict() -> impl Strategy<Value = Verdict> {
        verdict().prop_filter("final", |verdict| verdict.is_final())
    }

    fn submission() -> impl Strategy<Value = SubmissionId> {
        (1_u64..4).prop_map(SubmissionId::from_number)
    }

    fn event() -> impl Strategy<Value = Event> {
        let owner = (1_u64..3).prop_map(InstanceId::from_number);
        prop_oneof![
            (owner, submission(), account(), 0_u16..3).prop_map(
                |(owner, submission, account, attempt)| Event::Claim {
                    owner,
                    submission,
                    account,
                    attempt
                }
            ),
            (0_u16..3, any::<bool>()).prop_map(|(attempt, faulty)| Event::Hold { attempt, faulty }),
            (submission(), vendor_id()).prop_map(|(submission, id)| Event::Settle {
                submission,
                settled: Settled::Taken(id)
            }),
            (submission(), final_verdict(), vendor_id()).prop_map(|(submission, verdict, id)| {
                Event::Settle {
                    submission,
                    settled: Settled::Final(verdict, id),
                }
            }),
            (submission(), any::<bool>()).prop_map(|(submission, charged)| Event::Settle {
                submission,
                settled: Settled::NotTaken { charged }
            }),
            submission().prop_map(|submission| Event::Settle {
                submission,
                settled: Settled::Lost
            }),
            submission().prop_map(|submission| Event::TakeOver { submission }),
            (0_u16..3).prop_map(|attempt| Event::Release { attempt }),
            Just(Event::Restore),
            (
                account(),
                vendor_id(),
                any::<bool>(),
                proptest::option::of(submission()),
                verdict()
            )
                .prop_map(|(account, vendor_id, by_our_id, submission, verdict)| {
                    Event::Report {
                        account,
                        vendor_id,
                        by_our_id,
                        submission,
                        verdict,
                    }
                }),
            Just(Event::Deadline),
        ]
    }

    proptest! {
        #[test]
        fn no_sequence_of_events_moves_a_status_back(events in proptest::collection::vec(event(), 0..60)) {
            let mut row = Row::accepted();
            for event in &events {
                if let Some(next) = step(&row, event) {
                    prop_assert!(next.row.status == row.status || row.status.may_become(next.row.status));
                    prop_assert!(next.row.attempt >= row.attempt);
                    row = next.row;
                }
            }
        }

        #[test]
        fn a_message_ends_at_most_once_and_then_stays(events in proptest::collection::vec(event(), 0..60)) {
            let mut row = Row::accepted();
            let mut ends = 0;
            for event in &events {
                if let Some(next) = step(&row, event) {
                    ends += next.effects.iter().filter(|e| matches!(e, Effect::End(..))).count();
                    if row.phase == Phase::Done {
                        prop_assert_eq!(&next.row, &row);
                    }
                    prop_assert_eq!(next.row.phase == Phase::Done, next.row.status.is_final());
                    row = next.row;
                }
            }
            prop_assert_eq!(ends == 1, row.phase == Phase::Done);
            prop_assert!(ends <= 1);
        }

        #[test]
        fn wherever_a_row_is_something_can_still_end_it(events in proptest::collection::vec(event(), 0..60)) {
            let mut row = Row::accepted();
            for event in &events {
                if let Some(next) = step(&row, event) {
                    row = next.row;
                }
            }
            if row.phase == Phase::Submitting {
                let submission = row.submission.unwrap();
                row = step(&row, &Event::TakeOver { submission }).unwrap().row;
            }
            if row.phase != Phase::Done {
                row = step(&row, &Event::Deadline).unwrap().row;
            }
            prop_assert_eq!(row.phase, Phase::Done);
        }

        #[test]
        fn a_row_that_may_have_been_taken_is_never_claimed_again(events in proptest::collection::vec(event(), 0..60)) {
            // After a lost answer only proof that nothing left, given under the same call, may
            // lead back to a queue.
            let mut row = Row::accepted();
            let mut tainted = false;
            for event in &events {
                if let Some(next) = step(&row, event) {
                    if matches!(event, Event::Claim { .. }) {
                        prop_assert!(!tainted);
                    }
                    tainted = match (next.row.phase, event) {
                        (Phase::Unknown | Phase::Answered | Phase::Done, _) => true,
                        (_, Event::Settle { settled: Settled::NotTaken { .. }, .. }) => false,
                        _ => tainted,
                    };
                    row = next.row;
                }
            }
        }
    }

    #[test]
    fn after_a_restore_an_earlier_call_cannot_bring_a_message_back_to_a_queue() {
        let submission = SubmissionId::from_number(1);
        let claim = Event::Claim {
            owner: InstanceId::from_number(1),
            submission,
            account: VendorAccount::new("a", "1"),
            attempt: 0,
        };
        let row = step(&Row::accepted(), &claim).unwrap().row;
        let row = step(&row, &Event::Restore).unwrap().row;
        let settle = |settled| Event::Settle {
            submission,
            settled,
        };
        let not_taken = settle(Settled::NotTaken { charged: false });
        assert_eq!(step(&row, &not_taken), None);
        assert!(step(&row, &settle(Settled::Taken(None))).is_some());
    }

    #[test]
    fn a_failure_report_for_an_earlier_call_is_an_event_only() {
        let account = VendorAccount::new("a", "1");
        let claim = |n, attempt| Event::Claim {
            owner: InstanceId::from_number(1),
            submission: SubmissionId::from_number(n),
            account: account.clone(),
            attempt,
        };
        let not_taken = Event::Settle {
            submission: SubmissionId::from_number(1),
            settled: Settled::NotTaken { charged: true },
        };
        let row = step(&Row::accepted(), &claim(1, 0)).unwrap().row;
        let row = step(&row, &not_taken).unwrap().row;
        let failed = Event::Report {
            account,
            vendor_id: None,
            by_our_id: true,
            submission: None,
            verdict: Verdict::Failed(Reason::Spam),
        };
        let stray = step(&row, &failed).unwrap();
        assert_eq!(stray.row, row);
        assert_eq!(stray.effects, [Effect::Stray]);
    }
}
