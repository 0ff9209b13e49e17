//! Callbacks over real sockets and polls, on the embedded ledger and broker.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod callbacks;
mod house;
mod outages;
mod polling;
mod simulated;
mod vendor;
