//! What was given up, kept for people to look at and to send again.

use async_trait::async_trait;

use super::{Dispatch, LedgerError};
use crate::clock::Timestamp;
use crate::domain::id::{DeadLetterId, InstanceId, OutboxId, PartnerId};

/// What kind of thing was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeadLetterKind {
    /// A webhook its endpoint never took.
    Webhook,
    /// A report that never found its message.
    Report,
    /// A frame nobody could read.
    Frame,
}

impl DeadLetterKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Webhook, Self::Report, Self::Frame];

    /// The word in the ledger and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Report => "report",
            Self::Frame => "frame",
        }
    }

    /// The kind with this word.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Something to be given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDeadLetter {
    /// Its id; a webhook's dead letter has an id of its own.
    pub id: DeadLetterId,
    /// What it is.
    pub kind: DeadLetterKind,
    /// Whose it is, where it is a partner's.
    pub partner: Option<PartnerId>,
    /// What it is about: a webhook id, a vendor message id, a queue.
    pub subject: String,
    /// Why it was given up; partners may read it.
    pub reason: String,
    /// Failed attempts.
    pub attempts: u16,
    /// A webhook's body, a report frame or an unreadable frame: never a vendor's body.
    pub payload: Vec<u8>,
}

/// A dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// What was given up.
    pub letter: NewDeadLetter,
    /// When.
    pub created_at: Timestamp,
    /// When it was last sent again.
    pub replayed_at: Option<Timestamp>,
}

/// Which dead letters.
#[derive(Clone, Debug, Default)]
pub struct DeadLetterFilter {
    /// Only this partner's.
    pub partner: Option<PartnerId>,
    /// Only this kind.
    pub kind: Option<DeadLetterKind>,
    /// Only given up at or after.
    pub from: Option<Timestamp>,
    /// Only given up before.
    pub to: Option<Timestamp>,
    /// Only these.
    pub ids: Vec<DeadLetterId>,
    /// Only after this one, in the order of ids: the cursor.
    pub after: Option<DeadLetterId>,
    /// At most this many.
    pub limit: u32,
}

/// The room of dead letters.
#[async_trait]
pub trait DeadLetters: Send + Sync {
    /// Keeps dead letters.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn bury(&self, letters: &[NewDeadLetter], now: Timestamp) -> Result<(), LedgerError>;

    /// Dead letters by filter, oldest first.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn dead_letters(&self, filter: &DeadLetterFilter)
    -> Result<Vec<DeadLetter>, LedgerError>;

    /// Sends dead letters again, each in one transaction with what makes it go: a webhook becomes a
    /// webhook row with its old id, a report or frame goes through the outbox. Returns how many,
    /// and what is to be published.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn replay(
        &self,
        me: InstanceId,
        outbox: OutboxId,
        filter: &DeadLetterFilter,
        now: Timestamp,
    ) -> Result<(u32, Option<Dispatch>), LedgerError>;
}
