//! Partners' endpoints as they are set now, ready to be called.

use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use pabal_common::crypto::Sealer;
use pabal_common::domain::id::PartnerId;
use pabal_common::ledger::{LedgerError, SharedLedger};

use super::signer::{Signer, UnsignableError};

/// How long a changed URL or secret may go unseen.
const FRESH: Duration = Duration::from_secs(2);
const KEPT: u64 = 10_000;

/// Where a webhook goes.
#[derive(Clone, Debug)]
pub(super) enum Target {
    /// There, signed so.
    Open { url: String, signer: Box<Signer> },
    /// Nowhere for now: disabled after a 410, or taken away by the partner. Its webhooks wait.
    Closed,
}

/// Why it is not known where to deliver: trouble of ours.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum TargetError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Unsignable(#[from] UnsignableError),
    #[error("the partner is gone")]
    NoPartner,
}

/// Endpoints with their opened secrets, looked up at most once in [`FRESH`].
pub(super) struct Endpoints {
    ledger: SharedLedger,
    sealer: Sealer,
    known: Cache<PartnerId, Arc<Target>>,
}

impl Endpoints {
    pub(super) fn new(ledger: SharedLedger, sealer: Sealer) -> Self {
        let known = Cache::builder()
            .max_capacity(KEPT)
            .time_to_live(FRESH)
            .build();
        Self {
            ledger,
            sealer,
            known,
        }
    }

    pub(super) async fn target(&self, partner: &PartnerId) -> Result<Arc<Target>, TargetError> {
        let found = self
            .known
            .try_get_with_by_ref(partner, async { self.look_up(partner).await.map(Arc::new) });
        found
            .await
            .map_err(|error: Arc<TargetError>| (*error).clone())
    }

    /// The next look is a fresh one.
    pub(super) async fn changed(&self, partner: &PartnerId) {
        self.known.invalidate(partner).await;
    }

    async fn look_up(&self, partner: &PartnerId) -> Result<Target, TargetError> {
        let found = self.ledger.partner(partner).await?;
        let settings = found.ok_or(TargetError::NoPartner)?.webhook;
        let Some(url) = settings.url.clone().filter(|_| settings.disabled.is_none()) else {
            return Ok(Target::Closed);
        };
        let signer = Box::new(Signer::open(&self.sealer, partner, &settings)?);
        Ok(Target::Open { url, signer })
    }
}
