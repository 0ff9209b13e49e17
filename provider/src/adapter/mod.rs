//! One module per vendor protocol, and what they share.
//!
//! | protocol | carries | batch | answers finally | reports | can be asked |
//! |---|---|---|---|---|---|
//! | `carrier` | SMS, LMS, MMS | 100 | no | called back, with the vendor's id alone | no |
//! | `rcshub` | RCS | 20 | no | called back, with both ids | no |
//! | `kakao` | Alimtalk, Brand Message | 100 | Alimtalk | polled, with both ids | yes |
//! | `talk` | Naver TalkTalk | 1 | yes | none: accepted is the end | no |
//! | `navertalk` | Naver TalkTalk | 1 | yes | none: accepted is the end | no |
//! | `rbm` | RCS | 1 | no | called back, with our id | no |
//! | `solapi` | SMS, LMS, Alimtalk, Brand Message, Naver, RCS | 100 | no | called back, with both ids | yes |
//! | `nhn` | SMS, LMS, MMS, or Alimtalk, Brand Message | 1 | no | called back with both ids, or polled | yes |
//! | `smpp` | SMS, LMS | the window | no | over the bind, with the vendor's id | no |
//! | `smtp` | e-mail | 1 | yes | none: taken by the next server is the end | no |
//!
//! None of them removes duplicates, so no call is ever repeated after its first byte.

mod account;
mod carrier;
mod code;
mod exchange;
mod kakao;
mod navertalk;
mod nhn;
mod rbm;
mod rcshub;
mod reading;
mod signature;
mod smpp;
mod smtp;
mod solapi;
mod talk;

use std::sync::Arc;

use pabal_common::crypto::CallbackKeyTooShort;

pub use account::Account;
#[doc(hidden)]
pub use smpp::read_stream as read_smpp_stream;
pub use smtp::ReturnPaths;

use crate::provider::Provider;

/// The names of the protocols, as configuration writes them.
pub const PROTOCOLS: [&str; 10] = [
    "carrier",
    "rcshub",
    "kakao",
    "talk",
    "navertalk",
    "rbm",
    "solapi",
    "nhn",
    "smpp",
    "smtp",
];

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
    /// The vendor calls back, so a secret is needed.
    #[error("give callback_secret or callback_secret_file: this vendor calls back")]
    NoCallbackSecret,
    /// What the protocol itself needs to know is missing or wrong.
    #[error("[account.settings]: {0}")]
    Settings(String),
    /// The HTTP client cannot be built.
    #[error("HTTP client: {0}")]
    Client(reqwest::Error),
}

/// The adapter for `protocol`, one of [`PROTOCOLS`], at `account`.
///
/// # Errors
/// [`BuildError`] names the value and what is allowed.
pub fn build(protocol: &str, account: Account) -> Result<Arc<dyn Provider>, BuildError> {
    Ok(match protocol {
        "carrier" => Arc::new(carrier::Carrier::new(account)?),
        "rcshub" => Arc::new(rcshub::RcsHub::new(account)?),
        "kakao" => Arc::new(kakao::Kakao::new(account)?),
        "talk" => Arc::new(talk::Talk::new(account)?),
        "navertalk" => Arc::new(navertalk::NaverTalk::new(account)?),
        "rbm" => Arc::new(rbm::Rbm::new(account)?),
        "solapi" => Arc::new(solapi::Solapi::new(account)?),
        "nhn" => Arc::new(nhn::Nhn::new(account)?),
        "smpp" => Arc::new(smpp::Smpp::new(account)?),
        "smtp" => Arc::new(smtp::Smtp::new(account)?),
        other => {
            return Err(BuildError::Protocol {
                given: other.to_owned(),
            });
        }
    })
}
