//! Google RCS Business Messaging: against the simulated platform, and what stands on the wire.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod callback;
mod credentials;
mod refusals;
mod rows;
mod wire;
mod world;
