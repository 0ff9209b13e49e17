//! The vendors' side of the same protocols, with faults on demand.
//!
//! Vendors, each behind its own TCP port, spoken to in its own protocol. What happens to a
//! message is chosen by its recipient's last two digits ([`Outcome::TABLE`]); doors can be shut
//! and answers forced, in process or over the control port. The simulator keeps its own record of
//! what it took: the witness for every claim that a message is sent once.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod callbacks;
mod config;
mod connection;
mod control;
mod door;
mod family;
mod observer;
mod outcome;
mod record;
mod reports;
mod script;
mod service;
mod vendor;
mod vendors;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use pabal_common::clock::{Clock as _, SystemClock};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

pub use config::{AccountConfig, Pace, SimulatorConfig};
pub use door::{Door, DoorState};
pub use family::Family;
pub use observer::Observer;
pub use outcome::{Outcome, Row, markdown_table};
pub use record::{Duplicate, Taken};
pub use script::NextAnswer;
pub use vendors::NotStarted;

use door::Threshold;
use record::Record;
use service::Service;
use vendor::Vendor;
use vendors::Vendors;

/// Why a simulator could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port is not free.
    #[error("{what} cannot listen on {address}: {source}")]
    Bind {
        /// Which vendor, or the control port.
        what: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The record's file cannot be used.
    #[error("record {path}: {source}")]
    Record {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The client for callbacks cannot be built.
    #[error("client for callbacks: {0}")]
    Client(reqwest::Error),
}

/// A running simulator; it stops when told, when its token is cancelled, or when dropped.
pub struct Simulator {
    vendors: Vendors,
    control: Option<SocketAddr>,
    stop: CancellationToken,
    tasks: TaskTracker,
    _stops_when_dropped: DropGuard,
}

impl Simulator {
    /// Binds every port and serves until `stop` is cancelled.
    ///
    /// # Errors
    /// [`StartError`] if a port or the record's file cannot be used.
    pub async fn start(
        config: SimulatorConfig,
        stop: CancellationToken,
    ) -> Result<Self, StartError> {
        let stop = stop.child_token();
        let client = callbacks::client().map_err(StartError::Client)?;
        let (record, reported) = Record::open(config.record.as_deref(), SystemClock.now())
            .map_err(|source| StartError::Record {
                path: config.record.clone().unwrap_or_default(),
                source,
            })?;
        let record = Arc::new(record);
        let (callback_base, base_seen) = watch::channel(config.callback_base.clone());
        let mut thresholds = Vec::new();
        let mut started = BTreeMap::new();
        for (family, account) in &config.accounts {
            let threshold = bind(family.name(), account.listen)?;
            let vendor = Arc::new(Vendor::new(
                *family,
                account,
                &config,
                threshold.door(),
                Arc::clone(&record),
                &reported,
                base_seen.clone(),
            ));
            thresholds.push((threshold, family.service(Arc::clone(&vendor))));
            started.insert(*family, vendor);
        }
        let vendors = Vendors {
            started,
            record,
            callback_base,
        };
        let mut control = None;
        if let Some(address) = config.control {
            let threshold = bind("the control port", address)?;
            control = Some(threshold.door().address());
            thresholds.push((threshold, Service::Http(control::router(vendors.clone()))));
        }
        let tasks = TaskTracker::new();
        for (threshold, service) in thresholds {
            tasks.spawn(threshold.serve(service, stop.clone()));
        }
        for vendor in vendors.started.values() {
            if let Some(callback) = vendor.family.callback() {
                let (vendor, client) = (Arc::clone(vendor), client.clone());
                tasks.spawn(callbacks::send(vendor, callback, client, stop.clone()));
            }
        }
        tasks.close();
        Ok(Self {
            vendors,
            control,
            tasks,
            _stops_when_dropped: stop.clone().drop_guard(),
            stop,
        })
    }

    /// Where each vendor that was started listens.
    pub fn addresses(&self) -> BTreeMap<Family, SocketAddr> {
        let started = self.vendors.started.iter();
        started
            .map(|(family, vendor)| (*family, vendor.door.address()))
            .collect()
    }

    /// Where the control port listens, if there is one.
    pub const fn control_address(&self) -> Option<SocketAddr> {
        self.control
    }

    /// The address to configure as a vendor's base URL.
    ///
    /// # Errors
    /// [`NotStarted`] if the configuration did not name the family.
    pub fn base_url(&self, family: Family) -> Result<String, NotStarted> {
        Ok(self.vendors.get(family)?.base_url())
    }

    /// Sets where callbacks go: `{base}/callbacks/{account}`.
    pub fn set_callback_base(&self, base: &str) {
        self.vendors.set_callback_base(base);
    }

    /// A vendor's listening socket.
    ///
    /// # Errors
    /// [`NotStarted`] if the configuration did not name the family.
    pub fn door(&self, family: Family) -> Result<Door, NotStarted> {
        Ok(self.vendors.get(family)?.door.clone())
    }

    /// Forces a vendor's next answers, first come first served.
    ///
    /// # Errors
    /// [`NotStarted`] if the configuration did not name the family.
    pub fn script(
        &self,
        family: Family,
        answers: impl IntoIterator<Item = NextAnswer>,
    ) -> Result<(), NotStarted> {
        self.vendors.get(family)?.script(answers);
        Ok(())
    }

    /// Everything that was taken, oldest first.
    pub fn taken(&self) -> Vec<Taken> {
        self.vendors.record.taken(0, usize::MAX)
    }

    /// How many messages were taken.
    pub fn taken_count(&self) -> usize {
        self.vendors.record.len()
    }

    /// Which messages were taken more than once.
    pub fn duplicates(&self) -> Vec<Duplicate> {
        self.vendors.record.duplicates()
    }

    /// Waits until the simulator has been stopped by its token.
    pub async fn stopped(&self) {
        self.tasks.wait().await;
    }

    /// Stops and waits until every port is free.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }
}

fn bind(what: &'static str, address: SocketAddr) -> Result<Threshold, StartError> {
    Threshold::bind(address).map_err(|source| StartError::Bind {
        what,
        address,
        source,
    })
}
