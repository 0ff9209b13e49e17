//! Naver TalkTalk's own API: against the simulated vendor, and what stands on the wire.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod rows;
mod wire;
mod world;
