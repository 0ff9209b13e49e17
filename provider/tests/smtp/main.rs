//! The SMTP adapter: against a scripted server word for word, for recipients' servers behind a name
//! server of the test's own, against the simulated one, and against one that nobody here wrote.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod dialogue;
mod direct;
mod interop;
mod mails;
mod nameserver;
mod rows;
mod server;
mod world;
