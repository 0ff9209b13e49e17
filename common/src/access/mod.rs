//! Who is calling: the partner behind an access token, for every service partners talk to.

use std::fmt;
use std::sync::Arc;

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderValue};

use crate::clock::Timestamp;
use crate::crypto::{Claims, TokenError, TokenIssuer};
use crate::domain::code::ErrorReason;
use crate::http::{ApiError, Detail};
use crate::ledger::{PartnerStatus, SharedLedger};

mod directory;
#[cfg(test)]
mod tests;

pub use directory::Member;

use directory::Directory;

/// Lets partners in by their access tokens.
pub struct Access {
    issuer: TokenIssuer,
    directory: Directory,
}

impl Access {
    /// Believes tokens of `issuer`, and what `ledger` says of their partners.
    pub fn new(issuer: TokenIssuer, ledger: SharedLedger) -> Self {
        Self {
            issuer,
            directory: Directory::new(ledger),
        }
    }

    /// The partner whose token a request carries, known and active.
    ///
    /// A change of the partner is obeyed within two seconds.
    ///
    /// # Errors
    /// E002 without a good token, with more than one, or with one from before the secret was changed; E007 for a
    /// partner that is not there, E008 for a disabled one; E102.
    pub async fn authenticate(
        &self,
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Result<Arc<Member>, ApiError> {
        let header = one_authorization(headers)?;
        let token = header.and_then(bearer);
        let token = token.ok_or_else(|| ApiError::new(ErrorReason::TokenMissing))?;
        let claims = self.issuer.verify(token, now).map_err(refused)?;
        self.member(&claims).await
    }

    async fn member(&self, claims: &Claims) -> Result<Arc<Member>, ApiError> {
        let mut found = self.directory.member(&claims.partner).await;
        // A token that is newer than what is remembered was issued a moment ago.
        if let Ok(Some(member)) = &found
            && member.partner.credential_version < claims.credential_version
        {
            found = self.directory.member_anew(&claims.partner).await;
        }
        let found = found.map_err(ApiError::ledger_unavailable)?;
        let member = found.ok_or_else(|| ApiError::new(ErrorReason::PartnerNotFound))?;
        if member.partner.status != PartnerStatus::Active {
            return Err(ApiError::new(ErrorReason::PartnerDisabled));
        }
        if member.partner.credential_version != claims.credential_version {
            return Err(ApiError::new(ErrorReason::TokenInvalid));
        }
        Ok(member)
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").finish_non_exhaustive()
    }
}

/// The Authorization header, if there is one. Of two nobody could say which one is meant.
///
/// # Errors
/// E002 for more than one.
pub fn one_authorization(headers: &HeaderMap) -> Result<Option<&HeaderValue>, ApiError> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let header = all.next();
    match all.count() {
        0 => Ok(header),
        more => Err(ApiError::new(ErrorReason::AuthorizationRepeated).detail(
            Detail::new("Authorization", "maxItems")
                .limit(1)
                .actual(more as u64 + 1)
                .unit("ITEM"),
        )),
    }
}

/// The token of `Authorization: Bearer …`.
fn bearer(header: &HeaderValue) -> Option<&str> {
    let header = header.to_str().ok()?;
    let (scheme, token) = header.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}

fn refused(error: TokenError) -> ApiError {
    match error {
        TokenError::Expired => ApiError::new(ErrorReason::TokenExpired),
        TokenError::Malformed | TokenError::Forged => {
            ApiError::new(ErrorReason::TokenInvalid).caused_by(error)
        }
    }
}
