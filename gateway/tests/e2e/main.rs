//! The whole gateway from a partner's request to its webhook: the real services in one process on a
//! free port, the simulated vendors, and an endpoint that does what the test says.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod addresses;
mod api;
mod books;
mod callers;
mod content;
mod delivered;
mod endpoint;
mod endpoints;
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
