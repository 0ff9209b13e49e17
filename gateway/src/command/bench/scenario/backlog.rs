//! What a long outage of a vendor costs: it refuses connections while very many messages are accepted,
//! then it is back and all are sent.
//!
//! Accepting must be as fast at the end as at the beginning, and memory must not grow with what waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use pabal_simulator::Family;

use super::{Scenario, flow};
use crate::command::bench::load::closed::Closed;
use crate::command::bench::load::letter::{Kind, Letter};
use crate::command::bench::measure::meter::{Meter, Watched};
use crate::command::bench::measure::timing::Timing;
use crate::command::bench::measure::trace::Tracer;
use crate::command::bench::order::Plan;
use crate::command::bench::report::result::{Figure, Run};
use crate::command::bench::stage::Stage;
use crate::command::bench::witness::Mark;
use crate::command::ground::process;

/// Messages in one request.
const SIZE: usize = 100;
/// The first and the last part of the messages are compared: one in so many.
const PART: usize = 50;
/// Fewer are no rate.
const LEAST: usize = 10 * SIZE;
/// Nobody accepts longer.
const LONGEST: Duration = Duration::from_secs(24 * 3_600);
/// The gateway looks whether a vendor is back after pauses of up to half a minute.
const BACK: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(20);

pub(super) const SCENARIO: Scenario = Scenario {
    // One takes minutes.
    runs: 1,
    connections: Some(8),
    messages: Some(1_000_000),
    ..Scenario::new(
        "backlog",
        "accepting while the vendor is away, memory, and how fast all drains afterwards",
        |stage, plan| Box::pin(run(stage, plan)),
    )
};

async fn run(stage: &Stage, plan: &Plan) -> anyhow::Result<Run> {
    let house = stage.house.as_ref().context("vendors cannot be seen")?;
    let partner = stage.first_partner()?;
    let vendor = house.simulator.door(Family::Carrier)?;
    let meter = Meter::start(stage.watched());
    let tracer = Tracer::start(stage.watched());
    let at_start = memory(stage, "at the start");
    let webhooks = partner.webhooks();
    vendor.shut().await;
    let count = Arc::new(AtomicUsize::new(0));
    let load = Closed {
        targets: &partner.targets,
        letter: Letter::batch(Kind::Sms, SIZE, &stage.from, &stage.mark()),
        connections: plan.connections,
        lasts: LONGEST,
        count: Arc::clone(&count),
    };
    let line = || {
        let accepted = count.load(Ordering::Relaxed);
        format!("{accepted} of {} accepted", plan.messages)
    };
    let sending = load.run_up_to(plan.messages);
    let outbox = stage.progress.during(sending, line).await?;
    let all_waiting = memory(stage, "with all waiting");
    vendor.open().await;
    let back = Instant::now();
    stage.progress.say("the vendor is back");
    await_first_taken(stage).await;
    stage.await_told(&outbox.ids()).await;
    let usage = meter.stop();
    let traces = tracer.stop().await?;
    let books = stage.close(&[&outbox]).await?;

    let (first, last) = ends(outbox.begun, &outbox.accepted);
    let taken = stage.witness.taken.so_far();
    let told = stage.witness.told.so_far();
    let began = taken.first().map_or(back, |mark| mark.at);
    let webhooks = partner.webhooks() - webhooks;
    let mut figures = vec![
        Figure::count("messages", books.accepted),
        Figure::count("requests sent again", outbox.repeated),
        Figure::new("accepted a second, nothing waiting", first),
        Figure::new("accepted a second, all waiting", last),
        Figure::new(
            "seconds from the vendor's return to the first call",
            began.saturating_duration_since(back).as_secs_f64(),
        ),
        Figure::new("drained to the vendor a second", drained(began, &taken)),
        Figure::new("told a second while draining", drained(began, &told)),
        Figure::count("webhooks", webhooks),
    ];
    figures.extend(at_start.into_iter().chain(all_waiting));
    Ok(Run {
        messages: books.accepted,
        figures,
        timings: vec![Timing::of("request to answer", outbox.answers)],
        traces,
        usage,
        books,
    })
}

/// Resident memory of each process now.
fn memory(stage: &Stage, when: &str) -> Vec<Figure> {
    let figure = |one: Watched| {
        let now = process::read(one.pid)?;
        let name = format!("{} {when}, MiB", one.name);
        Some(Figure::new(name, now.resident as f64 / 1024.0))
    };
    stage.watched().into_iter().filter_map(figure).collect()
}

async fn await_first_taken(stage: &Stage) {
    let begun = Instant::now();
    while stage.witness.taken.len() == 0 && begun.elapsed() < BACK {
        tokio::time::sleep(LOOK).await;
    }
}

/// How many a second were accepted of the first part, and of the last.
fn ends(begun: Instant, accepted: &[Mark]) -> (f64, f64) {
    let mut moments: Vec<Instant> = accepted.iter().map(|mark| mark.at).collect();
    moments.sort_unstable();
    let part = (moments.len() / PART).max(LEAST).min(moments.len());
    let rate = |count: usize, from: Instant, to: Option<&Instant>| match to {
        Some(to) => flow::rate(count, to.saturating_duration_since(from)),
        None => 0.0,
    };
    let before_last = moments.len() - part;
    let from = match before_last {
        0 => begun,
        before => moments[before - 1],
    };
    let first = rate(part, begun, moments.get(part.saturating_sub(1)));
    (first, rate(part, from, moments.last()))
}

/// How many a second from then until the last.
fn drained(began: Instant, marks: &[Mark]) -> f64 {
    match marks.last() {
        Some(last) => flow::rate(marks.len(), last.at.saturating_duration_since(began)),
        None => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many batches, one every so many milliseconds after `begin`.
    fn batches(begin: Instant, count: u32, every: u64) -> Vec<Mark> {
        let batch = |number: u32| {
            let at = begin + Duration::from_millis(every) * number;
            (0..SIZE as u64).map(move |id| Mark { id, at })
        };
        (1..=count).flat_map(batch).collect()
    }

    #[test]
    fn the_first_and_the_last_part_have_a_rate_of_their_own() {
        let begin = Instant::now();
        // A thousand in a second, and a hundred a second at the end; connections end in any order.
        let mut marks = batches(begin, 500, 100);
        let later = begin + Duration::from_secs(50);
        marks.extend(batches(later, 500, 1_000));
        marks.reverse();
        let (first, last) = ends(begin, &marks);
        assert!((first - 1_000.0).abs() < 1.0, "{first}");
        assert!((last - 100.0).abs() < 1.0, "{last}");
    }

    #[test]
    fn of_few_messages_both_rates_are_that_of_all() {
        let begin = Instant::now();
        let (first, last) = ends(begin, &batches(begin, 5, 100));
        assert!((first - 1_000.0).abs() < 1.0, "{first}");
        assert!((last - first).abs() < 1e-9, "{last}");
        assert_eq!(ends(begin, &[]), (0.0, 0.0));
    }

    #[test]
    fn a_drain_lasts_until_its_last_message() {
        let begin = Instant::now();
        let rate = drained(begin, &batches(begin, 20, 50));
        assert!((rate - 2_000.0).abs() < 1.0, "{rate}");
        assert!(drained(begin, &[]).abs() < f64::EPSILON);
    }
}
