//! One HTTP exchange with a vendor, and the one place that decides what its failure means.
//!
//! Whatever fails before a connection stands surely left no byte and is
//! [`Outcome::NotConnected`]; whatever fails after it is [`Outcome::Unknown`], unless the vendor's
//! own answer says otherwise. An adapter cannot get this wrong because it never sees the error.
//!
//! The client never repeats a request that a connection has taken up. (A request that finds its
//! pooled connection already closed, with nothing written, moves to a new one.)

use std::error::Error as _;
use std::io::ErrorKind;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Method, RequestBuilder, Response, Url};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};

use super::code::Codes;
use super::{Account, BuildError};
use crate::provider::{Answer, Lost, NotConnected, Outcome, ProbeError};

/// The most bytes of an answer that are read.
const MAX_BODY: usize = 1 << 20;
/// Shorter than vendors keep an idle connection (15 s and more), so that a connection is not found
/// dead only after the first byte, which would make the outcome unknown.
const IDLE: Duration = Duration::from_secs(4);
/// A longer hint is cut to this.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// The client of one vendor account.
#[derive(Debug)]
pub(super) struct Exchange {
    client: Client,
    base: Url,
    limit: Duration,
}

/// One call, beside the headers that every request of the account bears.
pub(super) struct Request<'a> {
    pub(super) method: Method,
    pub(super) path: &'a str,
    pub(super) query: &'a [(&'a str, &'a str)],
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl<'a> Request<'a> {
    /// Gets `path`.
    pub(super) fn get(path: &'a str) -> Self {
        Self {
            method: Method::GET,
            path,
            query: &[],
            headers: HeaderMap::new(),
            body: Vec::new(),
        }
    }

    /// Posts `body` of the media type `kind` to `path`.
    pub(super) fn post(path: &'a str, kind: &'static str, body: Vec<u8>) -> Self {
        Self {
            method: Method::POST,
            headers: HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]),
            body,
            ..Self::get(path)
        }
    }

    /// Posts `call` as JSON to `path`. Structs of texts always serialise; were it otherwise,
    /// nothing has left.
    pub(super) fn json(path: &'a str, call: &impl Serialize) -> Result<Self, Outcome> {
        let body = serde_json::to_vec(call);
        let body = body.map_err(|_| Outcome::NotConnected(NotConnected::Refused))?;
        Ok(Self::post(path, "application/json", body))
    }

    /// With this header too, in the place of one of the same name.
    pub(super) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// With this query.
    pub(super) fn query(self, query: &'a [(&'a str, &'a str)]) -> Self {
        Self { query, ..self }
    }
}

struct Reply {
    status: u16,
    retry_after: Option<Duration>,
    body: Result<Bytes, Lost>,
}

enum Failed {
    NotConnected(NotConnected),
    Lost(Lost),
}

#[derive(Deserialize)]
struct ErrorBody {
    #[serde(alias = "resultCode")]
    code: String,
}

impl Exchange {
    /// A client that shows the account's key in `key_header`, after `prefix`.
    pub(super) fn new(
        account: &Account,
        key_header: HeaderName,
        prefix: &str,
    ) -> Result<Self, BuildError> {
        let key = format!("{prefix}{}", account.api_key.expose_secret());
        let mut key = HeaderValue::try_from(key).map_err(|_| BuildError::ApiKey)?;
        key.set_sensitive(true);
        Self::bearing(account, HeaderMap::from_iter([(key_header, key)]))
    }

    /// A client whose every request bears `headers`, for vendors that want the key otherwise.
    pub(super) fn bearing(account: &Account, headers: HeaderMap) -> Result<Self, BuildError> {
        let base = base_url(&account.base_url)?;
        let client = Client::builder()
            .default_headers(headers)
            .user_agent("pabal")
            .connect_timeout(account.connect_timeout)
            .pool_idle_timeout(IDLE)
            .tcp_nodelay(true)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .no_proxy()
            .http1_only()
            .build()
            .map_err(BuildError::Client)?;
        Ok(Self {
            client,
            base,
            limit: account.connect_timeout + account.answer_timeout,
        })
    }

    /// Posts a call. `read` turns a success into answers; `None` means it cannot be understood.
    pub(super) async fn submit(
        &self,
        path: &str,
        call: &impl Serialize,
        codes: Codes,
        read: impl FnOnce(&[u8]) -> Option<Vec<Answer>> + Send,
    ) -> Outcome {
        let request = match Request::json(path, call) {
            Ok(request) => request,
            Err(nothing_left) => return nothing_left,
        };
        let answers = self.call(request, read, |body| plain_error(body, codes));
        answers
            .await
            .map_or_else(|outcome| outcome, Outcome::Answered)
    }

    /// Makes one call. `read` turns a success into what is wanted of it; `None` means it cannot be
    /// understood. `refused` reads the body of an answer whose status blames the request (4xx):
    /// what it says of the call's every message, `None` if it says nothing sure.
    ///
    /// # Errors
    /// What the call came to instead.
    pub(super) async fn call<T>(
        &self,
        request: Request<'_>,
        read: impl FnOnce(&[u8]) -> Option<T> + Send,
        refused: impl FnOnce(&[u8]) -> Option<Answer> + Send,
    ) -> Result<T, Outcome> {
        let sent = self
            .client
            .request(request.method, self.url(request.path, request.query))
            .headers(request.headers)
            .body(request.body);
        match self.send(sent).await {
            Ok(reply) => outcome_of(reply, read, refused),
            Err(Failed::NotConnected(why)) => Err(Outcome::NotConnected(why)),
            Err(Failed::Lost(how)) => Err(Outcome::Unknown(how)),
        }
    }

    /// Gets a page; anything but a whole success is an error, in words.
    pub(super) async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Bytes, String> {
        match self.send(self.client.get(self.url(path, query))).await {
            Ok(reply) if (200..300).contains(&reply.status) => {
                reply.body.map_err(|how| how.to_string())
            }
            Ok(reply) => Err(Lost::Status(reply.status).to_string()),
            Err(Failed::NotConnected(why)) => Err(why.to_string()),
            Err(Failed::Lost(how)) => Err(how.to_string()),
        }
    }

    /// Whether the vendor answers at its health address.
    pub(super) async fn probe(&self, path: &str) -> Result<(), ProbeError> {
        let answer = self.get(path, &[]).await;
        answer.map(drop).map_err(ProbeError)
    }

    fn url(&self, path: &str, query: &[(&str, &str)]) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    async fn send(&self, request: RequestBuilder) -> Result<Reply, Failed> {
        let response = request.timeout(self.limit).send().await;
        let response = response.map_err(|error| self.failed(&error))?;
        let status = response.status().as_u16();
        let retry_after = retry_after(response.headers());
        Ok(Reply {
            status,
            retry_after,
            body: read_capped(response).await,
        })
    }

    fn failed(&self, error: &reqwest::Error) -> Failed {
        if error.is_connect() {
            Failed::NotConnected(not_connected(error, self.base.scheme() == "https"))
        } else if error.is_builder() {
            // The request could not even be made.
            Failed::NotConnected(NotConnected::Refused)
        } else {
            Failed::Lost(lost(error))
        }
    }
}

fn base_url(given: &str) -> Result<Url, BuildError> {
    let wrong = |why: String| BuildError::BaseUrl {
        given: given.to_owned(),
        why,
    };
    let url = Url::parse(given).map_err(|error| wrong(error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong("allowed are http:// and https://".to_owned()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("credentials do not belong into the URL".to_owned()));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("a base has no query and no fragment".to_owned()));
    }
    Ok(url)
}

fn outcome_of<T>(
    reply: Reply,
    read: impl FnOnce(&[u8]) -> Option<T>,
    refused: impl FnOnce(&[u8]) -> Option<Answer>,
) -> Result<T, Outcome> {
    match reply.status {
        200..=299 => match reply.body {
            Ok(body) => read(&body).ok_or(Outcome::Unknown(Lost::Garbled)),
            Err(how) => Err(Outcome::Unknown(how)),
        },
        429 => Err(Outcome::Throttled {
            retry_after: reply.retry_after,
        }),
        status => {
            let blames_request = (400..500).contains(&status);
            let body = reply.body.ok().filter(|_| blames_request);
            let answer = body.and_then(|body| refused(&body));
            Err(answer
                .and_then(|answer| of_every_message(answer, reply.retry_after))
                .unwrap_or(Outcome::Unknown(Lost::Status(status))))
        }
    }
}

/// The outcome of a call all of whose messages got this answer; `None` if it says nothing sure.
fn of_every_message(answer: Answer, retry_after: Option<Duration>) -> Option<Outcome> {
    match answer {
        Answer::Refused { code, reason } => Some(Outcome::Refused { code, reason }),
        Answer::Closed { code, why } => Some(Outcome::Closed { code, why }),
        Answer::Throttled => Some(Outcome::Throttled { retry_after }),
        // A refusal that says it was taken before, or may be later: vendors say so of a single message
        // alone.
        Answer::Taken { .. } | Answer::Delivered { .. } | Answer::Deferred { .. } => {
            Some(Outcome::Answered(vec![answer]))
        }
        Answer::Unknown { .. } => None,
    }
}

/// A refusal of the whole call as the reference protocols write it, if its code is listed as one.
fn plain_error(body: &[u8], codes: Codes) -> Option<Answer> {
    let ErrorBody { code } = serde_json::from_slice(body).ok()?;
    let answer = codes.answer(&code, None);
    matches!(answer, Answer::Refused { .. } | Answer::Closed { .. }).then_some(answer)
}

/// What a probe says of a call that came to this.
pub(super) fn probed(outcome: &Outcome) -> ProbeError {
    ProbeError(match outcome {
        Outcome::NotConnected(why) => why.to_string(),
        Outcome::Unknown(how) => how.to_string(),
        Outcome::Throttled { .. } => "too many calls".to_owned(),
        Outcome::Closed { code, why } => format!("{why}, code {code}"),
        Outcome::Refused { code, .. } => format!("refused, code {code}"),
        Outcome::Answered(_) => "unexpected answer".to_owned(),
    })
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse();
    seconds
        .ok()
        .map(|seconds| Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
}

async fn read_capped(mut response: Response) -> Result<Bytes, Lost> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| lost(&error))? {
        if body.len() + chunk.len() > MAX_BODY {
            return Err(Lost::Garbled);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

fn lost(error: &reqwest::Error) -> Lost {
    if error.is_timeout() {
        Lost::TimedOut
    } else {
        Lost::Reset
    }
}

fn not_connected(error: &reqwest::Error, over_tls: bool) -> NotConnected {
    if error.is_dns() {
        return NotConnected::Dns;
    }
    if error.is_timeout() {
        return NotConnected::TimedOut;
    }
    if over_tls && !failed_below_tls(error) {
        return NotConnected::Tls;
    }
    NotConnected::Refused
}

/// Whether the TCP connection itself failed. A reset during the handshake is TLS trouble.
fn failed_below_tls(error: &reqwest::Error) -> bool {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(io) = error.downcast_ref::<std::io::Error>()
            && matches!(
                io.kind(),
                ErrorKind::ConnectionRefused
                    | ErrorKind::HostUnreachable
                    | ErrorKind::NetworkUnreachable
                    | ErrorKind::NetworkDown
                    | ErrorKind::AddrNotAvailable
                    | ErrorKind::PermissionDenied
            )
        {
            return true;
        }
        source = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::super::code::Meaning;
    use super::*;

    const CODES: Codes = Codes(&[
        (
            "BAD_KEY",
            Meaning::Definitive(pabal_common::domain::reason::Reason::ProviderError),
        ),
        ("MAYBE", Meaning::Ambiguous),
    ]);

    fn outcome(status: u16, body: &'static str) -> Outcome {
        let reply = Reply {
            status,
            retry_after: None,
            body: Ok(Bytes::from_static(body.as_bytes())),
        };
        let read = |_: &[u8]| None::<()>;
        outcome_of(reply, read, |body| plain_error(body, CODES)).unwrap_err()
    }

    #[test]
    fn only_a_listed_code_with_a_status_that_blames_the_request_is_a_refusal() {
        let listed = r#"{"code":"BAD_KEY"}"#;
        assert!(matches!(outcome(401, listed), Outcome::Refused { .. }));
        for (status, body) in [
            (500, listed),
            (302, listed),
            (400, r#"{"code":"MAYBE"}"#),
            (400, r#"{"code":"NEWS"}"#),
            (400, "no"),
            (408, ""),
            (503, ""),
        ] {
            let unknown = Outcome::Unknown(Lost::Status(status));
            assert_eq!(outcome(status, body), unknown, "{status} {body}");
        }
    }

    #[test]
    fn a_base_url_that_cannot_work_is_refused_by_name() {
        for given in [
            "",
            "vendor.example",
            "ftp://vendor",
            "http://",
            "http://u:p@vendor",
            "http://v/?a",
        ] {
            let error = base_url(given).unwrap_err().to_string();
            assert!(error.contains("base URL"), "{error}");
        }
        assert!(base_url("https://vendor.example/api/").is_ok());
    }
}
