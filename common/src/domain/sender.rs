//! What a partner may send from: telephone numbers, and the domains of its mails.

use std::fmt;
use std::str::FromStr;

use super::mail::MailDomain;
use super::phone::SenderNumber;

/// One entry of a partner's list of senders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sender {
    /// A number.
    Number(SenderNumber),
    /// Every address of this domain, and of none below it.
    Domain(MailDomain),
}

/// The text is neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a sender is a number such as 02-123-4567, or the domain of a partner's mails such as shop.example"
)]
pub struct NotASender;

impl Sender {
    /// As it stands in the list: a number's digits, or the domain in lower case.
    pub fn entry(&self) -> &str {
        match self {
            Self::Number(number) => number.digits(),
            Self::Domain(domain) => domain.as_str(),
        }
    }
}

impl FromStr for Sender {
    type Err = NotASender;

    fn from_str(text: &str) -> Result<Self, NotASender> {
        let number = text.parse().map(Self::Number);
        number.or_else(|_| text.parse().map(Self::Domain).map_err(|_| NotASender))
    }
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.entry())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_is_a_number_or_a_domain_and_never_both() {
        let entry = |text: &str| {
            text.parse::<Sender>()
                .map(|sender| sender.entry().to_owned())
        };
        assert_eq!(entry("02-123-4567").as_deref(), Ok("021234567"));
        assert_eq!(entry("Shop.Example").as_deref(), Ok("shop.example"));
        for text in ["", "shop", "kim@shop.example", "02.123", "1.2.3.4"] {
            assert_eq!(entry(text), Err(NotASender), "{text}");
        }
    }
}
