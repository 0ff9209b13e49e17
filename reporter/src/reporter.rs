//! The service: its parts, its routes, its end.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use pabal_common::config::{ConfigError, Values};
use pabal_common::node::Node;
use pabal_common::supervisor::Supervisor;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use utoipa_axum::router::OpenApiRouter;

use crate::apply::Applier;
use crate::config::Config;
use crate::consume::Consumer;
use crate::parked::Parked;
use crate::patrol::Patrol;
use crate::query::{self, QueryConfig};
use crate::retention::Retention;
use crate::webhook::{ClientError, Deliverer, WebhookConfig};

/// How long the last commits may take once everything else has ended.
const DRAIN: Duration = Duration::from_secs(5);

/// Everything the reporter is told.
#[derive(Clone, Debug, Default)]
pub struct ReporterConfig {
    /// Reports, patrol and retention.
    pub reports: Config,
    /// Delivery of webhooks.
    pub webhooks: WebhookConfig,
    /// The query API.
    pub query: QueryConfig,
}

impl ReporterConfig {
    /// From the settings in force.
    ///
    /// # Errors
    /// [`ConfigError`] for a value that its kind allows and its meaning does not.
    pub fn from_values(values: &Values) -> Result<Self, ConfigError> {
        Ok(Self {
            reports: Config::from_values(values),
            webhooks: WebhookConfig::from_values(values)?,
            query: QueryConfig::from_values(values),
        })
    }
}

/// Reports into ends, ends into webhooks and numbers, and the upkeep of what got stuck.
pub struct Reporter {
    node: Node,
    config: ReporterConfig,
    deliverer: Arc<Deliverer>,
}

impl Reporter {
    /// A reporter on `node`.
    ///
    /// # Errors
    /// [`ClientError`] if no HTTP client can be built for the webhooks.
    pub fn new(node: Node, config: ReporterConfig) -> Result<Self, ClientError> {
        let deliverer = Arc::new(Deliverer::new(&node, config.webhooks.clone())?);
        Ok(Self {
            node,
            config,
            deliverer,
        })
    }

    /// The query API with its description. Whoever serves it wraps the whole with
    /// [`pabal_common::http::finish`].
    pub fn router(&self) -> OpenApiRouter {
        query::router(self.node.clone(), self.config.query, self.deliverer.waker())
    }

    /// Runs until `shutdown`; then applies the reports in hand and ends the webhooks on their way.
    /// Ends by itself, in the same way, when one of its parts fails.
    pub async fn run(self, shutdown: CancellationToken) {
        let Self {
            node,
            config,
            deliverer,
        } = self;
        let (closing, commits) = (CancellationToken::new(), TaskTracker::new());
        let reports = &config.reports;
        let waker = deliverer.waker();
        let applier = Applier::start(&node, reports, waker.clone(), closing.clone(), &commits);
        let consumer = Consumer::new(&node, reports, applier.clone());
        let parked = Parked::new(&node, reports, applier.clone());
        let patrol = Patrol::new(&node, reports, waker);
        let retention = Retention::new(&node, reports);

        let mut parts = Supervisor::new(&shutdown);
        parts.watch("report commits", applier.ended());
        let stop = parts.stop();
        parts.start("reports", async move { consumer.run(stop).await });
        let stop = parts.stop();
        parts.start("parked reports", async move { parked.run(stop).await });
        parts.start("patrol", patrol.run(parts.stop()));
        let stop = parts.stop();
        parts.start("retention", async move { retention.run(stop).await });
        let stop = parts.stop();
        parts.start("webhooks", async move { deliverer.run(stop).await });
        parts.until_stop().await;
        parts.until_ended().await;
        closing.cancel();
        commits.close();
        if timeout(DRAIN, commits.wait()).await.is_err() {
            tracing::warn!("reports were still being committed at shutdown; they come again");
        }
    }
}

impl fmt::Debug for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reporter")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
