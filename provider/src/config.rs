//! Vendor accounts and the routes to them from the `[[account]]` and `[[route]]` tables of a
//! configuration file.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pabal_common::clock::Clock;
use pabal_common::config::Values;
use pabal_common::domain::id::PartnerId;
use pabal_common::domain::kind::MessageType;
use pabal_common::domain::report::VendorAccount;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::adapter::{self, Account, BuildError};
use crate::provider::Provider;
use crate::route::{BookError, Carries, RouteBook, RouteSettings, RouteSpec, SpecError};

/// Why the vendors cannot be used as configured.
#[derive(Debug, thiserror::Error)]
pub enum VendorError {
    /// A table cannot be read.
    #[error("[[{table}]] number {number}: {cause}")]
    Table {
        /// `account` or `route`.
        table: &'static str,
        /// Its place in the file, from 1.
        number: usize,
        /// What is wrong.
        cause: String,
    },
    /// An account cannot be used.
    #[error("[[account]] {account}: {cause}")]
    Account {
        /// The account.
        account: VendorAccount,
        /// What is wrong.
        cause: BuildError,
    },
    /// Two accounts with one name.
    #[error("[[account]] {account}: two tables have this protocol and name; give one another name")]
    Twice {
        /// The account.
        account: VendorAccount,
    },
    /// An account's time is outside its range.
    #[error("[[account]] {account}: {name} = {value} is not allowed: expected {allowed}")]
    Time {
        /// The account.
        account: VendorAccount,
        /// Which time.
        name: &'static str,
        /// It, in milliseconds.
        value: u64,
        /// What is allowed, in milliseconds.
        allowed: String,
    },
    /// A secret's file cannot be read.
    #[error("[[account]] number {number}: {path}: {source}", path = path.display())]
    SecretFile {
        /// Its place in the file, from 1.
        number: usize,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A route's value is outside its range.
    #[error(transparent)]
    Route(#[from] SpecError),
    /// Two routes with one name, or none that can be used.
    #[error(transparent)]
    Book(#[from] BookError),
    /// A route leads to an account that is not there.
    #[error("[[route]] {route}: account {account:?} is not configured; there are: {known}")]
    NoAccount {
        /// The route.
        route: String,
        /// What it names.
        account: String,
        /// The accounts there are.
        known: String,
    },
}

/// `[[account]]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountTable {
    /// One of [`adapter::PROTOCOLS`].
    pub protocol: String,
    /// Its name among the accounts of this protocol.
    pub name: String,
    /// Where the vendor is.
    pub base_url: String,
    /// The key we show or sign with; it or its file is given.
    pub api_key: Option<SecretString>,
    /// The file that holds the key.
    pub api_key_file: Option<PathBuf>,
    /// The secret that proves callbacks; it or its file is given where the vendor calls back.
    pub callback_secret: Option<SecretString>,
    /// The file that holds the secret.
    pub callback_secret_file: Option<PathBuf>,
    /// What the protocol alone knows.
    #[serde(default)]
    pub settings: toml::Table,
    /// How long connecting may take.
    #[serde(default = "connect_timeout_ms")]
    pub connect_timeout_ms: u64,
    /// How long an answer may take after that.
    #[serde(default = "answer_timeout_ms")]
    pub answer_timeout_ms: u64,
}

const fn connect_timeout_ms() -> u64 {
    3_000
}

const fn answer_timeout_ms() -> u64 {
    10_000
}

/// `[[route]]`: [`RouteSettings`] and the account the route leads to. The ledger keeps routes in the
/// same words, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteTable {
    /// Its name.
    pub name: String,
    /// `protocol/name` of its account.
    pub account: String,
    /// The types it carries.
    pub kinds: Vec<MessageType>,
    /// Its share among routes of the same priority.
    #[serde(default = "one")]
    pub weight: u32,
    /// Lower goes first.
    #[serde(default = "one")]
    pub priority: u32,
    /// Messages a second.
    pub tps: u32,
    /// Calls at once.
    pub concurrency: u32,
    /// The partners whose messages it carries; none named, those of everybody.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub partners: BTreeSet<PartnerId>,
    /// How the recipients' numbers begin, in national notation or with 82; none named, all.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub prefixes: BTreeSet<String>,
    /// The longest text it carries of a type, where that is less than the type's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub limits: BTreeMap<MessageType, usize>,
}

const fn one() -> u32 {
    1
}

impl RouteTable {
    /// The settings it says, and the account.
    ///
    /// # Errors
    /// [`SpecError`] for the first that is outside its range.
    pub fn check(self) -> Result<(RouteSpec, VendorAccount), SpecError> {
        let account = VendorAccount::from_stored(&self.account);
        let spec = RouteSpec::new(RouteSettings {
            name: self.name,
            kinds: self.kinds,
            weight: self.weight,
            priority: self.priority,
            tps: self.tps,
            concurrency: self.concurrency,
            carries: Carries {
                partners: self.partners,
                prefixes: self.prefixes.iter().map(|it| national(it)).collect(),
                limits: self.limits,
            },
        })?;
        Ok((spec, account))
    }
}

/// Recipients are Korean numbers, so one that begins with 82 begins with 0 at home.
fn national(prefix: &str) -> String {
    let abroad = prefix.strip_prefix("+82").or(prefix.strip_prefix("82"));
    abroad.map_or_else(|| prefix.to_owned(), |rest| format!("0{rest}"))
}

/// How long a vendor call may take, whatever its account says; only who calls needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallLimits {
    /// The longest from the lease's last check to the first byte: `sender.first_byte_limit`.
    pub first_byte: Duration,
    /// The longest of a whole call: `sender.call_limit`.
    pub call: Duration,
}

/// The tables of a configuration file.
#[derive(Clone, Debug)]
pub struct Tables {
    /// The accounts.
    pub accounts: Vec<AccountTable>,
    /// The routes.
    pub routes: Vec<RouteTable>,
}

impl Tables {
    /// Reads them, without looking at what they say.
    ///
    /// # Errors
    /// [`VendorError::Table`].
    pub fn read(values: &Values) -> Result<Self, VendorError> {
        Ok(Self {
            accounts: read(values, "account")?,
            routes: read(values, "route")?,
        })
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty() && self.routes.is_empty()
    }
}

fn read<T: for<'de> Deserialize<'de>>(
    values: &Values,
    name: &'static str,
) -> Result<Vec<T>, VendorError> {
    let tables = values.tables(name).iter().enumerate();
    let read = tables.map(|(place, table)| {
        let table = table.clone().try_into();
        table.map_err(|error: toml::de::Error| VendorError::Table {
            table: name,
            number: place + 1,
            // In one line.
            cause: error.message().replace('\n', " "),
        })
    });
    read.collect()
}

/// The adapters, by account.
pub type Adapters = HashMap<VendorAccount, Arc<dyn Provider>>;

/// Whether there is such an account, and its vendor can be asked what became of a message.
pub fn can_be_asked(adapters: &Adapters, account: &VendorAccount) -> bool {
    let vendor = adapters.get(account);
    vendor.is_some_and(|vendor| vendor.capabilities().can_be_asked)
}

/// A route and the adapter it leads to.
pub type Lead = (RouteSpec, Arc<dyn Provider>);

/// The vendor accounts and the routes to them.
pub struct Vendors {
    /// The adapters, by account.
    pub adapters: Adapters,
    /// The routes.
    pub routes: RouteBook,
}

impl Vendors {
    /// From the tables of the file.
    ///
    /// # Errors
    /// [`VendorError`] names the table and what is wrong with it.
    pub fn from_values(
        values: &Values,
        limits: Option<CallLimits>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, VendorError> {
        let Tables { accounts, routes } = Tables::read(values)?;
        let adapters = build_accounts(accounts, limits)?;
        let leads = build_routes(routes, &adapters)?;
        Self::new(adapters, leads, clock)
    }

    /// These accounts, and these routes to them.
    ///
    /// # Errors
    /// [`VendorError::Book`].
    pub fn new(
        adapters: Adapters,
        leads: Vec<Lead>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, VendorError> {
        Ok(Self {
            routes: RouteBook::new(leads, clock)?,
            adapters,
        })
    }

    /// Warns of the types that no route carries: their messages wait until their validity ends.
    pub fn warn_without_route(&self) {
        for kind in self.without_route() {
            tracing::warn!(%kind, "no route carries this type: its messages wait until they fail");
        }
    }

    /// The types that no route carries: their messages wait until their validity ends.
    pub fn without_route(&self) -> Vec<MessageType> {
        let carried: HashSet<MessageType> = self
            .routes
            .routes()
            .iter()
            .flat_map(|route| route.spec().kinds().iter().copied())
            .collect();
        MessageType::ALL
            .into_iter()
            .filter(|kind| !carried.contains(kind))
            .collect()
    }
}

fn build_accounts(
    tables: Vec<AccountTable>,
    limits: Option<CallLimits>,
) -> Result<Adapters, VendorError> {
    let mut adapters = Adapters::new();
    for (place, table) in tables.into_iter().enumerate() {
        let number = place + 1;
        let account = VendorAccount::new(&table.protocol, &table.name);
        if let Some(limits) = limits {
            check_times(limits, &account, &table)?;
        }
        let http = Account {
            account: account.clone(),
            base_url: table.base_url,
            api_key: secret("api_key", table.api_key, table.api_key_file, number)?,
            callback_secret: match (table.callback_secret, table.callback_secret_file) {
                (None, None) => None,
                (plain, file) => Some(secret("callback_secret", plain, file, number)?),
            },
            settings: table.settings,
            connect_timeout: Duration::from_millis(table.connect_timeout_ms),
            answer_timeout: Duration::from_millis(table.answer_timeout_ms),
        };
        let adapter = adapter::build(&table.protocol, http)
            .map_err(|cause| VendorError::Account { account, cause })?;
        match adapters.entry(adapter.account().clone()) {
            Entry::Vacant(free) => free.insert(adapter),
            Entry::Occupied(taken) => {
                let account = taken.key().clone();
                return Err(VendorError::Twice { account });
            }
        };
    }
    Ok(adapters)
}

/// A call begins only while the lease lasts for connecting, and is cut off at the sender's limit
/// whatever its own times say: times beyond these would not be kept.
fn check_times(
    limits: CallLimits,
    account: &VendorAccount,
    table: &AccountTable,
) -> Result<(), VendorError> {
    let millis = |limit: Duration| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
    let (connect, answer) = (table.connect_timeout_ms, table.answer_timeout_ms);
    let both = connect.saturating_add(answer);
    let (connect_limit, call_limit) = (millis(limits.first_byte), millis(limits.call));
    let (name, value, allowed) = if !(1..=connect_limit).contains(&connect) {
        let allowed = format!("from 1 to {connect_limit} (sender.first_byte_limit)");
        ("connect_timeout_ms", connect, allowed)
    } else if answer == 0 {
        ("answer_timeout_ms", answer, "at least 1".to_owned())
    } else if both > call_limit {
        let allowed = format!("at most {call_limit} (sender.call_limit)");
        ("connect_timeout_ms + answer_timeout_ms", both, allowed)
    } else {
        return Ok(());
    };
    Err(VendorError::Time {
        account: account.clone(),
        name,
        value,
        allowed,
    })
}

fn secret(
    name: &str,
    plain: Option<SecretString>,
    file: Option<PathBuf>,
    number: usize,
) -> Result<SecretString, VendorError> {
    match (plain, file) {
        (Some(secret), None) => Ok(secret),
        (None, Some(path)) => std::fs::read_to_string(&path)
            .map(|text| SecretString::from(text.trim().to_owned()))
            .map_err(|source| VendorError::SecretFile {
                number,
                path,
                source,
            }),
        _ => Err(VendorError::Table {
            table: "account",
            number,
            cause: format!("give either {name} or {name}_file"),
        }),
    }
}

fn build_routes(tables: Vec<RouteTable>, adapters: &Adapters) -> Result<Vec<Lead>, VendorError> {
    tables
        .into_iter()
        .map(|table| lead(table, adapters))
        .collect()
}

/// The route that a table describes.
///
/// # Errors
/// [`VendorError::Route`] and [`VendorError::NoAccount`].
pub(crate) fn lead(table: RouteTable, adapters: &Adapters) -> Result<Lead, VendorError> {
    let (spec, account) = table.check()?;
    match adapters.get(&account) {
        Some(adapter) => Ok((spec, Arc::clone(adapter))),
        None => {
            let mut known: Vec<_> = adapters.keys().map(ToString::to_string).collect();
            known.sort();
            Err(VendorError::NoAccount {
                route: spec.name().to_owned(),
                account: account.to_string(),
                known: known.join(", "),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use pabal_common::clock::SystemClock;

    use super::*;

    const LIMITS: CallLimits = CallLimits {
        first_byte: Duration::from_secs(4),
        call: Duration::from_secs(60),
    };

    fn account(name: &str, more: &str) -> String {
        format!(
            r#"
            [[account]]
            protocol = "carrier"
            name = "{name}"
            base_url = "https://sms.vendor.example"
            api_key = "key"
            callback_secret = "at-least-16-bytes"
            {more}
            "#
        )
    }

    fn configure(text: &str) -> Result<Vendors, VendorError> {
        let file = Some(("pabal.toml".into(), text.to_owned()));
        let tables = &["account", "route"];
        let values = Values::load(&[], tables, file, std::iter::empty(), &[]).unwrap();
        Vendors::from_values(&values, Some(LIMITS), Arc::new(SystemClock))
    }

    fn refusal(text: &str) -> String {
        configure(text).err().unwrap().to_string()
    }

    fn accounts_of(vendors: &Vendors) -> Vec<String> {
        let mut names: Vec<_> = vendors.adapters.keys().map(ToString::to_string).collect();
        names.sort();
        names
    }

    #[test]
    fn two_accounts_of_one_name_are_refused_rather_than_one_replacing_the_other() {
        let two = account("main", "") + &account("main", "");
        let said = refusal(&two);
        assert!(
            said.starts_with("[[account]] carrier/main: two tables"),
            "{said}"
        );
        let vendors = configure(&(account("a", "") + &account("b", ""))).unwrap();
        assert_eq!(accounts_of(&vendors), ["carrier/a", "carrier/b"]);
    }

    #[test]
    fn times_that_the_sender_would_not_keep_are_refused_with_what_is_allowed() {
        let of = |more: &str| refusal(&account("main", more));
        let start = "[[account]] carrier/main: ";
        let range = "is not allowed: expected from 1 to 4000 (sender.first_byte_limit)";
        for connect in [0, 4_001] {
            assert_eq!(
                of(&format!("connect_timeout_ms = {connect}")),
                format!("{start}connect_timeout_ms = {connect} {range}")
            );
        }
        assert_eq!(
            of("answer_timeout_ms = 0"),
            format!("{start}answer_timeout_ms = 0 is not allowed: expected at least 1")
        );
        assert_eq!(
            of("connect_timeout_ms = 4000\nanswer_timeout_ms = 56001"),
            format!(
                "{start}connect_timeout_ms + answer_timeout_ms = 60001 is not allowed: \
                 expected at most 60000 (sender.call_limit)"
            )
        );
        let edge = "connect_timeout_ms = 4000\nanswer_timeout_ms = 56000";
        assert!(configure(&account("main", edge)).is_ok());
    }
}
