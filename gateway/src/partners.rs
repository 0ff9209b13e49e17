//! Adding partners: from the command line, at the first start, and in the demo.

use pabal_common::clock::Timestamp;
use pabal_common::crypto::{ClientSecret, HashError, Sealer, SecretHasher, WebhookSecret};
use pabal_common::domain::id::PartnerId;
use pabal_common::domain::sender::Sender;
use pabal_common::domain::text::Unencodable;
use pabal_common::ledger::{
    LedgerError, NewPartner, Partner, PartnerStatus, Partners, WebhookSettings,
};

/// The default limit of accepted messages (requirement 3.2).
pub const PER_SECOND: u32 = 1000;
/// The default share of AUTH messages on the express lane.
pub const EXPRESS_PER_SECOND: u32 = 100;

/// A partner to be added.
#[derive(Clone, Debug)]
pub struct Application {
    /// Its id and `clientId`.
    pub id: PartnerId,
    /// Its name, for people.
    pub name: String,
    /// Accepted items a second.
    pub per_second: u32,
    /// AUTH items a second on the express lane.
    pub express_per_second: u32,
    /// What happens to characters a type cannot carry.
    pub unencodable: Unencodable,
    /// Where results go.
    pub webhook_url: Option<String>,
    /// The most results in one webhook.
    pub webhook_batch: u16,
    /// Whether SENT is told too.
    pub webhook_sent: bool,
    /// Sender numbers, and domains of mails, it may use.
    pub senders: Vec<Sender>,
}

impl Application {
    /// A partner with the usual limits, no endpoint and no sender numbers.
    pub fn new(id: PartnerId, name: &str) -> Self {
        Self {
            id,
            name: name.to_owned(),
            per_second: PER_SECOND,
            express_per_second: EXPRESS_PER_SECOND,
            unencodable: Unencodable::Reject,
            webhook_url: None,
            webhook_batch: 1,
            webhook_sent: false,
            senders: Vec::new(),
        }
    }
}

/// What a new partner needs to know; shown once, never stored in the clear.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The `clientId`.
    pub client_id: PartnerId,
    /// The `clientSecret`.
    pub client_secret: ClientSecret,
    /// What its webhooks are signed with.
    pub webhook_secret: WebhookSecret,
}

/// Why a partner cannot be added.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// The id is taken.
    #[error("there is a partner named {0} already; pabal partner list shows them")]
    Exists(PartnerId),
    /// The secret could not be hashed.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// The ledger does not answer.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Adds a partner with fresh secrets.
///
/// # Errors
/// [`AddError`].
pub async fn add(
    ledger: &dyn Partners,
    sealer: &Sealer,
    hasher: &SecretHasher,
    application: Application,
    now: Timestamp,
) -> Result<Credentials, AddError> {
    let credentials = Credentials {
        client_id: application.id.clone(),
        client_secret: ClientSecret::generate(),
        webhook_secret: WebhookSecret::generate(),
    };
    let partner = Partner {
        id: application.id.clone(),
        name: application.name,
        status: PartnerStatus::Active,
        secret_hash: hasher.hash(&credentials.client_secret).await?,
        credential_version: 1,
        per_second: application.per_second,
        express_per_second: application.express_per_second,
        unencodable: application.unencodable,
        webhook: WebhookSettings {
            url: application.webhook_url,
            secret: seal(sealer, &application.id, &credentials.webhook_secret),
            batch: application.webhook_batch,
            sent: application.webhook_sent,
            ..WebhookSettings::default()
        },
        created_at: now,
    };
    let senders = application
        .senders
        .iter()
        .map(|number| number.entry().to_owned())
        .collect();
    match ledger.add_partner(&NewPartner { partner, senders }).await? {
        true => Ok(credentials),
        false => Err(AddError::Exists(application.id)),
    }
}

/// A webhook secret as the ledger keeps it.
pub fn seal(sealer: &Sealer, partner: &PartnerId, secret: &WebhookSecret) -> Vec<u8> {
    sealer.seal_secret(partner.as_str(), secret.expose().as_bytes())
}
