//! How a simulator is set up.

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
}

impl AccountConfig {
    /// `<family>/main` on a free loopback port, key `simulator-key`, secret `simulator-secret`.
    pub fn local(family: Family) -> Self {
        Self {
            listen: loopback(0),
            account: VendorAccount::new(family.name(), "main"),
            api_key: SecretString::from("simulator-key"),
            callback_secret: SecretString::from("simulator-secret"),
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

/// A whole simulator: four vendors and its control port.
#[derive(Clone, Debug)]
pub struct SimulatorConfig {
    /// SMS, LMS and MMS.
    pub carrier: AccountConfig,
    /// RCS.
    pub rcshub: AccountConfig,
    /// Kakao.
    pub kakao: AccountConfig,
    /// Naver TalkTalk.
    pub talk: AccountConfig,
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
    fn default() -> Self {
        Self {
            carrier: AccountConfig::local(Family::Carrier),
            rcshub: AccountConfig::local(Family::Rcshub),
            kakao: AccountConfig::local(Family::Kakao),
            talk: AccountConfig::local(Family::Talk),
            control: Some(loopback(0)),
            callback_base: None,
            record: None,
            pace: Pace::default(),
            max_waiting_reports: 1_000_000,
            observer: None,
        }
    }
}

impl SimulatorConfig {
    /// One family's account.
    pub const fn account(&self, family: Family) -> &AccountConfig {
        match family {
            Family::Carrier => &self.carrier,
            Family::Rcshub => &self.rcshub,
            Family::Kakao => &self.kakao,
            Family::Talk => &self.talk,
        }
    }

    /// One family's account, to change it.
    pub const fn account_mut(&mut self, family: Family) -> &mut AccountConfig {
        match family {
            Family::Carrier => &mut self.carrier,
            Family::Rcshub => &mut self.rcshub,
            Family::Kakao => &mut self.kakao,
            Family::Talk => &mut self.talk,
        }
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
