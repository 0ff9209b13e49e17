//! The layer around every router: request id, one shape for all errors, panics caught, one span
//! and one measurement per request.

use std::any::Any;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Request};
use axum::http::header::{
    CONNECTION, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument as _;

use super::error::ApiError;
use super::request::{RequestContext, X_REQUEST_ID};
use crate::domain::code::ErrorReason;
use crate::telemetry::metric;

/// Wraps a whole router. Whatever goes wrong inside, in a handler, in axum or by a panic, leaves as
/// the API's error body; every answer carries the request's id.
pub fn finish(router: Router) -> Router {
    router
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn(answer))
}

async fn answer(mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let context = RequestContext::of(request.extensions(), request.headers());
    request.extensions_mut().insert(context.clone());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("unmatched", MatchedPath::as_str);
    let span = tracing::info_span!(
        "request",
        method = %request.method(),
        route,
        request_id = context.id.as_str(),
        status = tracing::field::Empty,
    );

    let mut response = next.run(request).instrument(span.clone()).await;
    if let Some(error) = error_in(&mut response) {
        span.in_scope(|| log(&error));
        metric::request_refused(error.code(), error.reason());
        response = render(&error, &context, response);
    }
    if let Ok(id) = HeaderValue::from_str(context.id.as_str()) {
        response.headers_mut().insert(X_REQUEST_ID, id);
    }
    span.record("status", response.status().as_u16());
    metric::http_request(route, response.status().as_u16(), started.elapsed());
    response
}

/// The error behind a response: what a handler gave, or what axum itself says by a bare status.
/// An error that has a JSON body is somebody's considered answer and stays as it is.
fn error_in(response: &mut Response) -> Option<ApiError> {
    if let Some(error) = response.extensions_mut().remove::<ApiError>() {
        return Some(error);
    }
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    if !is_error || is_json(response.headers()) {
        return None;
    }
    Some(ApiError::new(match status {
        StatusCode::NOT_FOUND => ErrorReason::RouteNotFound,
        StatusCode::METHOD_NOT_ALLOWED => ErrorReason::MethodNotAllowed,
        StatusCode::REQUEST_TIMEOUT => ErrorReason::BodyTooSlow,
        StatusCode::PAYLOAD_TOO_LARGE => ErrorReason::BodyTooLarge,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => ErrorReason::UnsupportedMediaType,
        status if status.is_client_error() => ErrorReason::InvalidValue,
        StatusCode::SERVICE_UNAVAILABLE => ErrorReason::Overloaded,
        _ => ErrorReason::Internal,
    }))
}

fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.starts_with("application/json"))
}

fn render(error: &ApiError, context: &RequestContext, replaced: Response) -> Response {
    let mut response = (error.status(), axum::Json(error.body(context))).into_response();
    // What the replaced answer said beside its body (Allow, for one) stays true.
    let (mut kept, _) = replaced.into_parts();
    kept.headers.remove(CONTENT_TYPE);
    kept.headers.remove(CONTENT_LENGTH);
    for (name, value) in kept.headers {
        if let Some(name) = name {
            response.headers_mut().append(name, value);
        }
    }
    let headers = response.headers_mut();
    let mut say = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.entry(name).or_insert(value);
        }
    };
    say(CONTENT_LANGUAGE, context.language.tag());
    if let Some(seconds) = error.retry_seconds() {
        say(RETRY_AFTER, &seconds.to_string());
    }
    if error.status() == StatusCode::UNAUTHORIZED {
        say(WWW_AUTHENTICATE, error.scheme());
    }
    // The rest of such a body is not going to be read.
    if let ErrorReason::BodyTooLarge | ErrorReason::BodyTooSlow = error.reason() {
        say(CONNECTION, "close");
    }
    response
}

/// The one place where the cause of an error answer is logged.
fn log(error: &ApiError) {
    let (code, reason) = (error.code().name(), error.reason().name());
    match error.causes() {
        Some(cause) if error.status() == StatusCode::INTERNAL_SERVER_ERROR => {
            tracing::error!(code, reason, cause, "request failed");
        }
        Some(cause) if error.status().is_server_error() => {
            tracing::warn!(code, reason, cause, "request not served");
        }
        Some(cause) => tracing::debug!(code, reason, cause, "request refused"),
        None => tracing::debug!(code, reason, "request refused"),
    }
}

fn panicked(panic: Box<dyn Any + Send>) -> Response<Body> {
    let said = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no text".to_owned());
    ApiError::internal(format!("the handler panicked: {said}")).into_response()
}
