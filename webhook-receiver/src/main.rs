//! `pabal-webhook-receiver`: vendors' callbacks and polling as a process of its own.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use pabal_common::clock::SystemClock;
use pabal_common::process::{self, Arguments, Failure, Floor, Process};
use pabal_provider::config::Vendors as Accounts;
use pabal_webhook_receiver::{Config, SETTINGS, Vendors};

const PROGRAM: &str = "pabal-webhook-receiver";
/// How the ledger knows it.
const ROLE: &str = "webhook-receiver";

/// Vendors' callbacks and polling into the report queue.
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
    let _telemetry = process::init_telemetry(&values, PROGRAM)?;
    let config = Config::from_values(&values);
    let accounts =
        Accounts::from_values(&values, None, Arc::new(SystemClock)).map_err(Failure::wrong_use)?;
    let vendors = Vendors::new(accounts.adapters.into_values());
    let stop = process::stop_on_signal(PROGRAM)?;
    let opened = Process::open(&values, ROLE, &stop).await;
    let Some(mut process) = opened.map_err(|error| error.failure())? else {
        return Ok(());
    };
    let node = process.node.clone();
    let router = pabal_webhook_receiver::router(node.clone(), &vendors, config);
    process.run(Floor::Intake, ROLE, |token| {
        pabal_webhook_receiver::run(node, vendors, config, token)
    });
    Ok(process.keep(router).await?)
}
