//! The public status of a message. It only goes forward.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Where a message is, as the partner sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// Accepted and kept.
    Received,
    /// A vendor call for it has begun. Shown, never stored: see [`Status::shown`].
    Processing,
    /// A vendor has taken it.
    Sent,
    /// The recipient has it. Final.
    Delivered,
    /// It will not arrive. Final.
    Failed,
    /// Its time passed without a result. Final.
    Expired,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 6] = [
        Self::Received,
        Self::Processing,
        Self::Sent,
        Self::Delivered,
        Self::Failed,
        Self::Expired,
    ];

    /// The API's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Received => "RECEIVED",
            Self::Processing => "PROCESSING",
            Self::Sent => "SENT",
            Self::Delivered => "DELIVERED",
            Self::Failed => "FAILED",
            Self::Expired => "EXPIRED",
        }
    }

    /// The status with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }

    /// Whether a message with this status has ended.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Delivered | Self::Failed | Self::Expired)
    }

    /// Whether a message may go from this status to `next`.
    pub const fn may_become(self, next: Self) -> bool {
        self.rank() < next.rank()
    }

    /// The status to show: from the first claim on, a message that no vendor has taken yet is
    /// PROCESSING. The column itself skips it, because each write costs an index entry.
    pub const fn shown(self, claimed: bool) -> Self {
        match self {
            Self::Received if claimed => Self::Processing,
            other => other,
        }
    }

    const fn rank(self) -> u8 {
        match self {
            Self::Received => 0,
            Self::Processing => 1,
            Self::Sent => 2,
            Self::Delivered | Self::Failed | Self::Expired => 3,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_follows_a_final_status() {
        for from in Status::ALL.into_iter().filter(|status| status.is_final()) {
            assert!(Status::ALL.into_iter().all(|next| !from.may_become(next)));
        }
    }

    #[test]
    fn a_claimed_message_is_shown_as_processing_until_a_vendor_has_it() {
        assert_eq!(Status::Received.shown(true), Status::Processing);
        assert_eq!(Status::Received.shown(false), Status::Received);
        assert_eq!(Status::Sent.shown(true), Status::Sent);
    }
}
