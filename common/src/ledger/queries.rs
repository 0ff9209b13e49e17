//! Questions of partners and operators.

use async_trait::async_trait;

use super::LedgerError;
use crate::clock::{Day, Timestamp};
use crate::domain::id::{ClientMsgId, InstanceId, MessageId, PartnerId, SubmissionId};
use crate::domain::kind::{Lane, MessageType, Purpose};
use crate::domain::phase::Phase;
use crate::domain::reason::Reason;
use crate::domain::status::Status;

/// A message without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageView {
    /// Its id.
    pub id: MessageId,
    /// Whose it is.
    pub partner: PartnerId,
    /// The partner's id of it.
    pub client_msg_id: ClientMsgId,
    /// Keyed digest of the request.
    pub digest: [u8; 16],
    /// Its type.
    pub kind: MessageType,
    /// What it is for.
    pub purpose: Purpose,
    /// Its lane.
    pub lane: Lane,
    /// What the partner sees; PROCESSING from the first claim on.
    pub status: Status,
    /// Where it is inside.
    pub phase: Phase,
    /// Attempts that could not connect.
    pub attempt: u16,
    /// Why it failed or expired.
    pub reason: Option<Reason>,
    /// The vendor's code.
    pub vendor_code: Option<String>,
    /// The route of the last call.
    pub route: Option<String>,
    /// The vendor account of the last call.
    pub account: Option<String>,
    /// The vendor's id.
    pub vendor_id: Option<String>,
    /// Who claimed it last.
    pub owner: Option<InstanceId>,
    /// The last call.
    pub submission: Option<SubmissionId>,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// When it was put into a queue last.
    pub queued_at: Timestamp,
    /// When it was claimed last.
    pub claimed_at: Option<Timestamp>,
    /// When a vendor took it.
    pub sent_at: Option<Timestamp>,
    /// When it ended.
    pub final_at: Option<Timestamp>,
    /// Until when it was worth sending.
    pub valid_until: Timestamp,
    /// The partner's metadata, a JSON object.
    pub metadata: Option<String>,
}

/// Something unusual that happened to a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRow {
    /// When.
    pub at: Timestamp,
    /// What: the name of an [`EventKind`](crate::domain::event::EventKind), or of one that a newer
    /// program knows.
    pub kind: String,
    /// More, for people; never content.
    pub note: String,
}

/// Which daily numbers.
#[derive(Clone, Debug)]
pub struct StatsQuery {
    /// Whose.
    pub partner: PartnerId,
    /// From this day in Korea.
    pub from: Day,
    /// To this day, included.
    pub to: Day,
    /// Only this type.
    pub kind: Option<MessageType>,
}

/// One day's numbers of one partner and type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatsRow {
    /// Whose.
    pub partner: PartnerId,
    /// The day in Korea on which the messages were accepted.
    pub day: Day,
    /// The type.
    pub kind: MessageType,
    /// Ended: success + failed.
    pub total: u64,
    /// Delivered.
    pub success: u64,
    /// Failed or expired.
    pub failed: u64,
    /// Of those failed, expired.
    pub expired: u64,
}

/// A day's numbers and whether they can still change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DailyRow {
    /// The numbers.
    pub stats: StatsRow,
    /// Messages of that day that have not ended; 0 makes the row final once the day is over.
    pub in_flight: u64,
}

/// Messages by status, per partner, day and type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Totals {
    /// Whose.
    pub partner: PartnerId,
    /// The day of acceptance.
    pub day: Day,
    /// The type.
    pub kind: MessageType,
    /// Accepted.
    pub accepted: u64,
    /// DELIVERED.
    pub delivered: u64,
    /// FAILED.
    pub failed: u64,
    /// EXPIRED.
    pub expired: u64,
}

/// Books that do not agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BookDifference {
    /// What was compared, for whom and when.
    pub what: String,
    /// What the messages say.
    pub messages: u64,
    /// What the other book says.
    pub book: u64,
}

/// The room of questions.
#[async_trait]
pub trait Queries: Send + Sync {
    /// One message.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn message(&self, id: MessageId) -> Result<Option<MessageView>, LedgerError>;

    /// One message by its partner's id.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn message_by_client_id(
        &self,
        partner: &PartnerId,
        client: &ClientMsgId,
    ) -> Result<Option<MessageView>, LedgerError>;

    /// What unusual happened to a message, oldest first, at most 200.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn events(&self, id: MessageId) -> Result<Vec<EventRow>, LedgerError>;

    /// Daily numbers, by day and type.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn daily(&self, query: &StatsQuery) -> Result<Vec<DailyRow>, LedgerError>;

    /// Messages by partner, day and type, counted from the messages themselves.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn totals(&self) -> Result<Vec<Totals>, LedgerError>;

    /// Compares the books: messages against daily statistics, final status against phase, webhook
    /// rows against partners. Empty if all agree.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn reconcile(&self) -> Result<Vec<BookDifference>, LedgerError>;
}
