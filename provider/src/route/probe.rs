//! Asking closed routes whether they are usable again.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use tokio_util::sync::CancellationToken;

use super::book::Book;
use super::shelf::Route;

/// A probe that has not answered by then is a bad one.
const PROBE_LIMIT: Duration = Duration::from_secs(10);

impl Book {
    /// Probes closed routes on their schedule and tells of the changes that come by time alone,
    /// until `shutdown`.
    pub(super) async fn run_probes(self: &Arc<Self>, shutdown: CancellationToken) {
        let mut probes = FuturesUnordered::new();
        loop {
            for at in self.change(|state, now| state.take_probes(now)) {
                probes.push(probe(Turn {
                    book: Arc::clone(self),
                    route: self.route(at),
                    good: None,
                }));
            }
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                Some(()) = probes.next() => {}
                () = self.next_event() => {}
            }
        }
    }
}

async fn probe(mut turn: Turn) {
    let answer = tokio::time::timeout(PROBE_LIMIT, turn.route.provider().probe()).await;
    match &answer {
        Ok(Ok(())) => tracing::debug!(route = turn.route.name(), "probe answered"),
        Ok(Err(error)) => tracing::debug!(route = turn.route.name(), %error, "probe failed"),
        Err(_) => tracing::debug!(route = turn.route.name(), "probe timed out"),
    }
    turn.good = Some(matches!(answer, Ok(Ok(()))));
}

/// The one probe a route has on its way; given back if it is dropped half-way.
struct Turn {
    book: Arc<Book>,
    route: Arc<Route>,
    good: Option<bool>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let (at, good) = (self.route.at(), self.good);
        self.book
            .change(|state, now| state.probe_ended(at, good, now));
    }
}
