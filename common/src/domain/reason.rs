//! Why a message ended as it did, in one vocabulary for every vendor.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The canonical result class of a failed or expired message. Partners may rely on the words;
/// the vendor's own code travels beside it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Reason {
    /// The recipient does not exist or is not a valid address for the type.
    InvalidRecipient,
    /// The device was off, full, busy or out of coverage.
    RecipientUnavailable,
    /// The recipient refuses the sender or the channel.
    RecipientBlocked,
    /// The recipient has opted out.
    OptedOut,
    /// The recipient cannot receive this type (no KakaoTalk, no RCS, no MMS).
    NotCapable,
    /// The sender number or profile is not registered, is blocked or forged.
    SenderRejected,
    /// The vendor refuses the content: template mismatch, characters, length, image.
    ContentRejected,
    /// The carrier filtered it as spam.
    Spam,
    /// The channel does not deliver at this hour.
    OutOfHours,
    /// The account's quota or balance is used up.
    QuotaExceeded,
    /// The vendor had a message with this id or content already.
    Duplicate,
    /// The vendor failed.
    ProviderError,
    /// The vendor could not be reached, four attempts long.
    NotConnected,
    /// No usable route until the message's validity ended.
    RouteDown,
    /// The validity ended before the message was handed to a vendor.
    ValidityPassed,
    /// A vendor took the message and never reported.
    NoReport,
    /// The vendor's answer was lost and no report ever came: it may or may not have arrived.
    UnknownOutcome,
    /// Processing this message failed again and again.
    Poisoned,
    /// A file that goes with the message was gone when it was to be sent.
    AttachmentMissing,
    /// The vendor gave a code that is not in our table.
    Unspecified,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 20] = [
        Self::InvalidRecipient,
        Self::RecipientUnavailable,
        Self::RecipientBlocked,
        Self::OptedOut,
        Self::NotCapable,
        Self::SenderRejected,
        Self::ContentRejected,
        Self::Spam,
        Self::OutOfHours,
        Self::QuotaExceeded,
        Self::Duplicate,
        Self::ProviderError,
        Self::NotConnected,
        Self::RouteDown,
        Self::ValidityPassed,
        Self::NoReport,
        Self::UnknownOutcome,
        Self::Poisoned,
        Self::AttachmentMissing,
        Self::Unspecified,
    ];

    /// The word partners see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::InvalidRecipient => "INVALID_RECIPIENT",
            Self::RecipientUnavailable => "RECIPIENT_UNAVAILABLE",
            Self::RecipientBlocked => "RECIPIENT_BLOCKED",
            Self::OptedOut => "OPTED_OUT",
            Self::NotCapable => "NOT_CAPABLE",
            Self::SenderRejected => "SENDER_REJECTED",
            Self::ContentRejected => "CONTENT_REJECTED",
            Self::Spam => "SPAM",
            Self::OutOfHours => "OUT_OF_HOURS",
            Self::QuotaExceeded => "QUOTA_EXCEEDED",
            Self::Duplicate => "DUPLICATE",
            Self::ProviderError => "PROVIDER_ERROR",
            Self::NotConnected => "NOT_CONNECTED",
            Self::RouteDown => "ROUTE_DOWN",
            Self::ValidityPassed => "VALIDITY_PASSED",
            Self::NoReport => "NO_REPORT",
            Self::UnknownOutcome => "UNKNOWN_OUTCOME",
            Self::Poisoned => "POISONED",
            Self::AttachmentMissing => "ATTACHMENT_MISSING",
            Self::Unspecified => "UNSPECIFIED",
        }
    }

    /// The reason with this word.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_found_again_by_its_word() {
        for reason in Reason::ALL {
            assert_eq!(Reason::parse(reason.name()), Some(reason));
            assert_eq!(
                serde_json::to_string(&reason).unwrap(),
                format!("\"{}\"", reason.name())
            );
        }
    }
}
