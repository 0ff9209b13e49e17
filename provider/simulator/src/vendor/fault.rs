//! Answers that are not the vendor's protocol, or refuse a whole call.

use axum::body::Body;
use axum::http::{Response, StatusCode, header};

use crate::connection::Cut;

/// How a call goes wrong as a whole.
#[derive(Debug)]
pub(crate) enum Fault {
    /// 429.
    Throttled { retry_after: Option<u64> },
    /// Wrong credentials, in the family's own words.
    Refused,
    /// 500.
    Error,
    /// No byte of an answer.
    Cut,
    /// A success that cannot be read.
    Garbled,
    /// Whatever a test wants.
    Raw { status: u16, body: String },
}

impl Fault {
    /// 429 without a hint.
    pub(crate) const fn throttled() -> Self {
        Self::Throttled { retry_after: None }
    }

    /// The answer; `refused` is the family's word for wrong credentials.
    pub(crate) fn answer(self, refused: impl FnOnce() -> Response<Body>) -> Response<Body> {
        match self {
            Self::Throttled { retry_after } => {
                let mut response = answer(429, r#"{"code":"BUSY"}"#.to_owned());
                if let Some(seconds) = retry_after {
                    let headers = response.headers_mut();
                    headers.insert(header::RETRY_AFTER, seconds.into());
                }
                response
            }
            Self::Refused => refused(),
            Self::Error => answer(500, "internal error".to_owned()),
            Self::Cut => {
                let mut response = Response::new(Body::empty());
                response.extensions_mut().insert(Cut);
                response
            }
            Self::Garbled => answer(200, "<html>{\"results\":[".to_owned()),
            Self::Raw { status, body } => answer(status, body),
        }
    }
}

/// An answer with a JSON body.
pub(crate) fn answer(status: u16, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// An answer with this value as JSON.
pub(crate) fn json(status: u16, value: &impl serde::Serialize) -> Response<Body> {
    // The types given here have string keys alone, so they always serialise.
    serde_json::to_vec(value)
        .map_or_else(|_| answer(500, Body::empty()), |body| answer(status, body))
}

/// An error as vendors word it.
pub(crate) fn error(status: u16, code: &str) -> Response<Body> {
    answer(status, format!(r#"{{"code":"{code}"}}"#))
}
