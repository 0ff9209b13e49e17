//! Many processes on MySQL, RabbitMQ and Redis: the programs themselves, killed, frozen, stopped and
//! started wrongly, on the servers that `PABAL_TEST_LEDGER_URL`, `PABAL_TEST_BROKER_URL` and
//! `PABAL_TEST_QUOTA_URL` name, else on this machine's.
//!
//! The witnesses are the simulator's record, the partner's endpoint, and the ledger read beside the
//! programs. Each test has a schema and prefixes of its own and removes them.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod absence;
mod commands;
mod description;
mod frozen;
mod ground;
mod idempotency;
mod mistakes;
mod partner;
mod process;
mod rolling;
mod takeover;
mod traces;
mod twice;
mod wait;
mod world;
