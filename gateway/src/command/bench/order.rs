//! The command line, read: which scenarios, where, and how long. What does not go together is refused.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::arguments::{Arguments, EVERY};
use super::peer::Peer;
use super::scenario::{self, Scenario};
use crate::cli::Configuration;
use crate::command::Failure;

/// The longest warm-up.
const WARM_UP: Duration = Duration::from_secs(3);
/// What `--short` makes of any scenario.
const SHORT: Duration = Duration::from_secs(2);
const SHORT_CONNECTIONS: usize = 4;
const SHORT_RATE: u64 = 100;
const SHORT_MESSAGES: u64 = 2_000;
const SHORT_ROWS: u64 = 3_000;

/// What is to be measured.
pub(super) struct Order {
    /// The trials, in order.
    pub(super) trials: Vec<Trial>,
    /// Where; whatever this machine offers, if nobody said.
    pub(super) place: Option<Place>,
    /// Settings for the services.
    pub(super) settings: Vec<(String, String)>,
    /// Messages a second that each route carries, if that is to be a limit.
    pub(super) tps: Option<u32>,
    /// Where the JSON goes.
    pub(super) json: Option<PathBuf>,
    /// The folder for plots.
    pub(super) plots: Option<PathBuf>,
    /// A word for the JSON.
    pub(super) label: Option<String>,
    /// What starts private servers.
    pub(super) backends: PathBuf,
    /// What is measured in turn with Pabal, each once.
    pub(super) peers: Vec<Peer>,
    /// Where the peers' scripts are.
    pub(super) scripts: PathBuf,
    /// Whether the folder is kept.
    pub(super) keep: bool,
}

/// Where it is measured.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// One process on SQLite.
    Embedded,
    /// One process a service, on private servers.
    Distributed,
    /// An installation elsewhere.
    Against(Remote),
}

impl Place {
    /// In a word.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Distributed => "distributed",
            Self::Against(_) => "elsewhere",
        }
    }
}

/// An installation elsewhere, and who loads it.
#[derive(Clone)]
pub(super) struct Remote {
    pub(super) url: String,
    pub(super) client_id: String,
    pub(super) client_secret: String,
    pub(super) from: String,
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remote")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

/// One scenario, and how it is run.
pub(super) struct Trial {
    pub(super) scenario: &'static Scenario,
    pub(super) plan: Plan,
}

impl Trial {
    /// The scenario's name, with what was chosen.
    pub(super) fn title(&self) -> String {
        match self.plan.single {
            true => format!("{} --single", self.scenario.name),
            false => self.scenario.name.to_owned(),
        }
    }
}

/// How a scenario is run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// How long a run sends, or looks.
    pub(super) lasts: Duration,
    /// How many runs.
    pub(super) runs: usize,
    /// How many connections.
    pub(super) connections: usize,
    /// Requests a second, where there is a rate.
    pub(super) rate: u64,
    /// Messages, where their number is given.
    pub(super) messages: u64,
    /// How many messages the ledger is filled with; none if it is left as it is.
    pub(super) rows: u64,
    /// One message a vendor call and one result a webhook.
    pub(super) single: bool,
    /// Small: it only has to work.
    pub(super) short: bool,
}

impl Plan {
    /// The same, but shorter: to warm up.
    pub(super) fn warm_up(self) -> Self {
        Self {
            lasts: self.lasts.min(WARM_UP),
            messages: self.messages.min(SHORT_MESSAGES),
            rows: 0,
            ..self
        }
    }
}

impl Arguments {
    /// Reads the command line.
    ///
    /// # Errors
    /// If what it names does not go together.
    pub(super) fn order(self, with: &Configuration) -> Result<Order, Failure> {
        let place = self.place()?;
        let remote = matches!(place, Some(Place::Against(_)));
        if remote && !with.flags().is_empty() {
            return Err(Failure::usage(
                "--set is for services that are started here, and --against starts none",
            ));
        }
        let peers = self.peers()?;
        let trials = match self.scenario.as_str() {
            EVERY => self.every_trial(remote)?,
            name => vec![self.trial(scenario_named(name)?, self.single, remote)?],
        };
        Ok(Order {
            trials,
            place,
            settings: with.flags().to_vec(),
            tps: self.tps,
            json: self.json,
            plots: self.plots,
            label: self.label,
            backends: self.backends,
            peers,
            scripts: self.peers,
            keep: self.keep,
        })
    }

    /// Peers that were named twice are measured once.
    fn peers(&self) -> Result<Vec<Peer>, Failure> {
        let mut peers = Vec::new();
        for peer in &self.peer {
            let script = peer.script(&self.peers);
            if !script.is_file() {
                let what = format!("there is no {}; --peers says where", script.display());
                return Err(Failure::usage(what));
            }
            if !peers.contains(peer) {
                peers.push(*peer);
            }
        }
        Ok(peers)
    }

    fn place(&self) -> Result<Option<Place>, Failure> {
        let elsewhere = &self.elsewhere;
        let Some(url) = &elsewhere.against else {
            return Ok(match (self.embedded, self.distributed) {
                (true, _) => Some(Place::Embedded),
                (_, true) => Some(Place::Distributed),
                _ => None,
            });
        };
        check_url(url, elsewhere.i_may_load_it).map_err(Failure::usage)?;
        Ok(Some(Place::Against(Remote {
            url: url.clone(),
            client_id: elsewhere.client_id.clone().unwrap_or_default(),
            client_secret: elsewhere.client_secret.clone().unwrap_or_default(),
            from: elsewhere.from.clone(),
        })))
    }

    /// All that can be run there; what has a `--single`, both ways.
    fn every_trial(&self, remote: bool) -> Result<Vec<Trial>, Failure> {
        if self.single {
            return Err(Failure::usage("all runs e2e both ways: leave --single out"));
        }
        let possible = scenario::ALL.iter().filter(|one| one.remote || !remote);
        let mut trials = Vec::new();
        for scenario in possible {
            trials.push(Trial {
                scenario,
                plan: self.plan(scenario, false),
            });
            if scenario.single {
                trials.push(Trial {
                    scenario,
                    plan: self.plan(scenario, true),
                });
            }
        }
        Ok(trials)
    }

    fn trial(
        &self,
        scenario: &'static Scenario,
        single: bool,
        remote: bool,
    ) -> Result<Trial, Failure> {
        let name = scenario.name;
        let refusals = [
            (single && !scenario.single, "has no --single"),
            (
                self.rate.is_some() && scenario.rate.is_none(),
                "sends as fast as it can: it has no --rate",
            ),
            (
                self.connections.is_some() && scenario.connections.is_none(),
                "sends nothing: it has no --connections",
            ),
            (
                self.messages.is_some() && scenario.messages.is_none(),
                "sends for a time: it has no --messages",
            ),
            (
                self.rows.is_some() && scenario.rows.is_none(),
                "takes the ledger as it is: it has no --rows",
            ),
            (
                self.runs.is_some_and(|runs| runs > 1) && scenario.rows.is_some(),
                "fills its ledger once: it has one run",
            ),
            (
                !self.peer.is_empty() && scenario.peers.is_none(),
                "is nothing that peers do too: it has no --peer",
            ),
            (
                remote && !scenario.remote,
                "needs to see the vendors and the endpoint: it has no --against",
            ),
        ];
        match refusals.iter().find(|(refused, _)| *refused) {
            Some((_, why)) => Err(Failure::usage(format!("{name} {why}"))),
            None => Ok(Trial {
                scenario,
                plan: self.plan(scenario, single),
            }),
        }
    }

    fn plan(&self, scenario: &Scenario, single: bool) -> Plan {
        let connections = self.connections.map(usize::from).or(scenario.connections);
        let plan = Plan {
            lasts: Duration::from_secs(self.seconds.unwrap_or(scenario.seconds)),
            runs: match scenario.rows {
                Some(_) => 1,
                None => self.runs.map_or(scenario.runs, usize::from),
            },
            connections: connections.unwrap_or(0),
            rate: self.rate.or(scenario.rate).unwrap_or(0),
            messages: self.messages.or(scenario.messages).unwrap_or(0),
            rows: scenario.rows.map_or(0, |usual| self.rows.unwrap_or(usual)),
            single,
            short: self.short,
        };
        if !self.short {
            return plan;
        }
        Plan {
            lasts: SHORT,
            runs: 1,
            connections: plan.connections.min(SHORT_CONNECTIONS),
            rate: plan.rate.min(SHORT_RATE),
            messages: plan.messages.min(SHORT_MESSAGES),
            rows: plan.rows.min(SHORT_ROWS),
            ..plan
        }
    }
}

fn scenario_named(name: &str) -> Result<&'static Scenario, Failure> {
    scenario::named(name).ok_or_else(|| Failure::usage(format!("there is no scenario {name}")))
}

/// Plain HTTP, and this machine unless the caller may load another.
fn check_url(url: &str, anywhere: bool) -> Result<(), String> {
    let authority = url.strip_prefix("http://").map(|rest| {
        let rest = rest.trim_end_matches('/');
        (!rest.is_empty() && !rest.contains(['/', '@', '?', '#'])).then_some(rest)
    });
    let Some(Some(authority)) = authority else {
        return Err(format!("--against {url}: expected http://host:port"));
    };
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => host,
        _ => authority,
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_here = host == "localhost"
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    match is_here || anywhere {
        true => Ok(()),
        false => Err(format!(
            "{host} is not this machine; if you may load it, say --i-may-load-it"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_loaded_unless_the_caller_may_load_another() {
        for here in [
            "http://127.0.0.1:8080",
            "http://127.9.9.9:8080/",
            "http://localhost",
            "http://[::1]:80",
        ] {
            assert_eq!(check_url(here, false), Ok(()), "{here}");
        }
        for elsewhere in [
            "http://192.0.2.1:8080",
            "http://pabal.example",
            "http://localhost.example:80",
        ] {
            assert!(check_url(elsewhere, false).is_err(), "{elsewhere}");
            assert_eq!(check_url(elsewhere, true), Ok(()), "{elsewhere}");
        }
        for wrong in [
            "https://127.0.0.1:8443",
            "127.0.0.1:8080",
            "http://",
            "http://127.0.0.1:8080/v1",
            "http://shop@127.0.0.1",
        ] {
            assert!(check_url(wrong, true).is_err(), "{wrong}");
        }
    }
}
