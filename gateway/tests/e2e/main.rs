//! The whole gateway from a partner's request to its webhook: the real services in one process on a
//! free port, the simulated vendors, and an endpoint that does what the test says.
//!
//! The same tests run on both stacks. Here everything is in the process and its data folder; in
//! `servers.rs` the ledger is on MySQL or MariaDB, the queues are on RabbitMQ and the limits on
//! Redis. Only [`stack`] differs.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod addresses;
mod api;
mod books;
mod callers;
mod content;
mod delivered;
mod endpoint;
mod endpoints;
mod failover;
mod house;
mod outages;
mod outcomes;
mod partner;
mod query;
mod repeats;
mod requests;
mod sealing;
mod slow;
mod wait;

#[path = "stack/embedded.rs"]
mod stack;
