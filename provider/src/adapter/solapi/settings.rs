//! What a Solapi account needs beyond its secret.

use reqwest::header::HeaderValue;
use serde::{Deserialize, Serialize};

use super::super::{Account, BuildError};

/// `[account.settings]` of protocol `solapi`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    /// The API Key; `api_key` is the API Secret that belongs to it.
    pub(super) key_id: String,
    /// The registered number that stands in messages whose type has no sender of its own (Alimtalk,
    /// Brand Message, Naver); none, and they bear none.
    pub(super) sender: Option<String>,
    /// Whom Brand Messages go to.
    #[serde(default)]
    pub(super) brand_targeting: Targeting,
    /// Which bubble the account's Brand Message templates have.
    #[serde(default)]
    pub(super) brand_template: BrandTemplate,
}

/// Whom a Brand Message reaches. Kakao lets only channels that it has approved use `M` and `N`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(super) enum Targeting {
    /// Recipients that are friends of the channel.
    #[default]
    I,
    /// Recipients that agreed to the advertiser's marketing.
    M,
    /// Those of `M` that are no friends of the channel.
    N,
}

/// A bubble that needs nothing but text and buttons from us: the rest stands in the template.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) enum BrandTemplate {
    #[default]
    #[serde(rename = "BMS_TEXT")]
    Text,
    #[serde(rename = "BMS_IMAGE")]
    Image,
    #[serde(rename = "BMS_WIDE")]
    Wide,
}

impl BrandTemplate {
    /// The vendor's word.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Text => "BMS_TEXT",
            Self::Image => "BMS_IMAGE",
            Self::Wide => "BMS_WIDE",
        }
    }
}

impl Settings {
    /// Those of `account`, each of its own kind.
    pub(super) fn of(account: &Account) -> Result<Self, BuildError> {
        let settings: Self = account.settings()?;
        // A comma or a space would end the key inside the header's list.
        let is_word = |text: &str| {
            !text.is_empty() && !text.contains([',', ' ']) && HeaderValue::from_str(text).is_ok()
        };
        if !is_word(&settings.key_id) {
            return Err(BuildError::Settings(
                "key_id is the API Key as the vendor's console shows it".to_owned(),
            ));
        }
        let is_number = |text: &String| {
            (8..=12).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
        };
        if !settings.sender.as_ref().is_none_or(is_number) {
            return Err(BuildError::Settings(
                "sender is a registered number of 8 to 12 digits".to_owned(),
            ));
        }
        Ok(settings)
    }
}
