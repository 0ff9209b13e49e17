//! The contract of the limits, run against every implementation, and what is Redis's alone: one
//! limit over many receivers, and its absence.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod absence;
mod contract;
mod server;
mod settings;
mod shared;
mod stack;
