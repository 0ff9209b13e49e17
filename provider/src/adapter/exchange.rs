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
use reqwest::{Client, RequestBuilder, Response, Url};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};

use super::code::{Codes, Meaning};
use super::reading::short_code;
use super::{BuildError, HttpAccount};
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
        account: &HttpAccount,
        key_header: HeaderName,
        prefix: &str,
    ) -> Result<Self, BuildError> {
        let base = base_url(&account.base_url)?;
        let key = format!("{prefix}{}", account.api_key.expose_secret());
        let mut key = HeaderValue::try_from(key).map_err(|_| BuildError::ApiKey)?;
        key.set_sensitive(true);
        let client = Client::builder()
            .default_headers(HeaderMap::from_iter([(key_header, key)]))
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
        let Ok(body) = serde_json::to_vec(call) else {
            // Structs of texts always serialise; were it otherwise, nothing has left.
            return Outcome::NotConnected(NotConnected::Refused);
        };
        let request = self
            .client
            .post(self.url(path, &[]))
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .body(body);
        match self.send(request).await {
            Ok(reply) => outcome_of(reply, codes, read),
            Err(Failed::NotConnected(why)) => Outcome::NotConnected(why),
            Err(Failed::Lost(how)) => Outcome::Unknown(how),
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

fn outcome_of(
    reply: Reply,
    codes: Codes,
    read: impl FnOnce(&[u8]) -> Option<Vec<Answer>>,
) -> Outcome {
    match reply.status {
        200..=299 => match reply.body {
            Ok(body) => read(&body).map_or(Outcome::Unknown(Lost::Garbled), Outcome::Answered),
            Err(how) => Outcome::Unknown(how),
        },
        429 => Outcome::Throttled {
            retry_after: reply.retry_after,
        },
        status => definitive(&reply, codes).unwrap_or(Outcome::Unknown(Lost::Status(status))),
    }
}

/// A refusal of the whole call, if the vendor says so with a status that blames the request and a
/// code that the adapter lists.
fn definitive(reply: &Reply, codes: Codes) -> Option<Outcome> {
    let blames_request = (400..500).contains(&reply.status);
    let body = reply.body.as_ref().ok().filter(|_| blames_request)?;
    let ErrorBody { code } = serde_json::from_slice(body).ok()?;
    match codes.meaning(&code)? {
        Meaning::Definitive(reason) => Some(Outcome::Refused {
            code: short_code(&code),
            reason,
        }),
        Meaning::Taken | Meaning::Delivered | Meaning::Throttled | Meaning::Ambiguous => None,
    }
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
        outcome_of(reply, CODES, |_| None)
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
