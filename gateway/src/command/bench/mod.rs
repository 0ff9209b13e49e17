//! `pabal bench`: what the gateway does in a second, how long it takes, and what it costs.
//!
//! | module | holds |
//! |---|---|
//! | [`arguments`], [`order`] | the command line; read: which scenarios, where, how long |
//! | [`scenario`] | the list of scenarios, one a file. A new one is a file and a line in `ALL` |
//! | [`stage`] | what a scenario stands on: services, servers, simulated vendors, partners |
//! | [`load`] | the generator: letters rendered once, closed loop, open loop with a schedule |
//! | [`fill`] | a ledger that holds the messages of two months |
//! | [`endpoint`], [`sink`] | what listens on this machine; the partner's endpoint |
//! | [`peer`] | other gateways, measured in turn with Pabal |
//! | [`witness`] | when vendors took and reported, and the partner was told, by message |
//! | [`books`] | what was accepted, taken and told must be the same, or a run is no result |
//! | [`measure`] | processes, the machine, times between two marks |
//! | [`report`] | what runs came to, median and spread; table, JSON, plots, progress |
//!
//! What `chaos` stands on too (private servers, services as processes, configuration text) is in
//! `command/ground`.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use pabal_common::process;
use tokio_util::sync::CancellationToken;

use super::Failure;
use crate::cli::Configuration;

mod arguments;
mod books;
mod endpoint;
mod fill;
mod load;
mod measure;
mod order;
mod peer;
mod report;
mod scenario;
mod sink;
mod stage;
mod witness;

use super::ground::parts::Parts;
pub(crate) use arguments::Arguments;
use measure::machine::Machine;
use order::{Order, Place, Trial};
use peer::Rival;
use report::progress::Progress;
use report::result::{Outcome, Run};
use report::{document, plot, table};
use stage::{House, Setting, Stage};

/// Runs the command.
pub(crate) async fn run(with: &Configuration, arguments: Arguments) -> Result<(), Failure> {
    let order = arguments.order(with)?;
    // A file that cannot be written is told now, not in an hour.
    let json = order.json.as_ref().map(File::create).transpose()?;
    if let Some(folder) = &order.plots {
        std::fs::create_dir_all(folder)?;
    }
    let stop = process::stop_on_signal("pabal bench")?;
    let folder = tempfile::Builder::new().prefix("pabal-bench-").tempdir()?;
    super::ground::process::raise_open_files();
    let machine = Machine::look(folder.path())?;
    println!("{machine}");
    let outcomes = carry_out(&order, folder.path(), &stop).await;
    if let Some(mut file) = json {
        let label = order.label.as_deref();
        let all = document::compose(&machine, label, &order.settings, &outcomes);
        writeln!(file, "{all:#}")?;
    }
    if let Some(folder) = &order.plots {
        plot::write(folder, &outcomes)?;
    }
    let bad: Vec<&str> = outcomes
        .iter()
        .filter(|outcome| !outcome.is_good())
        .map(|outcome| outcome.title.as_str())
        .collect();
    let is_elsewhere = matches!(order.place, Some(Place::Against(_)));
    if order.keep || (!bad.is_empty() && !is_elsewhere) {
        println!("ledger and logs are kept in {}", folder.keep().display());
    }
    if stop.is_cancelled() {
        return Err(Failure::failed("stopped before everything was measured"));
    }
    match bad.is_empty() {
        true => Ok(()),
        false => Err(Failure::failed(format!("not a result: {}", bad.join(", ")))),
    }
}

/// Runs every trial, and prints what it came to, until `stop`.
async fn carry_out(order: &Order, folder: &Path, stop: &CancellationToken) -> Vec<Outcome> {
    let progress = Progress::of_terminal();
    let place = match &order.place {
        Some(place) => place.clone(),
        None => whatever_is_there(order, folder, progress).await,
    };
    let mut outcomes = Vec::new();
    for (number, trial) in (1..).zip(&order.trials) {
        let folder = folder.join(format!("{number}-{}", trial.scenario.name));
        let outcome = perform(order, trial, &place, &folder, progress, stop).await;
        progress.clear();
        if stop.is_cancelled() {
            break;
        }
        table::print(&outcome);
        if outcome.is_good() && !order.keep {
            // What was measured is not needed for the next, and may be large.
            let _ = std::fs::remove_dir_all(&folder);
        }
        outcomes.push(outcome);
    }
    outcomes
}

/// Distributed, if this machine has the servers' programs.
async fn whatever_is_there(order: &Order, folder: &Path, progress: Progress) -> Place {
    progress.say("looking for the servers' programs");
    let state = folder.join("programs");
    match Parts::are_there(&order.backends, &state).await {
        Ok(()) => Place::Distributed,
        Err(error) => {
            progress.clear();
            println!("embedded, since private servers cannot be started: {error:#}");
            Place::Embedded
        }
    }
}

/// Sets the stage for one scenario, makes its runs, and strikes the stage. Only the runs are broken
/// off: a server that is just starting could not be stopped.
async fn perform(
    order: &Order,
    trial: &Trial,
    place: &Place,
    folder: &Path,
    progress: Progress,
    stop: &CancellationToken,
) -> Outcome {
    let mut outcome = Outcome {
        title: trial.title(),
        scenario: trial.scenario.name,
        place: place.name(),
        plan: trial.plan,
        ground: Vec::new(),
        runs: Vec::new(),
        rivals: Rival::all(&order.peers, trial.scenario.peers),
        failures: Vec::new(),
    };
    let setting = Setting {
        folder,
        script: &order.backends,
        settings: &order.settings,
        tps: order.tps,
        needs: (trial.scenario.needs)(&trial.plan),
        progress,
    };
    match Stage::set(place, setting).await {
        Ok(stage) => {
            let said = stage.house.as_ref().map(|house: &House| house.said.clone());
            outcome.ground = said.unwrap_or_default();
            let turns = Turns {
                order,
                folder,
                progress,
            };
            let repeating = repeat(trial, &stage, turns, &mut outcome);
            if let Some(Err(error)) = stop.run_until_cancelled(repeating).await {
                outcome.failures.push(format!("{error:#}"));
            }
            progress.say("stopping");
            outcome.failures.extend(stage.strike().await);
        }
        Err(error) => outcome.failures.push(format!("{error:#}")),
    }
    outcome
}

/// What peers need for their turns.
#[derive(Clone, Copy)]
struct Turns<'a> {
    order: &'a Order,
    folder: &'a Path,
    progress: Progress,
}

/// The warm-up and the runs, up to the first that is no result; after each, one of every peer.
async fn repeat(
    trial: &Trial,
    stage: &Stage,
    turns: Turns<'_>,
    outcome: &mut Outcome,
) -> anyhow::Result<()> {
    let scenario = trial.scenario;
    if scenario.connections.is_some() {
        let run = (scenario.run)(stage, &trial.plan.warm_up()).await?;
        note_wrong("the warm-up", &run, outcome);
        if !run.books.are_clean() {
            return Ok(());
        }
    }
    for number in 1..=trial.plan.runs {
        stage.witness.begin();
        let run = (scenario.run)(stage, &trial.plan).await?;
        note_wrong(&format!("run {number}"), &run, outcome);
        let is_result = run.books.are_clean();
        outcome.runs.push(run);
        if !is_result {
            break;
        }
        for rival in &mut outcome.rivals {
            let Turns {
                order,
                folder,
                progress,
            } = turns;
            let turn = rival.take_turn(&order.scripts, folder, &trial.plan, progress);
            turn.await?;
        }
    }
    Ok(())
}

fn note_wrong(name: &str, run: &Run, outcome: &mut Outcome) {
    let wrong = run.books.wrong().into_iter();
    let failures = wrong.map(|what| format!("{name}: {what}"));
    outcome.failures.extend(failures);
}
