//! `pabal`, the program: see `pabal --help`.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

use std::process::ExitCode;

use pabal_common::process;

mod cli;
mod command;

fn main() -> ExitCode {
    process::main("pabal", cli::run())
}
