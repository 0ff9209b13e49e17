//! A process that runs services, whichever they are: its settings and command line, the back-ends,
//! its place in the ledger, what it serves, and the order in which everything stops.
//!
//! ```text
//! Arguments ─▶ Values ─▶ Process::open ─▶ Process::run, for each service ─▶ Process::keep
//!                        HTTP answers     on its floor                       until a signal, or
//!                        health at once                                      the lease is lost
//! ```
//!
//! [`main`] makes a program of it. Exit codes: 0 stopped as asked, 1 failed, 2 wrong use or
//! configuration: what starts processes again need not try.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::task::JoinError as TaskError;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::broker::BrokerError;
use crate::clock::SystemClock;
use crate::config::{ConfigError, Values};
use crate::http;
use crate::http::health::Readiness;
use crate::instance::{JoinError, LeaseLost};
use crate::ledger::LedgerError;
use crate::node::{Node, Ports};
use crate::relay::RelayConfig;
use crate::telemetry::{self, TelemetryGuard};

mod arguments;
mod backends;
mod exit;
mod folder;
mod front;
mod house;
mod servers;
pub mod settings;
mod signal;
mod storage;
#[cfg(test)]
mod tests;
mod waiting;
mod watch;

pub use arguments::{AFTER_HELP, Arguments};
pub use backends::{Backends, Place, Servers};
pub use exit::{Failure, main};
pub use folder::Folder;
pub use house::Floor;
pub use signal::stop_on_signal;
pub use storage::{Storage, StorageError, Visit, migrate};

use front::Front;
use house::House;
use waiting::Waiting;

/// Why a process cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting's value its meaning does not allow.
    #[error("configuration:\n{0}")]
    Configuration(#[from] ConfigError),
    /// The HTTP address cannot be listened on.
    #[error("http.address {address}: {source}; --set http.address=IP:PORT chooses another")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The back-ends cannot be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The ledger does not let it join.
    #[error(transparent)]
    Join(#[from] JoinError),
}

impl StartError {
    /// Whether it is wrong for good: exit code 2.
    pub const fn is_wrong_use(&self) -> bool {
        match self {
            Self::Configuration(_) => true,
            Self::Storage(error) => error.is_wrong_use(),
            Self::Join(JoinError::Ledger(error)) => is_wrong_ledger(error),
            Self::Join(JoinError::Broker(error)) => is_wrong_broker(error),
            Self::Join(_) | Self::Listen { .. } => false,
        }
    }

    /// The end of the program.
    pub fn failure(&self) -> Failure {
        Failure::of(self, self.is_wrong_use())
    }
}

const fn is_wrong_ledger(error: &LedgerError) -> bool {
    matches!(
        error,
        LedgerError::Misconfigured(_) | LedgerError::Schema(_)
    )
}

const fn is_wrong_broker(error: &BrokerError) -> bool {
    matches!(error, BrokerError::Misconfigured(_))
}

/// Why a process stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum Stopped {
    /// It may no longer act.
    #[error(transparent)]
    Lease(#[from] LeaseLost),
    /// A service ended although nobody asked it to.
    #[error("{0} ended unexpectedly; see the log")]
    Service(&'static str),
}

/// Sets up logs, metrics and traces of the program `name`.
///
/// # Errors
/// If the settings cannot be used.
pub fn init_telemetry(values: &Values, name: &str) -> Result<TelemetryGuard, Failure> {
    telemetry::init(&settings::telemetry(values, name))
        .map_err(|error| Failure::usage(error.to_string()))
}

/// A process that has joined the ledger. Services are started in it with [`run`](Self::run), and
/// then it is [kept](Self::keep).
pub struct Process {
    /// The ports, and this process's place in the ledger.
    pub node: Node,
    /// Where it serves HTTP.
    pub address: SocketAddr,
    storage: Storage,
    front: Front,
    house: House,
    lease: Keeper,
    stop: CancellationToken,
    unready_wait: Duration,
    deadline: Duration,
}

/// The part of the readiness that stands for the services themselves: without it a process would
/// be ready between joining and serving.
const SERVICES: &str = "services";

/// What renews the lease, and what ends that.
struct Keeper {
    stop: CancellationToken,
    task: AbortOnDropHandle<Result<(), LeaseLost>>,
}

impl Process {
    /// Serves `/healthz`, `/readyz` and `/metrics`, opens the back-ends and joins the ledger with
    /// `role` (services, comma separated). Waits for servers that are away; `None` if `stop` came
    /// before they were there.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs then.
    pub async fn open(
        values: &Values,
        role: &str,
        stop: &CancellationToken,
    ) -> Result<Option<Self>, StartError> {
        let backends = Backends::from_values(values)?;
        let (listener, address) = front::listen(settings::http_address(values)).await?;
        let readiness = Readiness::new(stop.clone());
        for part in ["ledger", "broker", "lease", SERVICES] {
            readiness.part(part);
        }
        let (front, mut house) = (Front::new(readiness.clone()), House::default());
        let (router, limits) = (front.router(), settings::server_limits(values));
        house.settle(Floor::Intake, "http", |token| {
            http::serve(listener, router, limits, token)
        });
        backends.tell();
        let deadline = values.duration("shutdown.deadline");
        let (storage, node) = tokio::select! {
            joined = join(values, &backends, role, readiness) => joined?,
            () = stop.cancelled() => {
                house.stop(deadline).await;
                tracing::info!("stopped before the start was done");
                return Ok(None);
            }
        };
        // Before the first request: where limits are local, each receiver gives out its part alone.
        watch::note_receivers(&node);
        house.settle(Floor::Exits, "relay", |token| {
            Arc::clone(&node.relay).run(token)
        });
        house.settle(Floor::Exits, "watch", |token| {
            watch::run(node.clone(), token)
        });
        Ok(Some(Self {
            lease: Keeper::of(&node),
            unready_wait: values.duration("http.unready_wait"),
            stop: stop.clone(),
            node,
            address,
            storage,
            front,
            house,
            deadline,
        }))
    }

    /// Starts a service, which runs until its token is cancelled, and stops with its floor.
    pub fn run<F>(
        &mut self,
        floor: Floor,
        name: &'static str,
        run: impl FnOnce(CancellationToken) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        self.house.settle(floor, name, run);
    }

    /// Serves `router` too, until it is asked to stop, the lease is lost, or a service ends by
    /// itself; then stops everything in the order of the flow. Whatever is not done within
    /// `shutdown.deadline` is left to whoever comes next.
    ///
    /// # Errors
    /// [`Stopped`], if nobody asked it to stop.
    pub async fn keep(mut self, router: Router) -> Result<(), Stopped> {
        self.front.open(router);
        self.node.readiness.part(SERVICES).ready();
        let ended = tokio::select! {
            () = self.stop.cancelled() => Ok(()),
            lost = &mut self.lease.task => Err(lease_ended(lost)),
            name = self.house.first_ended() => Err(Stopped::Service(name)),
        };
        if ended.is_ok() {
            // Not ready from here on; what comes in all the same is still served.
            sleep(self.unready_wait).await;
        }
        self.stop.cancel();
        self.house.stop(self.deadline).await;
        let departing = depart(self.lease, &self.node, &self.storage, ended.is_ok());
        if !done_within(house::departure(self.deadline), departing).await {
            tracing::warn!("the ledger was not left and closed in time; the next start sees to it");
        } else if ended.is_ok() {
            tracing::info!("stopped; nothing was lost");
        }
        ended
    }
}

impl Keeper {
    fn of(node: &Node) -> Self {
        let stop = CancellationToken::new();
        let keep = Arc::clone(&node.instance).keep(stop.clone());
        Self {
            task: AbortOnDropHandle::new(tokio::spawn(keep)),
            stop,
        }
    }
}

fn lease_ended(ended: Result<Result<(), LeaseLost>, TaskError>) -> Stopped {
    match ended {
        Ok(Err(lost)) => Stopped::Lease(lost),
        _ => Stopped::Service("the lease keeper"),
    }
}

/// Leaves the ledger, unless the lease is lost, and closes files and connections.
async fn depart(keeper: Keeper, node: &Node, storage: &Storage, holds_lease: bool) {
    if holds_lease {
        keeper.stop.cancel();
        let _ = keeper.task.await;
        node.instance.leave().await;
    }
    storage.close().await;
}

/// Whether the last steps were done in time. What is not done is what a killed process leaves
/// undone too: the lease lapses, and the next start goes on from the ledger.
async fn done_within(limit: Duration, steps: impl Future<Output = ()>) -> bool {
    timeout(limit, steps).await.is_ok()
}

/// Opens the back-ends and joins the ledger; waits for servers that are away.
///
/// # Errors
/// [`StartError`].
pub async fn join(
    values: &Values,
    backends: &Backends,
    role: &str,
    readiness: Readiness,
) -> Result<(Storage, Node), StartError> {
    let storage = Storage::open(backends, &readiness).await?;
    let mut waiting = Waiting::new(readiness.part("lease"), "a place in the ledger");
    let node = loop {
        match join_with(&storage, values, role, &readiness).await {
            Ok(node) => break node,
            // Nobody else has the folder: what is wrong now is wrong in a second too.
            Err(error) if matches!(backends.place, Place::Embedded) => return Err(error.into()),
            Err(error) => waiting.after(error).await?,
        }
    };
    waiting.over();
    Ok((storage, node))
}

async fn join_with(
    storage: &Storage,
    values: &Values,
    role: &str,
    readiness: &Readiness,
) -> Result<Node, JoinError> {
    let ports = Ports {
        ledger: Arc::clone(&storage.ledger),
        broker: Arc::clone(&storage.broker),
        quota: Arc::clone(&storage.quota),
        files: storage.files.clone(),
        clock: Arc::new(SystemClock),
        keyring: Arc::clone(&storage.keyring),
    };
    let (lease, relay) = (settings::lease(values), RelayConfig::default());
    Node::join(ports, role, lease, relay, readiness.clone()).await
}
