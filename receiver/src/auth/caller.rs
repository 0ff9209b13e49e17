//! The partner behind an access token.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use pabal_common::access::Member;
use pabal_common::http::ApiError;

use crate::receiver::Shared;

/// The caller, known and active.
pub(crate) struct Caller(pub(crate) Arc<Member>);

impl FromRequestParts<Arc<Shared>> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut Parts,
        receiver: &Arc<Shared>,
    ) -> Result<Self, ApiError> {
        let now = receiver.node.clock.now();
        let member = receiver.access.authenticate(&parts.headers, now).await?;
        Ok(Self(member))
    }
}
