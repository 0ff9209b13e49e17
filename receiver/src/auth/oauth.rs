//! `/oauth2/token`: the same tokens in the form of OAuth 2.0 (RFC 6749). Its errors are those of the
//! API with OAuth's own fields beside them.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pabal_common::access::one_authorization;
use pabal_common::domain::code::ErrorReason;
use pabal_common::http::{ApiError, Detail, ErrorBody, FormBody};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::login::Tokens;
use super::token::NO_STORE;
use crate::receiver::Shared;

/// A request for tokens. Parameters that are not known, such as `scope`, are not looked at
/// (RFC 6749, 3.2).
#[derive(Deserialize, ToSchema)]
pub(crate) struct OauthRequest {
    /// `client_credentials` or `refresh_token`.
    #[schema(required = true, nullable = false, example = "client_credentials")]
    grant_type: Option<String>,
    /// Your client id, unless it is sent by HTTP Basic.
    client_id: Option<String>,
    /// Your client secret, unless it is sent by HTTP Basic.
    client_secret: Option<String>,
    /// The refresh token, for `refresh_token`.
    refresh_token: Option<String>,
}

/// Tokens.
#[derive(Serialize, ToSchema)]
pub(crate) struct OauthAnswer {
    /// Send it as `Authorization: Bearer …`.
    access_token: String,
    /// `Bearer`.
    #[schema(example = "Bearer")]
    token_type: &'static str,
    /// For how many seconds the access token is good.
    #[schema(example = 86400)]
    expires_in: u64,
    /// Good once.
    refresh_token: String,
    /// For how many seconds the refresh token is good.
    #[schema(example = 2_592_000)]
    refresh_expires_in: u64,
}

/// Get or refresh tokens, by OAuth 2.0
///
/// Grants `client_credentials` and `refresh_token`; the client proves itself by HTTP Basic or by
/// `client_id` and `client_secret` in the form, not by both.
#[utoipa::path(
    post,
    path = "/oauth2/token",
    operation_id = "oauthToken",
    tag = "Authentication",
    request_body(content = OauthRequest, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "Tokens", body = OauthAnswer),
        (status = 400, description = "The request or the grant is not valid", body = ErrorBody),
        (status = 401, description = "The client is not who it says", body = ErrorBody),
        (status = 408, description = "E001: the body did not arrive in time", body = ErrorBody),
        (status = 413, description = "E001: the body is too large", body = ErrorBody),
        (status = 415, description = "E001: the body is not of this type", body = ErrorBody),
        (status = 429, description = "Too many logins", body = ErrorBody),
        (status = 500, description = "E100", body = ErrorBody),
        (status = 503, description = "Try again later", body = ErrorBody),
    ),
)]
pub(crate) async fn token(
    State(receiver): State<Arc<Shared>>,
    headers: HeaderMap,
    form: Result<FormBody<OauthRequest>, ApiError>,
) -> Response {
    let granted = match form {
        Ok(FormBody(request)) => grant(&receiver, &headers, request).await,
        Err(error) => Err(error),
    };
    match granted {
        Ok(tokens) => (NO_STORE, Json(OauthAnswer::from(tokens))).into_response(),
        Err(error) => (NO_STORE, in_oauth(error)).into_response(),
    }
}

impl From<Tokens> for OauthAnswer {
    fn from(tokens: Tokens) -> Self {
        Self {
            access_token: tokens.access,
            token_type: "Bearer",
            expires_in: tokens.access_ttl.as_secs(),
            refresh_token: tokens.refresh.expose().to_owned(),
            refresh_expires_in: tokens.refresh_ttl.as_secs(),
        }
    }
}

async fn grant(
    receiver: &Shared,
    headers: &HeaderMap,
    request: OauthRequest,
) -> Result<Tokens, ApiError> {
    let login = &receiver.login;
    let missing = |field: &'static str| {
        ApiError::new(ErrorReason::MissingField).detail(Detail::new(field, "required"))
    };
    let grant_type = request.grant_type.as_deref();
    let grant_type = grant_type.ok_or_else(|| missing("grant_type"))?;
    let credentials = (request.client_id, request.client_secret);
    match grant_type {
        "client_credentials" => {
            let (id, secret) = client(headers, credentials)?;
            let partner = login.authenticate(&id, &secret).await?;
            login.log_in(&partner).await
        }
        "refresh_token" => {
            let (id, secret) = client(headers, credentials)?;
            let refresh_token = request.refresh_token.as_deref();
            let refresh_token = refresh_token.ok_or_else(|| missing("refresh_token"))?;
            let partner = login.authenticate(&id, &secret).await?;
            login.refresh(refresh_token, Some(&partner.id)).await
        }
        _ => Err(ApiError::new(ErrorReason::UnsupportedGrantType).detail(
            Detail::new("grant_type", "oneOf").expected("client_credentials, refresh_token"),
        )),
    }
}

/// The client's id and secret, from the one place they are in.
fn client(
    headers: &HeaderMap,
    in_form: (Option<String>, Option<String>),
) -> Result<(String, String), ApiError> {
    let refused = |field: &'static str, rule: &'static str| {
        ApiError::new(ErrorReason::BadCredentials).detail(Detail::new(field, rule))
    };
    let (id, secret) = in_form;
    let Some(header) = one_authorization(headers)? else {
        let id = id.ok_or_else(|| refused("client_id", "required"))?;
        let secret = secret.ok_or_else(|| refused("client_secret", "required"))?;
        return Ok((id, secret));
    };
    if secret.is_some() {
        return Err(ApiError::new(ErrorReason::InvalidValue).detail(
            Detail::new("client_secret", "notAllowed")
                .expected("the secret by HTTP Basic or in the form, not both"),
        ));
    }
    let told = basic(header).ok_or_else(|| {
        let expected = "Basic and base64 of client id:client secret";
        ApiError::new(ErrorReason::BadCredentials)
            .detail(Detail::new("Authorization", "format").expected(expected))
    })?;
    // Beside Basic an id alone proves nothing and does no harm, if it is the same.
    match id {
        Some(id) if id != told.0 => Err(refused("client_id", "sameAsBasic")),
        _ => Ok(told),
    }
}

/// The credentials of `Basic` (RFC 7617). Both are made of characters that the form-encoding RFC 6749
/// asks for inside leaves as they are.
fn basic(header: &HeaderValue) -> Option<(String, String)> {
    let (scheme, encoded) = header.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    Some((id.to_owned(), secret.to_owned()))
}

/// The same refusal in the words of OAuth (RFC 6749, 5.2), with the status that goes with them.
fn in_oauth(error: ApiError) -> ApiError {
    let usual = error.status();
    let (word, status) = match error.reason() {
        ErrorReason::BadCredentials => ("invalid_client", StatusCode::UNAUTHORIZED),
        ErrorReason::RefreshTokenInvalid | ErrorReason::RefreshTokenReused => {
            ("invalid_grant", StatusCode::BAD_REQUEST)
        }
        ErrorReason::UnsupportedGrantType => ("unsupported_grant_type", StatusCode::BAD_REQUEST),
        ErrorReason::PartnerDisabled | ErrorReason::PartnerNotFound => {
            ("unauthorized_client", StatusCode::BAD_REQUEST)
        }
        ErrorReason::AuthorizationRepeated => ("invalid_request", StatusCode::BAD_REQUEST),
        _ => match usual.as_u16() {
            429 | 503 => ("temporarily_unavailable", usual),
            500.. => ("server_error", usual),
            _ => ("invalid_request", usual),
        },
    };
    error.oauth(word, status)
}
