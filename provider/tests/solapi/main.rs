//! The Solapi adapter: against the simulated vendor over real sockets, and on the wire as the vendor's
//! documents write it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod asking;
mod callback;
mod credentials;
mod refusals;
mod rows;
mod scripted;
mod wire;
mod world;
