//! The contract of the broker, run against every implementation of the port. A property is written
//! once; a new implementation is one more factory in `stack`.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod contract;
mod proxy;
mod rabbit;
mod restart;
mod server;
#[path = "../support/spans.rs"]
mod spans;
mod stack;
