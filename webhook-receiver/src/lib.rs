//! Vendors' callbacks and polling into the report queue.
//!
//! Vendors that call back find one address per account under [`router`]; those that have to be
//! asked are polled by [`run`]. Either way a vendor is only told "taken" when its reports are with
//! the broker, or in the ledger's outbox that will bring them there. What comes twice is harmless:
//! the reporter sorts it out, so in doubt a vendor is asked to repeat.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod callback;
mod config;
mod poll;
mod vendors;

pub use callback::router;
pub use config::{Config, SETTINGS};
pub use poll::run;
pub use vendors::Vendors;
