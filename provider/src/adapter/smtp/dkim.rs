//! Signatures on mail: DKIM (RFC 6376), with RSA or Ed25519 (RFC 8463), by `mail-auth`.

use std::fmt;

use mail_auth::common::crypto::{DkimKey as Key, Ed25519Key, RsaKey, Sha256};
use mail_auth::common::headers::HeaderWriter as _;
use mail_auth::dkim::{Canonicalization, DkimSigner, Done};
use pabal_common::domain::mail::MailDomain;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;

/// What is signed of a mail, beside its text: the headers named, and that there is none more of them.
/// Those named twice are there once; nobody can add another on the way (RFC 6376 §5.4.2). RFC 8058 §4
/// wants the last two.
const SIGNED: [&str; 15] = [
    "From",
    "From",
    "To",
    "To",
    "Subject",
    "Subject",
    "Date",
    "Date",
    "Message-ID",
    "Message-ID",
    "Reply-To",
    "MIME-Version",
    "Content-Type",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
];

/// The key of one domain under one selector.
pub(super) struct DkimKey {
    domain: MailDomain,
    signer: DkimSigner<Key, Done>,
}

impl DkimKey {
    /// The key in `pem`: RSA in PKCS#1 or PKCS#8, or Ed25519 in PKCS#8.
    pub(super) fn new(domain: MailDomain, selector: &str, pem: &[u8]) -> Result<Self, String> {
        let is_selector = (1..=63).contains(&selector.len())
            && selector
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
        if !is_selector {
            return Err("selector: expected letters, digits, hyphens and dots".to_owned());
        }
        let signer = DkimSigner::from_key(read(pem)?)
            .domain(domain.as_str())
            .selector(selector)
            .headers(SIGNED)
            .header_canonicalization(Canonicalization::Relaxed)
            .body_canonicalization(Canonicalization::Relaxed);
        Ok(Self { domain, signer })
    }

    /// Whether its signature speaks for mail from `domain`: the same, or one above it (RFC 7489 §3.1.1).
    fn speaks_for(&self, domain: &str) -> bool {
        let above = domain.strip_suffix(self.domain.as_str());
        above.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }
}

fn read(pem: &[u8]) -> Result<Key, String> {
    let der = PrivateKeyDer::from_pem_slice(pem).map_err(|error| error.to_string())?;
    if let PrivateKeyDer::Pkcs8(pkcs8) = &der {
        let ed25519 = Ed25519Key::from_pkcs8_maybe_unchecked_der(pkcs8.secret_pkcs8_der());
        if let Ok(key) = ed25519 {
            return Ok(Key::from(key));
        }
    }
    let rsa = RsaKey::<Sha256>::from_key_der(der);
    rsa.map(Key::from)
        .map_err(|_| "neither an RSA nor an Ed25519 key".to_owned())
}

/// The keys of an account.
#[derive(Default)]
pub(super) struct Signers(Vec<DkimKey>);

/// A mail could not be signed, though there is a key for its domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the mail could not be signed")]
pub(super) struct Unsigned;

impl Signers {
    pub(super) const fn new(keys: Vec<DkimKey>) -> Self {
        Self(keys)
    }

    /// Signs a mail from `domain` with every key that speaks for it; unsigned if none does.
    pub(super) fn sign(&self, domain: &str, mail: Vec<u8>) -> Result<Vec<u8>, Unsigned> {
        let mut signed = Vec::new();
        for key in self.0.iter().filter(|key| key.speaks_for(domain)) {
            let signature = key.signer.sign(&mail).map_err(|_| Unsigned)?;
            signed.extend_from_slice(signature.to_header().as_bytes());
        }
        signed.extend(mail);
        Ok(signed)
    }
}

impl fmt::Debug for Signers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let domains = self.0.iter().map(|key| &key.domain);
        f.debug_list().entries(domains).finish()
    }
}
