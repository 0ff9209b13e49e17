//! What is known of a request before anyone reads it: its id and its language.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::ACCEPT_LANGUAGE;
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, HeaderName};

use crate::domain::code::Language;

/// The header that carries the request's id, both ways.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Names one request in its answer and in the logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// The longest id taken from a caller, in bytes.
    pub const MAX: usize = 64;

    /// A fresh id: 128 random bits in hexadecimal. It names, it does not protect.
    pub fn generate() -> Self {
        Self(format!("{:032x}", fastrand::u128(..)).into())
    }

    /// The caller's id, if it is 1 to [`MAX`](Self::MAX) visible ASCII characters; anything else
    /// could forge log lines or headers.
    pub fn from_caller(text: &[u8]) -> Option<Self> {
        let visible = text.iter().all(u8::is_ascii_graphic);
        if !visible || !(1..=Self::MAX).contains(&text.len()) {
            return None;
        }
        std::str::from_utf8(text).ok().map(|text| Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A request's id and language; handlers take it as an argument where they need it.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// The request's id.
    pub id: RequestId,
    /// The language its caller reads.
    pub language: Language,
}

impl RequestContext {
    /// The context a layer further out has made, or a new one from the headers.
    pub(super) fn of(extensions: &Extensions, headers: &HeaderMap) -> Self {
        extensions
            .get()
            .cloned()
            .unwrap_or_else(|| Self::from_headers(headers))
    }

    fn from_headers(headers: &HeaderMap) -> Self {
        Self {
            id: headers
                .get(X_REQUEST_ID)
                .and_then(|value| RequestId::from_caller(value.as_bytes()))
                .unwrap_or_else(RequestId::generate),
            language: headers
                .get(ACCEPT_LANGUAGE)
                .and_then(|value| value.to_str().ok())
                .map_or(Language::default(), preferred_language),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for RequestContext {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.extensions, &parts.headers))
    }
}

/// The language with the highest weight in an Accept-Language header (RFC 9110, 12.5.4); of equals
/// the first, English if it names neither.
fn preferred_language(header: &str) -> Language {
    let mut best = (0.0, Language::default());
    for item in header.split(',') {
        let mut parts = item.split(';').map(str::trim);
        let tag = parts.next().unwrap_or_default();
        let primary = tag.split('-').next().unwrap_or_default();
        let language = if primary.eq_ignore_ascii_case("ko") {
            Language::Korean
        } else if primary.eq_ignore_ascii_case("en") || primary == "*" {
            Language::English
        } else {
            continue;
        };
        let weight = parts
            .find_map(|part| part.strip_prefix("q="))
            .map_or(1.0, |weight| weight.parse::<f32>().unwrap_or(0.0));
        if weight > best.0 {
            best = (weight, language);
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_with_the_highest_weight_is_spoken() {
        for (header, expected) in [
            ("ko", Language::Korean),
            ("ko-KR,ko;q=0.9,en-US;q=0.8", Language::Korean),
            ("en-US, ko;q=0.5", Language::English),
            ("ko;q=0.3, en;q=0.7", Language::English),
            ("fr, ko;q=0.1", Language::Korean),
            ("ko;q=0", Language::English),
            ("fr", Language::English),
            ("*", Language::English),
            ("", Language::English),
            (";;q=,,", Language::English),
        ] {
            assert_eq!(preferred_language(header), expected, "{header}");
        }
    }

    #[test]
    fn only_short_visible_ids_are_taken_from_a_caller() {
        assert!(RequestId::from_caller(b"abc-123").is_some());
        assert!(RequestId::from_caller(&[b'a'; 64]).is_some());
        for bad in [&b""[..], b"a b", b"a\nb", "가".as_bytes(), &[b'a'; 65]] {
            assert!(RequestId::from_caller(bad).is_none());
        }
    }
}
