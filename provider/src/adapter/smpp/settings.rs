//! What an account at a message centre needs beyond its address and password:
//! `[account.settings]`, checked.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use pabal_common::domain::reason::Reason;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::encoding::Encoding;
use super::notation::ReceiptId;
use super::segmentation::Long;
use crate::adapter::{Account, BuildError};

/// `TON` and `NPI` of a number as Pabal has it: national, of the telephone plan (SMPP 3.4 §5.2.5,
/// §5.2.6).
const NATIONAL: u8 = 2;
const TELEPHONE: u8 = 1;

/// The table as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    system_id: String,
    #[serde(default)]
    system_type: String,
    #[serde(default)]
    address_range: String,
    #[serde(default)]
    long_password: bool,
    #[serde(default = "binds")]
    binds: usize,
    #[serde(default = "window")]
    window: usize,
    #[serde(default = "enquire_link_ms")]
    enquire_link_ms: u64,
    #[serde(default)]
    service_type: String,
    #[serde(default = "national")]
    source_ton: u8,
    #[serde(default = "telephone")]
    source_npi: u8,
    #[serde(default = "national")]
    dest_ton: u8,
    #[serde(default = "telephone")]
    dest_npi: u8,
    #[serde(default)]
    encoding: Encoding,
    data_coding: Option<u8>,
    #[serde(default)]
    long: Long,
    reference_tag: Option<u16>,
    #[serde(default)]
    receipt_id: ReceiptId,
    #[serde(default)]
    errors: BTreeMap<String, Reason>,
}

const fn binds() -> usize {
    1
}

const fn window() -> usize {
    10
}

const fn enquire_link_ms() -> u64 {
    30_000
}

const fn national() -> u8 {
    NATIONAL
}

const fn telephone() -> u8 {
    TELEPHONE
}

/// How we bind.
#[derive(Clone)]
pub(super) struct Binding {
    pub(super) system_id: String,
    pub(super) password: SecretString,
    pub(super) system_type: String,
    pub(super) address_range: String,
    /// How many connections are kept.
    pub(super) binds: usize,
    /// How many unanswered messages each may have.
    pub(super) window: usize,
    /// After how long a silence the other end is asked whether it is there.
    pub(super) enquire_link: Duration,
    pub(super) connect_timeout: Duration,
    pub(super) answer_timeout: Duration,
}

/// How messages are written.
#[derive(Clone, Debug)]
pub(super) struct Writing {
    pub(super) service_type: String,
    pub(super) source: (u8, u8),
    pub(super) destination: (u8, u8),
    pub(super) encoding: Encoding,
    pub(super) data_coding: u8,
    pub(super) long: Long,
    pub(super) reference_tag: Option<u16>,
}

/// How receipts are read.
#[derive(Clone, Debug, Default)]
pub(super) struct ReceiptReading {
    pub(super) receipt_id: ReceiptId,
    pub(super) reference_tag: Option<u16>,
    /// What the vendor's own causes mean.
    pub(super) errors: BTreeMap<String, Reason>,
}

/// All of them.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) binding: Binding,
    pub(super) writing: Writing,
    pub(super) reading: ReceiptReading,
}

impl Settings {
    /// The account's settings, every value within the protocol's limits.
    pub(super) fn of(account: &Account) -> Result<Self, BuildError> {
        let table: Table = account.settings()?;
        check(&table, account.api_key.expose_secret())?;
        Ok(Self {
            binding: Binding {
                system_id: table.system_id,
                password: account.api_key.clone(),
                system_type: table.system_type,
                address_range: table.address_range,
                binds: table.binds,
                window: table.window,
                enquire_link: Duration::from_millis(table.enquire_link_ms),
                connect_timeout: account.connect_timeout,
                answer_timeout: account.answer_timeout,
            },
            writing: Writing {
                service_type: table.service_type,
                source: (table.source_ton, table.source_npi),
                destination: (table.dest_ton, table.dest_npi),
                encoding: table.encoding,
                data_coding: table.data_coding.unwrap_or(table.encoding.data_coding()),
                long: table.long,
                reference_tag: table.reference_tag,
            },
            reading: ReceiptReading {
                receipt_id: table.receipt_id,
                reference_tag: table.reference_tag,
                errors: table.errors,
            },
        })
    }
}

fn check(table: &Table, password: &str) -> Result<(), BuildError> {
    if table.system_id.is_empty() {
        return Err(BuildError::Settings("system_id is empty".to_owned()));
    }
    // Each with its final zero: SMPP 3.4 §4.1.5, §5.2.11.
    text("system_id", &table.system_id, 15)?;
    text("system_type", &table.system_type, 12)?;
    text("address_range", &table.address_range, 40)?;
    text("service_type", &table.service_type, 5)?;
    check_password(password, table.long_password)?;
    range("binds", table.binds, 1..=32)?;
    range("window", table.window, 1..=1000)?;
    range("enquire_link_ms", table.enquire_link_ms, 100..=3_600_000)?;
    if let Some(tag) = table.reference_tag {
        // The vendor's own parameters: SMPP 3.4 §5.3.2.
        range("reference_tag", tag, 0x1400..=0x3FFF)?;
    }
    Ok(())
}

fn check_password(password: &str, long: bool) -> Result<(), BuildError> {
    if !is_text(password) {
        return Err(BuildError::Settings(
            "the password (api_key) holds characters that SMPP cannot carry".to_owned(),
        ));
    }
    if !long && password.len() > 8 {
        return Err(BuildError::Settings(
            "the password (api_key) has more than the 8 characters SMPP allows; set \
             long_password = true if the vendor takes it all the same"
                .to_owned(),
        ));
    }
    Ok(())
}

fn text(name: &str, value: &str, longest: usize) -> Result<(), BuildError> {
    if is_text(value) && value.len() <= longest {
        return Ok(());
    }
    Err(BuildError::Settings(format!(
        "{name} is not allowed: expected at most {longest} visible ASCII characters"
    )))
}

fn is_text(value: &str) -> bool {
    value.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

fn range<T: PartialOrd + fmt::Display>(
    name: &str,
    value: T,
    allowed: RangeInclusive<T>,
) -> Result<(), BuildError> {
    if allowed.contains(&value) {
        return Ok(());
    }
    Err(BuildError::Settings(format!(
        "{name} = {value} is not allowed: expected from {} to {}",
        allowed.start(),
        allowed.end()
    )))
}

#[cfg(test)]
mod tests {
    use pabal_common::domain::report::VendorAccount;

    use super::*;

    fn settings(text: &str, password: &str) -> Result<Settings, String> {
        let account = Account {
            account: VendorAccount::new("smpp", "main"),
            base_url: "smpp://127.0.0.1:2775".to_owned(),
            api_key: SecretString::from(password.to_owned()),
            callback_secret: None,
            connect_timeout: Duration::from_secs(1),
            answer_timeout: Duration::from_secs(1),
            settings: text.parse().unwrap(),
        };
        Settings::of(&account).map_err(|error| error.to_string())
    }

    #[test]
    fn one_connection_and_a_window_of_ten_are_the_defaults() {
        let settings = settings("system_id = 'pabal'", "secret08").unwrap();
        assert_eq!((settings.binding.binds, settings.binding.window), (1, 10));
        assert_eq!(settings.writing.data_coding, 0x0E);
        assert_eq!(settings.writing.reference_tag, None);
    }

    #[test]
    fn a_data_coding_of_its_own_replaces_the_encodings() {
        let text = "system_id = 'pabal'\nencoding = 'ksc5601'\ndata_coding = 0x84";
        assert_eq!(settings(text, "").unwrap().writing.data_coding, 0x84);
    }

    #[test]
    fn what_the_protocol_cannot_carry_is_refused_by_name() {
        let refused = |more: &str| settings(&format!("system_id = 'pabal'\n{more}"), "").err();
        for (text, name) in [
            ("binds = 0", "binds"),
            ("window = 1001", "window"),
            ("enquire_link_ms = 1", "enquire_link_ms"),
            ("reference_tag = 0x1FF", "reference_tag"),
            ("service_type = 'TOOLONG'", "service_type"),
            ("system_type = '한글'", "system_type"),
            ("encoding = 'utf8'", "utf8"),
            ("errors = { 001 = 'NO_SUCH_REASON' }", "NO_SUCH_REASON"),
            ("windows = 1", "windows"),
        ] {
            let said = refused(text).unwrap_or_else(|| panic!("{text} was allowed"));
            assert!(said.contains(name), "{said}");
        }
        assert!(settings("", "").err().unwrap().contains("system_id"));
        assert!(settings("system_id = ''", "").is_err());
    }

    #[test]
    fn a_password_over_eight_characters_needs_the_vendors_leave_and_is_never_shown() {
        let said = settings("system_id = 'pabal'", "ninechars").err().unwrap();
        assert!(
            said.contains("long_password") && !said.contains("ninechars"),
            "{said}"
        );
        let allowed = "system_id = 'pabal'\nlong_password = true";
        assert!(settings(allowed, "ninechars").is_ok());
        assert!(settings(allowed, "nul\0").is_err());
    }
}
