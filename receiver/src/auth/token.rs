//! `/v1/auth/…`: tokens in the API's own form.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, PRAGMA};
use axum::http::{HeaderName, HeaderValue};
use pabal_common::domain::code::Code;
use pabal_common::http::{ApiError, ErrorBody, JsonBody};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::login::Tokens;
use crate::receiver::Shared;

/// Answers that hold tokens are kept by nobody on the way (RFC 6749, 5.1).
pub(super) const NO_STORE: [(HeaderName, HeaderValue); 2] = [
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (PRAGMA, HeaderValue::from_static("no-cache")),
];

/// A login.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct TokenRequest {
    /// Your client id.
    #[schema(example = "demo")]
    client_id: String,
    /// Your client secret.
    #[schema(example = "psk_…")]
    client_secret: String,
}

/// A refresh token to exchange or to revoke.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RefreshRequest {
    /// The refresh token.
    refresh_token: String,
}

/// Tokens.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TokenAnswer {
    /// `0000`.
    #[schema(example = "0000")]
    code: Code,
    /// Send it as `Authorization: Bearer …`.
    access_token: String,
    /// `Bearer`.
    #[schema(example = "Bearer")]
    token_type: &'static str,
    /// For how many seconds the access token is good.
    #[schema(example = 86400)]
    expires_in: u64,
    /// Exchange it once for new tokens at `/v1/auth/refresh`.
    refresh_token: String,
    /// For how many seconds the refresh token is good.
    #[schema(example = 2_592_000)]
    refresh_expires_in: u64,
}

/// A revocation that is done.
#[derive(Serialize, ToSchema)]
pub(crate) struct RevokeAnswer {
    /// `0000`.
    #[schema(example = "0000")]
    code: Code,
}

type Answer<T> = Result<([(HeaderName, HeaderValue); 2], Json<T>), ApiError>;

impl From<Tokens> for TokenAnswer {
    fn from(tokens: Tokens) -> Self {
        Self {
            code: Code::Success,
            access_token: tokens.access,
            token_type: "Bearer",
            expires_in: tokens.access_ttl.as_secs(),
            refresh_token: tokens.refresh.expose().to_owned(),
            refresh_expires_in: tokens.refresh_ttl.as_secs(),
        }
    }
}

/// Get tokens
///
/// Keep the access token and use it until it expires: logging in is slow on purpose.
#[utoipa::path(
    post,
    path = "/v1/auth/token",
    operation_id = "getTokens",
    tag = "Authentication",
    request_body = TokenRequest,
    responses(
        (status = 200, description = "Tokens", body = TokenAnswer),
        (status = 400, description = "E001", body = ErrorBody),
        (status = 401, description = "E002: a wrong client id or secret", body = ErrorBody),
        (status = 403, description = "E008: your account is disabled", body = ErrorBody),
        (status = 408, description = "E001: the body did not arrive in time", body = ErrorBody),
        (status = 413, description = "E001: the body is too large", body = ErrorBody),
        (status = 415, description = "E001: the body is not of this type", body = ErrorBody),
        (status = 429, description = "E003: too many logins", body = ErrorBody),
        (status = 500, description = "E100", body = ErrorBody),
        (status = 503, description = "E102", body = ErrorBody),
    ),
)]
pub(crate) async fn token(
    State(receiver): State<Arc<Shared>>,
    JsonBody(request): JsonBody<TokenRequest>,
) -> Answer<TokenAnswer> {
    let login = &receiver.login;
    let partner = login
        .authenticate(&request.client_id, &request.client_secret)
        .await?;
    let tokens = login.log_in(&partner).await?;
    Ok((NO_STORE, Json(tokens.into())))
}

/// Exchange a refresh token
///
/// A refresh token is good once; the answer brings the next. Should the answer be lost, the token is
/// good again for 30 seconds. Used later than that, it and all its successors are revoked.
#[utoipa::path(
    post,
    path = "/v1/auth/refresh",
    operation_id = "refreshTokens",
    tag = "Authentication",
    request_body = RefreshRequest,
    responses(
        (status = 200, description = "Tokens", body = TokenAnswer),
        (status = 400, description = "E001", body = ErrorBody),
        (status = 401, description = "E002: not valid, expired or used before", body = ErrorBody),
        (status = 403, description = "E008: your account is disabled", body = ErrorBody),
        (status = 404, description = "E007: your account does not exist any more", body = ErrorBody),
        (status = 408, description = "E001: the body did not arrive in time", body = ErrorBody),
        (status = 413, description = "E001: the body is too large", body = ErrorBody),
        (status = 415, description = "E001: the body is not of this type", body = ErrorBody),
        (status = 500, description = "E100", body = ErrorBody),
        (status = 503, description = "E102", body = ErrorBody),
    ),
)]
pub(crate) async fn refresh(
    State(receiver): State<Arc<Shared>>,
    JsonBody(request): JsonBody<RefreshRequest>,
) -> Answer<TokenAnswer> {
    let tokens = receiver.login.refresh(&request.refresh_token, None).await?;
    Ok((NO_STORE, Json(tokens.into())))
}

/// Revoke a refresh token
///
/// The token and every other of its login are void. Access tokens stay good until they expire. A
/// token that is not known is as good as revoked.
#[utoipa::path(
    post,
    path = "/v1/auth/revoke",
    operation_id = "revokeTokens",
    tag = "Authentication",
    request_body = RefreshRequest,
    responses(
        (status = 200, description = "Revoked", body = RevokeAnswer),
        (status = 400, description = "E001", body = ErrorBody),
        (status = 408, description = "E001: the body did not arrive in time", body = ErrorBody),
        (status = 413, description = "E001: the body is too large", body = ErrorBody),
        (status = 415, description = "E001: the body is not of this type", body = ErrorBody),
        (status = 500, description = "E100", body = ErrorBody),
        (status = 503, description = "E102", body = ErrorBody),
    ),
)]
pub(crate) async fn revoke(
    State(receiver): State<Arc<Shared>>,
    JsonBody(request): JsonBody<RefreshRequest>,
) -> Answer<RevokeAnswer> {
    receiver.login.revoke(&request.refresh_token).await?;
    let code = Code::Success;
    Ok((NO_STORE, Json(RevokeAnswer { code })))
}
