//! How long it takes at a steady rate, well below what can be done: an open loop, measured from when
//! each request was due.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Scenario, flow};
use crate::command::bench::load::letter::{Kind, Letter};
use crate::command::bench::load::open::Open;
use crate::command::bench::load::schedule::Schedule;
use crate::command::bench::measure::meter::Meter;
use crate::command::bench::measure::timing::Timing;
use crate::command::bench::order::Plan;
use crate::command::bench::report::result::{Figure, Run};
use crate::command::bench::stage::Stage;

pub(super) const SCENARIO: Scenario = Scenario {
    seconds: 20,
    connections: Some(64),
    rate: Some(1_000),
    remote: true,
    ..Scenario::new(
        "latency",
        "how long accepting, sending and telling take at a steady rate",
        |stage, plan| Box::pin(run(stage, plan)),
    )
};

async fn run(stage: &Stage, plan: &Plan) -> anyhow::Result<Run> {
    let partner = stage.first_partner()?;
    let meter = Meter::start(stage.watched());
    let count = Arc::new(AtomicUsize::new(0));
    let schedule = Schedule::new(plan.rate, plan.lasts);
    let load = Open {
        targets: &partner.targets,
        letter: Letter::single(Kind::Sms, &stage.from, &stage.mark()),
        connections: plan.connections,
        schedule,
        count: Arc::clone(&count),
    };
    let line = || {
        let accepted = count.load(Ordering::Relaxed);
        format!("{accepted} of {} accepted", schedule.count())
    };
    let outbox = stage.progress.during(load.run(), line).await?;
    stage.await_told(&outbox.ids()).await;
    let usage = meter.stop();
    let books = stage.close(&[&outbox]).await?;

    let accepted_rate = flow::rate(books.accepted, outbox.lasted());
    let mut timings = vec![
        Timing::of("due to sent, the load's own delay", outbox.lateness),
        Timing::of("due to answer", outbox.answers),
    ];
    if stage.house.is_some() {
        let witness = &stage.witness;
        let (taken, reported) = (witness.taken.so_far(), witness.reported.so_far());
        let told = witness.told.so_far();
        timings.extend([
            Timing::between("answer to vendor", &outbox.accepted, &taken),
            Timing::between("report to webhook", &reported, &told),
        ]);
    }
    Ok(Run {
        messages: books.accepted,
        figures: vec![
            Figure::count("messages", books.accepted),
            Figure::count("requests sent again", outbox.repeated),
            Figure::new("accepted a second", accepted_rate),
        ],
        timings,
        traces: Vec::new(),
        usage,
        books,
    })
}
