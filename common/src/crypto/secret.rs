//! Secrets partners hold: client secrets, kept as argon2id, and refresh tokens, kept as SHA-256.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::{Error, PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, PasswordHash, Version};
use aws_lc_rs::digest;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::random::random_token;

const PREFIX: &str = "psk_";
const SECRET_LENGTH: usize = PREFIX.len() + 43;

/// What a partner proves itself with: `psk_` and 32 random bytes in base64url.
#[derive(Clone)]
pub struct ClientSecret(SecretString);

impl ClientSecret {
    /// A new secret.
    pub fn generate() -> Self {
        Self(format!("{PREFIX}{}", random_token()).into())
    }

    /// The secret itself, to show once.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientSecret(psk_***)")
    }
}

/// Hashes and checks client secrets with argon2id: 19 MiB, two passes, one lane (the OWASP
/// password storage advice). Cheap to clone; all clones share the permits.
///
/// Each computation takes a permit and runs off the async threads. Permits bound memory (19 MiB
/// each) and processor time, so that a flood of logins cannot stop everything else.
#[derive(Clone, Debug)]
pub struct SecretHasher {
    permits: Arc<Semaphore>,
    longest_wait: Duration,
}

/// Why a secret was neither hashed nor checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// No permit became free in time; worth trying again.
    #[error("too many logins at once")]
    Busy,
    /// The stored hash is not an argon2id hash.
    #[error("the stored secret hash cannot be read")]
    NotAHash,
    /// The computation failed: no memory, or the process is stopping.
    #[error("the secret could not be hashed")]
    Failed,
}

/// Stands in for the hash of a client that does not exist. Its output is arbitrary, so no secret
/// is known that fits it.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1\
    $cGFiYWwtbm9ib2R5LTAwMA$hBz8Yt7Zk3nQv0sXwJ5uRgMfL2aE9dTcPiOoK6y1NbU";

impl SecretHasher {
    /// At most `permits` computations at a time (at least one), each waiting for its turn up to
    /// `longest_wait`.
    pub fn new(permits: usize, longest_wait: Duration) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(permits.max(1))),
            longest_wait,
        }
    }

    /// The hash to keep, as a PHC string.
    ///
    /// # Errors
    /// [`HashError::Busy`] or [`HashError::Failed`].
    pub async fn hash(&self, secret: &ClientSecret) -> Result<String, HashError> {
        let secret = secret.clone();
        self.compute(move || {
            let hash = argon2id().hash_password(secret.expose().as_bytes());
            hash.map(|hash| hash.to_string())
                .map_err(|_| HashError::Failed)
        })
        .await
    }

    /// Whether `candidate` is the secret behind `phc`, the kept hash.
    ///
    /// `None` is for a client that does not exist: it costs the same time and is never true, so
    /// that nobody can learn from the time taken which clients there are.
    ///
    /// # Errors
    /// As [`HashError`] says.
    pub async fn verify(&self, phc: Option<&str>, candidate: &str) -> Result<bool, HashError> {
        // No hash is needed to see that this is no client secret; the form is no secret.
        if candidate.len() != SECRET_LENGTH || !candidate.starts_with(PREFIX) {
            return Ok(false);
        }
        let exists = phc.is_some();
        let phc = phc.unwrap_or(NOBODY).to_owned();
        let candidate = SecretString::from(candidate);
        let fits = self.compute(move || verify(&phc, candidate.expose_secret()));
        Ok(fits.await? && exists)
    }

    async fn compute<T: Send + 'static>(
        &self,
        computation: impl FnOnce() -> Result<T, HashError> + Send + 'static,
    ) -> Result<T, HashError> {
        let permit = timeout(self.longest_wait, Arc::clone(&self.permits).acquire_owned())
            .await
            .map_err(|_| HashError::Busy)?
            .map_err(|_| HashError::Failed)?;
        spawn_blocking(move || {
            // The caller may go away; the computation goes on, and so must its permit.
            let _permit = permit;
            computation()
        })
        .await
        .map_err(|_| HashError::Failed)?
    }
}

fn argon2id() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, PARAMS)
}

const PARAMS: Params = match Params::new(19 * 1024, 2, 1, None) {
    Ok(params) => params,
    Err(_) => panic!("argon2 accepts these parameters"),
};

fn verify(phc: &str, candidate: &str) -> Result<bool, HashError> {
    let phc = PasswordHash::new(phc).map_err(|_| HashError::NotAHash)?;
    match argon2id().verify_password(candidate.as_bytes(), &phc) {
        Ok(()) => Ok(true),
        Err(Error::PasswordInvalid) if phc.hash.is_some() => Ok(false),
        Err(Error::OutOfMemory) => Err(HashError::Failed),
        Err(_) => Err(HashError::NotAHash),
    }
}

/// An opaque refresh token: 32 random bytes in base64url. Only its digest is kept; a fast hash is
/// enough for what cannot be guessed.
#[derive(Clone)]
pub struct RefreshToken(SecretString);

impl RefreshToken {
    /// A new token.
    pub fn generate() -> Self {
        Self(random_token().into())
    }

    /// The token a partner presents; any text, since only a known digest makes it valid.
    pub fn presented(text: &str) -> Self {
        Self(text.into())
    }

    /// The token itself, to hand to the partner.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// SHA-256 of the token, under which it is kept and found.
    pub fn digest(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        let digest = digest::digest(&digest::SHA256, self.expose().as_bytes());
        bytes.copy_from_slice(digest.as_ref());
        bytes
    }
}

impl fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RefreshToken(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hasher() -> SecretHasher {
        SecretHasher::new(2, Duration::from_secs(60))
    }

    #[tokio::test]
    async fn the_secret_that_was_hashed_is_the_only_one_that_fits() {
        let (hasher, secret) = (hasher(), ClientSecret::generate());
        let phc = hasher.hash(&secret).await.unwrap();
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
        assert_eq!(hasher.verify(Some(&phc), secret.expose()).await, Ok(true));
        let other = ClientSecret::generate();
        assert_eq!(hasher.verify(Some(&phc), other.expose()).await, Ok(false));
        for text in ["", "psk_", &secret.expose()[..46], &secret.expose()[4..]] {
            assert_eq!(hasher.verify(Some(&phc), text).await, Ok(false), "{text}");
        }
        assert_ne!(hasher.hash(&secret).await, Ok(phc));
    }

    #[tokio::test]
    async fn a_client_that_does_not_exist_costs_a_whole_hash_and_is_refused() {
        let secret = ClientSecret::generate();
        assert_eq!(hasher().verify(None, secret.expose()).await, Ok(false));
        let nobody = PasswordHash::new(NOBODY).unwrap();
        assert_eq!(Params::try_from(&nobody).unwrap().m_cost(), PARAMS.m_cost());
        assert_eq!(Params::try_from(&nobody).unwrap().t_cost(), PARAMS.t_cost());
        assert_eq!(verify(NOBODY, secret.expose()), Ok(false));
    }

    #[tokio::test]
    async fn a_stored_text_that_is_no_argon2id_hash_is_an_error_and_not_a_wrong_secret() {
        let secret = ClientSecret::generate();
        for phc in ["", "plain", "$2b$12$abc", "$argon2id$v=19$m=19456,t=2,p=1"] {
            let refused = hasher().verify(Some(phc), secret.expose()).await;
            assert_eq!(refused, Err(HashError::NotAHash), "{phc}");
        }
    }

    #[tokio::test]
    async fn beyond_the_permits_a_caller_waits_no_longer_than_told() {
        let hasher = SecretHasher::new(1, Duration::ZERO);
        let secret = ClientSecret::generate();
        let held = Arc::clone(&hasher.permits).acquire_owned().await.unwrap();
        assert_eq!(hasher.clone().hash(&secret).await, Err(HashError::Busy));
        drop(held);
        assert!(hasher.hash(&secret).await.is_ok());
        assert_eq!(hasher.permits.available_permits(), 1);
    }

    #[test]
    fn secrets_have_their_form_and_debug_shows_nothing_of_them() {
        let (secret, token) = (ClientSecret::generate(), RefreshToken::generate());
        assert_eq!(secret.expose().len(), SECRET_LENGTH);
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        assert!(secret.expose().chars().all(plain));
        assert_eq!(format!("{secret:?}"), "ClientSecret(psk_***)");
        assert_eq!(format!("{token:?}"), "RefreshToken(***)");
        assert_ne!(random_token(), random_token());
    }

    #[test]
    fn a_refresh_token_is_found_by_its_sha_256() {
        let token = RefreshToken::generate();
        assert_eq!(
            RefreshToken::presented(token.expose()).digest(),
            token.digest()
        );
        // FIPS 180-2, appendix B.1.
        assert_eq!(
            hex::encode(RefreshToken::presented("abc").digest()),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
