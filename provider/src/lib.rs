//! The vendors: one [`Provider`] trait, one module per vendor protocol, and the routes that decide
//! which vendor account carries a message.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod provider;

pub use provider::{
    Answer, AskError, Asked, Attachment, Call, CallbackError, Capabilities, Closed, Found, Lost,
    NotConnected, Outcome, Outgoing, PollError, Polled, ProbeError, Provider, ReportDesk,
    ReportPath, ReportsNotKept,
};
pub mod adapter;
pub mod config;
pub mod kept;
pub mod route;
