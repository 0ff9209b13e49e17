//! The routes as operators change them: what the ledger keeps of them is read again and again, and
//! the book follows without a restart.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use pabal_common::deadline::in_time;
use pabal_common::ledger::{KeptRoute, LedgerError};
use pabal_common::rounds::Rounds;
use pabal_common::telemetry::metric;
use pabal_provider::config::Lead;
use pabal_provider::kept::arrange;
use tokio_util::sync::CancellationToken;

use crate::desk::Desk;

/// A change is obeyed within this time.
const ROUND: Duration = Duration::from_secs(2);
/// How long the ledger may take to answer.
const LEDGER_LIMIT: Duration = Duration::from_secs(5);
/// How long until it is asked again at the start.
const AGAIN: Duration = Duration::from_millis(500);

/// What the book was last made of.
pub(crate) struct Following {
    desk: Arc<Desk>,
    file: Vec<Lead>,
    kept: Vec<KeptRoute>,
}

impl Following {
    /// Reads what is kept before anything is sent: a paused route must not be used for a moment.
    /// Returns at shutdown too.
    pub(crate) async fn begin(desk: Arc<Desk>, shutdown: &CancellationToken) -> Self {
        let routes = desk.routes.routes();
        let leads = routes
            .iter()
            .map(|route| (route.spec().clone(), Arc::clone(route.provider())));
        let mut following = Self {
            file: leads.collect(),
            kept: Vec::new(),
            desk,
        };
        while let Err(error) = following.follow().await {
            tracing::warn!(%error, "routes could not be read; nothing is sent until they are");
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = tokio::time::sleep(AGAIN) => {}
            }
        }
        following
    }

    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        let mut rounds = Rounds::every(ROUND, shutdown);
        while rounds.next().await {
            if let Err(error) = self.follow().await {
                tracing::warn!(%error, "routes could not be read; those known are used on");
            }
        }
    }

    async fn follow(&mut self) -> Result<(), LedgerError> {
        let kept = in_time(LEDGER_LIMIT, self.desk.node.ledger.routes()).await?;
        if kept != self.kept {
            self.obey(&kept);
            self.kept = kept;
        }
        Ok(())
    }

    fn obey(&self, kept: &[KeptRoute]) {
        let arranged = arrange(&self.file, kept, &self.desk.vendors);
        for fault in &arranged.faults {
            tracing::error!(%fault, "a route is left as the configuration file has it");
        }
        let before = self.desk.routes.routes();
        let names: BTreeSet<String> = arranged
            .routes
            .iter()
            .map(|(spec, _)| spec.name().to_owned())
            .collect();
        let (routes, paused) = (names.len(), arranged.paused.len());
        if let Err(error) = self
            .desk
            .routes
            .set_routes(arranged.routes, &arranged.paused)
        {
            tracing::error!(%error, "the routes cannot be changed");
            return;
        }
        for gone in before.iter().filter(|route| !names.contains(route.name())) {
            metric::route_usable(gone.name(), 0.0);
        }
        tracing::info!(routes, paused, "the routes were changed");
    }
}

#[cfg(test)]
mod tests;
