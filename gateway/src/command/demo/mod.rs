//! `pabal demo`: the whole system in a temporary folder, every kind of trouble, and the books.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use pabal_common::config::{Source, Values};
use pabal_common::process;
use serde_json::Value;
use tempfile::TempDir;

mod cases;
mod inbox;
mod outcome;
mod play;
mod print;
mod refusals;
mod sealed;
mod stage;

use super::Failure;
use crate::cli::Configuration;
use inbox::Inbox;
use outcome::{Check, Ended};
use play::Refused;
use print::Paint;
use stage::Stage;

/// The demo provokes its troubles, so that only what nobody provoked is worth a log line.
const QUIET: &str = "error";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// As JSON
    #[arg(long)]
    json: bool,
    /// Keep the data folder, to look at it with the other commands
    #[arg(long)]
    keep: bool,
}

/// Everything that came out.
struct Show {
    ended: Vec<Ended>,
    refused: Vec<Refused>,
    daily: Value,
    checks: Vec<Check>,
    took: Duration,
}

impl Show {
    fn is_as_expected(&self) -> bool {
        self.checks.iter().all(|check| check.ok)
    }
}

pub(crate) async fn run(with: &Configuration, arguments: Arguments) -> Result<(), Failure> {
    let folder = tempfile::Builder::new().prefix("pabal-demo-").tempdir()?;
    let values = configure(with, folder.path())?;
    let _telemetry = process::init_telemetry(&values, "pabal")?;
    let paint = Paint::of_terminal();
    let performed = tokio::select! {
        performed = perform(&values, &folder, &arguments, paint) => performed,
        _ = tokio::signal::ctrl_c() => return Err(Failure::failed("the demo was stopped")),
    };
    let show = performed.map_err(|error| Failure::failed(format!("demo: {error:#}")))?;
    match arguments.json {
        true => print::report_json(&show),
        false => print::report(&show, paint),
    }
    if arguments.keep {
        let kept = folder.keep();
        eprintln!("The data folder is kept: {}", kept.display());
    }
    match show.is_as_expected() {
        true => Ok(()),
        false => Err(Failure::failed(differences(&show.checks))),
    }
}

/// The user's settings with the demo's on top.
fn configure(with: &Configuration, folder: &Path) -> Result<Values, Failure> {
    let values = with.load()?;
    if ["account", "route"]
        .iter()
        .any(|table| !values.tables(table).is_empty())
    {
        return Err(Failure::usage(
            "the demo sends to simulated vendors alone: run it without [[account]] and [[route]]",
        ));
    }
    let mut settings = stage::settings(folder);
    let unasked = |one: &pabal_common::config::Effective| {
        one.key == "log.filter" && matches!(one.source, Source::Default)
    };
    if values.effective().iter().any(unasked) {
        settings.push(("log.filter".to_owned(), QUIET.to_owned()));
    }
    with.with(settings).load()
}

async fn perform(
    values: &Values,
    folder: &TempDir,
    arguments: &Arguments,
    paint: Paint,
) -> anyhow::Result<Show> {
    let begun = Instant::now();
    let stage = Stage::set(values)
        .await
        .context("the gateway did not start")?;
    if !arguments.json {
        let path = folder.path().display();
        let fate = if arguments.keep {
            "kept"
        } else {
            "removed at the end"
        };
        print::opening(
            &stage,
            &format!("{path}, {fate}"),
            cases::CASES.len(),
            paint,
        );
    }
    let mut inbox = Inbox::open(stage.endpoint.clone());
    let played = play::play(&stage, &mut inbox).await?;
    let ended = outcome::look_up(&stage, &played.sent, &inbox.results()).await?;
    let mut checks = Vec::from(outcome::as_expected(&ended, &played.refused));
    checks.push(outcome::webhooks(&ended, stage.endpoint.forged()));
    let (numbers, daily) = outcome::daily_numbers(&stage, &played).await?;
    checks.push(numbers);
    checks.push(outcome::vendors(&stage, &ended));
    checks.push(outcome::books(&stage).await?);
    stage
        .strike()
        .await
        .context("the gateway did not stop as it should")?;
    checks.push(sealed::sealed(folder.path(), &cases::secrets()).await?);
    Ok(Show {
        ended,
        refused: played.refused,
        daily,
        checks,
        took: begun.elapsed(),
    })
}

/// The checks that failed, in one line.
fn differences(checks: &[Check]) -> String {
    let failed = checks.iter().filter(|check| !check.ok);
    let failed: Vec<String> = failed
        .map(|check| format!("{}: {}", check.what, check.found))
        .collect();
    format!("not as expected: {}", failed.join("; "))
}
