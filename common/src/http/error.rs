//! Refusals and failures, as handlers give them and as partners read them.

use std::borrow::Cow;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::request::RequestContext;
use crate::domain::code::{Code, ErrorReason, Language};
use crate::domain::id::MessageId;

/// Long enough for a ledger to come back from a short stall, short enough not to lose the partner's
/// patience.
const LEDGER_RETRY: Duration = Duration::from_secs(2);

/// An error answer of the API.
///
/// A handler only says what is wrong. The request's id and language are known one layer further
/// out, so the body is written there ([`finish`](super::finish)); the cause is logged there, once,
/// and never shown.
#[derive(Clone, Debug)]
pub struct ApiError {
    reason: ErrorReason,
    details: Vec<Detail>,
    retry_after: Option<Duration>,
    message_id: Option<MessageId>,
    oauth: Option<(&'static str, StatusCode)>,
    cause: Option<Arc<dyn Error + Send + Sync>>,
}

impl ApiError {
    /// Refuses for `reason`.
    pub const fn new(reason: ErrorReason) -> Self {
        Self {
            reason,
            details: Vec::new(),
            retry_after: None,
            message_id: None,
            oauth: None,
            cause: None,
        }
    }

    /// Fails with E100 because of `cause`, which is logged and not shown.
    pub fn internal(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(ErrorReason::Internal).caused_by(cause)
    }

    /// Fails with E102: the ledger did not do what was asked. `cause` is logged and not shown.
    pub fn ledger_unavailable(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(ErrorReason::LedgerUnavailable)
            .retry_after(LEDGER_RETRY)
            .caused_by(cause)
    }

    /// Adds what exactly is wrong.
    #[must_use]
    pub fn detail(mut self, detail: Detail) -> Self {
        self.details.push(detail);
        self
    }

    /// When it is worth asking again; whole seconds are sent, rounded up. Without it 429 and 503
    /// say one second.
    #[must_use]
    pub const fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// The message that has the clientMsgId already.
    #[must_use]
    pub const fn message_id(mut self, id: MessageId) -> Self {
        self.message_id = Some(id);
        self
    }

    /// Tells it to an OAuth 2.0 client too: with the word it looks for (RFC 6749, 5.2), such as
    /// `invalid_client`, and the status that goes with the word.
    #[must_use]
    pub const fn oauth(mut self, word: &'static str, status: StatusCode) -> Self {
        self.oauth = Some((word, status));
        self
    }

    /// Why it happened, for the log alone. It must not name recipients or texts.
    #[must_use]
    pub fn caused_by(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.cause = Some(Arc::from(cause.into()));
        self
    }

    /// The reason.
    pub const fn reason(&self) -> ErrorReason {
        self.reason
    }

    /// The reason's code.
    pub const fn code(&self) -> Code {
        self.reason.code()
    }

    /// What exactly is wrong.
    pub fn details(&self) -> &[Detail] {
        &self.details
    }

    /// The message that has the clientMsgId already.
    pub const fn known_message(&self) -> Option<MessageId> {
        self.message_id
    }

    /// The HTTP status of the answer.
    pub fn status(&self) -> StatusCode {
        match self.oauth {
            Some((_, status)) => status,
            None => StatusCode::from_u16(self.reason.http_status())
                .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        }
    }

    /// How a client proves itself where this error is told.
    pub(super) const fn scheme(&self) -> &'static str {
        match (self.oauth, self.reason) {
            (Some(_), _) => r#"Basic realm="pabal""#,
            (None, ErrorReason::TokenInvalid | ErrorReason::TokenExpired) => {
                r#"Bearer realm="pabal", error="invalid_token""#
            }
            _ => r#"Bearer realm="pabal""#,
        }
    }

    /// Seconds for Retry-After, where the status has one.
    pub(super) fn retry_seconds(&self) -> Option<u64> {
        matches!(self.reason.http_status(), 429 | 503).then(|| {
            let wait = self.retry_after.unwrap_or(Duration::from_secs(1));
            (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
        })
    }

    /// The body for this request.
    pub(super) fn body(&self, request: &RequestContext) -> ErrorBody {
        ErrorBody {
            code: self.code(),
            reason: self.reason,
            message: self.reason.message(request.language),
            request_id: request.id.to_string(),
            details: self.details.clone(),
            message_id: self.message_id.map(|id| id.to_string()),
            error: self.oauth.map(|(word, _)| word),
            error_description: self.oauth.map(|_| self.reason.message(Language::English)),
        }
    }

    /// The cause and what caused it, in one line; `None` where none is known.
    pub(super) fn causes(&self) -> Option<String> {
        let mut next: Option<&dyn Error> = Some(self.cause.as_deref()?);
        let mut line = String::new();
        while let Some(cause) = next {
            if !line.is_empty() {
                line.push_str(": ");
            }
            line.push_str(&cause.to_string());
            next = cause.source();
        }
        Some(line)
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} {}: {}",
            self.code(),
            self.reason,
            self.reason.message(Language::English)
        )
    }
}

impl Error for ApiError {}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// One thing that is wrong with a request. Values are never repeated, only measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Detail {
    /// Where: a path such as `template.variables` or `messages[3].to`; `body` for the whole.
    #[schema(value_type = String)]
    pub field: Cow<'static, str>,
    /// The rule that was broken: `required`, `unknown`, `type`, `oneOf`, `maxLength`…
    #[schema(value_type = String)]
    pub rule: Cow<'static, str>,
    /// What is allowed, for rules with a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// What came, for rules with a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actual: Option<u64>,
    /// The unit of `limit` and `actual`: BYTE, CHARACTER, ITEM, SECOND…
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub unit: Option<Cow<'static, str>>,
    /// Where in the field, counted from 0: characters in a text, bytes in a body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<u64>,
    /// What would have been right: a type, or the words to choose from.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub expected: Option<Cow<'static, str>>,
    /// The character in question, as `U+1F600`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub character: Option<String>,
    /// Who set a limit that is lower than the type's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub limited_by: Option<Cow<'static, str>>,
}

impl Detail {
    /// `rule` is broken at `field`.
    pub fn new(field: impl Into<Cow<'static, str>>, rule: impl Into<Cow<'static, str>>) -> Self {
        Self {
            field: field.into(),
            rule: rule.into(),
            limit: None,
            actual: None,
            unit: None,
            position: None,
            expected: None,
            character: None,
            limited_by: None,
        }
    }

    /// What is allowed.
    #[must_use]
    pub const fn limit(mut self, limit: u64) -> Self {
        self.limit = Some(limit);
        self
    }

    /// What came.
    #[must_use]
    pub const fn actual(mut self, actual: u64) -> Self {
        self.actual = Some(actual);
        self
    }

    /// The unit of limit and actual.
    #[must_use]
    pub fn unit(mut self, unit: impl Into<Cow<'static, str>>) -> Self {
        self.unit = Some(unit.into());
        self
    }

    /// Where in the field, counted from 0.
    #[must_use]
    pub const fn position(mut self, position: u64) -> Self {
        self.position = Some(position);
        self
    }

    /// What would have been right.
    #[must_use]
    pub fn expected(mut self, expected: impl Into<Cow<'static, str>>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    /// The character in question.
    #[must_use]
    pub fn character(mut self, character: char) -> Self {
        self.character = Some(format!("U+{:04X}", u32::from(character)));
        self
    }

    /// Who set the limit.
    #[must_use]
    pub fn limited_by(mut self, who: impl Into<Cow<'static, str>>) -> Self {
        self.limited_by = Some(who.into());
        self
    }
}

/// The body of every error answer.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ErrorBody {
    /// The result code.
    pub code: Code,
    /// The finer reason; stable.
    pub reason: ErrorReason,
    /// A sentence in the caller's language (Accept-Language: ko or en).
    pub message: &'static str,
    /// The id of this request, to quote when asking for help.
    pub request_id: String,
    /// What exactly is wrong, where that can be said.
    pub details: Vec<Detail>,
    /// The message that has the clientMsgId already (E004).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// The OAuth 2.0 error word, at the OAuth address alone: `invalid_request`, `invalid_client`,
    /// `invalid_grant`, `unauthorized_client`, `unsupported_grant_type`, `temporarily_unavailable`
    /// or `server_error`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'static str>,
    /// The sentence in English, at the OAuth address alone: OAuth 2.0 allows ASCII alone.
    #[serde(rename = "error_description", skip_serializing_if = "Option::is_none")]
    pub error_description: Option<&'static str>,
}
