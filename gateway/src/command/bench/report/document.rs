//! Everything that was measured as one JSON document.

use pabal_common::clock::{Clock as _, SystemClock};
use serde_json::{Map, Value, json};

use super::result::{self, Line, Outcome, Run};
use super::versus::Ratio;
use crate::command::bench::measure::machine::Machine;
use crate::command::bench::measure::timing::PERCENTILES;
use crate::command::bench::peer::Rival;

/// What was measured: on which machine, under which label.
pub(in crate::command::bench) fn compose(
    machine: &Machine,
    label: Option<&str>,
    settings: &[(String, String)],
    outcomes: &[Outcome],
) -> Value {
    let settings = settings.iter().map(|(key, value)| format!("{key}={value}"));
    json!({
        "label": label,
        "version": env!("CARGO_PKG_VERSION"),
        "at": SystemClock.now().to_rfc3339(),
        "machine": machine.json(),
        "settings": settings.collect::<Vec<_>>(),
        "scenarios": outcomes.iter().map(scenario).collect::<Vec<_>>(),
    })
}

fn scenario(outcome: &Outcome) -> Value {
    let runs = &outcome.runs;
    json!({
        "scenario": outcome.scenario,
        "title": outcome.title,
        "place": outcome.place,
        "seconds": outcome.plan.lasts.as_secs_f64(),
        "connections": outcome.plan.connections,
        "requestsASecond": match outcome.plan.rate {
            0 => Value::Null,
            rate => json!(rate),
        },
        "messages": match outcome.plan.messages {
            0 => Value::Null,
            messages => json!(messages),
        },
        "rows": match outcome.plan.rows {
            0 => Value::Null,
            rows => json!(rows),
        },
        "single": outcome.plan.single,
        "short": outcome.plan.short,
        "ground": outcome.ground,
        "isResult": outcome.is_good(),
        "failures": outcome.failures,
        "figures": lines(result::figures(runs)),
        "millis": millis(runs),
        "runs": runs.iter().map(run).collect::<Vec<_>>(),
        "peers": outcome.rivals.iter().map(|peer| rival(peer, runs)).collect::<Vec<_>>(),
    })
}

/// A peer, beside Pabal's runs.
fn rival(rival: &Rival, pabal: &[Run]) -> Value {
    let runs = &rival.runs;
    json!({
        "peer": rival.peer.name(),
        "version": rival.version,
        "reports": rival.reports,
        "figures": lines(result::figures(runs)),
        "millis": millis(runs),
        "runs": runs.iter().map(measured).collect::<Vec<_>>(),
        "remarks": rival.remarks,
        "ratio": Ratio::of(rival.figure, pabal, runs).map(|ratio| ratio.json()),
    })
}

fn millis(runs: &[Run]) -> Value {
    let timings = PERCENTILES.map(|(name, at)| {
        let of_percentile = lines(result::timings(runs, at));
        (name.to_owned(), of_percentile)
    });
    timings.into_iter().collect::<Map<_, _>>().into()
}

fn lines(lines: Vec<Line>) -> Value {
    let entry = |(name, spread): Line| {
        let spread = json!({"median": spread.median, "min": spread.min, "max": spread.max});
        (name, spread)
    };
    lines.into_iter().map(entry).collect::<Map<_, _>>().into()
}

fn run(run: &Run) -> Value {
    let books = &run.books;
    let mut all = measured(run);
    all["books"] = json!({
        "accepted": books.accepted,
        "taken": books.taken,
        "told": books.told,
        "lost": books.lost,
        "doubled": books.doubled,
        "open": books.open,
        "foreign": books.foreign,
        "toldAgain": books.told_again,
        "complaints": books.complaints,
    });
    all
}

/// What a run came to, whoever's it is: without Pabal's books.
fn measured(run: &Run) -> Value {
    let figures = run.figures.iter();
    let figures: Map<_, _> = figures
        .map(|one| (one.name.clone(), json!(one.value)))
        .collect();
    let timings = run.timings.iter().map(|timing| {
        let at = PERCENTILES.map(|(name, at)| (name.to_owned(), json!(timing.millis(at))));
        let mut of_timing: Map<_, _> = at.into_iter().collect();
        of_timing.insert("count".to_owned(), json!(timing.count()));
        (timing.name.to_owned(), Value::from(of_timing))
    });
    let traces = run.traces.iter().map(|trace| {
        let points = trace.points.iter();
        let points = points.map(|(at, mib)| json!([at.as_secs_f64(), mib]));
        (trace.name.clone(), points.collect::<Value>())
    });
    let processes = run.usage.iter().map(|one| {
        json!({
            "name": one.name,
            "cpuSeconds": one.cpu.as_secs_f64(),
            "cpuSecondsPerThousand": match run.messages {
                0 => Value::Null,
                messages => json!(one.per_thousand(messages)),
            },
            "cpuPercentOfACore": one.percent(),
            "seconds": one.wall.as_secs_f64(),
            "residentKiB": one.resident,
            "peakKiB": one.peak,
        })
    });
    json!({
        "messages": run.messages,
        "figures": figures,
        "millis": timings.collect::<Map<_, _>>(),
        "memoryMiB": traces.collect::<Map<_, _>>(),
        "processes": processes.collect::<Vec<_>>(),
    })
}
