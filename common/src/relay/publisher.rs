//! Publishing beside the work: whoever committed does not wait for the broker's confirm.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use super::Relay;
use crate::ledger::Dispatch;
use crate::telemetry::trace;

/// Publishes in tasks of its own, so many at once; what comes beyond is left to the relay's sweep.
/// Clones share the bound.
#[derive(Clone, Debug)]
pub struct Publisher {
    relay: Arc<Relay>,
    room: Arc<Semaphore>,
    tracker: TaskTracker,
}

impl Publisher {
    /// At most `at_once` dispatches are under way; `tracker` waits for their tasks.
    pub fn new(relay: Arc<Relay>, at_once: usize, tracker: TaskTracker) -> Self {
        Self {
            relay,
            room: Arc::new(Semaphore::new(at_once)),
            tracker,
        }
    }

    /// Publishes what a transaction wants published, if anything.
    pub fn publish(&self, dispatch: Option<Dispatch>) {
        if let Some(dispatch) = dispatch {
            self.publish_and(dispatch, async {});
        }
    }

    /// Publishes, and does `also` meanwhile, under the same bound: beyond it `also` is not done.
    pub fn publish_and(&self, dispatch: Dispatch, also: impl Future<Output = ()> + Send + 'static) {
        let Ok(room) = Arc::clone(&self.room).try_acquire_owned() else {
            tracing::debug!(outbox = %dispatch.outbox, "left to the sweep: too much is being published");
            return;
        };
        let relay = Arc::clone(&self.relay);
        let published = async move {
            tokio::join!(relay.publish(dispatch), also);
            drop(room);
        };
        self.tracker.spawn(published.instrument(trace::current()));
    }
}
