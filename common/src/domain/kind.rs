//! Message types, purposes and lanes.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What kind of message a partner sends. The names are the API's (requirement 2.2).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum MessageType {
    /// Short message, 90 bytes.
    Sms,
    /// Long message, text only.
    Lms,
    /// Long message with images.
    Mms,
    /// Kakao Alimtalk: an approved information template.
    KakaoAlimtalk,
    /// Kakao Brand Message: advertising.
    KakaoBrandMessage,
    /// Naver TalkTalk; the recipient is the channel's user id, not a number.
    NaverTalk,
    /// RCS.
    Rcs,
    /// E-mail.
    Email,
}

impl MessageType {
    /// Every type, in the order of the documentation.
    pub const ALL: [Self; 8] = [
        Self::Sms,
        Self::Lms,
        Self::Mms,
        Self::KakaoAlimtalk,
        Self::KakaoBrandMessage,
        Self::NaverTalk,
        Self::Rcs,
        Self::Email,
    ];

    /// The API's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sms => "SMS",
            Self::Lms => "LMS",
            Self::Mms => "MMS",
            Self::KakaoAlimtalk => "KAKAO_ALIMTALK",
            Self::KakaoBrandMessage => "KAKAO_BRAND_MESSAGE",
            Self::NaverTalk => "NAVER_TALK",
            Self::Rcs => "RCS",
            Self::Email => "EMAIL",
        }
    }

    /// The type with this API name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The number that stands for the type in frames and in the ledger; never reused.
    pub const fn number(self) -> u8 {
        match self {
            Self::Sms => 1,
            Self::Lms => 2,
            Self::Mms => 3,
            Self::KakaoAlimtalk => 4,
            Self::KakaoBrandMessage => 5,
            Self::NaverTalk => 6,
            Self::Rcs => 7,
            Self::Email => 8,
        }
    }

    /// The type with this number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }

    /// Which send queue carries the type.
    pub const fn channel(self) -> Channel {
        match self {
            Self::Sms => Channel::Sms,
            Self::Lms => Channel::Lms,
            Self::Mms => Channel::Mms,
            Self::KakaoAlimtalk | Self::KakaoBrandMessage => Channel::Kakao,
            Self::NaverTalk => Channel::Naver,
            Self::Rcs => Channel::Rcs,
            Self::Email => Channel::Email,
        }
    }

    /// How long after the vendor's call a report may still come: 25 h for SMS, 80 h for the
    /// others (carrier time-outs; NHN Cloud SMS sending policy). A mail has its answer from the server
    /// that took it; one whose answer was lost may still come back within a day.
    pub const fn carrier_deadline(self) -> Duration {
        match self {
            Self::Sms => Duration::from_secs(25 * 3600),
            Self::Email => Duration::from_secs(24 * 3600),
            _ => Duration::from_secs(80 * 3600),
        }
    }
}

impl fmt::Display for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A send queue's family; both Kakao types share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// `send.sms.queue`
    Sms,
    /// `send.lms.queue`
    Lms,
    /// `send.mms.queue`
    Mms,
    /// `send.kakao.queue`
    Kakao,
    /// `send.naver.queue`
    Naver,
    /// `send.rcs.queue`
    Rcs,
    /// `send.email.queue`
    Email,
}

impl Channel {
    /// Every channel.
    pub const ALL: [Self; 7] = [
        Self::Sms,
        Self::Lms,
        Self::Mms,
        Self::Kakao,
        Self::Naver,
        Self::Rcs,
        Self::Email,
    ];

    /// The types the channel carries.
    pub fn kinds(self) -> impl Iterator<Item = MessageType> {
        MessageType::ALL
            .into_iter()
            .filter(move |kind| kind.channel() == self)
    }
}

/// What the partner sends the message for.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    ToSchema,
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Purpose {
    /// A one-time password or other proof of identity: it takes the express lane.
    Auth,
    /// A notice the recipient needs.
    #[default]
    Info,
    /// Advertising.
    Ad,
}

impl Purpose {
    /// How long the message is worth sending if the partner does not say: 180 s for AUTH,
    /// 24 h otherwise.
    pub const fn default_validity(self) -> Duration {
        match self {
            Self::Auth => Duration::from_secs(180),
            Self::Info | Self::Ad => Duration::from_secs(24 * 3600),
        }
    }

    /// The API's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auth => "AUTH",
            Self::Info => "INFO",
            Self::Ad => "AD",
        }
    }

    /// The purpose with this API name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Auth, Self::Info, Self::Ad]
            .into_iter()
            .find(|purpose| purpose.name() == name)
    }
}

/// Which of a type's queues carries a message; decided at acceptance, kept on retry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// The queue most messages take.
    #[default]
    Ordinary,
    /// The `.express` twin, for AUTH messages within the partner's share.
    Express,
    /// The `.bulk` twin, for what a partner sends beyond its fair share of the ordinary lane.
    Bulk,
}

impl Lane {
    /// Every lane.
    pub const ALL: [Self; 3] = [Self::Ordinary, Self::Express, Self::Bulk];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_found_again_by_its_name_and_by_its_number() {
        for kind in MessageType::ALL {
            assert_eq!(MessageType::parse(kind.name()), Some(kind));
            assert_eq!(MessageType::from_number(kind.number()), Some(kind));
            let json = serde_json::to_string(&kind).unwrap();
            assert_eq!(json, format!("\"{}\"", kind.name()));
        }
    }
}
