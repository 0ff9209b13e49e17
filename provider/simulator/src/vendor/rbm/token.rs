//! The token server: grants an access token for an assertion that the service account signed (RFC
//! 7523), and the tokens that it granted.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Response, header};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use pabal_common::crypto::random_token;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::super::fault::{answer, json};
use super::super::lock;

/// The public half of [`super::ACCOUNT_KEY`]: all that the vendor has of it.
const PUBLIC_KEY: &str = include_str!("public.pem");
const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const SCOPE: &str = "https://www.googleapis.com/auth/rcsbusinessmessaging";
/// How long a token holds, and the longest that an assertion may.
const LIFE: Duration = Duration::from_secs(3_600);

#[derive(Deserialize)]
pub(super) struct Asked {
    grant_type: String,
    assertion: String,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    scope: String,
    aud: String,
    iat: u64,
    exp: u64,
}

#[derive(Serialize)]
struct Granted {
    access_token: String,
    expires_in: u64,
    token_type: &'static str,
}

/// The tokens that hold.
#[derive(Default)]
pub(super) struct Tokens(Mutex<HashMap<String, Instant>>);

impl Tokens {
    /// Answers whoever asks for a token of the account with this address.
    pub(super) fn grant(&self, email: &str, asked: &Asked) -> Response<Body> {
        if asked.grant_type != GRANT {
            return refused("unsupported_grant_type");
        }
        match claims(&asked.assertion) {
            Some(claims) if claims.iss != email => refused("invalid_client"),
            Some(claims) if claims.scope != SCOPE => refused("invalid_scope"),
            Some(claims) if claims.is_short_lived() && claims.aud.ends_with("/token") => {
                let now = Instant::now();
                let token = random_token();
                let mut tokens = lock(&self.0);
                tokens.retain(|_, ends| now < *ends);
                tokens.insert(token.clone(), now + LIFE);
                json(
                    200,
                    &Granted {
                        access_token: token,
                        expires_in: LIFE.as_secs(),
                        token_type: "Bearer",
                    },
                )
            }
            _ => refused("invalid_grant"),
        }
    }

    /// Whether the request bears a token that holds.
    pub(super) fn admit(&self, headers: &HeaderMap) -> bool {
        headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
            .is_some_and(|token| {
                let tokens = lock(&self.0);
                tokens.get(token).is_some_and(|ends| Instant::now() < *ends)
            })
    }

    /// No token holds any more.
    pub(super) fn revoke(&self) {
        lock(&self.0).clear();
    }
}

/// What a rightly signed assertion says that has not run out.
fn claims(assertion: &str) -> Option<Claims> {
    let key = DecodingKey::from_rsa_pem(PUBLIC_KEY.as_bytes()).ok()?;
    let mut validation = Validation::new(Algorithm::RS256);
    // It is this server's address, which it does not know.
    validation.validate_aud = false;
    let token = decode::<Claims>(assertion, &key, &validation).ok()?;
    Some(token.claims)
}

impl Claims {
    fn is_short_lived(&self) -> bool {
        self.exp.saturating_sub(self.iat) <= LIFE.as_secs()
    }
}

fn refused(code: &str) -> Response<Body> {
    answer(400, format!(r#"{{"error":"{code}"}}"#))
}
