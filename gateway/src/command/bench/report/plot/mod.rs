//! What was measured as plots: plain SVG, which a browser shows in light and in dark.
//!
//! | file | shows |
//! |---|---|
//! | `accepted.svg`, `told.svg` | messages a second of each scenario, and of peers beside it |
//! | `<scenario>-latency.svg` | how long things took, by percentile, all runs together |
//! | `<scenario>-memory.svg` | the memory of each process over the last run |
//! | `<scenario>-beside.svg` | one number alone and beside others, where a scenario has it twice |
//!
//! Every mark has a `<title>` with its number as the JSON has it.

use std::io;
use std::path::Path;

use self::bars::{Bar, Bars};
use self::chart::{Axis, Chart, Line};
use self::scale::Scale;
use super::result::{self, ACCEPTED_A_SECOND, Outcome, Run, TOLD_A_SECOND};
use super::table::number;
use crate::command::bench::measure::timing::Timing;

mod bars;
mod chart;
mod scale;
mod svg;

/// Figures of one scenario that are to be seen beside each other: its name, a title and which.
const BESIDE: [(&str, &str, &str); 3] = [
    (
        "fairness",
        "A's burst, alone and beside others",
        "A to the vendor a second",
    ),
    (
        "backlog",
        "Accepting while the vendor is away",
        "accepted a second",
    ),
    (
        "growth",
        "With an empty ledger and with a filled one",
        "accepted a second",
    ),
];

/// Writes every plot there is something for.
pub(in crate::command::bench) fn write(folder: &Path, outcomes: &[Outcome]) -> io::Result<()> {
    for (name, title, figure) in [
        ("accepted", "Messages accepted a second", ACCEPTED_A_SECOND),
        (
            "told",
            "Messages a second, to the last webhook",
            TOLD_A_SECOND,
        ),
    ] {
        let bars = beside_peers(outcomes, figure);
        save(folder, name, bars_of(title, bars))?;
    }
    for outcome in outcomes {
        let name = outcome.title.replace(" --", "-");
        save(folder, &format!("{name}-latency"), latency(outcome))?;
        save(folder, &format!("{name}-memory"), memory(outcome))?;
        for (_, title, figure) in BESIDE.iter().filter(|(of, ..)| *of == outcome.scenario) {
            let bars = alike(&outcome.runs, figure);
            save(folder, &format!("{name}-beside"), bars_of(title, bars))?;
        }
    }
    Ok(())
}

fn save(folder: &Path, name: &str, plot: Option<String>) -> io::Result<()> {
    match plot {
        Some(plot) => std::fs::write(folder.join(format!("{name}.svg")), plot),
        None => Ok(()),
    }
}

fn bars_of(title: &str, bars: Vec<Bar>) -> Option<String> {
    let bars = Bars {
        title: title.to_owned(),
        unit: "messages a second, median; the line is from the least to the most",
        bars,
    };
    (!bars.bars.is_empty()).then(|| bars.draw())
}

/// A figure of every scenario that has it, and of the peers that are compared by it.
fn beside_peers(outcomes: &[Outcome], figure: &str) -> Vec<Bar> {
    let mut bars = Vec::new();
    for outcome in outcomes {
        let own = bar(format!("{}: Pabal", outcome.title), &outcome.runs, figure);
        bars.extend(own);
        for rival in outcome.rivals.iter().filter(|one| one.figure == figure) {
            let name = format!("{}: {}", outcome.title, rival.title());
            bars.extend(bar(name, &rival.runs, figure));
        }
    }
    bars
}

fn bar(name: String, runs: &[Run], figure: &str) -> Option<Bar> {
    let mut lines = result::figures(runs).into_iter();
    let (_, spread) = lines.find(|(one, _)| one == figure)?;
    Some(Bar { name, spread })
}

/// Figures whose names begin alike.
fn alike(runs: &[Run], beginning: &str) -> Vec<Bar> {
    let lines = result::figures(runs).into_iter();
    let alike = lines.filter(|(name, _)| name.starts_with(beginning));
    alike.map(|(name, spread)| Bar { name, spread }).collect()
}

/// How long things took: a curve for each, from the fastest to the slowest.
fn latency(outcome: &Outcome) -> Option<String> {
    let mut lines = curves("", &outcome.runs);
    for rival in &outcome.rivals {
        lines.extend(curves(&format!("{}: ", rival.title()), &rival.runs));
    }
    let rarest = lines.iter().flat_map(|line| &line.points);
    let rarest = rarest.map(|point| point.0).fold(90.0, f64::max);
    let chart = Chart {
        title: format!("{}: how long it takes", outcome.title),
        x: Axis {
            title: "percentile",
            scale: Scale::percentile(rarest),
        },
        y: Axis {
            title: "milliseconds",
            scale: Scale::decades(lines.iter().flat_map(Line::heights)),
        },
        lines,
    };
    (!chart.lines.is_empty()).then(|| chart.draw())
}

fn curves(whose: &str, runs: &[Run]) -> Vec<Line> {
    let first = runs.first().map_or(&[][..], |run| &run.timings);
    let curve = |timing: &Timing| {
        let same = runs.iter().flat_map(|run| &run.timings);
        let same = same.filter(|one| one.name == timing.name);
        let all = Timing::pooled(timing.name, same);
        let at = |percentile| number(all.millis(percentile));
        (all.count() > 0).then(|| Line {
            name: format!("{whose}{}", timing.name),
            note: format!("p50 {}, p99 {}, max {} ms", at(50.0), at(99.0), at(100.0)),
            points: below_all(all.curve(), all.count()),
        })
    };
    first.iter().filter_map(curve).collect()
}

/// Of so many, no percentile is beyond that of the last but one.
fn below_all(curve: Vec<(f64, f64)>, count: u64) -> Vec<(f64, f64)> {
    let most = 100.0 - 100.0 / (count as f64 + 1.0);
    let points = curve.into_iter();
    points.map(|(at, value)| (at.min(most), value)).collect()
}

/// The memory of each process over time.
fn memory(outcome: &Outcome) -> Option<String> {
    let traces = &outcome.runs.last()?.traces;
    let lines: Vec<Line> = traces
        .iter()
        .map(|trace| {
            let points = trace.points.iter();
            let points: Vec<_> = points.map(|(at, mib)| (at.as_secs_f64(), *mib)).collect();
            let most = points.iter().map(|point| point.1).fold(0.0, f64::max);
            Line {
                name: trace.name.clone(),
                note: format!("at most {} MiB", number(most)),
                points,
            }
        })
        .collect();
    let ends = lines.iter().flat_map(|line| &line.points);
    let chart = Chart {
        title: format!("{}: memory", outcome.title),
        x: Axis {
            title: "seconds",
            scale: Scale::from_zero(ends.map(|point| point.0)),
        },
        y: Axis {
            title: "resident memory, MiB",
            scale: Scale::from_zero(lines.iter().flat_map(Line::heights)),
        },
        lines,
    };
    (!chart.lines.is_empty()).then(|| chart.draw())
}
