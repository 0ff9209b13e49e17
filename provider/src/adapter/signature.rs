//! How the vendors sign their callbacks: `x-vendor-timestamp` holds Unix seconds,
//! `x-vendor-signature` the hexadecimal HMAC-SHA256 of `timestamp.body`.

use std::time::Duration;

use pabal_common::clock::Timestamp;
use pabal_common::crypto::CallbackKey;
use secrecy::ExposeSecret as _;

use super::{Account, BuildError};
use crate::provider::CallbackError;

/// How far the timestamp may be from now; older is a replay.
const WINDOW: Duration = Duration::from_secs(300);

/// The key of an account that calls back.
pub(super) fn key(account: &Account) -> Result<CallbackKey, BuildError> {
    Ok(account.callback_secret()?.expose_secret().parse()?)
}

/// Checks a callback; the body is not to be read before.
pub(super) fn check(
    key: &CallbackKey,
    header: &(dyn Fn(&str) -> Option<String> + Sync),
    body: &[u8],
    now: Timestamp,
) -> Result<(), CallbackError> {
    let timestamp = header("x-vendor-timestamp");
    let signature = header("x-vendor-signature");
    key.verify(
        timestamp.as_deref(),
        signature.as_deref(),
        body,
        now,
        WINDOW,
    )
    .map_err(|error| CallbackError::NotAuthentic(error.to_string()))
}
