//! What a scenario came to, for people.

use super::result::{self, Line, Outcome, Run, Spread};
use super::versus::Ratio;
use crate::command::bench::measure::timing::PERCENTILES;

/// Prints a scenario's table.
pub(in crate::command::bench) fn print(outcome: &Outcome) {
    println!("\n{}: {}", outcome.title, outcome.manner());
    for line in &outcome.ground {
        println!("  {line}");
    }
    print_runs(&outcome.runs);
    for rival in &outcome.rivals {
        println!("\n  {}, {}", rival.title(), rival.version);
        print_runs(&rival.runs);
        for remark in &rival.remarks {
            println!("  {remark}");
        }
    }
    let ratios = outcome.rivals.iter().filter_map(|rival| {
        let ratio = Ratio::of(rival.figure, &outcome.runs, &rival.runs)?;
        let value = ratio.value().map_or_else(|| "-".to_owned(), number);
        let cells = vec![value, number(ratio.pabal), number(ratio.peer)];
        Some((format!("{}, {}", rival.title(), rival.figure), cells))
    });
    print_columns(
        "Pabal : peer, of medians",
        &["ratio", "Pabal", "peer"],
        ratios,
    );
    for failure in &outcome.failures {
        println!("  NOT A RESULT: {failure}");
    }
}

/// Prints the figures, times and processes of several runs.
fn print_runs(runs: &[Run]) {
    print_columns(
        "",
        &["median", "min", "max"],
        result::figures(runs)
            .into_iter()
            .map(|(name, spread)| (name, all_of(spread).to_vec())),
    );
    let heads = PERCENTILES.map(|(name, _)| name);
    let columns = PERCENTILES.map(|(_, at)| result::timings(runs, at));
    print_columns(
        "milliseconds, median of the runs",
        &heads,
        beside(&columns).map(|(name, spreads)| (name, medians(&spreads))),
    );
    let has_messages = runs.iter().any(|run| run.messages > 0);
    let (head, cpu) = if has_messages {
        let per_thousand = result::usage(runs, |run, one| one.per_thousand(run.messages));
        ("CPU s per 1,000", per_thousand)
    } else {
        (
            "CPU % of a core",
            result::usage(runs, |_, one| one.percent()),
        )
    };
    let resident = result::usage(runs, |_, one| one.resident as f64 / 1024.0);
    let peak = result::usage(runs, |_, one| one.peak as f64 / 1024.0);
    let columns = [cpu, resident, peak];
    let rows = beside(&columns).map(|(name, spreads)| {
        let most = spreads.get(2).map_or(0.0, |peak| peak.max);
        let (cpu, now) = (spreads[0], spreads.get(1).map_or(0.0, |now| now.median));
        (
            name,
            vec![
                number(cpu.median),
                number(cpu.min),
                number(cpu.max),
                number(now.round()),
                number(most.round()),
            ],
        )
    });
    print_columns(
        "process, memory in MiB",
        &[head, "min", "max", "at the end", "peak"],
        rows,
    );
}

/// Lines of the same name beside each other.
fn beside(columns: &[Vec<Line>]) -> impl Iterator<Item = (String, Vec<Spread>)> + use<'_> {
    let names = columns.first().map_or(&[][..], Vec::as_slice);
    names.iter().map(move |(name, _)| {
        let of_column = |column: &Vec<Line>| {
            let found = column.iter().find(|(one, _)| one == name);
            found.map(|(_, spread)| *spread)
        };
        (name.clone(), columns.iter().filter_map(of_column).collect())
    })
}

fn medians(spreads: &[Spread]) -> Vec<String> {
    spreads.iter().map(|spread| number(spread.median)).collect()
}

fn all_of(spread: Spread) -> [String; 3] {
    [spread.median, spread.min, spread.max].map(number)
}

/// A heading and its rows, names to the left, numbers to the right; nothing without rows.
fn print_columns(
    title: &str,
    heads: &[&str],
    rows: impl IntoIterator<Item = (String, Vec<String>)>,
) {
    let rows: Vec<_> = rows.into_iter().collect();
    if rows.is_empty() {
        return;
    }
    let names = rows.iter().map(|(name, _)| name.chars().count());
    let name_width = names.chain([title.chars().count()]).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|(_, cells)| cells.get(column));
        let widest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
        widest.max(heads[column].len())
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let line = |name: &str, cells: &[&str]| {
        let cells = cells.iter().zip(&widths);
        let cells: String = cells
            .map(|(cell, width)| format!("  {cell:>width$}"))
            .collect();
        println!("  {name:name_width$}{cells}");
    };
    println!();
    line(title, heads);
    for (name, cells) in &rows {
        line(name, &cells.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

/// A number as people write it: as many digits as mean something, thousands apart.
pub(super) fn number(value: f64) -> String {
    let digits = match value.abs() {
        0.0 => 0,
        small if small < 0.1 => 4,
        small if small < 1.0 => 3,
        small if small < 10.0 => 2,
        small if small < 100.0 => 1,
        _ => 0,
    };
    let text = format!("{value:.digits$}");
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let (sign, whole) = match whole.strip_prefix('-') {
        Some(whole) => ("-", whole),
        None => ("", whole),
    };
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    match fraction {
        "" => format!("{sign}{grouped}"),
        _ => format!("{sign}{grouped}.{fraction}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_people_write_them() {
        for (value, text) in [
            (0.0, "0"),
            (0.012_34, "0.0123"),
            (0.5, "0.500"),
            (9.876, "9.88"),
            (98.76, "98.8"),
            (987.6, "988"),
            (1_234_567.0, "1,234,567"),
            (-1_000.0, "-1,000"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn lines_of_one_name_stand_beside_each_other() {
        let line = |name: &str, value: f64| {
            let spread = Spread {
                median: value,
                min: value,
                max: value,
            };
            (name.to_owned(), spread)
        };
        let columns = [
            vec![line("a", 1.0), line("b", 2.0)],
            vec![line("b", 20.0), line("a", 10.0)],
        ];
        let rows: Vec<_> = beside(&columns)
            .map(|(name, spreads)| (name, medians(&spreads)))
            .collect();
        assert_eq!(
            rows[0],
            ("a".to_owned(), vec!["1.00".into(), "10.0".into()])
        );
        assert_eq!(
            rows[1],
            ("b".to_owned(), vec!["2.00".into(), "20.0".into()])
        );
    }
}
