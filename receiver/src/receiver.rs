//! The service: its parts, its routes, its end.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use pabal_common::access::Access;
use pabal_common::crypto::{Lookup, Sealer, TokenIssuer};
use pabal_common::http::BodyLimits;
use pabal_common::http::health::Part;
use pabal_common::node::Node;
use pabal_common::supervisor::Supervisor;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::{Login, oauth, token};
use crate::config::Config;
use crate::files::{Turns, sweep, upload};
use crate::intake::Intake;
use crate::lookups::Lookups;
use crate::send::{batch, single};
use crate::templates;

/// How long a question to the ledger may take.
pub(crate) const LEDGER_LIMIT: Duration = Duration::from_secs(5);

/// How long publications may take after the last commit; the outbox has what is not done then.
const DRAIN: Duration = Duration::from_secs(5);

/// The partner HTTP API: tokens, accepting messages one by one and in batches.
#[derive(Clone)]
pub struct Receiver {
    shared: Arc<Shared>,
    closing: CancellationToken,
    tracker: TaskTracker,
    part: Part,
}

/// What handlers work with.
pub(crate) struct Shared {
    pub(crate) node: Node,
    pub(crate) config: Config,
    pub(crate) access: Access,
    pub(crate) login: Login,
    pub(crate) lookup: Lookup,
    pub(crate) lookups: Lookups,
    /// Uploads that may be in memory at once.
    pub(crate) uploads: Turns,
    pub(crate) intake: Intake,
}

impl Receiver {
    /// A receiver on `node`. It commits from now on, so this is called inside the runtime.
    pub fn new(node: Node, config: Config) -> Self {
        let part = node.readiness.part("receiver");
        let (closing, tracker) = (CancellationToken::new(), TaskTracker::new());
        let issuer = TokenIssuer::new(&node.keyring);
        let login = Login::new(
            config.auth,
            Arc::clone(&node.ledger),
            Arc::clone(&node.clock),
            issuer.clone(),
        );
        let access = Access::new(issuer, Arc::clone(&node.ledger));
        let sealer = Sealer::new(&node.keyring);
        let lookups = Lookups::new(Arc::clone(&node.ledger), sealer.clone(), config.templates);
        let intake = Intake::start(node.clone(), sealer, &config, closing.clone(), &tracker);
        let lookup = Lookup::new(&node.keyring);
        let shared = Arc::new(Shared {
            node,
            config,
            access,
            login,
            lookup,
            lookups,
            uploads: Turns::new(config.uploads_at_once),
            intake,
        });
        Self {
            shared,
            closing,
            tracker,
            part,
        }
    }

    /// The routes with their description. Whoever serves them wraps the whole with
    /// [`pabal_common::http::finish`].
    pub fn router(&self) -> OpenApiRouter {
        let config = &self.shared.config;
        let limits = |max_bytes| {
            Extension(BodyLimits {
                max_bytes,
                deadline: config.body_deadline,
            })
        };
        let small = OpenApiRouter::new()
            .routes(routes!(token::token))
            .routes(routes!(token::refresh))
            .routes(routes!(token::revoke))
            .routes(routes!(oauth::token))
            .routes(routes!(single::send))
            // Its body has limits of its own.
            .routes(routes!(upload::upload))
            .routes(routes!(templates::list))
            .layer(limits(config.body_bytes));
        let large = OpenApiRouter::new()
            .routes(routes!(batch::send))
            .layer(limits(config.batch_body_bytes));
        small.merge(large).with_state(Arc::clone(&self.shared))
    }

    /// Runs until `shutdown`, then commits and publishes what was taken and ends. `shutdown` comes
    /// after the HTTP server has answered its last request, and before the relay is stopped. Ends by
    /// itself, in the same way, when it can no longer commit.
    pub async fn run(&self, shutdown: CancellationToken) {
        let mut parts = Supervisor::new(&shutdown);
        parts.watch("message commits", self.shared.intake.ended());
        let node = self.shared.node.clone();
        parts.start("expired files", sweep::run(node, parts.stop()));
        self.part.ready();
        parts.until_stop().await;
        self.part.not_ready("shutting down");
        self.closing.cancel();
        self.tracker.close();
        if timeout(DRAIN, self.tracker.wait()).await.is_err() {
            tracing::warn!("publications did not end in time; the outbox has them");
        }
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("config", &self.shared.config)
            .finish_non_exhaustive()
    }
}
