//! Vendors whose protocol keeps connections open: they stay open as long as the sender runs, and
//! the reports that come over them go where callbacks go.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pabal_common::domain::report::{Report, VendorAccount};
use pabal_common::relay::{Forwarder, ForwarderConfig};
use pabal_provider::{ReportDesk, ReportPath, ReportsNotKept};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::desk::Desk;

/// As long as callbacks have.
const FORWARDER: ForwarderConfig = ForwarderConfig {
    publish_wait: Duration::from_secs(2),
    publishes_at_once: 2,
    ledger_wait: Duration::from_secs(3),
};

/// How long taking leave of the vendors may take.
const CLOSING: Duration = Duration::from_secs(2);

struct Reports(Forwarder);

#[async_trait]
impl ReportDesk for Reports {
    async fn keep(
        &self,
        account: &VendorAccount,
        reports: Vec<Report>,
    ) -> Result<(), ReportsNotKept> {
        let kept = self.0.forward(account, reports).await;
        kept.map_err(|error| ReportsNotKept(error.to_string()))
    }
}

/// The standing connections of every account.
pub(crate) struct Connections {
    open: TaskTracker,
    stop: CancellationToken,
}

impl Connections {
    /// Opens them, in tasks of their own.
    pub(crate) fn open(desk: Arc<Desk>) -> Self {
        let (open, stop) = (TaskTracker::new(), CancellationToken::new());
        let vendors = desk.vendors.values();
        let standing =
            vendors.filter(|vendor| vendor.capabilities().reports == ReportPath::Session);
        let standing: Vec<_> = standing.cloned().collect();
        if !standing.is_empty() {
            let forwarder = Forwarder::start(desk.node.clone(), FORWARDER);
            let reports: Arc<dyn ReportDesk> = Arc::new(Reports(forwarder));
            for vendor in standing {
                let (reports, stop) = (Arc::clone(&reports), stop.clone());
                open.spawn(async move { vendor.stay_connected(reports, stop).await });
            }
        }
        Self { open, stop }
    }

    /// Done when the last has ended, which none does before it is closed.
    pub(crate) fn ended(&self) -> impl Future<Output = ()> + use<> {
        let (open, all) = (self.open.clone(), self.open.len());
        async move {
            if all == 0 {
                return std::future::pending().await;
            }
            open.close();
            open.wait().await;
        }
    }

    /// Closes them, within [`CLOSING`].
    pub(crate) async fn close(self) {
        self.stop.cancel();
        self.open.close();
        if timeout(CLOSING, self.open.wait()).await.is_err() {
            tracing::warn!("connections to vendors were still open at shutdown");
        }
    }
}
