//! Other gateways, measured in turn with Pabal: in the same command, by the same generator over as many
//! connections, one run of Pabal and one of each peer, until all runs are made.
//!
//! A peer is started for its run and stopped afterwards, by its script ([`script`]). It warms up as Pabal
//! does. Then it is loaded ([`run`]), and tells of each message by a callback ([`callback`]). What it
//! loses or sends twice is a finding about it, which is shown, and no failure of the measurement.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::ValueEnum;

use super::order::Plan;
use super::report::progress::Progress;
use super::report::result::Run;

mod callback;
mod run;
mod script;

/// Where the peers' scripts are.
pub(super) const FOLDER: &str = "bench/peers";

/// A gateway that can be measured beside Pabal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Peer {
    /// Kannel, in C; from the system's packages
    Kannel,
    /// Jasmin, in Python, on RabbitMQ and Redis; from the Python package index
    Jasmin,
}

impl Peer {
    /// Its name, which is its script's too.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Kannel => "kannel",
            Self::Jasmin => "jasmin",
        }
    }

    /// What starts and stops it.
    pub(super) fn script(self, folder: &Path) -> PathBuf {
        folder.join(self.name())
    }
}

/// What a scenario measures of peers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Contest {
    /// The figure by which they are compared.
    pub(super) figure: &'static str,
    /// Whether a peer asks its vendor for reports and brings them back: once each way.
    pub(super) reports: &'static [bool],
}

/// A peer in one of these ways, and what its runs came to.
pub(super) struct Rival {
    pub(super) peer: Peer,
    /// Whether it brings reports.
    pub(super) reports: bool,
    /// The figure by which it is compared.
    pub(super) figure: &'static str,
    /// Its own word, once it has run.
    pub(super) version: String,
    /// Its runs, in order.
    pub(super) runs: Vec<Run>,
    /// What was remarkable.
    pub(super) remarks: Vec<String>,
}

impl Rival {
    /// Each peer in each way of the contest.
    pub(super) fn all(peers: &[Peer], contest: Option<Contest>) -> Vec<Self> {
        let ways = contest.iter().flat_map(|contest| {
            let ways = contest.reports.iter();
            ways.map(|reports| (contest.figure, *reports))
        });
        let ways: Vec<_> = ways.collect();
        let of_peer = |peer: &Peer| {
            let peer = *peer;
            ways.iter().map(move |&(figure, reports)| Self {
                peer,
                reports,
                figure,
                version: String::new(),
                runs: Vec::new(),
                remarks: Vec::new(),
            })
        };
        peers.iter().flat_map(of_peer).collect()
    }

    /// Its name and its way, in words.
    pub(super) fn title(&self) -> String {
        match self.reports {
            true => format!("{} with reports", self.peer.name()),
            false => format!("{} without reports", self.peer.name()),
        }
    }

    /// Starts it in a folder of its own in `folder`, makes one run, and stops it.
    pub(super) async fn take_turn(
        &mut self,
        scripts: &Path,
        folder: &Path,
        plan: &Plan,
        progress: Progress,
    ) -> anyhow::Result<()> {
        let title = self.title();
        let number = self.runs.len() + 1;
        let state = folder.join(format!("{}-{number}", title.replace(' ', "-")));
        let running = run::run(self.peer, self.reports, scripts, &state, plan, progress);
        let told = running.await.with_context(|| title)?;
        let remarks = told.faults.into_iter();
        self.remarks
            .extend(remarks.map(|what| format!("run {number}: {what}")));
        self.version = told.version;
        self.runs.push(told.run);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_peer_is_measured_in_every_way_of_the_contest_and_nowhere_else() {
        let contest = Contest {
            figure: "x",
            reports: &[true, false],
        };
        let rivals = Rival::all(&[Peer::Kannel, Peer::Jasmin], Some(contest));
        let titles: Vec<_> = rivals.iter().map(Rival::title).collect();
        assert_eq!(
            titles,
            [
                "kannel with reports",
                "kannel without reports",
                "jasmin with reports",
                "jasmin without reports"
            ]
        );
        assert!(Rival::all(&[Peer::Kannel], None).is_empty());
    }
}
