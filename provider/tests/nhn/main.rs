//! The adapter for NHN Cloud: against the simulated vendor, and against answers as the vendor's
//! documentation prints them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod answers;
mod asking;
mod callback;
mod canned;
mod polling;
mod requests;
mod rows;
mod rules;
mod world;
