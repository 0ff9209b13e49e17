//! One module per vendor protocol, and what they share.
//!
//! | protocol | carries | batch | answers finally | reports | can be asked |
//! |---|---|---|---|---|---|
//! | `carrier` | SMS, LMS, MMS | 100 | no | called back, with the vendor's id alone | no |
//! | `rcshub` | RCS | 20 | no | called back, with both ids | no |
//! | `kakao` | Alimtalk, Brand Message | 100 | Alimtalk | polled, with both ids | yes |
//! | `talk` | Naver TalkTalk | 1 | yes | none: accepted is the end | no |
//!
//! None of them removes duplicates, so no call is ever repeated after its first byte.

mod carrier;
mod code;
mod exchange;
mod kakao;
mod rcshub;
mod reading;
mod signature;
mod talk;

use std::sync::Arc;
use std::time::Duration;

use pabal_common::crypto::CallbackKeyTooShort;
use pabal_common::domain::report::VendorAccount;
use secrecy::SecretString;

use crate::provider::Provider;

/// The names of the protocols, as configuration writes them.
pub const PROTOCOLS: [&str; 4] = ["carrier", "rcshub", "kakao", "talk"];

/// How one vendor account is reached over HTTP.
#[derive(Clone, Debug)]
pub struct HttpAccount {
    /// Which account it is.
    pub account: VendorAccount,
    /// Where the vendor is, `http://` or `https://`, without a trailing path of the protocol.
    pub base_url: String,
    /// The key we show.
    pub api_key: SecretString,
    /// The secret that signs the vendor's callbacks, where it calls back.
    pub callback_secret: SecretString,
    /// The longest a connection may take, TLS included.
    pub connect_timeout: Duration,
    /// The longest an answer may take once connected. A whole call is bounded by the two together.
    pub answer_timeout: Duration,
}

/// Why no adapter could be built; the account is not usable.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// There is no such protocol.
    #[error("unknown protocol {given:?}, allowed are {}", PROTOCOLS.join(", "))]
    Protocol {
        /// What was asked for.
        given: String,
    },
    /// The base URL is not one.
    #[error("base URL {given:?}: {why}")]
    BaseUrl {
        /// What was given.
        given: String,
        /// What is wrong with it.
        why: String,
    },
    /// The API key cannot stand in a header.
    #[error("the API key holds characters that a header cannot carry")]
    ApiKey,
    /// The secret of the vendor's callbacks is too easily guessed.
    #[error("the callback secret: {0}")]
    CallbackSecret(#[from] CallbackKeyTooShort),
    /// The HTTP client cannot be built.
    #[error("HTTP client: {0}")]
    Client(reqwest::Error),
}

/// The adapter for `protocol`, one of [`PROTOCOLS`], at `account`.
///
/// # Errors
/// [`BuildError`] names the value and what is allowed.
pub fn build(protocol: &str, account: HttpAccount) -> Result<Arc<dyn Provider>, BuildError> {
    Ok(match protocol {
        "carrier" => Arc::new(carrier::Carrier::new(account)?),
        "rcshub" => Arc::new(rcshub::RcsHub::new(account)?),
        "kakao" => Arc::new(kakao::Kakao::new(account)?),
        "talk" => Arc::new(talk::Talk::new(account)?),
        other => {
            return Err(BuildError::Protocol {
                given: other.to_owned(),
            });
        }
    })
}
