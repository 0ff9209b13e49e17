//! The command line of a service's own program.

use std::path::PathBuf;

use clap::Args;

use super::{Failure, settings};
use crate::config::{Setting, Values};

/// Where settings come from, the later winning: defaults, file, PABAL_… variables, --set.
#[derive(Args, Clone, Debug)]
pub struct Arguments {
    /// A TOML file with settings, `[[account]]` and `[[route]]` tables; one for all services
    #[arg(long, short, global = true, env = "PABAL_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// One setting, e.g. --set http.address=0.0.0.0:8080; may be repeated
    #[arg(long, global = true, value_name = "KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,
}

/// What `--help` says last.
pub const AFTER_HELP: &str = "\
Every service reads the same settings and passes over those of the others; `pabal config` checks the
whole file and shows what is in force. It needs ledger.url and broker.url: with the embedded ledger
`pabal` runs every service in one process.

SIGTERM stops in order: /readyz says no, intake ends, what is in hand is finished or given back.

Exit codes: 0 stopped as asked, 1 failed, 2 wrong use or configuration.";

impl Arguments {
    /// The configuration file, if one is named: its path and text.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn file(&self) -> Result<Option<(PathBuf, String)>, Failure> {
        let Some(path) = &self.config else {
            return Ok(None);
        };
        let text = std::fs::read_to_string(path).map_err(|error| {
            Failure::usage(format!("configuration file {}: {error}", path.display()))
        })?;
        Ok(Some((path.clone(), text)))
    }

    /// The settings given by `--set`.
    pub fn flags(&self) -> &[(String, String)] {
        &self.set
    }

    /// The same with more settings on top.
    pub fn with(&self, more: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut arguments = self.clone();
        arguments.set.extend(more);
        arguments
    }

    /// The settings in force for a program of the service that declares these.
    ///
    /// # Errors
    /// Every mistake in them; and if the ledger is the embedded one, which is one process's alone.
    pub fn load_service(&self, service: &[&'static [Setting]]) -> Result<Values, Failure> {
        let values = settings::load_service(service, self.file()?, std::env::vars(), self.flags())
            .map_err(|error| Failure::usage(format!("configuration:\n{error}")))?;
        match settings::is_shared(&values) {
            true => Ok(values),
            false => Err(Failure::usage(EMBEDDED)),
        }
    }
}

const EMBEDDED: &str = "without ledger.url the ledger is SQLite, and one process owns its data folder: \
     run `pabal`, which has every service in one process, or set ledger.url and broker.url";

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text
        .split_once('=')
        .ok_or_else(|| "expected KEY=VALUE, as in http.address=0.0.0.0:8080".to_owned())?;
    Ok((key.trim().to_owned(), value.to_owned()))
}
