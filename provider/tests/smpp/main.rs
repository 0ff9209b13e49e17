//! The SMPP adapter: against the simulated message centre, against a scripted one byte for byte, and
//! against one that nobody here wrote.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod binds;
mod golden;
mod parts;
mod receipts;
mod rows;
mod smsc;
mod unknown;
mod world;
