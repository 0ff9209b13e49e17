//! What can be measured: one scenario a file, and each named in [`ALL`].
//!
//! A scenario's function makes one run on a [`Stage`] that stands, and says what it came to. Everything
//! else is done around it: starting, the warm-up (a short run that is not shown), the repeats, the tables.
//! A run whose books are not clean is no result.

use futures::future::BoxFuture;

use super::order::Plan;
use super::peer::Contest;
use super::report::result::Run;
use super::stage::{Needs, Stage};

mod accept;
mod backlog;
mod batch;
mod connections;
mod e2e;
mod fairness;
mod flow;
mod growth;
mod idle;
mod latency;

pub(super) use flow::rate;

type Made<'a> = BoxFuture<'a, anyhow::Result<Run>>;

/// Something that can be measured.
pub(super) struct Scenario {
    /// Its name on the command line.
    pub(super) name: &'static str,
    /// What it measures.
    pub(super) what: &'static str,
    /// How long one run lasts if nobody says, in seconds.
    pub(super) seconds: u64,
    /// How many runs there are if nobody says.
    pub(super) runs: usize,
    /// How many connections it has if nobody says; none if it sends nothing.
    pub(super) connections: Option<usize>,
    /// How many requests a second it sends if nobody says; none if it sends as fast as it can.
    pub(super) rate: Option<u64>,
    /// How many messages are sent if nobody says; none if it sends for a time.
    pub(super) messages: Option<u64>,
    /// How many messages the ledger is filled with if nobody says; none if it is not filled.
    pub(super) rows: Option<u64>,
    /// Whether there is a `--single` of it.
    pub(super) single: bool,
    /// Whether an installation elsewhere can be measured so.
    pub(super) remote: bool,
    /// What is measured of peers in turn with it; nothing if they have nothing like it.
    pub(super) peers: Option<Contest>,
    /// What it needs on the stage.
    pub(super) needs: fn(&Plan) -> Needs,
    /// Makes one run.
    pub(super) run: for<'a> fn(&'a Stage, &'a Plan) -> Made<'a>,
}

impl Scenario {
    const fn new(
        name: &'static str,
        what: &'static str,
        run: for<'a> fn(&'a Stage, &'a Plan) -> Made<'a>,
    ) -> Self {
        Self {
            name,
            what,
            seconds: 10,
            runs: 3,
            connections: None,
            rate: None,
            messages: None,
            rows: None,
            single: false,
            remote: false,
            peers: None,
            needs: |_| Needs::USUAL,
            run,
        }
    }
}

/// Every scenario, in the order in which `all` runs them.
pub(super) static ALL: &[Scenario] = &[
    accept::SCENARIO,
    batch::SCENARIO,
    e2e::SCENARIO,
    latency::SCENARIO,
    idle::SCENARIO,
    fairness::SCENARIO,
    connections::SCENARIO,
    backlog::SCENARIO,
    growth::SCENARIO,
];

/// The scenario of this name.
pub(super) fn named(name: &str) -> Option<&'static Scenario> {
    ALL.iter().find(|one| one.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_has_a_name_of_its_own_that_is_not_all() {
        for scenario in ALL {
            let same = ALL.iter().filter(|other| other.name == scenario.name);
            assert_eq!(same.count(), 1, "{}", scenario.name);
            assert_ne!(scenario.name, "all");
        }
    }
}
