//! The tests of `main.rs` with the ledger on MySQL or MariaDB, the queues on RabbitMQ and the limits
//! on Redis: the servers named in `PABAL_TEST_LEDGER_URL`, `PABAL_TEST_BROKER_URL` and
//! `PABAL_TEST_QUOTA_URL`, else those on the usual local ports. Only [`stack`] differs.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod addresses;
mod api;
mod books;
mod callers;
mod content;
mod delivered;
mod endpoint;
mod endpoints;
mod failover;
mod house;
mod outages;
mod outcomes;
mod partner;
mod query;
mod repeats;
mod requests;
mod sealing;
mod slow;
mod wait;

#[path = "stack/servers.rs"]
mod stack;
#[path = "stack/tap.rs"]
mod tap;

#[test]
fn both_stacks_have_the_same_tests() {
    // What follows a `#[path]` is the stack itself.
    let modules = |text: &'static str| {
        let (tests, _) = text.split_once("#[path").unwrap();
        let lines = tests.lines().filter(|line| line.starts_with("mod "));
        lines.collect::<Vec<_>>()
    };
    let (here, there) = (include_str!("servers.rs"), include_str!("main.rs"));
    assert_eq!(modules(here), modules(there));
}
