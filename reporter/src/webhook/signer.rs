//! Signing a webhook with the partner's secrets.

use pabal_common::clock::Timestamp;
use pabal_common::crypto::{
    NotAWebhookSecret, SealError, Sealer, SignatureHeaders, WebhookSecret, sign,
};
use pabal_common::domain::id::{PartnerId, WebhookId};
use pabal_common::ledger::WebhookSettings;

/// Why nothing can be signed: a fault of ours, never the partner's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnsignableError {
    /// The stored secret does not open.
    #[error("the webhook secret cannot be opened: {0}")]
    Sealed(#[from] SealError),
    /// What was sealed is not a webhook secret.
    #[error("the stored webhook secret is not one: {0}")]
    NotASecret(#[from] NotAWebhookSecret),
    /// What was sealed is not text.
    #[error("the stored webhook secret is not text")]
    NotText,
}

/// A partner's opened secrets.
#[derive(Clone, Debug)]
pub struct Signer {
    active: WebhookSecret,
    other: Option<Other>,
}

#[derive(Clone, Debug)]
struct Other {
    secret: WebhookSecret,
    until: Option<Timestamp>,
}

impl Signer {
    /// Opens the secrets of `partner`.
    ///
    /// # Errors
    /// If a stored secret cannot be used.
    pub fn open(
        sealer: &Sealer,
        partner: &PartnerId,
        settings: &WebhookSettings,
    ) -> Result<Self, UnsignableError> {
        let open = |sealed: &[u8]| -> Result<WebhookSecret, UnsignableError> {
            let bytes = sealer.open_secret(partner.as_str(), sealed)?;
            let text = std::str::from_utf8(&bytes).map_err(|_| UnsignableError::NotText)?;
            Ok(text.parse()?)
        };
        let other = settings.other_secret.as_deref().map(open).transpose()?;
        Ok(Self {
            active: open(&settings.secret)?,
            other: other.map(|secret| Other {
                secret,
                until: settings.other_until,
            }),
        })
    }

    /// The headers of an attempt made `now`. During a rotation the other secret signs too: the new
    /// one until it is activated, the old one until its time is over.
    pub fn headers(&self, id: WebhookId, body: &str, now: Timestamp) -> SignatureHeaders {
        let second = self
            .other
            .as_ref()
            .filter(|other| other.until.is_none_or(|until| now < until))
            .map(|other| &other.secret);
        sign(
            &self.active,
            second,
            &id.to_string(),
            now.unix_seconds(),
            body.as_bytes(),
        )
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pabal_common::crypto::{Keyring, verify_standard_webhook, verify_x_signature};

    use super::*;

    const TOLERANCE: Duration = Duration::from_secs(300);

    struct Fixture {
        partner: PartnerId,
        sealer: Sealer,
        first: WebhookSecret,
        second: WebhookSecret,
    }

    impl Fixture {
        fn new() -> Self {
            Self {
                partner: "acme".parse().unwrap(),
                sealer: Sealer::new(&Keyring::generate()),
                first: WebhookSecret::generate(),
                second: WebhookSecret::generate(),
            }
        }

        fn sealed(&self, secret: &WebhookSecret) -> Vec<u8> {
            self.sealer
                .seal_secret(self.partner.as_str(), secret.expose().as_bytes())
        }

        fn signed(&self, rotating: bool, until: Option<Timestamp>, now: Timestamp) -> [bool; 4] {
            let settings = WebhookSettings {
                secret: self.sealed(&self.first),
                other_secret: rotating.then(|| self.sealed(&self.second)),
                other_until: until,
                ..WebhookSettings::default()
            };
            let signer = Signer::open(&self.sealer, &self.partner, &settings).unwrap();
            let headers = signer.headers(WebhookId::from_number(7), "{}", now);
            let header = |name: &str| headers.get(name);
            let ours = |secret| verify_x_signature(secret, header, b"{}", now, TOLERANCE).is_ok();
            let standard =
                |secret| verify_standard_webhook(secret, header, b"{}", now, TOLERANCE).is_ok();
            [
                ours(&self.first),
                standard(&self.first),
                ours(&self.second),
                standard(&self.second),
            ]
        }
    }

    #[test]
    fn the_active_secret_signs_both_schemes_and_the_other_one_only_during_a_rotation() {
        let fixture = Fixture::new();
        let now = Timestamp::from_millis(1_795_000_000_000);
        let later = now.plus(Duration::from_secs(1));
        let alone = [true, true, false, false];
        let rotating = [true, true, false, true];
        assert_eq!(fixture.signed(false, None, now), alone);
        assert_eq!(fixture.signed(true, None, now), rotating);
        assert_eq!(fixture.signed(true, Some(later), now), rotating);
        assert_eq!(fixture.signed(true, Some(now), now), alone);
    }

    #[test]
    fn a_secret_of_another_partner_does_not_open() {
        let fixture = Fixture::new();
        let settings = WebhookSettings {
            secret: fixture.sealed(&fixture.first),
            ..WebhookSettings::default()
        };
        let other = "other".parse().unwrap();
        let opened = Signer::open(&fixture.sealer, &other, &settings);
        assert_eq!(
            opened.err(),
            Some(UnsignableError::Sealed(SealError::Tampered))
        );
    }
}
