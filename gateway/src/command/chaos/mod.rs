//! `pabal chaos`: every service as processes of its own on private back-ends, one fault after the
//! other under a steady load, and the comparison of every book after each.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::{Failure, ground};

mod faults;
mod report;
mod stage;
mod trial;
mod ways;

use faults::Fault;
use stage::Stage;
use trial::Row;

/// When a message whose outcome is in doubt is given up: late enough for every report that a fault
/// holds up, or as soon as the few faults of the short run allow.
const DEADLINE: Duration = Duration::from_secs(30);
const SHORT_DEADLINE: Duration = Duration::from_secs(20);

#[derive(Args)]
pub(crate) struct Arguments {
    /// Only these faults, in this order; all of them if none is named
    #[arg(value_name = "FAULT")]
    faults: Vec<String>,
    /// The few faults of the short run
    #[arg(long, conflicts_with = "faults")]
    short: bool,
    /// Lists the faults and ends
    #[arg(long)]
    list: bool,
    /// Messages a second
    #[arg(long, default_value_t = 100.0)]
    rate: f64,
    /// Repeats the random choices of an earlier run (though not its timing)
    #[arg(long)]
    seed: Option<u64>,
    /// Writes the table into this Markdown file, between its marks
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// What starts the private back-ends
    #[arg(long, value_name = "SCRIPT", default_value = ground::BACKENDS)]
    backends: PathBuf,
    /// Keeps the folder with logs, ledger and queues
    #[arg(long)]
    keep: bool,
}

/// Runs the command.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    if arguments.list {
        for fault in faults::ALL {
            println!("{:18} {}", fault.name, fault.what);
        }
        return Ok(());
    }
    let chosen = chosen(&arguments)?;
    let seed = arguments
        .seed
        .unwrap_or_else(|| fastrand::u64(1..1_000_000_000));
    let folder = tempfile::Builder::new().prefix("pabal-chaos-").tempdir()?;
    println!("seed {seed}; everything is in {}", folder.path().display());
    let deadline = if arguments.short {
        SHORT_DEADLINE
    } else {
        DEADLINE
    };
    let stage = Stage::set(&arguments.backends, folder.path(), deadline).await;
    let outcome = match &stage {
        Ok(stage) => carry_out(stage, &chosen, &arguments, seed).await,
        Err(error) => Err(Failure::failed(format!("{error:#}"))),
    };
    if let Ok(stage) = &stage {
        stage.strike().await;
    }
    if arguments.keep || outcome.is_err() {
        println!("logs are kept in {}", folder.keep().display());
    }
    outcome
}

fn chosen(arguments: &Arguments) -> Result<Vec<&'static Fault>, Failure> {
    if arguments.faults.is_empty() {
        let wanted = |fault: &&Fault| fault.short || !arguments.short;
        return Ok(faults::ALL.iter().filter(wanted).collect());
    }
    let named = arguments.faults.iter().map(|name| {
        let found = faults::ALL.iter().find(|fault| fault.name == name);
        found.ok_or_else(|| Failure::usage(format!("no fault is named {name}; --list shows them")))
    });
    named.collect()
}

async fn carry_out(
    stage: &Stage,
    chosen: &[&'static Fault],
    arguments: &Arguments,
    seed: u64,
) -> Result<(), Failure> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut rows: Vec<Row> = Vec::new();
    report::print_heading();
    for fault in chosen {
        let row = trial::run(stage, fault, arguments.rate, random.fork())
            .await
            .map_err(|error| Failure::failed(format!("{}: {error:#}", fault.name)))?;
        report::print(&row);
        rows.push(row);
    }
    if let Some(path) = &arguments.write {
        report::write(path, &rows, arguments.rate)?;
    }
    match rows.iter().filter(|row| !row.is_good()).count() {
        0 => {
            println!("Nothing lost, nothing sent twice, every message ended.");
            Ok(())
        }
        bad => Err(Failure::failed(format!(
            "{bad} of {} are not as promised",
            rows.len()
        ))),
    }
}

/// Seconds for people.
fn seconds(time: Option<Duration>) -> String {
    time.map_or_else(
        || "never".to_owned(),
        |time| format!("{:.1}", time.as_secs_f64()),
    )
}
