//! Routes as operators set them beside the configuration file, and how routes are.

use async_trait::async_trait;
use sqlx::FromRow;

use super::{LedgerError, SharedHealth};
use crate::clock::Timestamp;

/// What the ledger says of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptRoute {
    /// Its name.
    pub name: String,
    /// A `[[route]]` table as JSON, in place of the file's; `None` leaves that as it is.
    pub definition: Option<String>,
    /// Whether it carries nothing until it is resumed.
    pub paused: bool,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// The room of routes.
#[async_trait]
pub trait Routes: Send + Sync {
    /// Everything that is kept of routes, by name.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn routes(&self) -> Result<Vec<KeptRoute>, LedgerError>;

    /// Sets a route, in place of what was set or of the file's. A pause goes on.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn set_route(
        &self,
        name: &str,
        definition: &str,
        now: Timestamp,
    ) -> Result<(), LedgerError>;

    /// Pauses a route or resumes it.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn pause_route(
        &self,
        name: &str,
        paused: bool,
        now: Timestamp,
    ) -> Result<(), LedgerError>;

    /// Forgets all that is kept of a route, a pause too: what the file says holds again. False if
    /// nothing was.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn forget_route(&self, name: &str) -> Result<bool, LedgerError>;

    /// How routes are, and whether types have one, as those who live told it last.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn told_health(&self) -> Result<Vec<SharedHealth>, LedgerError>;
}

/// The columns of a route.
#[derive(FromRow)]
pub(super) struct RouteRow {
    name: String,
    definition: Option<String>,
    paused: bool,
    updated_at: i64,
}

impl RouteRow {
    pub(super) fn read(self) -> KeptRoute {
        KeptRoute {
            name: self.name,
            definition: self.definition,
            paused: self.paused,
            updated_at: Timestamp::from_millis(self.updated_at),
        }
    }
}

/// The columns of a route's health.
#[derive(FromRow)]
pub(super) struct HealthRow {
    route: String,
    health: String,
    rate: i64,
    since: i64,
}

impl HealthRow {
    pub(super) fn read(self) -> SharedHealth {
        SharedHealth {
            route: self.route,
            health: self.health,
            rate: u32::try_from(self.rate).unwrap_or(0),
            since: Timestamp::from_millis(self.since),
        }
    }
}
