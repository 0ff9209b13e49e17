#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]
//! What every Pabal service shares. This crate knows no service.
//!
//! | room | holds |
//! |---|---|
//! | [`domain`] | the pure part: message, phase machine, limits, codes, ids, reports |
//! | [`ledger`] | all SQL: the one place that decides what may happen to a message |
//! | [`broker`] | the queues: frames of ids, confirmed publishing, deliveries |
//! | [`files`] | the bytes of files, sealed, in a folder or a bucket |
//! | [`quota`] | rate limit per partner and the fast path for repeated requests |
//! | [`batch`] | group commit: many callers, one transaction |
//! | [`crypto`] | sealing, signatures, secrets, keys |
//! | [`http`] | the HTTP server, error answers, extractors |
//! | [`access`] | the partner behind an access token |
//! | [`instance`], [`node`] | this process in the ledger: lease, node id, ids; and its parts |
//! | [`relay`], [`breaker`] | from the outbox to the broker, and when to stop trying |
//! | [`rounds`], [`deadline`] | loops that keep time; answers that come in time, or not |
//! | [`supervisor`] | the parts of a service, none of which may end alone |
//! | [`process`] | a process that runs services: start, back-ends, what it serves, the order of its stop |
//! | [`telemetry`], [`config`], [`clock`] | logs, metrics and traces; settings; time |

pub mod access;
pub mod address;
pub mod batch;
pub mod breaker;
pub mod broker;
pub mod clock;
pub mod config;
pub mod crypto;
pub mod deadline;
pub mod domain;
pub mod files;
pub mod http;
pub mod instance;
pub mod ledger;
pub mod node;
pub mod process;
pub mod quota;
pub mod relay;
pub mod rounds;
pub mod supervisor;
pub mod telemetry;
