//! Routes: which vendor account carries a message, and whether it can now.
//!
//! A [`RouteSpec`] is what the configuration says. [`RouteHealth`] and [`Budget`] are the rules,
//! pure and driven by a clock that is passed in. The [`RouteBook`] holds them for every route and
//! hands out permits: no vendor call is made without one.

mod book;
mod budget;
mod choice;
mod fit;
mod health;
mod line;
mod permit;
mod probe;
mod shelf;
mod spec;
mod state;
mod turn;

#[cfg(test)]
mod tests;

pub use book::{BookError, RouteBook, RouteState};
pub use budget::Budget;
pub use fit::{Carries, Fit, Misfit, Traits};
pub use health::{Condition, Health, Observation, RouteHealth, SharedState};
pub use permit::{NoRoute, Permit};
pub use shelf::Route;
pub use spec::{RouteSettings, RouteSpec, SpecError};
