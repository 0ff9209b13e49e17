//! Keys and what is done with them: content sealed at rest, keyed digests, signatures on
//! webhooks and callbacks, client secrets, access and refresh tokens.
//!
//! One key file ([`Keyring`]) is the root. Every use takes a key of its own, derived with a label,
//! so a weakness in one use says nothing about another. All primitives come from AWS-LC.

mod callback;
mod key;
mod keyring;
mod lookup;
mod random;
mod seal;
mod secret;
mod signature;
mod token;
mod webhook_secret;

pub use callback::{CallbackKey, CallbackKeyTooShort};
pub use keyring::{Created, Keyring, KeyringError};
pub use lookup::Lookup;
pub use random::random_token;
pub use seal::{FilePart, SealError, Sealer};
pub use secret::{ClientSecret, HashError, RefreshToken, SecretHasher};
pub use signature::{
    SignatureError, SignatureHeaders, WEBHOOK_ID, WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP,
    X_SIGNATURE, X_TIMESTAMP, sign, verify_standard_webhook, verify_x_signature,
};
pub use token::{Claims, TokenError, TokenIssuer};
pub use webhook_secret::{NotAWebhookSecret, WebhookSecret};
