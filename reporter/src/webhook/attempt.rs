//! One attempt: one POST, and what its answer means.

use std::error::Error;
use std::time::Duration;

use pabal_common::clock::Timestamp;
use pabal_common::crypto::SignatureHeaders;
use reqwest::header::RETRY_AFTER;
use reqwest::{Client, Response, StatusCode};
use time::PrimitiveDateTime;
use time::macros::format_description;

use crate::address::{AddressPolicy, Refused, ResolveError};

/// How much of an answer's body is read, in bytes: enough for the connection to be used again
/// after any usual answer. What it says does not matter.
const ANSWER_CAP: usize = 16 * 1024;
/// How long a body is waited for once the status is known.
const ANSWER_WAIT: Duration = Duration::from_secs(1);

/// What an attempt came to. The texts may be read by the partner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The endpoint took it: any 2xx.
    Delivered,
    /// It may work later: 5xx, 408, 425, 429, no connection, no answer in time.
    Later {
        /// What went wrong.
        why: String,
        /// When the endpoint wants to be asked again.
        hint: Option<Duration>,
    },
    /// 410: the endpoint wants no more.
    Gone {
        /// What to tell the partner.
        why: String,
    },
    /// It will never work: another 4xx, a redirect, a forbidden address.
    Never {
        /// What went wrong.
        why: String,
    },
}

/// What came back, for the log and the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// An answer with this status.
    Status(u16),
    /// Not sent: the address is refused.
    Forbidden,
    /// The name, the connection or TLS failed.
    NotConnected,
    /// The deadline passed.
    TimedOut,
    /// The connection ended before an answer.
    Broken,
}

impl Answer {
    /// The class as logs and metrics write it.
    pub const fn class(self) -> &'static str {
        match self {
            Self::Status(200..=299) => "2xx",
            Self::Status(300..=399) => "3xx",
            Self::Status(400..=499) => "4xx",
            Self::Status(500..=599) => "5xx",
            Self::Status(_) => "other",
            Self::Forbidden => "forbidden",
            Self::NotConnected => "not_connected",
            Self::TimedOut => "timed_out",
            Self::Broken => "broken",
        }
    }
}

/// An attempt's request.
#[derive(Clone, Debug)]
pub struct Post<'a> {
    /// Where to.
    pub url: &'a str,
    /// The headers that sign it.
    pub signature: &'a SignatureHeaders,
    /// The frozen body.
    pub body: String,
    /// When, to read a Retry-After that is a date.
    pub now: Timestamp,
}

/// Posts once. It ends within the client's deadline, whatever the endpoint does.
pub(super) async fn post(
    client: &Client,
    policy: AddressPolicy,
    post: Post<'_>,
) -> (Outcome, Answer) {
    let url = match policy.endpoint(post.url) {
        Ok(url) => url,
        Err(refused) => return refusal(refused),
    };
    let mut request = client.post(url).body(post.body);
    for (name, value) in post.signature.iter() {
        request = request.header(name, value);
    }
    match request.send().await {
        Ok(response) => {
            let status = response.status();
            let hint = retry_after(&response, post.now);
            drain(response).await;
            (judge(status, hint), Answer::Status(status.as_u16()))
        }
        Err(error) => failure(&error),
    }
}

/// What a status means.
fn judge(status: StatusCode, hint: Option<Duration>) -> Outcome {
    let code = status.as_u16();
    match code {
        200..=299 => Outcome::Delivered,
        408 | 425 | 429 | 500.. => Outcome::Later {
            why: format!("the endpoint answered HTTP {code}"),
            hint,
        },
        410 => Outcome::Gone {
            why: "the endpoint answered HTTP 410: it wants no more webhooks".to_owned(),
        },
        300..=399 => Outcome::Never {
            why: format!("the endpoint answered HTTP {code}: redirects are not followed"),
        },
        _ => Outcome::Never {
            why: format!("the endpoint answered HTTP {code}"),
        },
    }
}

fn refusal(refused: Refused) -> (Outcome, Answer) {
    let why = refused.to_string();
    (Outcome::Never { why }, Answer::Forbidden)
}

fn failure(error: &reqwest::Error) -> (Outcome, Answer) {
    let resolving = resolve_error(error);
    if let Some(ResolveError::Refused(refused)) = resolving {
        return refusal(refused);
    }
    let (why, answer) = if let Some(unresolved) = resolving {
        (unresolved.to_string(), Answer::NotConnected)
    } else if error.is_connect() {
        let why = "no connection could be made: refused, unreachable, too slow or TLS failed";
        (why.to_owned(), Answer::NotConnected)
    } else if error.is_timeout() {
        let why = "the endpoint did not answer in time";
        (why.to_owned(), Answer::TimedOut)
    } else {
        let why = "the connection ended before the endpoint answered";
        (why.to_owned(), Answer::Broken)
    };
    (Outcome::Later { why, hint: None }, answer)
}

/// The resolver's own error, somewhere below the client's.
fn resolve_error(error: &reqwest::Error) -> Option<ResolveError> {
    let mut next: Option<&(dyn Error + 'static)> = error.source();
    while let Some(cause) = next {
        if let Some(found) = cause.downcast_ref::<ResolveError>() {
            return Some(*found);
        }
        next = cause.source();
    }
    None
}

/// Reads the rest of a usual answer so that the connection can be used again. Of an unusual one
/// the rest is left, and the connection with it.
async fn drain(mut response: Response) {
    let reading = async {
        let mut read = 0;
        while let Ok(Some(chunk)) = response.chunk().await {
            read += chunk.len();
            if read > ANSWER_CAP {
                break;
            }
        }
    };
    // The status has been given; a body that dribbles changes nothing.
    let _ = tokio::time::timeout(ANSWER_WAIT, reading).await;
}

/// Retry-After in seconds or as a date (RFC 9110, 10.2.3); a date that has passed is no hint.
fn retry_after(response: &Response, now: Timestamp) -> Option<Duration> {
    parse_retry_after(response.headers().get(RETRY_AFTER)?.to_str().ok()?, now)
}

fn parse_retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let format = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    let at = PrimitiveDateTime::parse(value, &format).ok()?.assume_utc();
    let wait = at.unix_timestamp().checked_sub(now.unix_seconds())?;
    u64::try_from(wait).ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_meaning() {
        for code in 200..=599 {
            let outcome = judge(StatusCode::from_u16(code).unwrap(), None);
            let right = match code {
                200..=299 => outcome == Outcome::Delivered,
                408 | 425 | 429 | 500..=599 => matches!(outcome, Outcome::Later { .. }),
                410 => matches!(outcome, Outcome::Gone { .. }),
                _ => matches!(outcome, Outcome::Never { .. }),
            };
            assert!(right, "{code}: {outcome:?}");
        }
    }

    #[test]
    fn retry_after_is_read_as_seconds_or_as_a_date() {
        let now = Timestamp::parse_rfc3339("2026-11-21T08:49:07.500Z").unwrap();
        let read = |text| parse_retry_after(text, now).map(|wait| wait.as_secs());
        assert_eq!(read("120"), Some(120));
        assert_eq!(read(" 0 "), Some(0));
        assert_eq!(read("Sat, 21 Nov 2026 08:49:37 GMT"), Some(30));
        for nothing in ["", "-5", "soon", "1.5", "Sat, 21 Nov 2026 08:00:00 GMT"] {
            assert_eq!(read(nothing), None, "{nothing}");
        }
    }
}
