//! Which messages a route carries, beside their type: of whom, to whom, how long.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pabal_common::domain::id::PartnerId;
use pabal_common::domain::kind::MessageType;
use pabal_common::domain::text::{Limit, limit};
use serde::{Deserialize, Serialize};

/// What a route carries; empty, everything of its types.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Carries {
    /// The partners whose messages it carries; none named, those of everybody.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub partners: BTreeSet<PartnerId>,
    /// How the recipients' numbers begin, in national notation; none named, all.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub prefixes: BTreeSet<String>,
    /// The longest text it carries of a type, in the type's unit, where it is less than the type's
    /// own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub limits: BTreeMap<MessageType, usize>,
}

/// What a message shows to the routes.
#[derive(Clone, Copy)]
pub struct Traits<'a> {
    /// Its type.
    pub kind: MessageType,
    /// Whose it is.
    pub partner: &'a PartnerId,
    /// To whom: national digits, or a TalkTalk user id.
    pub recipient: &'a str,
    /// The length of its text, in the type's unit.
    pub length: usize,
}

/// Why a route does not carry a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// Not the type.
    #[error("it does not carry {0}")]
    Kind(MessageType),
    /// Not the partner.
    #[error("it does not carry messages of this partner")]
    Partner,
    /// Not the recipient.
    #[error("it does not carry messages to numbers that begin so")]
    Prefix,
    /// Too long.
    #[error("it carries texts up to {limit}, this one is {actual} long")]
    Length {
        /// The longest text it carries.
        limit: usize,
        /// How long this one is.
        actual: usize,
    },
}

impl Carries {
    /// Whether there are messages of the type that it does not carry.
    pub fn is_selective(&self, kind: MessageType) -> bool {
        !self.partners.is_empty() || !self.prefixes.is_empty() || self.limits.contains_key(&kind)
    }

    /// Whether it carries a message, apart from its type.
    ///
    /// # Errors
    /// [`Misfit`] says why it does not.
    pub fn check(&self, message: &Traits<'_>) -> Result<(), Misfit> {
        if !self.partners.is_empty() && !self.partners.contains(message.partner) {
            return Err(Misfit::Partner);
        }
        let begins = |prefix: &String| message.recipient.starts_with(prefix.as_str());
        if !self.prefixes.is_empty() && !self.prefixes.iter().any(begins) {
            return Err(Misfit::Prefix);
        }
        let (limit, actual) = (self.limit(message.kind).max, message.length);
        if actual > limit {
            return Err(Misfit::Length { limit, actual });
        }
        Ok(())
    }

    /// The longest text it carries of a type.
    pub fn limit(&self, kind: MessageType) -> Limit {
        let own = limit(kind);
        let lower = self.limits.get(&kind).copied();
        Limit {
            max: lower.unwrap_or(own.max).min(own.max),
            unit: own.unit,
        }
    }
}

/// The routes that carry a message, as the book's routes were when it was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fit {
    /// Which edition of the routes it speaks of; 0, of none.
    pub(super) edition: u64,
    /// Their places in the book; `None`, all that carry the type.
    pub(super) routes: Option<Arc<[usize]>>,
}

impl Fit {
    /// Every route of the type, where each of them carries every message of it.
    pub fn any() -> Self {
        Self::default()
    }

    pub(super) fn includes(&self, route: usize) -> bool {
        self.routes
            .as_ref()
            .is_none_or(|routes| routes.contains(&route))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY: &str = "01012345678";

    fn carries(change: impl FnOnce(&mut Carries)) -> Carries {
        let mut carries = Carries::default();
        change(&mut carries);
        carries
    }

    fn message<'a>(partner: &'a PartnerId, recipient: &'a str, length: usize) -> Traits<'a> {
        Traits {
            kind: MessageType::Lms,
            partner,
            recipient,
            length,
        }
    }

    #[test]
    fn a_route_without_a_word_about_it_carries_every_message_its_type_can_be() {
        let (shop, all) = ("shop".parse().unwrap(), Carries::default());
        assert_eq!(all.check(&message(&shop, NOBODY, 4000)), Ok(()));
        assert!(!all.is_selective(MessageType::Lms));
    }

    #[test]
    fn a_route_of_some_partners_carries_theirs_alone() {
        let (shop, bank) = ("shop".parse().unwrap(), "bank".parse().unwrap());
        let banks = carries(|it| it.partners = BTreeSet::from(["bank".parse().unwrap()]));
        assert_eq!(banks.check(&message(&bank, NOBODY, 1)), Ok(()));
        let refused = banks.check(&message(&shop, NOBODY, 1));
        assert_eq!(refused, Err(Misfit::Partner));
    }

    #[test]
    fn a_number_fits_that_begins_with_any_of_the_prefixes() {
        let shop = "shop".parse().unwrap();
        let some = carries(|it| it.prefixes = BTreeSet::from(["010".into(), "0118".into()]));
        for (number, fits) in [
            ("01012345678", true),
            ("0118", true),
            ("01171234567", false),
        ] {
            let checked = some.check(&message(&shop, number, 1));
            assert_eq!(checked.is_ok(), fits, "{number}");
        }
    }

    #[test]
    fn a_limit_is_of_its_type_alone_and_never_more_than_the_types() {
        let shop = "shop".parse().unwrap();
        let short = carries(|it| {
            it.limits = BTreeMap::from([(MessageType::Lms, 2000), (MessageType::Sms, 5000)]);
        });
        assert_eq!(short.check(&message(&shop, NOBODY, 2000)), Ok(()));
        let long = short.check(&message(&shop, NOBODY, 2001));
        let (limit, actual) = (2000, 2001);
        assert_eq!(long, Err(Misfit::Length { limit, actual }));
        assert_eq!(short.limit(MessageType::Sms).max, 90);
        assert!(!short.is_selective(MessageType::Mms));
    }
}
