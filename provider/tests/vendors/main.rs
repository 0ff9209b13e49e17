//! Every adapter against the simulated vendors, over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod batch;
mod callback;
mod connection;
mod kakao;
mod rows;
mod world;
