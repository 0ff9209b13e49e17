//! No hot statement of the ledger reads a table from end to end: each is caught as the port's
//! methods run it, and explained on a filled table.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod calls;
mod mysql;
mod sqlite;
mod tap;

/// The driver's log is one for the whole process: only one of these tests runs at a time.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
