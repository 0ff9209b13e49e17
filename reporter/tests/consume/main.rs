//! The reporter's own work on the real embedded ledger and queues.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod parked;
mod parts;
mod patrol;
mod reports;
mod retention;
#[path = "../../../common/tests/support/spans.rs"]
mod spans;
mod traces;
mod world;
