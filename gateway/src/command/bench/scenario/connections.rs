//! What many open connections cost, and whether new requests feel them.
//!
//! Ten thousand connections to the receiver are opened; over each one message is accepted, and then it
//! is idle. Meanwhile single requests come by a schedule over other connections. At the end every
//! connection must still be open. So that the receiver lets them be idle so long, `http.header_timeout`
//! is five minutes here, instead of the usual ten seconds; `http.max_connections` is the usual one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::ensure;

use super::{Scenario, flow};
use crate::command::bench::load::crowd::Crowd;
use crate::command::bench::load::letter::{Kind, Letter};
use crate::command::bench::load::open::Open;
use crate::command::bench::load::schedule::Schedule;
use crate::command::bench::measure::meter::{Meter, Watched};
use crate::command::bench::measure::timing::Timing;
use crate::command::bench::order::Plan;
use crate::command::bench::report::result::{Figure, Run};
use crate::command::bench::stage::{Needs, Stage};
use crate::command::ground::process;

/// How many connections are idle.
const IDLE: usize = 10_000;
const IDLE_IN_SHORT: usize = 200;
/// Files that a process needs besides.
const OTHER_FILES: u64 = 1_000;
/// How many connections the measured requests have.
const MEASURED: usize = 64;
/// The longest run in which no idle connection is closed for being idle.
const LONGEST: Duration = Duration::from_secs(240);

pub(super) const SCENARIO: Scenario = Scenario {
    seconds: 20,
    rate: Some(500),
    needs: |_| Needs {
        settings: &[("http.header_timeout", "5m")],
        ..Needs::USUAL
    },
    ..Scenario::new(
        "connections",
        "how long accepting takes beside 10,000 open connections, and their memory",
        |stage, plan| Box::pin(run(stage, plan)),
    )
};

async fn run(stage: &Stage, plan: &Plan) -> anyhow::Result<Run> {
    let size = match plan.short {
        true => IDLE_IN_SHORT,
        false => IDLE,
    };
    ensure!(plan.lasts <= LONGEST, "connections run {LONGEST:?} at most");
    let allowed = process::open_files();
    ensure!(
        allowed >= size as u64 + OTHER_FILES,
        "a process may have {allowed} open files alone: raise the hard limit (ulimit -Hn)"
    );
    let partner = stage.first_partner()?;
    let letter = || Letter::single(Kind::Sms, &stage.from, &stage.mark());
    let meter = Meter::start(stage.watched());
    let before = receiver_memory(stage);
    stage.progress.say("opening connections");
    let (mut crowd, first) = Crowd::gather(&partner.targets, letter(), size).await?;
    stage.await_told(&first.ids()).await;
    let with_all = receiver_memory(stage);

    let count = Arc::new(AtomicUsize::new(0));
    let schedule = Schedule::new(plan.rate, plan.lasts);
    let load = Open {
        targets: &partner.targets,
        letter: letter(),
        connections: MEASURED,
        schedule,
        count: Arc::clone(&count),
    };
    let line = || {
        let accepted = count.load(Ordering::Relaxed);
        format!("{accepted} of {} accepted", schedule.count())
    };
    let beside = stage.progress.during(load.run(), line).await?;
    let still_open = crowd.still_open();
    stage.await_told(&beside.ids()).await;
    let usage = meter.stop();
    let mut books = stage.close(&[&first, &beside]).await?;
    if still_open < size {
        let what = "idle connections were closed";
        books
            .complaints
            .push(format!("{} {what}", size - still_open));
    }
    Ok(Run {
        messages: books.accepted,
        figures: vec![
            Figure::count("messages", books.accepted),
            Figure::count("requests sent again", first.repeated + beside.repeated),
            Figure::count("idle connections, open at the end", still_open),
            Figure::new(
                "connections opened a second, with a message each",
                flow::rate(size, first.lasted()),
            ),
            Figure::new("memory of the receiver before, MiB", before),
            Figure::new("memory of the receiver with all open, MiB", with_all),
        ],
        timings: vec![
            Timing::of("opening: request to answer", first.answers),
            Timing::of("beside the idle: due to sent", beside.lateness),
            Timing::of("beside the idle: due to answer", beside.answers),
        ],
        traces: Vec::new(),
        usage,
        books,
    })
}

/// Resident memory of what accepts messages, in MiB.
fn receiver_memory(stage: &Stage) -> f64 {
    let watched = stage.watched();
    let accepts = |one: &&Watched| one.name == "pabal" || one.name.starts_with("receiver-");
    let readings = watched.iter().filter(accepts);
    let resident = readings.filter_map(|one| process::read(one.pid));
    let kib: u64 = resident.map(|reading| reading.resident).sum();
    kib as f64 / 1024.0
}
