//! `pabal`: every service in one process, or some of them, and the commands to run them.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod endpoint;
pub mod gateway;
pub mod openapi;
pub mod partners;
pub mod settings;
pub mod timeline;
pub mod trial;
pub mod vendors;
