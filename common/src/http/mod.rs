//! The HTTP side of every service: server, request context, bodies, error answers, health,
//! and how the API is described.
//!
//! A service builds a plain [`axum::Router`] whose handlers fail with [`ApiError`]; whoever serves
//! it passes the whole through [`finish`] and [`serve`].

pub mod answer;
pub mod body;
pub mod description;
pub mod error;
mod explain;
mod fault;
mod form;
pub mod health;
mod nesting;
pub mod request;
pub mod server;
mod stall;

pub use answer::finish;
pub use body::{BodyLimits, BoundedBody, FormBody, JsonBody, QueryParams, parse_json};
pub use error::{ApiError, Detail, ErrorBody};
pub use nesting::{MAX_JSON_DEPTH, json_depth};
pub use request::{RequestContext, RequestId};
pub use server::{ServerLimits, serve};

#[cfg(test)]
mod tests;
