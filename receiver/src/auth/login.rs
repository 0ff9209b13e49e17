//! Logging in and staying logged in, whatever the address it is asked at.

use std::sync::Arc;
use std::time::Duration;

use pabal_common::clock::Clock;
use pabal_common::crypto::{HashError, RefreshToken, SecretHasher, TokenIssuer};
use pabal_common::deadline::in_time;
use pabal_common::domain::code::ErrorReason;
use pabal_common::domain::id::PartnerId;
use pabal_common::http::ApiError;
use pabal_common::ledger::{
    self, LedgerError, Partner, PartnerStatus, RefreshOutcome, SharedLedger,
};
use tokio::sync::Semaphore;

use crate::config::AuthConfig;
use crate::receiver::LEDGER_LIMIT;

/// No refresh token is longer, in bytes.
const LONGEST_REFRESH_TOKEN: usize = 256;

/// What a successful login gives.
pub(crate) struct Tokens {
    pub(crate) access: String,
    pub(crate) access_ttl: Duration,
    pub(crate) refresh: RefreshToken,
    pub(crate) refresh_ttl: Duration,
}

/// Issues tokens.
pub(crate) struct Login {
    config: AuthConfig,
    ledger: SharedLedger,
    clock: Arc<dyn Clock>,
    issuer: TokenIssuer,
    hasher: SecretHasher,
    /// Bounds those who log in and those who wait for it.
    places: Semaphore,
}

impl Login {
    pub(crate) fn new(
        config: AuthConfig,
        ledger: SharedLedger,
        clock: Arc<dyn Clock>,
        issuer: TokenIssuer,
    ) -> Self {
        Self {
            hasher: SecretHasher::new(config.logins_at_once, config.login_wait),
            places: Semaphore::new(config.logins_at_once + config.logins_waiting),
            config,
            ledger,
            clock,
            issuer,
        }
    }

    /// The partner that `client_id` and `secret` prove.
    ///
    /// # Errors
    /// BAD_CREDENTIALS, the same and after the same time whether the client exists or not;
    /// PARTNER_DISABLED for the right secret of a disabled partner; TOKEN_RATE_LIMITED; E102.
    pub(crate) async fn authenticate(
        &self,
        client_id: &str,
        secret: &str,
    ) -> Result<Partner, ApiError> {
        let too_many =
            || ApiError::new(ErrorReason::TokenRateLimited).retry_after(self.config.login_wait);
        let _place = self.places.try_acquire().map_err(|_| too_many())?;
        let partner = match client_id.parse::<PartnerId>() {
            Ok(id) => self.partner(&id).await,
            Err(_) => Ok(None),
        };
        let partner = partner.map_err(ApiError::ledger_unavailable)?;
        let hash = partner.as_ref().map(|partner| partner.secret_hash.as_str());
        let fits = match self.hasher.verify(hash, secret).await {
            Ok(fits) => fits,
            Err(HashError::Busy) => return Err(too_many()),
            Err(error) => return Err(ApiError::internal(error)),
        };
        let partner = partner.filter(|_| fits);
        let partner = partner.ok_or_else(|| ApiError::new(ErrorReason::BadCredentials))?;
        check_active(&partner)?;
        Ok(partner)
    }

    /// Tokens for a new login: the first of their family.
    ///
    /// # Errors
    /// E102.
    pub(crate) async fn log_in(&self, partner: &Partner) -> Result<Tokens, ApiError> {
        let now = self.clock.now();
        let refresh = RefreshToken::generate();
        let hash = refresh.digest();
        // The family is named by its first token: as random as that, and of no use to anybody.
        let mut family = [0; 16];
        family.copy_from_slice(&hash[..16]);
        let kept = ledger::RefreshToken {
            hash,
            family,
            partner: partner.id.clone(),
            expires_at: now.plus(self.config.refresh_ttl),
        };
        let kept = in_time(LEDGER_LIMIT, self.ledger.keep_refresh(&kept, now)).await;
        kept.map_err(ApiError::ledger_unavailable)?;
        Ok(self.tokens(partner, refresh))
    }

    /// Uses up a refresh token and gives its successor. `client` is who presents it, where that was
    /// proven: a token of another partner is then treated as stolen, and its family revoked.
    ///
    /// # Errors
    /// REFRESH_TOKEN_INVALID, REFRESH_TOKEN_REUSED, E007, E008, E102.
    pub(crate) async fn refresh(
        &self,
        presented: &str,
        client: Option<&PartnerId>,
    ) -> Result<Tokens, ApiError> {
        let invalid = || ApiError::new(ErrorReason::RefreshTokenInvalid);
        if presented.is_empty() || presented.len() > LONGEST_REFRESH_TOKEN {
            return Err(invalid());
        }
        let presented = RefreshToken::presented(presented).digest();
        let next = RefreshToken::generate();
        let next_hash = next.digest();
        let now = self.clock.now();
        let (expires_at, grace) = (now.plus(self.config.refresh_ttl), self.config.refresh_grace);
        let rotated = self
            .ledger
            .rotate_refresh(&presented, &next_hash, expires_at, grace, now);
        let outcome = in_time(LEDGER_LIMIT, rotated)
            .await
            .map_err(ApiError::ledger_unavailable)?;
        let owner = match outcome {
            RefreshOutcome::Rotated(owner) => owner,
            RefreshOutcome::Invalid => return Err(invalid()),
            RefreshOutcome::Reused(owner) => {
                tracing::warn!(partner = %owner, "a used refresh token came again; its family is revoked");
                return Err(ApiError::new(ErrorReason::RefreshTokenReused));
            }
        };
        if client.is_some_and(|client| *client != owner) {
            let revoked = in_time(LEDGER_LIMIT, self.ledger.revoke_refresh(&next_hash)).await;
            revoked.map_err(ApiError::ledger_unavailable)?;
            tracing::warn!(partner = %owner, "another partner's refresh token came; its family is revoked");
            return Err(invalid());
        }
        let partner = self.partner(&owner).await;
        let partner = partner.map_err(ApiError::ledger_unavailable)?;
        let partner = partner.ok_or_else(|| ApiError::new(ErrorReason::PartnerNotFound))?;
        check_active(&partner)?;
        Ok(self.tokens(&partner, next))
    }

    /// Revokes a refresh token and its family; one that is not known is as good as revoked.
    ///
    /// # Errors
    /// E102.
    pub(crate) async fn revoke(&self, presented: &str) -> Result<(), ApiError> {
        let digest = RefreshToken::presented(presented).digest();
        let revoked = in_time(LEDGER_LIMIT, self.ledger.revoke_refresh(&digest)).await;
        revoked.map_err(ApiError::ledger_unavailable)
    }

    /// The partner's row as it is now.
    async fn partner(&self, id: &PartnerId) -> Result<Option<Partner>, LedgerError> {
        in_time(LEDGER_LIMIT, self.ledger.partner(id)).await
    }

    fn tokens(&self, partner: &Partner, refresh: RefreshToken) -> Tokens {
        let (now, ttl) = (self.clock.now(), self.config.access_ttl);
        Tokens {
            access: self
                .issuer
                .issue(&partner.id, partner.credential_version, now, ttl),
            access_ttl: ttl,
            refresh,
            refresh_ttl: self.config.refresh_ttl,
        }
    }
}

fn check_active(partner: &Partner) -> Result<(), ApiError> {
    match partner.status {
        PartnerStatus::Active => Ok(()),
        PartnerStatus::Disabled => Err(ApiError::new(ErrorReason::PartnerDisabled)),
    }
}
