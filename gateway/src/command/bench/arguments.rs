//! What `pabal bench` takes on the command line.

use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser};
use pabal_gateway::trial::site::SENDER;

use super::fill::Filling;
use super::peer::{self, Peer};
use super::scenario;
use crate::command::ground;

/// Every scenario, one after the other.
pub(super) const EVERY: &str = "all";

const EXAMPLES: &str = "\
The generator, the simulated vendors and the partner's endpoint run in this process, beside what is
measured, and their processor time is shown too. A run in which a message was lost, doubled or not told
is not a result: it says so, and the exit code is 1. A closed loop (accept, batch, e2e) sends the next
request when the last is answered; the open loop (latency) sends by a schedule and measures from when a
request was due. TMPDIR says on which disk the data is.

With --peer another gateway is measured in turn with Pabal: run 1 of each, run 2 of each, by the same
generator. It does less (nothing is synced, kept or signed), and what it loses is shown and is no failure of
this command. See bench/peers/README.md; what a peer needs may be installed.

Examples:
  pabal bench e2e --embedded                 the whole way, one process on SQLite
  pabal bench e2e --distributed --single     one vendor call and one webhook a message
  pabal bench latency --rate 500 --seconds 60 --json latency.json --label quiet
  pabal bench backlog --distributed --messages 200000
  pabal bench growth --distributed --plots plots   the same with an empty ledger and with 10,000,000 messages
  pabal bench accept --set receiver.commits_at_once=4
  pabal bench accept --peer kannel           Kannel in turn with Pabal, and the ratio of the two
  pabal bench accept --against http://127.0.0.1:8080 --client-id shop --client-secret SECRET
  pabal bench all --json all.json            everything; build with --release first

Exit codes: 0 measured, 1 not a result or failed, 2 wrong use.";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// What to measure
    #[arg(value_name = "SCENARIO", value_parser = names())]
    pub(super) scenario: String,
    /// One process on SQLite, in a temporary folder
    #[arg(long, conflicts_with = "distributed")]
    pub(super) embedded: bool,
    /// One process a service, on a MariaDB, a RabbitMQ and a Redis of its own [default, if their
    /// programs are there]
    #[arg(long)]
    pub(super) distributed: bool,
    #[command(flatten)]
    pub(super) elsewhere: Box<Elsewhere>,
    /// accept, e2e: measure this gateway too, in turn with Pabal; may be given twice
    #[arg(long, value_name = "PEER", value_enum, conflicts_with = "against")]
    pub(super) peer: Vec<Peer>,
    /// Where the peers' scripts are
    #[arg(long, value_name = "DIR", default_value = peer::FOLDER)]
    pub(super) peers: PathBuf,
    /// e2e: one message a vendor call (Naver TalkTalk) and one result a webhook
    #[arg(long)]
    pub(super) single: bool,
    /// How long a run sends [default: 10; latency and connections 20]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(super) seconds: Option<u64>,
    /// How many runs; their median and spread are shown [default: 3; backlog 1; growth has one]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=100))]
    pub(super) runs: Option<u16>,
    /// How many connections send [default: 64; batch, fairness and backlog 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4_096))]
    pub(super) connections: Option<u16>,
    /// Requests a second [default: latency 1000; fairness 10 of each of the two; connections and
    /// growth 500]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub(super) rate: Option<u64>,
    /// Messages of the burst or of the backlog [default: fairness 100000; backlog 1000000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub(super) messages: Option<u64>,
    /// growth: how many messages the ledger is filled with [default: 10000000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=Filling::MOST))]
    pub(super) rows: Option<u64>,
    /// Messages a second that each route carries, as a contract with a vendor has it [default: so
    /// many that it is not the limit]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(super) tps: Option<u32>,
    /// One short, small run that shows only that it works
    #[arg(long, conflicts_with_all = ["seconds", "runs", "connections", "rate", "messages", "rows"])]
    pub(super) short: bool,
    /// Writes everything as JSON
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,
    /// Writes plots as SVG files into this folder
    #[arg(long, value_name = "FOLDER")]
    pub(super) plots: Option<PathBuf>,
    /// A word for what was measured, such as a commit, for the JSON
    #[arg(long, value_name = "TEXT")]
    pub(super) label: Option<String>,
    /// What starts the private servers
    #[arg(long, value_name = "SCRIPT", default_value = ground::BACKENDS)]
    pub(super) backends: PathBuf,
    /// Keeps the folder with ledger, queues and logs
    #[arg(long)]
    pub(super) keep: bool,
}

/// An installation that runs already, and who loads it.
#[derive(Args)]
pub(super) struct Elsewhere {
    /// Start nothing: load a running installation, http://host:port (accept, batch, latency)
    #[arg(
        long,
        value_name = "URL",
        conflicts_with_all = ["embedded", "distributed"],
        requires_all = ["client_id", "client_secret"]
    )]
    pub(super) against: Option<String>,
    /// With --against: a partner of the installation
    #[arg(long, value_name = "ID", requires = "against")]
    pub(super) client_id: Option<String>,
    /// With --against: its secret
    #[arg(long, value_name = "SECRET", requires = "against")]
    pub(super) client_secret: Option<String>,
    /// With --against: a sender number of the partner
    #[arg(long, value_name = "NUMBER", requires = "against", default_value = SENDER)]
    pub(super) from: String,
    /// With --against: load an installation that is not on this machine
    #[arg(long, requires = "against")]
    pub(super) i_may_load_it: bool,
}

/// The scenarios' names, with what each measures, for `--help`.
fn names() -> PossibleValuesParser {
    let all = scenario::ALL
        .iter()
        .map(|one| PossibleValue::new(one.name).help(one.what));
    let every = PossibleValue::new(EVERY).help("each of them, one after the other");
    PossibleValuesParser::new(all.chain([every]))
}
