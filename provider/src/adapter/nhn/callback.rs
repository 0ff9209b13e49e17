//! NHN's webhooks: `X-Toast-Webhook-Signature` holds the very text that was entered in the console.
//!
//! Nothing binds it to the body or to a time, so a repeated callback is believed; reports bear that.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use pabal_common::crypto::CallbackKey;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::Value;

use super::super::{Account, BuildError};
use super::report::Row;
use crate::provider::CallbackError;

const SIGNATURE: &str = "x-toast-webhook-signature";
/// The one event that is about a message of ours; the others are accepted and passed over.
const RESULT: &str = "MESSAGE_RESULT_UPDATE";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Callback {
    app_key: Option<String>,
    event: String,
    #[serde(default)]
    hooks: Vec<Value>,
}

/// The signature of an account that is called back.
#[derive(Debug)]
pub(super) struct Signature(SecretString);

impl Signature {
    /// The account's callback secret, if it is long enough.
    pub(super) fn of(account: &Account) -> Result<Self, BuildError> {
        let secret = account.callback_secret()?;
        let _long_enough: CallbackKey = secret.expose_secret().parse()?;
        Ok(Self(secret.clone()))
    }

    /// Checks a callback; the body is not to be read before.
    pub(super) fn check(
        &self,
        header: &(dyn Fn(&str) -> Option<String> + Sync),
    ) -> Result<(), CallbackError> {
        let shown = header(SIGNATURE)
            .ok_or_else(|| CallbackError::NotAuthentic("no signature".to_owned()))?;
        let expected = self.0.expose_secret().as_bytes();
        verify_slices_are_equal(shown.as_bytes(), expected)
            .map_err(|_| CallbackError::NotAuthentic("wrong signature".to_owned()))
    }
}

/// The results in a callback for `app_key`.
pub(super) fn read(app_key: &str, body: &[u8]) -> Result<Vec<Row>, CallbackError> {
    let callback: Callback = serde_json::from_slice(body)
        .map_err(|_| CallbackError::Unreadable("not the JSON of a webhook".to_owned()))?;
    if callback.app_key.is_some_and(|shown| shown != app_key) {
        let other = "it is about another app key".to_owned();
        return Err(CallbackError::NotAuthentic(other));
    }
    if callback.event != RESULT {
        return Ok(Vec::new());
    }
    Ok(Row::read_all(callback.hooks))
}
