//! Which vendor accounts there are and which routes lead to them: from the configuration file, or,
//! without any, to the simulated vendors.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pabal_common::clock::Clock;
use pabal_common::config::Values;
use pabal_common::domain::kind::MessageType;
use pabal_common::domain::report::VendorAccount;
use pabal_provider::Provider;
use pabal_provider::adapter::{self, BuildError, HttpAccount};
use pabal_provider::route::{BookError, RouteBook, RouteSettings, RouteSpec, SpecError};
use pabal_simulator::{Family, Simulator};
use secrecy::SecretString;
use serde::Deserialize;

use crate::settings;

/// The key and secret shared with the simulated vendors of this process.
const SIMULATOR_KEY: &str = "simulator-key";
const SIMULATOR_SECRET: &str = "simulator-secret";

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
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AccountTable {
    protocol: String,
    name: String,
    base_url: String,
    api_key: Option<SecretString>,
    api_key_file: Option<PathBuf>,
    callback_secret: Option<SecretString>,
    callback_secret_file: Option<PathBuf>,
    #[serde(default = "connect_timeout_ms")]
    connect_timeout_ms: u64,
    #[serde(default = "answer_timeout_ms")]
    answer_timeout_ms: u64,
}

const fn connect_timeout_ms() -> u64 {
    3_000
}

const fn answer_timeout_ms() -> u64 {
    10_000
}

/// `[[route]]`: [`RouteSettings`] and the account the route leads to.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RouteTable {
    name: String,
    account: String,
    kinds: Vec<MessageType>,
    #[serde(default = "one")]
    weight: u32,
    #[serde(default = "one")]
    priority: u32,
    tps: u32,
    concurrency: u32,
}

const fn one() -> u32 {
    1
}

/// The adapters, by account.
type Adapters = HashMap<VendorAccount, Arc<dyn Provider>>;

/// A route and the adapter it leads to.
type Lead = (RouteSpec, Arc<dyn Provider>);

/// The vendor accounts and the routes to them.
pub struct Vendors {
    /// The adapters, by account.
    pub adapters: Adapters,
    /// The routes.
    pub routes: RouteBook,
}

impl Vendors {
    /// From the file's tables; if it has none, from the simulator, if it runs.
    ///
    /// # Errors
    /// [`VendorError`] names the table and what is wrong with it.
    pub fn configure(
        values: &Values,
        simulator: Option<&Simulator>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, VendorError> {
        let (adapters, routes) = match simulator {
            Some(simulator) if !settings::has_vendors(values) => {
                let adapters = simulated_accounts(simulator)?;
                let routes = simulated_routes(&adapters)?;
                (adapters, routes)
            }
            _ => {
                let adapters = accounts(values)?;
                let routes = routes(values, &adapters)?;
                (adapters, routes)
            }
        };
        Ok(Self {
            routes: RouteBook::new(routes, clock)?,
            adapters,
        })
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

fn accounts(values: &Values) -> Result<Adapters, VendorError> {
    let mut adapters = Adapters::new();
    for (place, table) in values.tables("account").iter().enumerate() {
        let number = place + 1;
        let broken = |cause: String| VendorError::Table {
            table: "account",
            number,
            cause,
        };
        let table: AccountTable = table
            .clone()
            .try_into()
            .map_err(|error| broken(toml_fault(&error)))?;
        let account = VendorAccount::new(&table.protocol, &table.name);
        check_times(values, &account, &table)?;
        let http = HttpAccount {
            account: account.clone(),
            base_url: table.base_url,
            api_key: secret("api_key", table.api_key, table.api_key_file, number)?,
            callback_secret: secret(
                "callback_secret",
                table.callback_secret,
                table.callback_secret_file,
                number,
            )?,
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
    values: &Values,
    account: &VendorAccount,
    table: &AccountTable,
) -> Result<(), VendorError> {
    let millis = |key| u64::try_from(values.duration(key).as_millis()).unwrap_or(u64::MAX);
    let (connect, answer) = (table.connect_timeout_ms, table.answer_timeout_ms);
    let both = connect.saturating_add(answer);
    let (connect_limit, call_limit) = (
        millis("sender.first_byte_limit"),
        millis("sender.call_limit"),
    );
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

fn routes(values: &Values, adapters: &Adapters) -> Result<Vec<Lead>, VendorError> {
    let mut routes = Vec::new();
    for (place, table) in values.tables("route").iter().enumerate() {
        let table: RouteTable = table
            .clone()
            .try_into()
            .map_err(|error| VendorError::Table {
                table: "route",
                number: place + 1,
                cause: toml_fault(&error),
            })?;
        let adapter = adapters
            .get(&VendorAccount::from_stored(&table.account))
            .ok_or_else(|| {
                let mut known: Vec<_> = adapters.keys().map(ToString::to_string).collect();
                known.sort();
                VendorError::NoAccount {
                    route: table.name.clone(),
                    account: table.account.clone(),
                    known: known.join(", "),
                }
            })?;
        let spec = RouteSpec::new(RouteSettings {
            name: table.name,
            kinds: table.kinds,
            weight: table.weight,
            priority: table.priority,
            tps: table.tps,
            concurrency: table.concurrency,
        })?;
        routes.push((spec, Arc::clone(adapter)));
    }
    Ok(routes)
}

fn simulated_accounts(simulator: &Simulator) -> Result<Adapters, VendorError> {
    let mut adapters = Adapters::new();
    for family in Family::ALL {
        let adapter = simulated(simulator, family)?;
        adapters.insert(adapter.account().clone(), adapter);
    }
    Ok(adapters)
}

fn simulated(simulator: &Simulator, family: Family) -> Result<Arc<dyn Provider>, VendorError> {
    let account = VendorAccount::new(family.name(), "main");
    let http = HttpAccount {
        account: account.clone(),
        base_url: simulator.base_url(family),
        api_key: SecretString::from(SIMULATOR_KEY),
        callback_secret: SecretString::from(SIMULATOR_SECRET),
        connect_timeout: Duration::from_secs(2),
        answer_timeout: Duration::from_secs(5),
    };
    adapter::build(family.name(), http).map_err(|cause| VendorError::Account { account, cause })
}

/// One route a family, fast enough for the gateway to be the limit.
fn simulated_routes(adapters: &Adapters) -> Result<Vec<Lead>, VendorError> {
    let kinds = |family| match family {
        Family::Carrier => vec![MessageType::Sms, MessageType::Lms, MessageType::Mms],
        Family::Rcshub => vec![MessageType::Rcs],
        Family::Kakao => vec![MessageType::KakaoAlimtalk, MessageType::KakaoBrandMessage],
        Family::Talk => vec![MessageType::NaverTalk],
    };
    let mut routes = Vec::new();
    for family in Family::ALL {
        let Some(adapter) = adapters.get(&VendorAccount::new(family.name(), "main")) else {
            continue;
        };
        let spec = RouteSpec::new(RouteSettings {
            name: format!("simulated-{}", family.name()),
            kinds: kinds(family),
            weight: 1,
            priority: 1,
            tps: 20_000,
            concurrency: 64,
        })?;
        routes.push((spec, Arc::clone(adapter)));
    }
    Ok(routes)
}

/// What TOML says is wrong, in one line.
fn toml_fault(error: &toml::de::Error) -> String {
    error.message().replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use pabal_common::clock::SystemClock;
    use pabal_simulator::SimulatorConfig;
    use tokio_util::sync::CancellationToken;

    use super::*;

    const ROUTE: &str = r#"
        [[route]]
        name = "a"
        account = "carrier/main"
        kinds = ["SMS"]
        tps = 1
        concurrency = 1
    "#;

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

    fn configure(text: &str, simulator: Option<&Simulator>) -> Result<Vendors, VendorError> {
        let file = Some(("pabal.toml".into(), text.to_owned()));
        let values = settings::load(file, std::iter::empty(), &[]).unwrap();
        Vendors::configure(&values, simulator, Arc::new(SystemClock))
    }

    fn refusal(text: &str) -> String {
        configure(text, None).err().unwrap().to_string()
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
        let vendors = configure(&(account("a", "") + &account("b", "")), None).unwrap();
        assert_eq!(accounts_of(&vendors), ["carrier/a", "carrier/b"]);
    }

    #[tokio::test]
    async fn the_simulator_replaces_nothing_that_the_file_configures() {
        let simulator = Simulator::start(SimulatorConfig::default(), CancellationToken::new());
        let simulator = simulator.await.unwrap();
        let own = configure(&(account("main", "") + ROUTE), Some(&simulator)).unwrap();
        assert_eq!(accounts_of(&own), ["carrier/main"]);
        assert_eq!(own.routes.routes().len(), 1);
        let none = configure("", Some(&simulator)).unwrap();
        assert_eq!(accounts_of(&none).len(), 4);
        assert_eq!(none.without_route(), []);
        simulator.stop().await;
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
        assert!(configure(&account("main", edge), None).is_ok());
    }
}
