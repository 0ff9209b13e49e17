//! The commands, one a module.

use std::process::ExitCode;
use std::sync::Arc;

use pabal_common::clock::SystemClock;
use pabal_common::config::Values;
use pabal_common::domain::id::PartnerId;
use pabal_gateway::gateway::StartError;
use pabal_gateway::storage::{Folder, Storage};

pub(crate) mod config;
pub(crate) mod dead_letter;
pub(crate) mod demo;
pub(crate) mod ledger;
pub(crate) mod message;
pub(crate) mod openapi;
pub(crate) mod partner;
pub(crate) mod reconcile;
pub(crate) mod serve;

/// Why a command ends with an exit code other than 0.
pub(crate) struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    /// Wrong use or configuration: exit code 2.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self {
            code: 2,
            message: message.into(),
        }
    }

    /// It did not work, or the answer is no: exit code 1.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self {
            code: 1,
            message: message.into(),
        }
    }

    /// Says it, and gives the exit code.
    pub(crate) fn report(self) -> ExitCode {
        if !self.message.is_empty() {
            eprintln!("pabal: {}", self.message);
        }
        ExitCode::from(self.code)
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::failed(error.to_string())
    }
}

/// Why the gateway did not start: what is wrong with the configuration is wrong use.
pub(crate) fn not_started(error: StartError) -> Failure {
    match error {
        StartError::Configuration(_) | StartError::Vendors(_) => Failure::usage(error.to_string()),
        other => other.into(),
    }
}

/// The data folder, beside a process that may be running.
pub(crate) async fn visit(values: &Values) -> Result<Storage, Failure> {
    let folder = Folder::new(values.path("data.folder"));
    Ok(Storage::visit(&folder, Arc::new(SystemClock)).await?)
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

#[cfg(test)]
mod tests {
    use pabal_common::config::ConfigError;
    use pabal_common::ledger::LedgerError;
    use pabal_gateway::vendors::VendorError;

    use super::*;

    #[test]
    fn a_start_that_failed_for_its_configuration_is_wrong_use_and_any_other_a_failure() {
        let configuration = ConfigError {
            problems: Vec::new(),
        };
        let vendors = VendorError::Table {
            table: "route",
            number: 1,
            cause: "none".into(),
        };
        assert_eq!(not_started(configuration.into()).code, 2);
        assert_eq!(not_started(vendors.into()).code, 2);
        assert_eq!(
            not_started(LedgerError::Unavailable("away".into()).into()).code,
            1
        );
    }
}
