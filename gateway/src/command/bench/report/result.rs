//! What a run came to, and what several runs of a scenario say together.

use crate::command::bench::books::Books;
use crate::command::bench::measure::meter::Usage;
use crate::command::bench::measure::timing::Timing;
use crate::command::bench::measure::trace::Trace;
use crate::command::bench::order::Plan;
use crate::command::bench::peer::Rival;

/// The rate of acceptance, while requests were sent.
pub(in crate::command::bench) const ACCEPTED_A_SECOND: &str = "accepted a second";
/// The rate of the whole way: from the first request until the partner was told of the last message.
pub(in crate::command::bench) const TOLD_A_SECOND: &str = "told a second, to the last webhook";

/// One number of a run.
#[derive(Clone, Debug)]
pub(in crate::command::bench) struct Figure {
    /// What it says, with its unit.
    pub(in crate::command::bench) name: String,
    /// The number.
    pub(in crate::command::bench) value: f64,
}

impl Figure {
    /// A number with its name.
    pub(in crate::command::bench) fn new(name: impl Into<String>, value: f64) -> Self {
        Self {
            name: name.into(),
            value,
        }
    }

    /// How many of something.
    pub(in crate::command::bench) fn count(name: impl Into<String>, value: usize) -> Self {
        Self::new(name, value as f64)
    }
}

/// What one run of a scenario came to.
#[derive(Clone, Debug, Default)]
pub(in crate::command::bench) struct Run {
    /// How many messages the processor time is divided by; 0 if the run has none.
    pub(in crate::command::bench) messages: usize,
    /// Its numbers, in the order in which they are shown.
    pub(in crate::command::bench) figures: Vec<Figure>,
    /// How long things took.
    pub(in crate::command::bench) timings: Vec<Timing>,
    /// What was looked at again and again.
    pub(in crate::command::bench) traces: Vec<Trace>,
    /// What each process used.
    pub(in crate::command::bench) usage: Vec<Usage>,
    /// Whether it is a result.
    pub(in crate::command::bench) books: Books,
}

/// Several runs of one scenario.
pub(in crate::command::bench) struct Outcome {
    /// The scenario's name, with what was chosen.
    pub(in crate::command::bench) title: String,
    /// The scenario's name.
    pub(in crate::command::bench) scenario: &'static str,
    /// Where it was run: `embedded`, `distributed`, `elsewhere`.
    pub(in crate::command::bench) place: &'static str,
    /// How it was run.
    pub(in crate::command::bench) plan: Plan,
    /// On what: server versions and settings, in words.
    pub(in crate::command::bench) ground: Vec<String>,
    /// The runs, in order.
    pub(in crate::command::bench) runs: Vec<Run>,
    /// What was measured in turn with it.
    pub(in crate::command::bench) rivals: Vec<Rival>,
    /// Why it is no result, if it is none.
    pub(in crate::command::bench) failures: Vec<String>,
}

impl Outcome {
    /// Whether every run is a result.
    pub(in crate::command::bench) fn is_good(&self) -> bool {
        self.failures.is_empty()
    }

    /// Where and how, in words.
    pub(in crate::command::bench) fn manner(&self) -> String {
        let Plan {
            connections,
            rate,
            messages,
            rows,
            runs,
            lasts,
            ..
        } = self.plan;
        let mut words = vec![self.place.to_owned()];
        if connections > 0 {
            words.push(format!("{connections} connections"));
        }
        if rate > 0 {
            words.push(format!("{rate} requests a second"));
        }
        if rows > 0 {
            words.push(format!("{rows} rows"));
        }
        let runs = match runs {
            1 => "one run".to_owned(),
            runs => format!("{runs} runs"),
        };
        words.push(match messages {
            0 => format!("{runs} of {} s", lasts.as_secs()),
            messages => format!("{runs} of {messages} messages"),
        });
        words.join(", ")
    }
}

/// The middle of several values, and the least and the most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::command::bench) struct Spread {
    pub(in crate::command::bench) median: f64,
    pub(in crate::command::bench) min: f64,
    pub(in crate::command::bench) max: f64,
}

impl Spread {
    /// Of at least one value.
    pub(in crate::command::bench) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = match values.len() % 2 {
            0 => f64::midpoint(values[middle - 1], values[middle]),
            _ => values[middle],
        };
        Some(Self { median, min, max })
    }
}

/// One line of a summary.
pub(in crate::command::bench) type Line = (String, Spread);

/// The figures of several runs, by name, in the order of the first run.
pub(in crate::command::bench) fn figures(runs: &[Run]) -> Vec<Line> {
    lines(runs, |run| {
        let pairs = run.figures.iter();
        pairs.map(|one| (one.name.clone(), one.value)).collect()
    })
}

/// A percentile of every timing of several runs, in milliseconds, by name.
pub(in crate::command::bench) fn timings(runs: &[Run], percentile: f64) -> Vec<Line> {
    lines(runs, |run| {
        let pairs = run.timings.iter().filter(|timing| timing.count() > 0);
        pairs
            .map(|one| (one.name.to_owned(), one.millis(percentile)))
            .collect()
    })
}

/// Something of every process of several runs, by name.
pub(in crate::command::bench) fn usage(runs: &[Run], of: fn(&Run, &Usage) -> f64) -> Vec<Line> {
    lines(runs, |run| {
        let pairs = run.usage.iter();
        pairs.map(|one| (one.name.clone(), of(run, one))).collect()
    })
}

/// Joins what the runs say under the same name.
fn lines(runs: &[Run], of: impl Fn(&Run) -> Vec<(String, f64)>) -> Vec<Line> {
    let of_runs: Vec<_> = runs.iter().map(of).collect();
    let mut names: Vec<&String> = Vec::new();
    for (name, _) in of_runs.iter().flatten() {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let line = |name: &String| {
        let values = of_runs.iter().flatten();
        let values = values
            .filter(|(one, _)| one == name)
            .map(|(_, value)| *value);
        Some((name.clone(), Spread::of(values)?))
    };
    names.into_iter().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_whatever_the_order() {
        let of = |values: &[f64]| Spread::of(values.iter().copied()).unwrap();
        assert_eq!(
            of(&[9.0, 1.0, 5.0]),
            Spread {
                median: 5.0,
                min: 1.0,
                max: 9.0
            }
        );
        assert!((of(&[4.0, 1.0, 2.0, 3.0]).median - 2.5).abs() < 1e-9);
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn figures_of_the_same_name_are_joined_over_the_runs() {
        let run = |values: &[(&str, f64)]| Run {
            figures: values
                .iter()
                .map(|&(name, value)| Figure::new(name, value))
                .collect(),
            ..Run::default()
        };
        let runs = [run(&[("a", 1.0), ("b", 5.0)]), run(&[("a", 3.0)])];
        let lines = figures(&runs);
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0].0, "a");
        assert!((lines[0].1.median - 2.0).abs() < 1e-9);
        assert!((lines[1].1.max - 5.0).abs() < 1e-9);
    }
}
