//! From the send queues to the vendors: take a frame, get a route's permit, claim its messages for
//! one vendor call, make the call, record how it ended.
//!
//! The order is what keeps a message from being sent twice. The permit comes before the claim, so
//! that a claimed message never waits for a route. The claim is committed before the first byte
//! leaves. After the call, whatever happened is recorded by the call's id, and what may have been
//! taken is never sent again.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod asking;
mod attachments;
mod calling;
mod config;
mod connections;
mod desk;
#[cfg(test)]
mod fake;
mod following;
mod frames;
mod hand;
mod queues;
mod refusals;
mod releasing;
mod sharing;
mod sorting;
mod verdict;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use pabal_common::domain::report::VendorAccount;
use pabal_common::node::Node;
use pabal_common::supervisor::Supervisor;
use pabal_provider::Provider;
use pabal_provider::route::RouteBook;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use config::{Config, SETTINGS, check};
use connections::Connections;
use desk::Desk;
use following::Following;

/// How long the last commits may take once every call has ended.
const COMMITS: Duration = Duration::from_secs(1);

/// Runs the sender until `shutdown`, then finishes the calls on their way: at most
/// [`Config::drain`], after which what is left becomes an unknown outcome. Frames that were not
/// begun go back to their queues.
///
/// Ends by itself, in the same way, when one of its parts fails.
pub async fn run(
    node: Node,
    routes: RouteBook,
    vendors: HashMap<VendorAccount, Arc<dyn Provider>>,
    config: Config,
    shutdown: CancellationToken,
) {
    // Commits and publishes outlive the parts: they end when the calls have ended.
    let (commits, closing) = (TaskTracker::new(), CancellationToken::new());
    let calls = TaskTracker::new();
    let drain = config.drain;
    let desk = Arc::new(Desk::new(node, routes, vendors, config, &closing, &commits));

    let following = Following::begin(Arc::clone(&desk), &shutdown).await;
    let mut parts = Supervisor::new(&shutdown);
    parts.watch("claim commits", desk.claims.ended());
    parts.watch("settlement commits", desk.settlements.ended());
    let connections = Connections::open(Arc::clone(&desk));
    parts.watch("connections", connections.ended());
    queues::consume_all(&desk, &calls, &mut parts);
    parts.start("release", releasing::run(Arc::clone(&desk), parts.stop()));
    parts.start("asking", asking::run(Arc::clone(&desk), parts.stop()));
    parts.start("sharing", sharing::run(Arc::clone(&desk), parts.stop()));
    parts.start("routes", following.run(parts.stop()));
    parts.start("comparison", hand::run(Arc::clone(&desk), parts.stop()));
    let (probes, until) = (desk.routes.clone(), parts.stop());
    parts.start("probes", async move { probes.run_probes(until).await });

    parts.until_stop().await;
    let drained = async {
        parts.until_ended().await;
        calls.close();
        calls.wait().await;
    };
    if tokio::time::timeout(drain, drained).await.is_err() {
        tracing::warn!(
            calls = desk.hand.len(),
            "calls were still on their way at shutdown"
        );
    }
    // Only now: answers came over the same connections.
    connections.close().await;
    closing.cancel();
    drop(desk);
    commits.close();
    if tokio::time::timeout(COMMITS, commits.wait()).await.is_err() {
        tracing::warn!("commits were still on their way at shutdown");
    }
}
