//! The access token: asked for with an assertion signed by the service account's key (RFC 7523, as
//! Google's token server takes it), kept while it lasts, renewed before it ends.
//!
//! One task fetches at a time, whoever needs it: a caller who stops waiting does not stop it, and
//! while the old token still holds nobody waits for the new one.

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use pabal_common::clock::{Clock, Timestamp};
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, watch};

use super::super::exchange::{Exchange, Request};
use super::super::{Account, BuildError};
use super::refusal::{Refusal, UNAUTHENTICATED};
use crate::provider::{Closed, Lost, Outcome};

const SCOPE: &str = "https://www.googleapis.com/auth/rcsbusinessmessaging";
/// How long an assertion holds, and at most the token: the longest that Google allows.
const HOUR: Duration = Duration::from_secs(3600);
/// Between two tries to renew a token that still holds.
const PAUSE: Duration = Duration::from_secs(10);

/// A token that can be shown.
#[derive(Clone)]
pub(super) struct Token {
    /// `Authorization`.
    pub(super) header: HeaderValue,
    renew_at: Timestamp,
    /// A little before its real end, so that it does not end on the way.
    ends_at: Timestamp,
}

/// The tokens of one service account.
#[derive(Clone)]
pub(super) struct Tokens(Arc<Source>);

struct Source {
    signer: Signer,
    exchange: Exchange,
    path: String,
    clock: Arc<dyn Clock>,
    /// Told at the end of every fetch.
    known: watch::Sender<Known>,
    /// Held by the task that fetches.
    turn: Arc<Semaphore>,
}

#[derive(Default)]
struct Known {
    token: Option<Token>,
    /// What the last fetch came to, if it brought none.
    failure: Option<Outcome>,
    tried_at: Timestamp,
    /// Whether the platform refused the token before this one, and believed none since.
    doubted: bool,
}

impl Known {
    fn holding(&self, now: Timestamp) -> Option<&Token> {
        self.token.as_ref().filter(|token| now < token.ends_at)
    }
}

#[derive(Deserialize)]
struct Granted {
    access_token: SecretString,
    expires_in: u64,
}

impl Tokens {
    /// For the service account `email` whose private key is the account's API key.
    pub(super) fn new(
        account: &Account,
        email: String,
        token_url: &str,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, BuildError> {
        let wrong = |why: &str| BuildError::Settings(format!("token_url {token_url:?}: {why}"));
        let url = Url::parse(&account.base_url).and_then(|base| base.join(token_url));
        let url = url.map_err(|error| wrong(&error.to_string()))?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("it has no query and no fragment"));
        }
        let mut host = url.clone();
        host.set_path("");
        let server = Account {
            base_url: host.to_string(),
            ..account.clone()
        };
        Ok(Self(Arc::new(Source {
            signer: Signer::new(email, url.to_string(), &account.api_key)?,
            exchange: Exchange::bearing(&server, HeaderMap::new())?,
            path: url.path().to_owned(),
            clock,
            known: watch::Sender::new(Known::default()),
            turn: Arc::new(Semaphore::new(1)),
        })))
    }

    /// A token that holds.
    ///
    /// # Errors
    /// What a call comes to without one: surely nothing of it has left.
    pub(super) async fn get(&self) -> Result<Token, Outcome> {
        let now = self.0.clock.now();
        let mut news = self.0.known.subscribe();
        let held = {
            let known = news.borrow_and_update();
            let due = |token: &Token| token.renew_at <= now && known.tried_at.plus(PAUSE) <= now;
            known.holding(now).map(|token| (token.clone(), due(token)))
        };
        match held {
            Some((token, false)) => return Ok(token),
            Some((token, true)) => {
                self.begin();
                return Ok(token);
            }
            None => self.begin(),
        }
        // The source lives as long as this, so there will be news.
        let _ = news.changed().await;
        let known = news.borrow();
        match (known.holding(now), &known.failure) {
            (Some(token), _) => Ok(token.clone()),
            (None, Some(failure)) => Err(failure.clone()),
            (None, None) => Err(Outcome::Throttled { retry_after: None }),
        }
    }

    /// The platform refused `token`. Once, that is a token that ended early; twice in a row, an
    /// account whose tokens are not believed.
    pub(super) fn refused(&self, token: &Token) -> Outcome {
        let mut again = false;
        self.0.known.send_if_modified(|known| {
            let current = known.token.as_ref().map(|token| &token.header);
            if current == Some(&token.header) {
                known.token = None;
                again = known.doubted;
                known.doubted = true;
            }
            // Nobody waits for this.
            false
        });
        if again {
            Outcome::Closed {
                code: UNAUTHENTICATED.to_owned(),
                why: Closed::Credentials,
            }
        } else {
            Outcome::Throttled { retry_after: None }
        }
    }

    /// The platform believed a token.
    pub(super) fn believed(&self) {
        if self.0.known.borrow().doubted {
            self.0.known.send_if_modified(|known| {
                known.doubted = false;
                false
            });
        }
    }

    /// Fetches a token in a task of its own, unless one is at it.
    fn begin(&self) {
        let Ok(turn) = Arc::clone(&self.0.turn).try_acquire_owned() else {
            return;
        };
        let source = Arc::clone(&self.0);
        tokio::spawn(async move {
            let tried_at = source.clock.now();
            let fetched = source.fetch(tried_at).await;
            // Before the news: who finds the turn taken has news to wait for.
            drop(turn);
            source.known.send_modify(|known| {
                known.tried_at = tried_at;
                match fetched {
                    Ok(token) => {
                        known.token = Some(token);
                        known.failure = None;
                    }
                    Err(failure) => known.failure = Some(failure),
                }
            });
        });
    }
}

impl Source {
    async fn fetch(&self, now: Timestamp) -> Result<Token, Outcome> {
        let Some(assertion) = self.signer.assertion(now) else {
            return Err(Outcome::Throttled { retry_after: None });
        };
        // The assertion's letters need no escaping.
        let form = format!(
            "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={assertion}"
        );
        let kind = "application/x-www-form-urlencoded";
        let request = Request::post(&self.path, kind, form.into_bytes());
        let refused = |body: &[u8]| Some(Refusal::read(body)?.answer(None));
        let granted = self
            .exchange
            .call(request, |body| granted(body, now), refused);
        granted.await.map_err(without_token)
    }
}

/// What a call comes to that has no token. What is unknown of the token's fetch is not unknown of
/// the message.
fn without_token(outcome: Outcome) -> Outcome {
    let why = match outcome {
        Outcome::NotConnected(_) | Outcome::Throttled { .. } | Outcome::Closed { .. } => {
            return outcome;
        }
        Outcome::Unknown(how) => how,
        Outcome::Answered(_) | Outcome::Refused { .. } => Lost::Garbled,
    };
    tracing::warn!(%why, "no access token was granted");
    Outcome::Throttled { retry_after: None }
}

fn granted(body: &[u8], now: Timestamp) -> Option<Token> {
    let granted: Granted = serde_json::from_slice(body).ok()?;
    let lasts = Duration::from_secs(granted.expires_in).min(HOUR);
    let shown = format!("Bearer {}", granted.access_token.expose_secret());
    let mut header = HeaderValue::try_from(shown).ok()?;
    header.set_sensitive(true);
    Some(Token {
        header,
        renew_at: now.plus(lasts * 4 / 5),
        ends_at: now.plus(lasts * 19 / 20),
    })
}

/// Signs assertions with RS256.
struct Signer {
    email: String,
    audience: String,
    key: EncodingKey,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    scope: &'static str,
    aud: &'a str,
    iat: i64,
    exp: i64,
}

impl Signer {
    fn new(email: String, audience: String, pem: &SecretString) -> Result<Self, BuildError> {
        let unusable = || {
            BuildError::Settings(
                "api_key is not the private key of a service account: an RSA key in PEM".to_owned(),
            )
        };
        let key = EncodingKey::from_rsa_pem(pem.expose_secret().as_bytes());
        let signer = Self {
            email,
            audience,
            key: key.map_err(|_| unusable())?,
        };
        // A key that cannot sign is found now, not at the first message.
        signer
            .assertion(Timestamp::default())
            .ok_or_else(unusable)?;
        Ok(signer)
    }

    fn assertion(&self, now: Timestamp) -> Option<String> {
        let claims = Claims {
            iss: &self.email,
            scope: SCOPE,
            aud: &self.audience,
            iat: now.unix_seconds(),
            exp: now.plus(HOUR).unix_seconds(),
        };
        jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claims, &self.key).ok()
    }
}
