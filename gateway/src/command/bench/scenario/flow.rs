//! A closed loop for a while, then the wait until the partner has been told of every message.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::command::bench::books::Books;
use crate::command::bench::load::Outbox;
use crate::command::bench::load::closed::Closed;
use crate::command::bench::load::letter::Letter;
use crate::command::bench::measure::meter::Meter;
use crate::command::bench::measure::timing::Timing;
use crate::command::bench::order::Plan;
use crate::command::bench::report::result::{ACCEPTED_A_SECOND, Figure, Run, TOLD_A_SECOND};
use crate::command::bench::stage::Stage;

/// Makes one run of the first partner with this letter.
pub(super) async fn run(stage: &Stage, plan: &Plan, letter: Letter) -> anyhow::Result<Run> {
    let partner = stage.first_partner()?;
    let meter = Meter::start(stage.watched());
    let webhooks = partner.webhooks();
    let count = Arc::new(AtomicUsize::new(0));
    let load = Closed {
        targets: &partner.targets,
        letter,
        connections: plan.connections,
        lasts: plan.lasts,
        count: Arc::clone(&count),
    };
    let line = || format!("{} accepted", count.load(Ordering::Relaxed));
    let outbox = stage.progress.during(load.run(), line).await?;
    stage.await_told(&outbox.ids()).await;
    let usage = meter.stop();
    let books = stage.close(&[&outbox]).await?;

    let mut run = Run {
        messages: books.accepted,
        figures: of_acceptance(&outbox, &books),
        timings: vec![Timing::of(
            "request to answer",
            outbox.answers.iter().copied(),
        )],
        traces: Vec::new(),
        usage,
        books,
    };
    if stage.house.is_some() {
        let told = stage.witness.told.so_far();
        let last = told.last().map_or(outbox.ended, |mark| mark.at);
        let whole = last.saturating_duration_since(outbox.begun);
        let webhooks = partner.webhooks() - webhooks;
        run.figures.extend([
            Figure::new(TOLD_A_SECOND, rate(run.books.told, whole)),
            Figure::new("results in a webhook", ratio(told.len(), webhooks)),
        ]);
        let accepted_to_told = Timing::between("answer to webhook", &outbox.accepted, &told);
        run.timings.push(accepted_to_told);
    }
    Ok(run)
}

fn of_acceptance(outbox: &Outbox, books: &Books) -> Vec<Figure> {
    vec![
        Figure::count("messages", books.accepted),
        Figure::count("requests sent again", outbox.repeated),
        Figure::new(ACCEPTED_A_SECOND, rate(books.accepted, outbox.lasted())),
    ]
}

/// How many in a second.
pub(in crate::command::bench) fn rate(count: usize, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64().max(f64::EPSILON)
}

fn ratio(count: usize, of: usize) -> f64 {
    count as f64 / of.max(1) as f64
}
