//! Who may come in: `Authorization: HMAC-SHA256 apiKey=…, date=…, salt=…, signature=…`, the signature
//! being hexadecimal HMAC-SHA256 of `date` and `salt`, good for 15 minutes either way and once.

use std::collections::{HashSet, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use axum::http::{HeaderMap, header};
use hmac::{Hmac, KeyInit as _, Mac as _};
use pabal_common::clock::{Clock as _, SystemClock, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;

use super::super::lock;
use crate::config::AccountConfig;

const WINDOW: Duration = Duration::from_secs(15 * 60);

/// Where requests show themselves.
pub(super) struct Gate {
    key_id: String,
    secret: SecretString,
    used: Mutex<Used>,
}

/// The signatures of the last while.
#[derive(Default)]
struct Used {
    known: HashSet<String>,
    order: VecDeque<(Timestamp, String)>,
}

struct Shown<'a> {
    key_id: &'a str,
    date: &'a str,
    salt: &'a str,
    signature: &'a str,
}

impl Gate {
    pub(super) fn of(account: &AccountConfig) -> Self {
        Self {
            key_id: account.settings.get("key_id").cloned().unwrap_or_default(),
            secret: account.api_key.clone(),
            used: Mutex::default(),
        }
    }

    /// Lets a request in, or says the vendor's word for why not.
    pub(super) fn pass(&self, headers: &HeaderMap) -> Result<(), &'static str> {
        let header = headers.get(header::AUTHORIZATION);
        let header = header.and_then(|value| value.to_str().ok());
        let shown = header.and_then(Shown::read).ok_or("Unauthorized")?;
        if shown.key_id != self.key_id {
            return Err("InvalidAPIKey");
        }
        let now = SystemClock.now();
        let at = Timestamp::parse_rfc3339(shown.date).ok_or("RequestTimeTooSkewed")?;
        if at < now.minus(WINDOW) || at > now.plus(WINDOW) {
            return Err("RequestTimeTooSkewed");
        }
        let fits = (12..=64).contains(&shown.salt.len());
        if !fits || shown.signature != self.signature(shown.date, shown.salt) {
            return Err("SignatureDoesNotMatch");
        }
        lock(&self.used).once(shown.signature, now)
    }

    fn signature(&self, date: &str, salt: &str) -> String {
        // HMAC takes a key of any length, so that there is always a signature.
        Hmac::<Sha256>::new_from_slice(self.secret.expose_secret().as_bytes())
            .map(|mut mac| {
                mac.update(date.as_bytes());
                mac.update(salt.as_bytes());
                hex::encode(mac.finalize().into_bytes())
            })
            .unwrap_or_default()
    }
}

impl Used {
    fn once(&mut self, signature: &str, now: Timestamp) -> Result<(), &'static str> {
        while let Some((at, _)) = self.order.front()
            && *at < now.minus(WINDOW)
            && let Some((_, old)) = self.order.pop_front()
        {
            self.known.remove(&old);
        }
        if !self.known.insert(signature.to_owned()) {
            return Err("DuplicatedSignature");
        }
        self.order.push_back((now, signature.to_owned()));
        Ok(())
    }
}

impl<'a> Shown<'a> {
    fn read(header: &'a str) -> Option<Self> {
        let mut shown = Self {
            key_id: "",
            date: "",
            salt: "",
            signature: "",
        };
        for part in header.strip_prefix("HMAC-SHA256 ")?.split(", ") {
            let (name, value) = part.split_once('=')?;
            *match name {
                "apiKey" => &mut shown.key_id,
                "date" => &mut shown.date,
                "salt" => &mut shown.salt,
                "signature" => &mut shown.signature,
                _ => return None,
            } = value;
        }
        Some(shown)
    }
}
