//! One account at a vendor, as configuration describes it.

use std::time::Duration;

use pabal_common::domain::report::VendorAccount;
use secrecy::SecretString;
use serde::de::DeserializeOwned;

use super::BuildError;

/// How one vendor account is reached.
#[derive(Clone, Debug)]
pub struct Account {
    /// Which account it is.
    pub account: VendorAccount,
    /// Where the vendor is: `http://` or `https://`, or the scheme of its protocol, without a
    /// trailing path of the protocol.
    pub base_url: String,
    /// The secret we show or sign with: an API key, a secret key, a password.
    pub api_key: SecretString,
    /// The secret that proves the vendor's callbacks, where it calls back.
    pub callback_secret: Option<SecretString>,
    /// The longest a connection may take, TLS included.
    pub connect_timeout: Duration,
    /// The longest an answer may take once connected. A whole call is bounded by the two together.
    pub answer_timeout: Duration,
    /// What the protocol alone knows: `[account.settings]`.
    pub settings: toml::Table,
}

impl Account {
    /// The protocol's own settings. `T` refuses unknown fields, so that a typing error is found.
    pub(super) fn settings<T: DeserializeOwned>(&self) -> Result<T, BuildError> {
        let read = self.settings.clone().try_into();
        // In one line.
        read.map_err(|error: toml::de::Error| {
            BuildError::Settings(error.message().replace('\n', " "))
        })
    }

    /// Refuses settings that a protocol without any would pass over.
    pub(super) fn no_settings(&self) -> Result<(), BuildError> {
        match self.settings.keys().next() {
            None => Ok(()),
            Some(key) => Err(BuildError::Settings(format!(
                "{key} is unknown: this protocol has no settings of its own"
            ))),
        }
    }

    /// The callback secret of a vendor that calls back.
    pub(super) fn callback_secret(&self) -> Result<&SecretString, BuildError> {
        self.callback_secret
            .as_ref()
            .ok_or(BuildError::NoCallbackSecret)
    }
}
