//! `pabal-reporter`: reports, statistics, webhooks and the query API as a process of its own.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use pabal_common::clock::SystemClock;
use pabal_common::http::description::described;
use pabal_common::process::{self, Arguments, Failure, Floor, Process};
use pabal_provider::config::{Vendors, can_be_asked};
use pabal_reporter::config::Askable;
use pabal_reporter::{ALL_SETTINGS, Reporter, ReporterConfig};

const PROGRAM: &str = "pabal-reporter";
/// How the ledger knows it.
const ROLE: &str = "reporter";

/// Reports into status and statistics, webhooks to partners, and the query API.
#[derive(Parser)]
#[command(name = PROGRAM, version, after_help = process::AFTER_HELP)]
struct CommandLine {
    #[command(flatten)]
    arguments: Arguments,
}

fn main() -> ExitCode {
    process::main(PROGRAM, run())
}

async fn run() -> Result<(), Failure> {
    let CommandLine { arguments } = CommandLine::parse();
    let values = arguments.load_service(ALL_SETTINGS)?;
    let mut config = ReporterConfig::from_values(&values).map_err(Failure::wrong_use)?;
    let vendors =
        Vendors::from_values(&values, None, Arc::new(SystemClock)).map_err(Failure::wrong_use)?;
    let adapters = vendors.adapters;
    config.reports.askable = Askable::by(move |account| can_be_asked(&adapters, account));
    let _telemetry = process::init_telemetry(&values, PROGRAM)?;
    let stop = process::stop_on_signal(PROGRAM)?;
    let opened = Process::open(&values, ROLE, &stop).await;
    let Some(mut process) = opened.map_err(|error| error.failure())? else {
        return Ok(());
    };
    let reporter = Reporter::new(process.node.clone(), config)?;
    let router = described(reporter.router());
    process.run(Floor::Work, ROLE, |token| reporter.run(token));
    Ok(process.keep(router).await?)
}
