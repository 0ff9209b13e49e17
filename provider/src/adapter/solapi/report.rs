//! What the vendor calls back with: a JSON array of messages under `X-Solapi-Secret`, which is the
//! hexadecimal SHA-1 of the webhook's secret. It proves who calls, not what is said: the body is
//! signed by nothing, so the address must be `https`.
//!
//! The vendor's page about it could not be read; the header and the array are what independent public
//! receivers agree on.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;
use pabal_common::clock::Timestamp;
use pabal_common::crypto::CallbackKey;
use pabal_common::domain::report::{Report, VendorAccount};
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::{Account, BuildError};
use super::stored::Stored;
use crate::provider::CallbackError;

const SECRET: &str = "x-solapi-secret";

/// What a genuine callback shows.
pub(super) struct Proof(String);

/// A report, bare or in an envelope: receivers have seen both.
#[derive(Deserialize)]
struct Reported {
    data: Option<Stored>,
    #[serde(flatten)]
    bare: Stored,
}

impl Proof {
    /// Of an account's callback secret, which is held to the length of every other one.
    pub(super) fn of(account: &Account) -> Result<Self, BuildError> {
        let secret = account.callback_secret()?.expose_secret();
        let _long_enough: CallbackKey = secret.parse()?;
        let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
        Ok(Self(hex::encode(digest)))
    }

    /// Checks a callback; the body is not to be read before.
    pub(super) fn check(
        &self,
        header: &(dyn Fn(&str) -> Option<String> + Sync),
    ) -> Result<(), CallbackError> {
        let refused = |why: &str| CallbackError::NotAuthentic(why.to_owned());
        let shown = header(SECRET).ok_or_else(|| refused("X-Solapi-Secret is missing"))?;
        let shown = shown.trim().to_ascii_lowercase();
        verify_slices_are_equal(shown.as_bytes(), self.0.as_bytes())
            .map_err(|_| refused("X-Solapi-Secret is wrong"))
    }
}

/// Reads a body. An entry that is none of a message (a group's, a fax's) is passed over.
pub(super) fn read_reports(
    account: &VendorAccount,
    body: &[u8],
    now: Timestamp,
) -> Result<Vec<Report>, CallbackError> {
    let entries: Vec<&RawValue> = serde_json::from_slice(body)
        .map_err(|error| CallbackError::Unreadable(error.to_string()))?;
    let reports = entries.into_iter().filter_map(|entry| {
        let reported: Reported = serde_json::from_str(entry.get()).ok()?;
        let message = reported.data.unwrap_or(reported.bare);
        message.report(account, now)
    });
    Ok(reports.collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(body: Vec<u8>) {
            let account = VendorAccount::new("solapi", "main");
            let _ = read_reports(&account, &body, Timestamp::default());
        }

        #[test]
        fn an_entry_that_cannot_be_read_never_holds_up_the_others(
            odd in "\\[\\]|\\{\\}|null|7|\"x\"|\\{\"messageId\":\\[1\\]\\}|\\{\"customFields\":7,\"messageId\":\"M\"\\}",
        ) {
            let account = VendorAccount::new("solapi", "main");
            let good = r#"{"messageId":"M1","statusCode":4000}"#;
            let body = format!("[{odd},{good}]");
            let reports = read_reports(&account, body.as_bytes(), Timestamp::default()).unwrap();
            let last = reports.last().and_then(|report| report.vendor_id.as_ref());
            prop_assert_eq!(last.map(|id| id.as_str()), Some("M1"));
        }
    }
}
