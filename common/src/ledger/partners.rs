//! Partners, their sender numbers and their refresh tokens.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::FromRow;

use super::LedgerError;
use super::rows::partner_id;
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

/// A sender number of a partner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisteredSender {
    /// Digits only.
    pub number: String,
    /// Set while it must not be used.
    pub blocked: Option<Blocked>,
}

/// Why a sender number must not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// Since when.
    pub since: Timestamp,
    /// Who refused it, for people.
    pub why: String,
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

    /// Changes a partner from what was `read` into `changed`; false, and nothing is changed, if it is
    /// not as it was read any more: another change must not be undone.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn update_partner(&self, read: &Partner, changed: &Partner) -> Result<bool, LedgerError>;

    /// The sender numbers a partner may use, digits only; not those that are blocked.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn senders(&self, partner: &PartnerId) -> Result<Vec<String>, LedgerError>;

    /// Every sender number of a partner, by number, also those that are blocked.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn registered_senders(
        &self,
        partner: &PartnerId,
    ) -> Result<Vec<RegisteredSender>, LedgerError>;

    /// Blocks a sender number because vendors refuse it; false if it is blocked already, or is none
    /// of the partner's.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn block_sender(
        &self,
        partner: &PartnerId,
        number: &str,
        blocked: &Blocked,
    ) -> Result<bool, LedgerError>;

    /// Allows a sender number, also one that was blocked; allowing it twice is no error.
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

/// The columns of a partner.
#[derive(FromRow)]
pub(super) struct PartnerRow {
    partner_id: String,
    name: String,
    active: bool,
    secret_hash: String,
    credential_version: i64,
    per_second: i64,
    express_per_second: i64,
    unencodable: String,
    webhook_url: Option<String>,
    webhook_secret: Vec<u8>,
    webhook_other_secret: Option<Vec<u8>>,
    webhook_other_until: Option<i64>,
    webhook_batch: i64,
    webhook_sent: bool,
    webhook_disabled: Option<String>,
    created_at: i64,
}

impl PartnerRow {
    pub(super) fn into_partner(self) -> Result<Partner, LedgerError> {
        let whole = |number: i64| u32::try_from(number).unwrap_or(u32::MAX);
        Ok(Partner {
            id: partner_id(&self.partner_id)?,
            name: self.name,
            status: if self.active {
                PartnerStatus::Active
            } else {
                PartnerStatus::Disabled
            },
            secret_hash: self.secret_hash,
            credential_version: whole(self.credential_version),
            per_second: whole(self.per_second),
            express_per_second: whole(self.express_per_second),
            unencodable: self
                .unencodable
                .parse()
                .map_err(|_| LedgerError::Corrupt("policy for characters".into()))?,
            webhook: WebhookSettings {
                url: self.webhook_url,
                secret: self.webhook_secret,
                other_secret: self.webhook_other_secret,
                other_until: self.webhook_other_until.map(Timestamp::from_millis),
                batch: u16::try_from(self.webhook_batch).unwrap_or(1),
                sent: self.webhook_sent,
                disabled: self.webhook_disabled,
            },
            created_at: Timestamp::from_millis(self.created_at),
        })
    }
}

/// The columns of a sender number.
#[derive(FromRow)]
pub(super) struct SenderRow {
    number: String,
    blocked_at: Option<i64>,
    blocked_why: Option<String>,
}

impl SenderRow {
    pub(super) fn read(self) -> RegisteredSender {
        let why = self.blocked_why.unwrap_or_default();
        let blocked = |at| Blocked {
            since: Timestamp::from_millis(at),
            why,
        };
        RegisteredSender {
            number: self.number,
            blocked: self.blocked_at.map(blocked),
        }
    }
}

/// The columns of a refresh token.
#[derive(FromRow)]
pub(super) struct RefreshRow {
    pub(super) family: Vec<u8>,
    partner_id: String,
    expires_at: i64,
    used_at: Option<i64>,
    revoked: bool,
}

/// What is to be done about a refresh token that is presented.
pub(super) enum Presented {
    /// Nothing.
    Invalid,
    /// Revoke its family.
    Reused(PartnerId),
    /// Use it up and keep its successor.
    Rotated(RefreshToken),
}

impl RefreshRow {
    /// Judges the token at `now`; `hash` and `expires_at` are its successor's.
    pub(super) fn present(
        &self,
        hash: [u8; 32],
        expires_at: Timestamp,
        grace: Duration,
        now: Timestamp,
    ) -> Result<Presented, LedgerError> {
        if self.revoked || self.expires_at <= now.millis() {
            return Ok(Presented::Invalid);
        }
        let partner = partner_id(&self.partner_id)?;
        let used_at = self.used_at.map(Timestamp::from_millis);
        if used_at.is_some_and(|at| now.since(at) > grace) {
            return Ok(Presented::Reused(partner));
        }
        let family = self.family.as_slice().try_into();
        Ok(Presented::Rotated(RefreshToken {
            hash,
            family: family.map_err(|_| LedgerError::Corrupt("family of a refresh token".into()))?,
            partner,
            expires_at,
        }))
    }
}
