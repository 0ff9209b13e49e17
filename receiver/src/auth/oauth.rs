//! `/oauth2/token`: the same tokens in the form of OAuth 2.0 (RFC 6749), errors included.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pabal_common::domain::code::{Code, ErrorReason, Language};
use pabal_common::http::{ApiError, FormBody, RequestContext};
use pabal_common::telemetry::metric;
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

/// A refusal (RFC 6749, 5.2), with the API's code and reason beside it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) struct OauthError {
    /// `invalid_request`, `invalid_client`, `invalid_grant`, `unauthorized_client`,
    /// `unsupported_grant_type`, `temporarily_unavailable` or `server_error`.
    #[schema(example = "invalid_client")]
    error: &'static str,
    /// A sentence for people, in English: the form allows ASCII alone.
    error_description: &'static str,
    /// The API's code.
    code: Code,
    /// The API's reason.
    reason: ErrorReason,
    /// The id of this request, to quote when asking for help.
    request_id: String,
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
        (status = 400, description = "The request or the grant is not valid", body = OauthError),
        (status = 401, description = "The client is not who it says", body = OauthError),
        (status = 429, description = "Too many logins", body = OauthError),
        (status = 503, description = "Try again later", body = OauthError),
    ),
)]
pub(crate) async fn token(
    State(receiver): State<Arc<Shared>>,
    context: RequestContext,
    headers: HeaderMap,
    form: Result<FormBody<OauthRequest>, ApiError>,
) -> Response {
    let by_basic = headers.contains_key(AUTHORIZATION);
    let granted = match form {
        Ok(FormBody(request)) => grant(&receiver, &headers, request).await,
        Err(error) => Err(error),
    };
    match granted {
        Ok(tokens) => (NO_STORE, Json(OauthAnswer::from(tokens))).into_response(),
        Err(error) => refuse(error, &context, by_basic),
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
    let missing = || ApiError::new(ErrorReason::MissingField);
    let grant_type = request.grant_type.as_deref().ok_or_else(missing)?;
    let credentials = (request.client_id, request.client_secret);
    match grant_type {
        "client_credentials" => {
            let (id, secret) = client(headers, credentials)?;
            let partner = login.authenticate(&id, &secret).await?;
            login.log_in(&partner).await
        }
        "refresh_token" => {
            let (id, secret) = client(headers, credentials)?;
            let refresh_token = request.refresh_token.as_deref().ok_or_else(missing)?;
            let partner = login.authenticate(&id, &secret).await?;
            login.refresh(refresh_token, Some(&partner.id)).await
        }
        _ => Err(ApiError::new(ErrorReason::UnsupportedGrantType)),
    }
}

/// The client's id and secret, from the one place they are in.
fn client(
    headers: &HeaderMap,
    in_form: (Option<String>, Option<String>),
) -> Result<(String, String), ApiError> {
    let refused = || ApiError::new(ErrorReason::BadCredentials);
    match (headers.get(AUTHORIZATION), in_form) {
        (None, (Some(id), Some(secret))) => Ok((id, secret)),
        (None, _) => Err(refused()),
        (Some(header), (None, None)) => basic(header).ok_or_else(refused),
        // Beside Basic an id alone proves nothing and does no harm, if it is the same.
        (Some(header), (Some(id), None)) => {
            let told = basic(header).ok_or_else(refused)?;
            (told.0 == id).then_some(told).ok_or_else(refused)
        }
        (Some(_), (_, Some(_))) => Err(ApiError::new(ErrorReason::InvalidValue)),
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

/// How a refusal is told.
enum Told {
    /// In the form of OAuth.
    Oauth(&'static str, StatusCode),
    /// Trouble that is not OAuth's: in the form of the API, with OAuth's word in it.
    Api(&'static str),
}

fn told(reason: ErrorReason) -> Told {
    match reason {
        ErrorReason::BadCredentials => Told::Oauth("invalid_client", StatusCode::UNAUTHORIZED),
        ErrorReason::RefreshTokenInvalid | ErrorReason::RefreshTokenReused => {
            Told::Oauth("invalid_grant", StatusCode::BAD_REQUEST)
        }
        ErrorReason::UnsupportedGrantType => {
            Told::Oauth("unsupported_grant_type", StatusCode::BAD_REQUEST)
        }
        ErrorReason::PartnerDisabled | ErrorReason::PartnerNotFound => {
            Told::Oauth("unauthorized_client", StatusCode::BAD_REQUEST)
        }
        other => match other.http_status() {
            400 => Told::Oauth("invalid_request", StatusCode::BAD_REQUEST),
            429 | 503 => Told::Api("temporarily_unavailable"),
            500.. => Told::Api("server_error"),
            _ => Told::Api("invalid_request"),
        },
    }
}

fn refuse(error: ApiError, context: &RequestContext, by_basic: bool) -> Response {
    let (word, status) = match told(error.reason()) {
        Told::Oauth(word, status) => (word, status),
        Told::Api(word) => return error.oauth(word).into_response(),
    };
    tracing::debug!(
        code = error.code().name(),
        reason = error.reason().name(),
        "request refused"
    );
    metric::request_refused(error.code(), error.reason());
    let body = OauthError {
        error: word,
        error_description: error.reason().message(Language::English),
        code: error.code(),
        reason: error.reason(),
        request_id: context.id.to_string(),
    };
    let mut response = (status, NO_STORE, Json(body)).into_response();
    if status == StatusCode::UNAUTHORIZED && by_basic {
        let scheme = HeaderValue::from_static(r#"Basic realm="pabal""#);
        response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
    }
    response
}
