//! Which vendor accounts there are and which routes lead to them: from the configuration file, or,
//! without any, to the simulated vendors.

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

/// A route and the adapter it leads to.
type Lead = (RouteSpec, Arc<dyn Provider>);

/// The vendor accounts and the routes to them.
pub struct Vendors {
    /// The adapters, by account.
    pub adapters: HashMap<VendorAccount, Arc<dyn Provider>>,
    /// The routes.
    pub routes: RouteBook,
}

impl Vendors {
    /// From the file's tables and, if it runs, the simulator.
    ///
    /// # Errors
    /// [`VendorError`] names the table and what is wrong with it.
    pub fn configure(
        values: &Values,
        simulator: Option<&Simulator>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, VendorError> {
        let mut adapters: HashMap<VendorAccount, Arc<dyn Provider>> = HashMap::new();
        for adapter in accounts(values)? {
            adapters.insert(adapter.account().clone(), adapter);
        }
        if let Some(simulator) = simulator {
            for (family, _) in simulator.addresses() {
                let adapter = simulated(simulator, family)?;
                adapters.insert(adapter.account().clone(), adapter);
            }
        }
        let mut routes = routes(values, &adapters)?;
        if routes.is_empty() && simulator.is_some() {
            routes = simulated_routes(&adapters)?;
        }
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

fn accounts(values: &Values) -> Result<Vec<Arc<dyn Provider>>, VendorError> {
    let mut adapters = Vec::new();
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
        adapters.push(adapter);
    }
    Ok(adapters)
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

fn routes(
    values: &Values,
    adapters: &HashMap<VendorAccount, Arc<dyn Provider>>,
) -> Result<Vec<Lead>, VendorError> {
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
fn simulated_routes(
    adapters: &HashMap<VendorAccount, Arc<dyn Provider>>,
) -> Result<Vec<Lead>, VendorError> {
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
