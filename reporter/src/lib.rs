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

use pabal_common::config::Setting;

pub use config::SETTINGS;
pub use reporter::{Reporter, ReporterConfig};

/// Every setting of the reporter, part by part.
pub const ALL_SETTINGS: &[&[Setting]] = &[
    config::SETTINGS,
    webhook::config::SETTINGS,
    query::config::SETTINGS,
];
