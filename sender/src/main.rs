//! `pabal-sender`: from the send queues to the vendors, as a process of its own.

use std::process::ExitCode;
use std::sync::Arc;

use axum::Router;
use clap::Parser;
use pabal_common::clock::SystemClock;
use pabal_common::process::{self, Arguments, Failure, Floor, Process, settings};
use pabal_provider::config::Vendors;
use pabal_sender::{Config, SETTINGS};

const PROGRAM: &str = "pabal-sender";
/// How the ledger knows it.
const ROLE: &str = "sender";

/// From the send queues to the vendors: claims, vendor calls, what became of them.
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
    let values = arguments.load_service(&[SETTINGS])?;
    let problems = pabal_sender::check(&values).into_iter().collect();
    let values = settings::agreed(values, problems).map_err(Failure::wrong_use)?;
    let _telemetry = process::init_telemetry(&values, PROGRAM)?;
    let config = Config::from_values(&values);
    let limits = Some(config.limits());
    let vendors =
        Vendors::from_values(&values, limits, Arc::new(SystemClock)).map_err(Failure::wrong_use)?;
    vendors.warn_without_route();
    let stop = process::stop_on_signal(PROGRAM)?;
    let opened = Process::open(&values, ROLE, &stop).await;
    let Some(mut process) = opened.map_err(|error| error.failure())? else {
        return Ok(());
    };
    let node = process.node.clone();
    process.run(Floor::Intake, ROLE, |token| {
        pabal_sender::run(node, vendors.routes, vendors.adapters, config, token)
    });
    Ok(process.keep(Router::new()).await?)
}
