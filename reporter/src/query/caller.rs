//! The partner behind an access token.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use pabal_common::domain::id::PartnerId;
use pabal_common::http::ApiError;

use super::Shared;

/// The caller: known, active and within its pace.
pub(super) struct Caller(pub(super) PartnerId);

impl FromRequestParts<Arc<Shared>> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, ApiError> {
        let now = shared.node.clock.now();
        let member = shared.access.authenticate(&parts.headers, now).await?;
        let id = &member.partner.id;
        shared.queries.take(id)?;
        Ok(Self(id.clone()))
    }
}
