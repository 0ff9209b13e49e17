//! How a simulator is set up.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pabal_common::domain::report::VendorAccount;
use secrecy::SecretString;

use crate::family::Family;
use crate::observer::Observer;

/// One simulated vendor account.
#[derive(Clone, Debug)]
pub struct AccountConfig {
    /// Where the vendor listens; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Whose account it is; callbacks go to `{base}/callbacks/{account}`.
    pub account: VendorAccount,
    /// The key callers must show.
    pub api_key: SecretString,
    /// The secret that signs callbacks.
    pub callback_secret: SecretString,
    /// What the protocol needs beyond these, by its own names: key ids, app keys, system ids.
    /// Nothing secret.
    pub settings: BTreeMap<String, String>,
}

impl AccountConfig {
    /// `<family>/main` on a free loopback port, the key of [`Family::api_key`], secret
    /// `simulator-secret`, and the settings that [`Family::settings`] names.
    pub fn local(family: Family) -> Self {
        Self {
            listen: loopback(0),
            account: VendorAccount::new(family.name(), "main"),
            api_key: SecretString::from(family.api_key()),
            callback_secret: SecretString::from("simulator-secret"),
            settings: family
                .settings()
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        }
    }
}

/// How long things take.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// From taking a message to its report.
    pub report: Duration,
    /// From taking a message whose answer is lost to its report.
    pub lost_report: Duration,
    /// From taking a message to its late report.
    pub late_report: Duration,
    /// How long the door stays closed.
    pub door_shut: Duration,
    /// How long a throttled message stays so, from its first sight.
    pub throttled: Duration,
    /// How long a slow answer takes.
    pub slow: Duration,
    /// How long the answer takes that comes after the client has gone.
    pub too_slow: Duration,
    /// How long a report that comes before the answer may hold the answer up.
    pub early: Duration,
    /// The first pause before a refused callback is repeated; it doubles.
    pub callback_retry: Duration,
    /// The longest pause between two tries of a callback.
    pub callback_retry_max: Duration,
    /// For how long a callback is repeated.
    pub callback_retry_for: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            report: Duration::from_millis(50),
            lost_report: Duration::from_secs(1),
            late_report: Duration::from_secs(5),
            door_shut: Duration::from_millis(2200),
            throttled: Duration::from_millis(1500),
            slow: Duration::from_secs(2),
            too_slow: Duration::from_secs(30),
            early: Duration::from_secs(2),
            callback_retry: Duration::from_millis(200),
            callback_retry_max: Duration::from_secs(5),
            callback_retry_for: Duration::from_secs(3600),
        }
    }
}

/// A whole simulator: its vendors and its control port.
#[derive(Clone, Debug)]
pub struct SimulatorConfig {
    /// The vendors, one account each; a family that is absent is not started.
    pub accounts: BTreeMap<Family, AccountConfig>,
    /// Where the control port listens; nowhere if absent. It asks for no password: keep it local.
    pub control: Option<SocketAddr>,
    /// Where callbacks go, without `/callbacks/…`; can be set later.
    pub callback_base: Option<String>,
    /// A file that keeps the record of what was taken over a restart.
    pub record: Option<PathBuf>,
    /// How long things take.
    pub pace: Pace,
    /// The most reports waiting per vendor; a vendor with more answers 429.
    pub max_waiting_reports: usize,
    /// Who is told what happens.
    pub observer: Option<Arc<dyn Observer>>,
}

impl Default for SimulatorConfig {
    /// The families of [`Family::PLAIN`], everything on free loopback ports.
    fn default() -> Self {
        Self::of(&Family::PLAIN)
    }
}

impl SimulatorConfig {
    /// These families alone, everything on free loopback ports.
    pub fn of(families: &[Family]) -> Self {
        let local = |family: &Family| (*family, AccountConfig::local(*family));
        Self {
            accounts: families.iter().map(local).collect(),
            control: Some(loopback(0)),
            callback_base: None,
            record: None,
            pace: Pace::default(),
            max_waiting_reports: 1_000_000,
            observer: None,
        }
    }

    /// One family's account, to change it; a family that was absent is started with it.
    pub fn account_mut(&mut self, family: Family) -> &mut AccountConfig {
        self.accounts
            .entry(family)
            .or_insert_with(|| AccountConfig::local(family))
    }

    /// One family's account: as it is here, or the local one if it is absent.
    pub fn account(&self, family: Family) -> AccountConfig {
        let account = self.accounts.get(&family).cloned();
        account.unwrap_or_else(|| AccountConfig::local(family))
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
