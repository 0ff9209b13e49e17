//! Request bodies: never larger, never slower than allowed, and a clear word when they do not fit.

use std::time::Duration;

use axum::body::Body;
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

/// JSON is UTF-8 (RFC 8259, 8.1) and so are forms: another charset is refused rather than read as
/// what it is not. Other parameters are not looked at.
fn expect_type(headers: &HeaderMap, expected: &'static str) -> Result<(), ApiError> {
    let encoded = headers.get(CONTENT_ENCODING);
    if encoded.is_some_and(|coding| coding != "identity") {
        return Err(ApiError::new(ErrorReason::UnsupportedMediaType)
            .detail(Detail::new("Content-Encoding", "oneOf").expected("identity")));
    }
    let given = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let mut parts = given.split(';').map(str::trim);
    let refused = |rule: &'static str, expected: String| {
        Err(ApiError::new(ErrorReason::UnsupportedMediaType)
            .detail(Detail::new("Content-Type", rule).expected(expected)))
    };
    if !parts
        .next()
        .is_some_and(|t| t.eq_ignore_ascii_case(expected))
    {
        return refused("oneOf", expected.to_owned());
    }
    if parts.any(is_foreign_charset) {
        return refused("charset", format!("{expected}; charset=utf-8"));
    }
    Ok(())
}

fn is_foreign_charset(parameter: &str) -> bool {
    parameter.split_once('=').is_some_and(|(name, value)| {
        let value = value.trim().trim_matches('"');
        let is_utf8 = ["utf-8", "utf8"]
            .iter()
            .any(|one| value.eq_ignore_ascii_case(one));
        name.trim().eq_ignore_ascii_case("charset") && !is_utf8
    })
}

async fn read(request: Request) -> Result<Bytes, ApiError> {
    let limits = BodyLimits::of(request.extensions());
    let announced = announced_length(request.headers());
    // Who asks first ("Expect: 100-continue") has not begun to send.
    let waits = request.headers().contains_key(EXPECT);
    let mut body = request.into_body();
    if announced.is_some_and(|length| length > limits.max_bytes as u64) {
        if !waits {
            discard(body, limits);
        }
        return Err(too_large(limits, announced));
    }
    match tokio::time::timeout(limits.deadline, collect(&mut body, limits)).await {
        Ok(Ok(Some(bytes))) => Ok(bytes),
        Ok(Ok(None)) => {
            discard(body, limits);
            Err(too_large(limits, announced))
        }
        Ok(Err(error)) => Err(error),
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

/// The whole body; `None` as soon as it is larger than allowed.
async fn collect(body: &mut Body, limits: BodyLimits) -> Result<Option<Bytes>, ApiError> {
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
            return Ok(None);
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
    Ok(Some(if rest.is_empty() {
        first
    } else {
        rest.freeze()
    }))
}

/// Reads on a while behind the back of the answer. A connection that is closed while its client
/// still writes is reset, and an answer not read yet is lost with it. So a little more than allowed is
/// read and thrown away. Ends with the connection at the latest.
fn discard(mut body: Body, limits: BodyLimits) {
    const PATIENCE: Duration = Duration::from_secs(2);
    const BEYOND: usize = 1024 * 1024;

    let most = limits.max_bytes.saturating_add(BEYOND);
    let reading = async move {
        let mut length = 0_usize;
        while let Some(Ok(frame)) = body.frame().await {
            length = length.saturating_add(frame.data_ref().map_or(0, Bytes::len));
            if length > most {
                break;
            }
        }
    };
    tokio::spawn(tokio::time::timeout(PATIENCE, reading));
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
