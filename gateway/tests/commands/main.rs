//! The commands of `pabal`, run as a person or a script runs them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod configuration;
mod dead_letter;
mod ledger;
mod pabal;
mod partner;
mod route;
mod running;
mod servers;
mod template;
