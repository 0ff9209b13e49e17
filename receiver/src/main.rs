//! `pabal-receiver`: the partner HTTP API as a process of its own.

use std::process::ExitCode;

use clap::Parser;
use pabal_common::http::description::described;
use pabal_common::process::{self, Arguments, Failure, Floor, Process};
use pabal_receiver::{Config, Receiver, SETTINGS};

const PROGRAM: &str = "pabal-receiver";
/// How the ledger knows it.
const ROLE: &str = "receiver";

/// The partner HTTP API: tokens, and accepting messages one by one and in batches.
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
    let stop = process::stop_on_signal(PROGRAM)?;
    let opened = Process::open(&values, ROLE, &stop).await;
    let Some(mut process) = opened.map_err(|error| error.failure())? else {
        return Ok(());
    };
    let receiver = Receiver::new(process.node.clone(), Config::from_values(&values));
    let router = described(receiver.router());
    process.run(Floor::Work, ROLE, |token| async move {
        receiver.run(token).await;
    });
    Ok(process.keep(router).await?)
}
