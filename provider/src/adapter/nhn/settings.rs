//! `[account.settings]` of an NHN Cloud account.

use serde::Deserialize;

use super::super::BuildError;
use super::kakao::Targeting;

/// One account is one app key of one product.
#[derive(Deserialize)]
#[serde(tag = "product", rename_all = "lowercase")]
pub(super) enum Settings {
    /// SMS, LMS and MMS.
    Sms(Sms),
    /// KakaoTalk Bizmessage.
    Kakao(Kakao),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sms {
    pub(super) app_key: AppKey,
    #[serde(default)]
    pub(super) reports: Reports,
    /// The operator's registration number, where it is itself one that resells.
    pub(super) origin_code: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kakao {
    pub(super) app_key: AppKey,
    #[serde(default)]
    pub(super) reports: Reports,
    /// Whom a Brand Message may reach.
    #[serde(default)]
    pub(super) targeting: Targeting,
    /// The reseller's code at Kakao.
    pub(super) reseller_code: Option<String>,
}

/// How results come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Reports {
    /// NHN calls.
    #[default]
    Callback,
    /// We ask.
    Poll,
}

/// An app key, which stands in the path of every request.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct AppKey(String);

/// The text cannot be an app key.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("an app_key is 1 to 64 of the letters and digits of ASCII, - and _")]
pub(super) struct NotAnAppKey;

impl AppKey {
    /// The text.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for AppKey {
    type Error = NotAnAppKey;

    fn try_from(text: String) -> Result<Self, NotAnAppKey> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let fits = (1..=64).contains(&text.len()) && text.bytes().all(plain);
        fits.then_some(Self(text)).ok_or(NotAnAppKey)
    }
}

impl Settings {
    /// The app key.
    pub(super) const fn app_key(&self) -> &AppKey {
        match self {
            Self::Sms(sms) => &sms.app_key,
            Self::Kakao(kakao) => &kakao.app_key,
        }
    }

    /// How results come.
    pub(super) const fn reports(&self) -> Reports {
        match self {
            Self::Sms(sms) => sms.reports,
            Self::Kakao(kakao) => kakao.reports,
        }
    }

    /// Refuses what NHN could only refuse message by message.
    pub(super) fn checked(self) -> Result<Self, BuildError> {
        if let Self::Sms(Sms {
            origin_code: Some(code),
            ..
        }) = &self
            && !(code.len() == 9 && code.bytes().all(|byte| byte.is_ascii_digit()))
        {
            let wrong = "origin_code: a registration number has 9 digits".to_owned();
            return Err(BuildError::Settings(wrong));
        }
        Ok(self)
    }
}
