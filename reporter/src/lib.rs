//! Reports into status, statistics, partner webhooks and the query API
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod address;
mod answer;
pub mod apply;
mod burial;
pub mod config;
pub mod consume;
pub mod parked;
pub mod patrol;
pub mod query;
mod reporter;
pub mod retention;
pub mod webhook;

pub use config::SETTINGS;
pub use reporter::{Reporter, ReporterConfig};
