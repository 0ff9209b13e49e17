//! Access tokens: JWT signed with HS256, so that a request costs no look-up to be believed.
//!
//! | claim | what |
//! |---|---|
//! | `sub` | the partner |
//! | `iat`, `exp` | issued and expiring, unix seconds |
//! | `jti` | a random id of the token |
//! | `ver` | the partner's credential version; raised when the secret is rotated, so older tokens die |

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};

use super::keyring::Keyring;
use super::random;
use crate::clock::Timestamp;
use crate::domain::id::PartnerId;

/// Longer than any token issued here, in bytes; beyond it nothing is parsed.
const LONGEST: usize = 1024;

/// Issues and checks access tokens; cheap to clone.
#[derive(Clone)]
pub struct TokenIssuer(Arc<Keys>);

/// What a checked token says. The caller still compares `credential_version` with the partner's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// Whose token it is.
    pub partner: PartnerId,
    /// The version of the partner's credentials when it was issued.
    pub credential_version: u32,
    /// When it was issued, in whole seconds.
    pub issued_at: Timestamp,
    /// From when on it is refused, in whole seconds.
    pub expires_at: Timestamp,
    /// The token's own id.
    pub token_id: String,
}

/// Why a token is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not a token of the form issued here.
    #[error("the access token is malformed")]
    Malformed,
    /// Not signed by this installation, or by another algorithm than HS256.
    #[error("the access token's signature is wrong")]
    Forged,
    /// Its time is over.
    #[error("the access token has expired")]
    Expired,
}

impl TokenIssuer {
    /// Tokens under the signing key of `keyring`.
    pub fn new(keyring: &Keyring) -> Self {
        let key = keyring.token_signing();
        let mut validation = Validation::new(Algorithm::HS256);
        // The library would ask the machine's clock, with a minute of leeway.
        validation.validate_exp = false;
        validation.required_spec_claims.clear();
        Self(Arc::new(Keys {
            sign: EncodingKey::from_secret(key.as_slice()),
            check: DecodingKey::from_secret(key.as_slice()),
            validation,
        }))
    }

    /// A token for `partner`, valid from `now` for `ttl` (whole seconds).
    #[expect(
        clippy::expect_used,
        reason = "signing numbers and short texts with an HMAC key has no way to fail"
    )]
    pub fn issue(
        &self,
        partner: &PartnerId,
        credential_version: u32,
        now: Timestamp,
        ttl: Duration,
    ) -> String {
        let issued = now.unix_seconds();
        let lifetime = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX);
        let wire = Wire {
            sub: partner.as_str().to_owned(),
            iat: issued,
            exp: issued.saturating_add(lifetime),
            jti: URL_SAFE_NO_PAD.encode(random::bytes::<16>()),
            ver: credential_version,
        };
        encode(&Header::new(Algorithm::HS256), &wire, &self.0.sign)
            .expect("an HMAC key signs any claims that are JSON")
    }

    /// What `token` says, if it was issued here and its time is not over at `now`.
    ///
    /// # Errors
    /// If the token is not to be believed.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Claims, TokenError> {
        if token.len() > LONGEST {
            return Err(TokenError::Malformed);
        }
        let wire = decode::<Wire>(token, &self.0.check, &self.0.validation)
            .map_err(|error| match error.kind() {
                ErrorKind::InvalidSignature | ErrorKind::InvalidAlgorithm => TokenError::Forged,
                _ => TokenError::Malformed,
            })?
            .claims;
        if now.unix_seconds() >= wire.exp {
            return Err(TokenError::Expired);
        }
        Ok(Claims {
            partner: wire.sub.parse().map_err(|_| TokenError::Malformed)?,
            credential_version: wire.ver,
            issued_at: at(wire.iat),
            expires_at: at(wire.exp),
            token_id: wire.jti,
        })
    }
}

impl fmt::Debug for TokenIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenIssuer").finish_non_exhaustive()
    }
}

struct Keys {
    sign: EncodingKey,
    check: DecodingKey,
    validation: Validation,
}

/// The claims as they are written.
#[derive(Serialize, Deserialize)]
struct Wire {
    sub: String,
    iat: i64,
    exp: i64,
    jti: String,
    ver: u32,
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds.saturating_mul(1000))
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::hmac;
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_500);
    const DAY: Duration = Duration::from_secs(86_400);

    fn partner() -> PartnerId {
        "shop".parse().unwrap()
    }

    fn issuer() -> TokenIssuer {
        TokenIssuer::new(&Keyring::generate())
    }

    /// A token with any header and claims, signed rightly with any HMAC.
    fn signed(keyring: &Keyring, algorithm: hmac::Algorithm, header: &str, claims: &str) -> String {
        let text = [header, claims]
            .map(|part| URL_SAFE_NO_PAD.encode(part))
            .join(".");
        let key = hmac::Key::new(algorithm, keyring.token_signing().as_slice());
        let signature = hmac::sign(&key, text.as_bytes());
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    const CLAIMS: &str = r#"{"sub":"shop","iat":1795000000,"exp":1795086400,"jti":"j","ver":1}"#;

    #[test]
    fn a_token_says_what_it_was_issued_for() {
        let issuer = issuer();
        let token = issuer.issue(&partner(), 3, NOW, DAY);
        let claims = issuer.verify(&token, NOW).unwrap();
        assert_eq!(claims.partner, partner());
        assert_eq!(claims.credential_version, 3);
        assert_eq!(claims.issued_at.millis(), 1_795_000_000_000);
        assert_eq!(claims.expires_at.millis(), 1_795_086_400_000);
        let next = issuer
            .verify(&issuer.issue(&partner(), 3, NOW, DAY), NOW)
            .unwrap();
        assert_ne!(next.token_id, claims.token_id);
    }

    #[test]
    fn a_token_is_good_to_the_last_second_by_the_time_it_is_told() {
        let issuer = issuer();
        let token = issuer.issue(&partner(), 1, NOW, DAY);
        let ends = Timestamp::from_millis(1_795_086_400_000);
        assert!(
            issuer
                .verify(&token, ends.minus(Duration::from_millis(1)))
                .is_ok()
        );
        assert_eq!(issuer.verify(&token, ends), Err(TokenError::Expired));
        // Long over by the machine's clock, yet good by the clock that counts.
        let past = Timestamp::from_millis(1_000_000_000_000);
        let old = issuer.issue(&partner(), 1, past, DAY);
        assert!(issuer.verify(&old, past).is_ok());
    }

    #[test]
    fn a_token_of_another_installation_is_forged_even_when_expired() {
        let token = issuer().issue(&partner(), 1, NOW, DAY);
        let other = issuer();
        assert_eq!(other.verify(&token, NOW), Err(TokenError::Forged));
        assert_eq!(
            other.verify(&token, NOW.plus(DAY * 2)),
            Err(TokenError::Forged)
        );
    }

    #[test]
    fn no_algorithm_but_hs256_is_accepted() {
        let keyring = Keyring::generate();
        let issuer = TokenIssuer::new(&keyring);
        let header = |alg: &str| format!(r#"{{"typ":"JWT","alg":"{alg}"}}"#);
        let right = signed(&keyring, hmac::HMAC_SHA256, &header("HS256"), CLAIMS);
        assert!(issuer.verify(&right, NOW).is_ok());
        for (algorithm, alg) in [(hmac::HMAC_SHA384, "HS384"), (hmac::HMAC_SHA512, "HS512")] {
            let token = signed(&keyring, algorithm, &header(alg), CLAIMS);
            assert_eq!(issuer.verify(&token, NOW), Err(TokenError::Forged), "{alg}");
        }
        for alg in ["RS256", "ES256", "PS256", "EdDSA"] {
            let token = signed(&keyring, hmac::HMAC_SHA256, &header(alg), CLAIMS);
            assert_eq!(issuer.verify(&token, NOW), Err(TokenError::Forged), "{alg}");
        }
        for alg in ["none", "None", "NONE", "hs256", ""] {
            let token = signed(&keyring, hmac::HMAC_SHA256, &header(alg), CLAIMS);
            assert_eq!(
                issuer.verify(&token, NOW),
                Err(TokenError::Malformed),
                "{alg}"
            );
            let unsigned = format!("{}.", token.rsplit_once('.').unwrap().0);
            assert_eq!(
                issuer.verify(&unsigned, NOW),
                Err(TokenError::Malformed),
                "{alg}"
            );
        }
    }

    #[test]
    fn signed_claims_that_are_not_ours_are_malformed() {
        let keyring = Keyring::generate();
        let issuer = TokenIssuer::new(&keyring);
        for claims in [
            "{}",
            "[]",
            r#"{"sub":"shop","iat":1,"jti":"j","ver":1}"#,
            r#"{"sub":"shop","iat":1,"exp":"1795086400","jti":"j","ver":1}"#,
            r#"{"sub":"SHOP!","iat":1,"exp":1795086400,"jti":"j","ver":1}"#,
            r#"{"sub":"shop","iat":1,"exp":1795086400,"jti":"j","ver":-1}"#,
        ] {
            let token = signed(&keyring, hmac::HMAC_SHA256, r#"{"alg":"HS256"}"#, claims);
            assert_eq!(
                issuer.verify(&token, NOW),
                Err(TokenError::Malformed),
                "{claims}"
            );
        }
    }

    #[test]
    fn every_changed_character_is_noticed() {
        let issuer = issuer();
        let token = issuer.issue(&partner(), 1, NOW, DAY);
        for place in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(issuer.verify(&changed, NOW).is_err(), "{place}: {changed}");
        }
    }

    #[test]
    fn a_text_longer_than_any_token_is_not_parsed() {
        let keyring = Keyring::generate();
        let long = CLAIMS.replace("\"j\"", &format!("\"{}\"", "j".repeat(LONGEST)));
        let token = signed(&keyring, hmac::HMAC_SHA256, r#"{"alg":"HS256"}"#, &long);
        let refused = TokenIssuer::new(&keyring).verify(&token, NOW);
        assert_eq!(refused, Err(TokenError::Malformed));
    }

    proptest! {
        #[test]
        fn any_text_is_refused_without_harm(text in ".{0,200}", dots in "[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,40}") {
            let issuer = issuer();
            prop_assert!(issuer.verify(&text, NOW).is_err());
            prop_assert!(issuer.verify(&dots, NOW).is_err());
        }

        #[test]
        fn any_time_and_lifetime_can_be_issued(now: i64, seconds: u64) {
            let (issuer, now) = (issuer(), Timestamp::from_millis(now));
            let token = issuer.issue(&partner(), u32::MAX, now, Duration::from_secs(seconds));
            let expected = if seconds == 0 { Some(TokenError::Expired) } else { None };
            prop_assert_eq!(issuer.verify(&token, now).err(), expected);
        }
    }
}
