//! The program `pabal-sender`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../../common/tests/support/program.rs"]
mod program;

use program::Program;

const PATH: &str = env!("CARGO_BIN_EXE_pabal-sender");

#[test]
fn it_refuses_the_embedded_ledger_which_is_one_process_s_alone() {
    Program::new(PATH).refuses_the_embedded_ledger();
}

#[test]
fn it_refuses_settings_that_no_service_has_and_passes_over_those_of_the_others() {
    Program::new(PATH).refuses_settings_that_nobody_declares();
}

#[test]
fn it_waits_for_its_ledger_says_so_once_and_ends_well_at_a_signal() {
    Program::new(PATH).waits_for_its_ledger_until_a_signal();
}
