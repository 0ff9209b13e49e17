//! The table: fault, accepted, lost, doubled, recovery.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;

use super::seconds;
use super::trial::Row;
use crate::command::Failure;

const BEGIN: &str = "<!-- written by pabal chaos -->";
const END: &str = "<!-- end of written -->";

/// The columns' names, for a terminal.
pub(super) fn print_heading() {
    println!(
        "{:18} {:>9} {:>9} {:>5} {:>8} {:>8} {:>9} {:>10} {:>10}",
        "FAULT",
        "ACCEPTED",
        "REPEATED",
        "LOST",
        "DOUBLED",
        "UNENDED",
        "IN DOUBT",
        "RECOVERY s",
        "MEMORY MB"
    );
}

/// One line of the table, and what is wrong.
pub(super) fn print(row: &Row) {
    let outcome = row.verdict.outcome;
    println!(
        "{:18} {:>9} {:>9} {:>5} {:>8} {:>8} {:>9} {:>10} {:>10}",
        row.fault.name,
        row.accepted,
        row.repeated,
        outcome.lost,
        outcome.doubled,
        outcome.unended,
        outcome.in_doubt,
        seconds(row.recovery),
        memory(row),
    );
    const SHOWN: usize = 5;
    for (what, messages) in &row.verdict.violations {
        let some: Vec<&str> = messages.iter().take(SHOWN).map(String::as_str).collect();
        println!("  VIOLATION {what} {}", some.join(" "));
    }
}

/// Writes the table between the marks of a Markdown file.
pub(super) fn write(path: &Path, rows: &[Row], rate: f64) -> Result<(), Failure> {
    let text = std::fs::read_to_string(path)?;
    let replaced = replace(&text, &table(rows, rate))
        .with_context(|| format!("{} has no line {BEGIN} before {END}", path.display()))
        .map_err(|error| Failure::failed(error.to_string()))?;
    std::fs::write(path, replaced)?;
    Ok(())
}

fn replace(text: &str, table: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{table}{END}{after}"))
}

fn table(rows: &[Row], rate: f64) -> String {
    let mut text = format!(
        "At {rate} messages a second:\n\n\
         | fault | accepted | lost | doubled | unended | in doubt | recovery s | largest process MB |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|\n"
    );
    for row in rows {
        let outcome = row.verdict.outcome;
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            row.fault.what,
            row.accepted,
            outcome.lost,
            outcome.doubled,
            outcome.unended,
            outcome.in_doubt,
            seconds(row.recovery),
            memory(row),
        );
    }
    text
}

/// Before and after, in MB.
fn memory(row: &Row) -> String {
    let (before, after) = row.memory;
    format!("{} → {}", before / 1024, after / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_between_the_marks_is_replaced() {
        let text = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let replaced = replace(&text, "new\n").unwrap();
        assert_eq!(replaced, format!("before\n{BEGIN}\nnew\n{END}\nafter\n"));
        assert_eq!(replace("no marks", "new"), None);
    }
}
