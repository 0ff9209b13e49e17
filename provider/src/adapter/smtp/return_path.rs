//! The address a mail comes back to, one for each message, that nobody else can make up.
//!
//! `b-0ABCDEFGHJKMN-0123456789abcdef0123@bounces.shop.example`: our id and a MAC of it (variable envelope
//! return paths). Servers may change the case of a local part on the way, so it is read in any.

use std::fmt;

use aws_lc_rs::{constant_time, hmac};
use pabal_common::domain::id::MessageId;
use pabal_common::domain::mail::MailDomain;

/// Octets of the MAC that are kept: nobody guesses 80 bits over the network.
const MAC: usize = 10;

/// Makes and reads return paths of one domain.
#[derive(Clone)]
pub struct ReturnPaths {
    domain: MailDomain,
    key: hmac::Key,
}

impl ReturnPaths {
    /// Return paths below `domain`; `secret` keeps others from making them.
    pub fn new(domain: MailDomain, secret: &[u8]) -> Self {
        Self {
            domain,
            key: hmac::Key::new(hmac::HMAC_SHA256, secret),
        }
    }

    /// Where a mail with this id comes back to.
    pub fn of(&self, message: MessageId) -> String {
        let mac = hex::encode(&self.mac(message)[..MAC]);
        let id = message.to_string().to_ascii_lowercase();
        format!("b-{id}-{mac}@{}", self.domain)
    }

    /// Whose return path this is; `None` if it is none of ours.
    pub fn message(&self, address: &str) -> Option<MessageId> {
        let (local, domain) = address.rsplit_once('@')?;
        if !domain.eq_ignore_ascii_case(self.domain.as_str()) {
            return None;
        }
        let local = local.to_ascii_lowercase();
        let (id, mac) = local.strip_prefix("b-")?.split_once('-')?;
        let message: MessageId = id.parse().ok()?;
        let mac = hex::decode(mac).ok()?;
        let is_ours = constant_time::verify_slices_are_equal(&self.mac(message)[..MAC], &mac);
        is_ours.is_ok().then_some(message)
    }

    fn mac(&self, message: MessageId) -> [u8; 32] {
        let tag = hmac::sign(&self.key, format!("return-path {message}").as_bytes());
        let mut mac = [0; 32];
        mac.copy_from_slice(tag.as_ref());
        mac
    }
}

impl fmt::Debug for ReturnPaths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReturnPaths({})", self.domain)
    }
}

#[cfg(test)]
mod tests {
    use pabal_common::domain::mail::MailAddress;

    use super::*;

    fn paths(secret: &str) -> ReturnPaths {
        ReturnPaths::new("bounces.shop.example".parse().unwrap(), secret.as_bytes())
    }

    #[test]
    fn a_return_path_is_an_address_and_leads_back_to_its_message_in_any_case() {
        let paths = paths("a secret of sixteen");
        for number in [0, 1, u64::MAX >> 1] {
            let message = MessageId::from_number(number);
            let path = paths.of(message);
            assert!(path.parse::<MailAddress>().is_ok(), "{path}");
            assert_eq!(paths.message(&path), Some(message));
            assert_eq!(paths.message(&path.to_ascii_uppercase()), Some(message));
        }
    }

    #[test]
    fn nobody_without_the_secret_makes_one() {
        let ours = paths("a secret of sixteen");
        let message = MessageId::from_number(7);
        let path = ours.of(message);
        let foreign = paths("another secret....").of(message);
        let other = path.replace(
            &message.to_string().to_ascii_lowercase(),
            &MessageId::from_number(8).to_string(),
        );
        let short = path.replacen(&path[16..18], "", 1);
        for address in [
            &foreign,
            &other,
            &short,
            &path.replace("bounces", "bounce"),
            "b-@bounces.shop.example",
            "",
        ] {
            assert_eq!(ours.message(address), None, "{address}");
        }
    }
}
