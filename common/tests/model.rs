//! The protocol around the phase machine, explored exhaustively: every order of every step that
//! ledger, senders, sweeps, broker, vendor and reporter can take, up to a number of faults.
//!
//! **What is modelled.** The rows of the ledger move by `phase::step` itself, and only by it. Around
//! it stand
//! - two senders, each with one frame at a time: take, claim, look at the lease, call, settle. Each
//!   may be killed (its frame comes back, a new instance starts), frozen and continued, or lose its
//!   lease because the ledger stalls. A claim's commit may lose its answer, happened or not: the
//!   sender reads back, or forgets the claim if that fails too and later finds it by comparing. A
//!   settlement's commit may lose its answer: the sender settles again;
//! - a vendor that takes, delivers, refuses, throttles, cannot be reached, or loses its answer with
//!   or without having taken the message, and that reports early, late, twice, failed and then
//!   delivered, or never. Asking a vendor has the same outcome as such a report;
//! - outbox and broker, as one bag from which frames and reports are taken in any order, doubled or
//!   purged. A frame that is not acknowledged comes back;
//! - the sweeps: take-over from lapsed owners, release of delays, frames and final answers that the
//!   broker lost, deadlines, which may pass at any moment;
//! - the reporter, one transaction a report. That its commit loses its answer is a doubled report.
//!
//! Each transaction is one step. A step of time (a lease that lapses, a delay that is due) can come
//! at any moment at which it is possible at all.
//!
//! **What bounds it.** One message, or two in one call; one retry, where the real protocol has
//! three, but in one test all three; one push-back of the vendor and one or two reports a message;
//! and in each test a number of faults altogether and of each kind. The number of worlds of each
//! test goes to standard error.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod model {
    pub(crate) mod actions;
    pub(crate) mod claiming;
    pub(crate) mod paths;
    pub(crate) mod properties;
    pub(crate) mod protocol;
    pub(crate) mod state;
}

use std::collections::BTreeSet;

use model::actions::{Action, Word};
use model::paths::{Shape, shape};
use model::properties::{
    COMES_TO_REST_DONE, ENDS_ONCE, HARD_CASES, RULES, TAKEN_ONCE, WRITTEN_ONCE,
};
use model::protocol::{Deadlines, Flaw, Names, Protocol};
use model::state::{Faults, Said};
use stateright::{Checker, HasDiscoveries, Model as _};

/// Any one fault with a vendor that does whatever a vendor can do.
fn protocol() -> Protocol {
    Protocol {
        messages: 1,
        faults: any(1),
        words: vec![
            Word::Taken,
            Word::Delivered,
            Word::Refused,
            Word::Throttled,
            Word::LostTaken,
            Word::LostNotTaken,
        ],
        not_connected: true,
        retries: 1,
        throttles: 1,
        reports: vec![Said::Taken, Said::Delivered, Said::Failed],
        reports_sent: 2,
        names: Names::Ours,
        deadlines: Deadlines::All,
        hasty: false,
        checks_lease: true,
        flaw: Flaw::None,
    }
}

/// Faults of every kind, so many altogether.
fn any(any: u8) -> Faults {
    Faults {
        any,
        kills: 2,
        freezes: 1,
        stalls: 1,
        doubles: 2,
        losses: 1,
        commits: 2,
        forgets: 1,
        closures: 1,
    }
}

/// A vendor that takes, throttles or loses its answer, and reports once: enough to send twice.
fn plain_vendor() -> Protocol {
    Protocol {
        words: vec![Word::Taken, Word::Throttled, Word::LostTaken],
        reports: vec![Said::Delivered],
        reports_sent: 1,
        ..protocol()
    }
}

/// Faults of the processes and of their commits.
fn process_faults(any: u8) -> Faults {
    Faults {
        doubles: 0,
        losses: 0,
        closures: 0,
        commits: 1,
        ..self::any(any)
    }
}

/// Faults of the broker, of commits and of routes.
fn broker_faults(any: u8) -> Faults {
    Faults {
        losses: 2,
        kills: 0,
        freezes: 0,
        stalls: 0,
        forgets: 0,
        commits: 1,
        ..self::any(any)
    }
}

/// Explores everything and demands that every rule holds.
fn holds(protocol: Protocol) -> impl Checker<Protocol> {
    let checker = protocol.checker().threads(2).spawn_bfs().join();
    let name = std::thread::current().name().unwrap_or("?").to_owned();
    eprintln!(
        "{name}: {} worlds, {} steps, at most {} deep",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth()
    );
    assert!(checker.is_done(), "not everything was explored");
    for rule in RULES {
        if let Some(path) = checker.discovery(rule) {
            panic!("not so: {rule}\n{}", told(&path.into_actions()));
        }
    }
    checker
}

fn told(path: &[Action]) -> String {
    path.iter()
        .map(|action| format!("  {action:?}\n"))
        .collect()
}

/// Explores until a rule is broken, and demands that it is one of `expected`.
fn breaks(expected: &[&'static str], protocol: Protocol) -> Vec<Action> {
    let checker = protocol
        .checker()
        .finish_when(HasDiscoveries::AnyOf(BTreeSet::from(RULES)))
        .spawn_bfs()
        .join();
    let found = checker.discoveries();
    let broken = expected.iter().find_map(|rule| found.get(rule));
    let path = broken.unwrap_or_else(|| panic!("found only {:?}", found.keys()));
    path.clone().into_actions()
}

#[test]
fn with_any_one_fault_every_message_is_sent_once_and_ends_once() {
    let checker = holds(protocol());
    for case in HARD_CASES {
        assert!(checker.discovery(case).is_some(), "never met: {case}");
    }
}

#[test]
fn with_any_one_fault_every_path_ends_and_from_everywhere_the_end_can_be_reached() {
    let Shape {
        worlds,
        on_cycles,
        lost,
    } = shape(&protocol());
    eprintln!("{worlds} worlds, {on_cycles} on or behind a cycle, {lost} without a way to the end");
    assert!(worlds > 10_000);
    assert_eq!((on_cycles, lost), (0, 0));
}

#[test]
fn with_any_two_faults_every_message_is_sent_once_and_ends_once() {
    holds(Protocol {
        faults: any(2),
        reports: vec![Said::Delivered, Said::Failed],
        reports_sent: 1,
        ..protocol()
    });
}

#[test]
fn with_three_faults_of_processes_and_commits_it_is_sent_once() {
    holds(Protocol {
        faults: process_faults(3),
        words: vec![Word::Taken, Word::Throttled],
        reports_sent: 0,
        ..plain_vendor()
    });
}

#[test]
fn with_three_faults_of_the_broker_and_commits_it_is_sent_and_counted_once() {
    holds(Protocol {
        faults: broker_faults(3),
        words: vec![Word::Taken, Word::Refused, Word::Throttled, Word::LostTaken],
        reports: vec![Said::Delivered, Said::Failed],
        ..protocol()
    });
}

#[test]
fn it_holds_for_a_vendor_that_reports_by_its_own_id_alone() {
    holds(Protocol {
        names: Names::Theirs,
        ..protocol()
    });
}

#[test]
fn it_holds_with_all_three_retries() {
    holds(Protocol {
        retries: 3,
        reports_sent: 1,
        ..protocol()
    });
}

#[test]
fn it_holds_for_a_call_of_two_messages() {
    let two = Protocol {
        messages: 2,
        not_connected: false,
        reports_sent: 0,
        deadlines: Deadlines::AfterSubmission,
        faults: Faults {
            losses: 0,
            closures: 0,
            forgets: 0,
            ..any(1)
        },
        ..plain_vendor()
    };
    holds(two);
}

#[test]
fn without_a_validity_every_message_still_finds_its_way_to_a_vendor() {
    holds(Protocol {
        deadlines: Deadlines::AfterSubmission,
        faults: any(2),
        reports_sent: 0,
        ..plain_vendor()
    });
}

#[test]
fn without_any_deadline_a_final_answer_still_ends_the_message() {
    let answers = |faults| Protocol {
        deadlines: Deadlines::None,
        words: vec![Word::Delivered, Word::Refused, Word::Throttled],
        reports_sent: 0,
        faults,
        ..protocol()
    };
    holds(answers(broker_faults(4)));
    // A claim that is taken over while its commit's answer is lost is given back by the sender
    // that reads it again: it knows that it sent nothing.
    holds(answers(Faults {
        stalls: 2,
        commits: 1,
        ..broker_faults(4)
    }));
}

#[test]
fn even_hasty_take_overs_and_late_first_bytes_send_nothing_twice() {
    holds(Protocol {
        hasty: true,
        checks_lease: false,
        faults: any(2),
        reports_sent: 0,
        ..plain_vendor()
    });
}

#[test]
fn sending_an_unknown_message_again_is_found() {
    let path = breaks(
        &[WRITTEN_ONCE, TAKEN_ONCE],
        Protocol {
            flaw: Flaw::ResendsUnknown,
            ..protocol()
        },
    );
    assert!(
        path.iter()
            .any(|action| matches!(action, Action::ResendUnknown(_)))
    );
}

#[test]
fn taking_a_claim_over_to_waiting_is_found() {
    breaks(
        &[WRITTEN_ONCE, TAKEN_ONCE],
        Protocol {
            flaw: Flaw::TakesOverToWaiting,
            ..protocol()
        },
    );
}

#[test]
fn counting_a_report_without_looking_whether_the_message_ended_is_found() {
    breaks(
        &[ENDS_ONCE],
        Protocol {
            flaw: Flaw::CountsWithoutLooking,
            ..protocol()
        },
    );
}

#[test]
fn calling_before_the_claim_is_sure_is_found() {
    breaks(
        &[WRITTEN_ONCE, TAKEN_ONCE],
        Protocol {
            flaw: Flaw::CallsBeforeItsClaimIsSure,
            ..protocol()
        },
    );
}

#[test]
fn taking_a_lost_answer_for_not_taken_is_found() {
    breaks(
        &[WRITTEN_ONCE, TAKEN_ONCE],
        Protocol {
            flaw: Flaw::TakesLostForNotTaken,
            ..protocol()
        },
    );
}

#[test]
fn settling_without_the_call_is_found() {
    breaks(
        &[WRITTEN_ONCE, TAKEN_ONCE],
        Protocol {
            flaw: Flaw::SettlesWithoutTheCall,
            faults: any(2),
            ..plain_vendor()
        },
    );
}

#[test]
fn leaving_out_any_sweep_is_found() {
    let without = |flaw| Protocol {
        flaw,
        faults: any(2),
        deadlines: Deadlines::AfterSubmission,
        ..protocol()
    };
    for flaw in [
        Flaw::NeverTakesOver,
        Flaw::NeverComparesItsClaims,
        Flaw::NeverQueuesAgain,
    ] {
        breaks(&[COMES_TO_REST_DONE], without(flaw));
    }
    let waits_for_its_answer = Protocol {
        deadlines: Deadlines::None,
        words: vec![Word::Refused],
        faults: broker_faults(1),
        ..without(Flaw::NeverReportsAgain)
    };
    breaks(&[COMES_TO_REST_DONE], waits_for_its_answer);
}
