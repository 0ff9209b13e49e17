//! `pabal`: every service in one process on the embedded ledger, and the commands to run it.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod endpoint;
pub mod gateway;
mod house;
pub mod openapi;
pub mod partners;
pub mod settings;
pub mod storage;
pub mod timeline;
pub mod vendors;
mod watch;
