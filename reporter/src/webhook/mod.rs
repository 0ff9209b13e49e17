//! Partners are told results by signed webhook.
//!
//! A webhook row is written by the transaction in which a message ends, and is its own outbox: the
//! process that wrote it delivers it, at least once, always under the same `webhook-id`. The
//! [`Deliverer`] reads what is due endpoint by endpoint and only with a permit in hand, so that
//! waiting costs nothing and one endpoint's trouble stays its own. An attempt is one POST with one
//! deadline; what came of it is recorded together with others.
//!
//! | answer | then |
//! |---|---|
//! | 2xx | done |
//! | 5xx, 408, 425, 429, no answer in time, no connection | again after 5 s, 30 s, 2 min, 10 min, 1 h, 6 h, or later if Retry-After says so; then a dead letter |
//! | 410 | the endpoint is disabled until it is enabled by hand; its webhooks wait |
//! | any other 4xx, a redirect, a forbidden address | a dead letter at once |

mod attempt;
mod board;
mod client;
pub mod config;
mod deliverer;
mod endpoints;
mod recorder;
mod signer;
mod verdict;

pub use attempt::{Answer, Outcome, Post};
pub use client::ClientError;
pub use config::WebhookConfig;
pub use deliverer::{Deliverer, WakeDelivery};
pub use signer::{Signer, UnsignableError};
