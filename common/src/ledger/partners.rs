//! Partners, their sender numbers and their refresh tokens.

use std::time::Duration;

use async_trait::async_trait;

use super::LedgerError;
use crate::clock::Timestamp;
use crate::domain::id::PartnerId;
use crate::domain::text::Unencodable;

/// Whether a partner may use the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartnerStatus {
    /// Yes.
    Active,
    /// No: every request is E008.
    Disabled,
}

/// Where and how a partner is told results.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebhookSettings {
    /// The endpoint; none, no webhooks.
    pub url: Option<String>,
    /// The signing secret in use, sealed.
    pub secret: Vec<u8>,
    /// The other secret during a rotation, sealed.
    pub other_secret: Option<Vec<u8>>,
    /// Until when the other secret signs too; `None` while the new one is not yet activated.
    pub other_until: Option<Timestamp>,
    /// The most results in one webhook, 1–100.
    pub batch: u16,
    /// Whether SENT is told too.
    pub sent: bool,
    /// Why the endpoint is disabled, if it is.
    pub disabled: Option<String>,
}

/// A partner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partner {
    /// Its id and `clientId`.
    pub id: PartnerId,
    /// Its name, for people.
    pub name: String,
    /// Whether it may use the API.
    pub status: PartnerStatus,
    /// The argon2id hash of its client secret.
    pub secret_hash: String,
    /// Raised when the secret is rotated: older access tokens are void.
    pub credential_version: u32,
    /// Accepted items a second.
    pub per_second: u32,
    /// AUTH items a second on the express lane.
    pub express_per_second: u32,
    /// What happens to characters a type cannot carry.
    pub unencodable: Unencodable,
    /// Where results go.
    pub webhook: WebhookSettings,
    /// When it was added.
    pub created_at: Timestamp,
}

/// A partner to add.
#[derive(Clone, Debug)]
pub struct NewPartner {
    /// All but the time.
    pub partner: Partner,
    /// Sender numbers it may use, digits only.
    pub senders: Vec<String>,
}

/// A refresh token as it is kept: only its hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefreshToken {
    /// SHA-256 of the token.
    pub hash: [u8; 32],
    /// The login it descends from.
    pub family: [u8; 16],
    /// Whose it is.
    pub partner: PartnerId,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// What presenting a refresh token did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefreshOutcome {
    /// It is used up; the successor is kept.
    Rotated(PartnerId),
    /// Not known, expired, or revoked.
    Invalid,
    /// Used before, outside the grace: the whole family is revoked.
    Reused(PartnerId),
}

/// The room of partners.
#[async_trait]
pub trait Partners: Send + Sync {
    /// Adds a partner; false if the id is taken.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn add_partner(&self, new: &NewPartner) -> Result<bool, LedgerError>;

    /// One partner.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn partner(&self, id: &PartnerId) -> Result<Option<Partner>, LedgerError>;

    /// Every partner, by id.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn partners(&self) -> Result<Vec<Partner>, LedgerError>;

    /// Replaces a partner's row; false if there is none.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn update_partner(&self, partner: &Partner) -> Result<bool, LedgerError>;

    /// The sender numbers a partner may use, digits only.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn senders(&self, partner: &PartnerId) -> Result<Vec<String>, LedgerError>;

    /// Allows a sender number; allowing it twice is no error.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn allow_sender(
        &self,
        partner: &PartnerId,
        number: &str,
        now: Timestamp,
    ) -> Result<(), LedgerError>;

    /// Keeps a refresh token, the first of its family.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn keep_refresh(&self, token: &RefreshToken, now: Timestamp) -> Result<(), LedgerError>;

    /// Uses up the token with hash `presented` and keeps `next_hash` as its successor in the same
    /// family. A token used before is still good within `grace` of its first use (an answer may have
    /// been lost); after that its family is revoked.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn rotate_refresh(
        &self,
        presented: &[u8; 32],
        next_hash: &[u8; 32],
        next_expires_at: Timestamp,
        grace: Duration,
        now: Timestamp,
    ) -> Result<RefreshOutcome, LedgerError>;

    /// Revokes the family of the token with this hash; an unknown token is no error.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn revoke_refresh(&self, hash: &[u8; 32]) -> Result<(), LedgerError>;

    /// Revokes every refresh token of a partner.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn revoke_refresh_of(&self, partner: &PartnerId) -> Result<(), LedgerError>;
}
