//! The ledger: the one place that decides what may happen to a message.
//!
//! Every change that must lead to a publish writes its outbox row in the same transaction and
//! returns it as a [`Dispatch`]; whoever made the change publishes that, and retires the row after
//! the broker has confirmed. Every move of a message is one conditional update that does exactly
//! what [`crate::domain::phase::step`] does.
//!
//! The port is the sum of small traits, one a room; an implementation has its own SQL.

use std::sync::Arc;

use crate::broker::Publication;
use crate::domain::id::OutboxId;

mod books;
mod columns;
mod deadletters;
mod delays;
mod ending;
mod files;
mod frames;
mod installation;
mod instances;
mod intake;
mod letters;
mod outbox;
mod partners;
mod queries;
mod reports;
mod routes;
mod rows;
mod settling;
mod submissions;
mod templates;
mod upkeep;
mod webhooks;

pub mod mysql;
pub mod sqlite;

pub use deadletters::{DeadLetter, DeadLetterFilter, DeadLetterKind, DeadLetters, NewDeadLetter};
pub use delays::{Ask, Delays, DueGroup};
pub use files::{Files, StoredFile};
pub use installation::{Installation, KeyFingerprint};
pub use instances::{Heartbeat, Instances, Joined, LiveInstance, QueueTaken, SharedHealth};
pub use intake::{Accepted, AcceptedBatch, Duplicate, Intake};
pub use outbox::Outbox;
pub use partners::{
    Blocked, NewPartner, Partner, PartnerStatus, Partners, RefreshOutcome, RefreshToken,
    RegisteredSender, WebhookSettings,
};
pub use queries::{
    BookDifference, DailyRow, EventRow, MessageView, Queries, StatsQuery, StatsRow, Totals,
};
pub use reports::{Applied, ApplyOutcome, ParkedReport, Reports};
pub use routes::{KeptRoute, Routes};
pub use submissions::{Claim, ClaimedCall, ClaimedMessage, Hold, Looked, Settlement, Submissions};
pub use templates::{KeptTemplate, Templates};
pub use upkeep::{Overdue, Upkeep, Watched, WatchedStatus};
pub use webhooks::{DeliveryResult, DueWebhook, Endpoint, Webhooks};

/// Why the ledger could not do something. Nothing of the transaction has happened, except where a
/// commit's own answer was lost: then [`LedgerError::Unavailable`] means "perhaps", and the caller
/// reads back.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LedgerError {
    /// It cannot be reached, is read-only, locked too long, or shutting down.
    #[error("ledger unavailable: {0}")]
    Unavailable(String),
    /// A setting is wrong, so that trying again is no use: the sentence names it and the remedy.
    #[error("{0}")]
    Misconfigured(String),
    /// A row broke a rule of the schema: a bug, or one bad row in a batch.
    #[error("ledger refused: {0}")]
    Refused(String),
    /// A stored value cannot be read.
    #[error("ledger holds an unreadable value: {0}")]
    Corrupt(String),
    /// The schema is newer than this program can read, or migration failed.
    #[error("ledger schema: {0}")]
    Schema(String),
}

impl LedgerError {
    /// Whether it may be the fault of one row, and not the ledger's own trouble: then it is worth
    /// trying each row alone.
    pub const fn may_be_one_row(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Corrupt(_))
    }
}

/// What a transaction wants published, and the outbox row that keeps the wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dispatch {
    /// The row to retire once every frame is confirmed.
    pub outbox: OutboxId,
    /// The frames.
    pub frames: Vec<Publication>,
}

/// The whole port.
pub trait Ledger:
    Installation
    + Instances
    + Partners
    + Routes
    + Files
    + Templates
    + Intake
    + Outbox
    + Submissions
    + Delays
    + Reports
    + Webhooks
    + DeadLetters
    + Queries
    + Upkeep
{
}

impl<T> Ledger for T where
    T: Installation
        + Instances
        + Partners
        + Routes
        + Files
        + Templates
        + Intake
        + Outbox
        + Submissions
        + Delays
        + Reports
        + Webhooks
        + DeadLetters
        + Queries
        + Upkeep
{
}

/// The ledger a process uses.
pub type SharedLedger = Arc<dyn Ledger>;
