//! The receiver over a real socket, on the embedded ledger and queues.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod batch;
mod description;
mod files;
mod house;
mod lanes;
mod oauth;
mod refusals;
mod send;
mod templates;
mod tokens;
mod trouble;
