//! The contract of the ledger, run against every implementation of the port. A property is written
//! once; a new implementation is one more factory in `stack`.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod accept;
mod books;
mod claim;
mod delays;
mod effects;
mod expiry;
mod files;
mod instances;
mod letters;
mod mysql;
mod mysql_faults;
mod mysql_proxy;
mod mysql_races;
mod mysql_upkeep;
mod mysql_values;
mod outbox;
mod phases;
mod reports;
mod routes;
mod sqlite;
mod stack;
mod tokens;
mod twin;
mod upkeep;
mod webhooks;
