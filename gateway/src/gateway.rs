//! The services in one process: how they are put together and started.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use pabal_common::clock::{Clock, SystemClock};
use pabal_common::config::{ConfigError, Values};
use pabal_common::crypto::{Sealer, SecretHasher};
use pabal_common::http::description;
use pabal_common::http::health::Readiness;
use pabal_common::ledger::LedgerError;
use pabal_common::node::Node;
pub use pabal_common::process::Stopped;
use pabal_common::process::{self, Backends, Failure, Floor, Folder, Process};
use pabal_provider::config::{VendorError, Vendors, can_be_asked};
use pabal_receiver::Receiver;
use pabal_reporter::config::Askable;
use pabal_reporter::{Reporter, ReporterConfig};
use pabal_simulator::{Family, Simulator, SimulatorConfig};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;

use crate::endpoint::{self, DemoEndpoint};
use crate::partners::{self, AddError, Application, Credentials};
use crate::{openapi, settings, vendors};

/// A service that can be chosen with `--services`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// Partner HTTP API: token, accept, batch.
    Receiver,
    /// Send queues to vendors.
    Sender,
    /// Vendors' callbacks and polling.
    WebhookReceiver,
    /// Reports, statistics, webhooks, query.
    Reporter,
}

impl Service {
    /// Every service.
    pub const ALL: [Self; 4] = [
        Self::Receiver,
        Self::Sender,
        Self::WebhookReceiver,
        Self::Reporter,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Receiver => "receiver",
            Self::Sender => "sender",
            Self::WebhookReceiver => "webhook-receiver",
            Self::Reporter => "reporter",
        }
    }

    /// The service with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|service| service.name() == name)
    }
}

/// Why the gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The process cannot: its settings, its address, its back-ends, its place in the ledger.
    #[error(transparent)]
    Process(#[from] process::StartError),
    /// A setting's value its meaning does not allow.
    #[error("configuration:\n{0}")]
    Configuration(#[from] ConfigError),
    /// The vendors cannot be used as configured.
    #[error(transparent)]
    Vendors(#[from] VendorError),
    /// The simulated vendors cannot start.
    #[error("simulated vendors: {0}")]
    Simulator(#[from] pabal_simulator::StartError),
    /// The webhook client cannot be built.
    #[error(transparent)]
    Webhooks(#[from] pabal_reporter::webhook::ClientError),
    /// The demo partner cannot be added.
    #[error("demo partner: {0}")]
    DemoPartner(#[from] AddError),
    /// The ledger does not answer.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// It was asked to stop while it still waited for a server.
    #[error("stopped before the start was done")]
    Stopped,
}

impl StartError {
    /// The end of the program: what is wrong with the configuration is wrong use.
    pub fn failure(&self) -> Failure {
        let is_wrong_use = match self {
            Self::Process(error) => error.is_wrong_use(),
            Self::Configuration(_) | Self::Vendors(_) => true,
            _ => false,
        };
        Failure::of(self, is_wrong_use)
    }
}

/// A running gateway.
pub struct Running {
    /// Where the HTTP API listens.
    pub address: SocketAddr,
    /// The demo partner's credentials, if this start added it.
    pub credentials: Option<Credentials>,
    /// The endpoint for trying things out, beside simulated vendors.
    pub endpoint: Option<DemoEndpoint>,
    /// The simulated vendors.
    pub simulator: Option<Arc<Simulator>>,
    /// The ports and this process's place in the ledger.
    pub node: Node,
    stop: CancellationToken,
    ended: JoinHandle<Result<(), Stopped>>,
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Running {
    /// Waits until the gateway stops by itself or [`stop`](Self::stop) was asked for.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn wait(&mut self) -> Result<(), Stopped> {
        (&mut self.ended)
            .await
            .unwrap_or(Err(Stopped::Service("the gateway")))
    }

    /// Drains and stops: nothing is lost. Takes no longer than the settings allow.
    ///
    /// # Errors
    /// [`Stopped`], if it had stopped by itself.
    pub async fn stop(mut self) -> Result<(), Stopped> {
        self.stop.cancel();
        self.wait().await
    }

    /// What stops it when cancelled.
    pub fn stopper(&self) -> CancellationToken {
        self.stop.clone()
    }
}

/// Starts these services on the configured back-ends.
///
/// # Errors
/// [`StartError`]; nothing runs then.
pub async fn start(values: &Values, services: &[Service]) -> Result<Running, StartError> {
    start_until(values, services, CancellationToken::new()).await
}

/// The same, to be stopped by `stop`, also while it still waits for a server.
///
/// # Errors
/// [`StartError`]; nothing runs then.
pub async fn start_until(
    values: &Values,
    services: &[Service],
    stop: CancellationToken,
) -> Result<Running, StartError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    // What can be wrong with the configuration is found before anything is made or joined.
    if settings::has_vendors(values) {
        vendors::configure(values, None, Arc::clone(&clock))?;
    }
    ReporterConfig::from_values(values)?;
    let opened = Process::open(values, &role(services), &stop).await?;
    let mut process = opened.ok_or(StartError::Stopped)?;
    let (node, address) = (process.node.clone(), process.address);
    let base = format!("http://{address}");
    let vendors_stop = CancellationToken::new();
    let simulator = simulator(values, &vendors_stop).await?;
    let vendors = vendors::configure(values, simulator.as_deref(), Arc::clone(&clock))?;
    vendors.warn_without_route();
    let endpoint = simulator
        .as_ref()
        .map(|_| DemoEndpoint::new(Arc::clone(&clock)));
    if let Some(simulator) = &simulator {
        simulator.set_callback_base(&base);
    }
    let credentials = match (&endpoint, values.flag("demo.partner")) {
        (Some(endpoint), true) => demo_partner(&node, endpoint, &base).await?,
        _ => None,
    };
    let parts = Parts::new(values, services, &node, vendors, simulator.is_some())?;
    let router = parts.router(endpoint.as_ref());
    parts.run_in(&mut process);
    if let Some(simulator) = simulator.clone() {
        process.run(Floor::Exits, "simulated vendors", |token| async move {
            token.cancelled().await;
            vendors_stop.cancel();
            simulator.stopped().await;
        });
    }
    let ended = tokio::spawn(process.keep(router));
    Ok(Running {
        address,
        credentials,
        endpoint,
        simulator,
        node,
        stop,
        ended,
    })
}

/// The description of the whole HTTP API, on a data folder of its own.
///
/// # Errors
/// [`StartError`].
pub async fn describe(values: &Values) -> Result<utoipa::openapi::OpenApi, StartError> {
    let folder = Folder::new(values.path("data.folder"));
    let readiness = Readiness::new(CancellationToken::new());
    let backends = Backends::embedded(folder);
    let (_storage, node) =
        process::join(values, &backends, &role(&Service::ALL), readiness).await?;
    let vendors = vendors::configure(values, None, Arc::new(SystemClock))?;
    let parts = Parts::new(values, &Service::ALL, &node, vendors, false)?;
    Ok(openapi::describe(parts.described()))
}

/// How the ledger knows a process that runs these services.
fn role(services: &[Service]) -> String {
    let names: Vec<&str> = services.iter().map(|service| service.name()).collect();
    names.join(",")
}

async fn simulator(
    values: &Values,
    stop: &CancellationToken,
) -> Result<Option<Arc<Simulator>>, StartError> {
    if !settings::simulated(values) {
        if values.flag("simulator.enabled") {
            tracing::info!("no simulated vendors beside the file's [[account]] and [[route]]");
        }
        return Ok(None);
    }
    let folder = Folder::new(values.path("data.folder"));
    // Its record is there, also where the ledger is elsewhere.
    folder.make().map_err(process::StartError::from)?;
    let config = SimulatorConfig {
        record: Some(folder.simulator_record()),
        ..SimulatorConfig::of(&Family::EVERY_TYPE)
    };
    Ok(Some(Arc::new(
        Simulator::start(config, stop.clone()).await?,
    )))
}

/// Adds the demo partner at the first start, and lets the demo endpoint trust it.
async fn demo_partner(
    node: &Node,
    endpoint: &DemoEndpoint,
    base: &str,
) -> Result<Option<Credentials>, StartError> {
    let sealer = Sealer::new(&node.keyring);
    let id = match "demo".parse() {
        Ok(id) => id,
        Err(_) => return Ok(None),
    };
    let url = format!("{base}{}", endpoint::PATH);
    if let Some(partner) = node.ledger.partner(&id).await? {
        if let Ok(secret) = sealer.open_secret(id.as_str(), &partner.webhook.secret)
            && let Ok(secret) = String::from_utf8(secret).unwrap_or_default().parse()
        {
            endpoint.trust(secret);
        }
        // The port may be another one today.
        let ours = partner
            .webhook
            .url
            .as_deref()
            .is_some_and(|old| old.ends_with(endpoint::PATH));
        if ours && partner.webhook.url.as_deref() != Some(&url) {
            let mut moved = partner.clone();
            moved.webhook.url = Some(url);
            node.ledger.update_partner(&partner, &moved).await?;
        }
        return Ok(None);
    }
    if !node.ledger.partners().await?.is_empty() {
        return Ok(None);
    }
    let senders = ["0200000000", "15880000", "demo.example"]
        .iter()
        .filter_map(|number| number.parse().ok());
    let application = Application {
        webhook_url: Some(url),
        senders: senders.collect(),
        ..Application::new(id, "Demo partner")
    };
    let hasher = SecretHasher::new(1, Duration::from_secs(30));
    let now = node.clock.now();
    let credentials =
        partners::add(node.ledger.as_ref(), &sealer, &hasher, application, now).await?;
    endpoint.trust(credentials.webhook_secret.clone());
    Ok(Some(credentials))
}

/// The chosen services, built and not yet running.
struct Parts {
    node: Node,
    receiver: Option<Receiver>,
    reporter: Option<Reporter>,
    webhook_receiver: Option<pabal_webhook_receiver::Config>,
    sender: Option<pabal_sender::Config>,
    vendors: Vendors,
}

impl Parts {
    fn new(
        values: &Values,
        services: &[Service],
        node: &Node,
        vendors: Vendors,
        simulated: bool,
    ) -> Result<Self, StartError> {
        let has = |service| services.contains(&service);
        let reporter = if has(Service::Reporter) {
            let mut config = ReporterConfig::from_values(values)?;
            // The demo endpoint is on this machine.
            config.webhooks.addresses.allow_loopback |= simulated;
            let adapters = vendors.adapters.clone();
            config.reports.askable = Askable::by(move |account| can_be_asked(&adapters, account));
            Some(Reporter::new(node.clone(), config)?)
        } else {
            None
        };
        Ok(Self {
            receiver: has(Service::Receiver)
                .then(|| Receiver::new(node.clone(), pabal_receiver::Config::from_values(values))),
            reporter,
            webhook_receiver: has(Service::WebhookReceiver)
                .then(|| pabal_webhook_receiver::Config::from_values(values)),
            sender: has(Service::Sender).then(|| pabal_sender::Config::from_values(values)),
            vendors,
            node: node.clone(),
        })
    }

    fn webhook_vendors(&self) -> pabal_webhook_receiver::Vendors {
        pabal_webhook_receiver::Vendors::new(self.vendors.adapters.values().cloned())
    }

    /// What partners can call, with its description.
    fn described(&self) -> OpenApiRouter {
        let mut described = description::empty();
        if let Some(receiver) = &self.receiver {
            described = described.merge(receiver.router());
        }
        if let Some(reporter) = &self.reporter {
            described = described.merge(reporter.router());
        }
        described
    }

    fn router(&self, endpoint: Option<&DemoEndpoint>) -> Router {
        let mut router = openapi::with_documentation(self.described());
        if let Some(config) = &self.webhook_receiver {
            router = router.merge(pabal_webhook_receiver::router(
                self.node.clone(),
                &self.webhook_vendors(),
                *config,
            ));
        }
        if let Some(endpoint) = endpoint {
            router = router.merge(endpoint.router());
        }
        router
    }

    /// Starts each service on its floor.
    fn run_in(self, process: &mut Process) {
        let webhook_vendors = self.webhook_vendors();
        let (node, vendors) = (self.node, self.vendors);
        if let Some(config) = self.webhook_receiver {
            let node = node.clone();
            process.run(Floor::Intake, "webhook-receiver", |token| {
                pabal_webhook_receiver::run(node, webhook_vendors, config, token)
            });
        }
        if let Some(config) = self.sender {
            process.run(Floor::Intake, "sender", |token| {
                pabal_sender::run(node, vendors.routes, vendors.adapters, config, token)
            });
        }
        if let Some(receiver) = self.receiver {
            process.run(Floor::Work, "receiver", |token| async move {
                receiver.run(token).await;
            });
        }
        if let Some(reporter) = self.reporter {
            process.run(Floor::Work, "reporter", |token| reporter.run(token));
        }
    }
}
