//! Request bodies: never larger, never slower than allowed, and a clear word when they do not fit.

use std::time::Duration;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use serde::de::DeserializeOwned;

use super::error::{ApiError, Detail};
use super::{explain, form};
use crate::domain::code::ErrorReason;

/// How large a body may be and how long it may take. A route has its own by
/// `.layer(Extension(BodyLimits { .. }))`; without one the default holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyLimits {
    /// Bytes.
    pub max_bytes: usize,
    /// From the moment the handler asks for the body until its last byte.
    pub deadline: Duration,
}

impl Default for BodyLimits {
    /// 256 KiB within 10 s.
    fn default() -> Self {
        Self {
            max_bytes: 256 * 1024,
            deadline: Duration::from_secs(10),
        }
    }
}

impl BodyLimits {
    fn of(extensions: &Extensions) -> Self {
        extensions.get().copied().unwrap_or_default()
    }
}

/// A whole body as it came, within its [`BodyLimits`].
#[derive(Clone, Debug)]
pub struct BoundedBody(pub Bytes);

impl<S: Sync> FromRequest<S> for BoundedBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        read(request).await.map(Self)
    }
}

/// A JSON body.
#[derive(Clone, Copy, Debug)]
pub struct JsonBody<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        expect_type(request.headers(), "application/json")?;
        parse_json(&read(request).await?).map(Self)
    }
}

/// A body of `application/x-www-form-urlencoded`.
#[derive(Clone, Copy, Debug)]
pub struct FormBody<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for FormBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        expect_type(request.headers(), "application/x-www-form-urlencoded")?;
        form::parse("body", &read(request).await?).map(Self)
    }
}

/// The query of the address.
#[derive(Clone, Copy, Debug)]
pub struct QueryParams<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for QueryParams<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        form::parse("query", parts.uri.query().unwrap_or_default().as_bytes()).map(Self)
    }
}

/// Reads a `T` from JSON.
///
/// # Errors
/// INVALID_JSON with the byte position, or UNKNOWN_FIELD, MISSING_FIELD, INVALID_VALUE with the
/// field's path. `T` should not use `#[serde(flatten)]`, which hides the path.
pub fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(bytes).map_err(|refusal| explain::explain::<T>(bytes, &refusal))
}

/// Parameters such as a charset are not looked at: JSON is UTF-8 (RFC 8259, 8.1).
fn expect_type(headers: &HeaderMap, expected: &'static str) -> Result<(), ApiError> {
    let encoded = headers.get(CONTENT_ENCODING);
    if encoded.is_some_and(|coding| coding != "identity") {
        return Err(ApiError::new(ErrorReason::UnsupportedMediaType)
            .detail(Detail::new("Content-Encoding", "oneOf").expected("identity")));
    }
    let given = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .map(str::trim);
    match given {
        Some(given) if given.eq_ignore_ascii_case(expected) => Ok(()),
        _ => Err(ApiError::new(ErrorReason::UnsupportedMediaType)
            .detail(Detail::new("Content-Type", "oneOf").expected(expected))),
    }
}

async fn read(request: Request) -> Result<Bytes, ApiError> {
    let limits = BodyLimits::of(request.extensions());
    let announced = announced_length(request.headers());
    // Who asks first ("Expect: 100-continue") has not begun to send.
    let waits = request.headers().contains_key(EXPECT);
    if waits && announced.is_some_and(|length| length > limits.max_bytes as u64) {
        return Err(too_large(limits, announced));
    }
    match tokio::time::timeout(limits.deadline, collect(request, limits)).await {
        Ok(body) => body,
        Err(_) => Err(ApiError::new(ErrorReason::BodyTooSlow).detail(
            Detail::new("body", "deadline")
                .limit(millis(limits.deadline))
                .unit("MILLISECOND"),
        )),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn announced_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn collect(request: Request, limits: BodyLimits) -> Result<Bytes, ApiError> {
    // A connection that is closed while its client still writes is reset, and the answer is lost
    // with it; so a little more than allowed is read and thrown away.
    const PATIENCE: usize = 1024 * 1024;

    let announced = announced_length(request.headers());
    let mut body = request.into_body();
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    let mut length = 0_usize;
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| ApiError::new(ErrorReason::BodyIncomplete).caused_by(error))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        length = length.saturating_add(data.len());
        if length > limits.max_bytes {
            first.clear();
            rest.clear();
            if length > limits.max_bytes.saturating_add(PATIENCE) {
                break;
            }
        } else if first.is_empty() && rest.is_empty() {
            // Most bodies come in one piece, and that needs no copy.
            first = data;
        } else {
            if rest.is_empty() {
                rest.extend_from_slice(&first);
            }
            rest.extend_from_slice(&data);
        }
    }
    if length > limits.max_bytes {
        return Err(too_large(limits, announced));
    }
    Ok(if rest.is_empty() {
        first
    } else {
        rest.freeze()
    })
}

fn too_large(limits: BodyLimits, announced: Option<u64>) -> ApiError {
    let detail = Detail::new("body", "maxBytes")
        .limit(limits.max_bytes as u64)
        .unit("BYTE");
    ApiError::new(ErrorReason::BodyTooLarge).detail(match announced {
        Some(length) => detail.actual(length),
        None => detail,
    })
}
