//! The commands, one a module.

use pabal_common::config::Values;
use pabal_common::domain::id::PartnerId;
pub(crate) use pabal_common::process::Failure;
use pabal_common::process::{Backends, Visit};

pub(crate) mod bench;
pub(crate) mod chaos;
pub(crate) mod config;
pub(crate) mod dead_letter;
pub(crate) mod demo;
pub(crate) mod front;
pub(crate) mod ground;
pub(crate) mod health;
pub(crate) mod ledger;
pub(crate) mod message;
pub(crate) mod openapi;
pub(crate) mod partner;
pub(crate) mod reconcile;
pub(crate) mod route;
pub(crate) mod sender;
pub(crate) mod serve;
pub(crate) mod template;

/// The ledger, beside processes that may be running.
pub(crate) async fn visit(values: &Values) -> Result<Visit, Failure> {
    let backends = Backends::from_values(values).map_err(|error| error.failure())?;
    Visit::open(&backends)
        .await
        .map_err(|error| error.failure())
}

/// No partner has this id.
pub(crate) fn no_such_partner(id: &PartnerId) -> Failure {
    Failure::failed(format!(
        "there is no partner named {id}; `pabal partner list` shows them"
    ))
}

/// Prints a value as one JSON document.
pub(crate) fn print_json(value: &serde_json::Value) {
    println!("{value:#}");
}

/// Prints rows under headings, each column as wide as its widest cell.
pub(crate) fn print_table<const N: usize>(headings: [&str; N], rows: &[[String; N]]) {
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .chain([headings[column].len()])
            .max()
            .unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |cells: [&str; N]| {
        let padded: Vec<String> = cells
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        // A vendor's or partner's text must not command the terminal.
        let text = padded.join("  ").replace(char::is_control, "?");
        println!("{}", text.trim_end());
    };
    line(headings);
    for row in rows {
        line(std::array::from_fn(|column| row[column].as_str()));
    }
}
