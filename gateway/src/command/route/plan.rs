//! The routes as a sender would use them: those of the file, or of the simulated vendors, with what
//! the ledger keeps on top; and how they are, as senders told it.

use std::collections::{BTreeMap, BTreeSet};

use pabal_common::config::Values;
use pabal_common::domain::kind::MessageType;
use pabal_common::domain::report::VendorAccount;
use pabal_common::ledger::{KeptRoute, SharedHealth};
use pabal_gateway::{settings, vendors};
use pabal_provider::Closed;
use pabal_provider::config::{RouteTable, Tables};
use pabal_provider::route::RouteSpec;

use crate::command::Failure;

/// Every route.
pub(super) struct Plan {
    pub(super) routes: Vec<Planned>,
    /// Every account routes may lead to.
    pub(super) accounts: BTreeSet<String>,
}

/// A route, and how it is.
pub(super) struct Planned {
    pub(super) name: String,
    pub(super) source: Source,
    /// What it is; or why the ledger's row cannot be used.
    pub(super) route: Result<(RouteSpec, VendorAccount), String>,
    pub(super) paused: bool,
    pub(super) state: State,
}

/// Where a route is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    File,
    Simulator,
    Ledger,
}

/// How a route is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// No sender is alive to tell.
    Unknown,
    /// Nothing has happened to it.
    Fine,
    /// As senders told it last.
    Told(SharedHealth),
}

impl Source {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::File => "FILE",
            Self::Simulator => "SIMULATOR",
            Self::Ledger => "LEDGER",
        }
    }
}

impl State {
    /// OK, OVERLOAD, FAIL; CLOSED where the vendor closed the account, UNKNOWN.
    pub(super) fn health(&self) -> &str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Fine => "OK",
            Self::Told(_) if self.closed().is_some() => "CLOSED",
            Self::Told(told) => &told.health,
        }
    }

    /// Why the vendor closed the account, where it has.
    pub(super) fn closed(&self) -> Option<Closed> {
        match self {
            Self::Told(told) => Closed::parse(&told.health),
            Self::Unknown | Self::Fine => None,
        }
    }

    /// Whether anything may be sent.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.health(), "OK" | "OVERLOAD")
    }
}

impl Plan {
    pub(super) fn new(
        values: &Values,
        kept: &[KeptRoute],
        told: Vec<SharedHealth>,
    ) -> Result<Self, Failure> {
        let tables = Tables::read(values).map_err(Failure::wrong_use)?;
        let mut accounts: BTreeSet<String> = tables
            .accounts
            .iter()
            .map(|table| VendorAccount::new(&table.protocol, &table.name).to_string())
            .collect();
        let mut written = Vec::new();
        for table in tables.routes {
            written.push((Source::File, table.check().map_err(Failure::wrong_use)?));
        }
        if settings::simulated(values) {
            let simulated = vendors::simulated_specs().map_err(Failure::wrong_use)?;
            for (spec, account) in simulated {
                accounts.insert(account.to_string());
                written.push((Source::Simulator, (spec, account)));
            }
        }
        let states = States::new(told);
        let plain = |(source, route): (Source, (RouteSpec, VendorAccount))| Planned {
            name: route.0.name().to_owned(),
            source,
            paused: false,
            state: states.of(route.0.name()),
            route: Ok(route),
        };
        let mut routes: Vec<Planned> = written.into_iter().map(plain).collect();
        for row in kept {
            put(&mut routes, row, &states, &accounts);
        }
        Ok(Self { routes, accounts })
    }
}

/// Puts what the ledger says of a route on top.
fn put(routes: &mut Vec<Planned>, row: &KeptRoute, states: &States, accounts: &BTreeSet<String>) {
    let known = routes.iter_mut().find(|route| route.name == row.name);
    let definition = row
        .definition
        .as_ref()
        .map(|it| read(&row.name, it, accounts));
    match (known, definition) {
        (Some(route), definition) => {
            route.paused = row.paused;
            if let Some(definition) = definition {
                (route.source, route.route) = (Source::Ledger, definition);
            }
        }
        (None, Some(definition)) => routes.push(Planned {
            name: row.name.clone(),
            source: Source::Ledger,
            route: definition,
            paused: row.paused,
            state: states.of(&row.name),
        }),
        // A pause of a route that is no longer there.
        (None, None) => {}
    }
}

fn read(
    name: &str,
    definition: &str,
    accounts: &BTreeSet<String>,
) -> Result<(RouteSpec, VendorAccount), String> {
    let table: RouteTable = serde_json::from_str(definition).map_err(|error| error.to_string())?;
    let name = name.to_owned();
    let route = RouteTable { name, ..table }.check();
    let (spec, account) = route.map_err(|error| error.to_string())?;
    match accounts.contains(&account.to_string()) {
        true => Ok((spec, account)),
        false => Err(format!("account {account} is not configured here")),
    }
}

/// What senders told of routes.
struct States {
    told: BTreeMap<String, SharedHealth>,
    /// Whether a sender is alive: each tells of the types.
    somebody: bool,
}

impl States {
    fn new(told: Vec<SharedHealth>) -> Self {
        let types = MessageType::ALL.map(SharedHealth::type_name);
        let told: BTreeMap<_, _> = told
            .into_iter()
            .map(|one| (one.route.clone(), one))
            .collect();
        Self {
            somebody: types.iter().any(|name| told.contains_key(name)),
            told,
        }
    }

    fn of(&self, route: &str) -> State {
        match self.told.get(route) {
            Some(told) => State::Told(told.clone()),
            None if self.somebody => State::Fine,
            None => State::Unknown,
        }
    }
}
