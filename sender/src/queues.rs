//! Who listens to which queue, and when not.

use std::sync::Arc;
use std::time::Duration;

use pabal_common::broker::QueueName;
use pabal_common::domain::kind::{Channel, Lane, MessageType};
use pabal_common::supervisor::Supervisor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::desk::Desk;
use crate::frames;

/// How long to wait before subscribing again after the broker refused.
const RESUBSCRIBE: Duration = Duration::from_millis(500);

/// Starts a consumer for every send queue and retry queue; each frame becomes a task of `calls`.
pub(crate) fn consume_all(desk: &Arc<Desk>, calls: &TaskTracker, parts: &mut Supervisor) {
    let send = Channel::ALL.into_iter().flat_map(|channel| {
        Lane::ALL.map(|lane| (QueueName::Send(channel, lane), channel.kinds().collect()))
    });
    // The retry queues are shared by every type and never paused.
    let retry = Lane::ALL.map(|lane| (QueueName::Retry(lane), Vec::new()));
    for (queue, kinds) in send.chain(retry) {
        let (desk, calls) = (Arc::clone(desk), calls.clone());
        let consumer = consume(desk, queue, kinds, calls, parts.stop());
        parts.start(queue.name(), consumer);
    }
}

/// Takes frames from one queue while `kinds` have a usable route; an empty list is never paused.
async fn consume(
    desk: Arc<Desk>,
    queue: QueueName,
    kinds: Vec<MessageType>,
    calls: TaskTracker,
    shutdown: CancellationToken,
) {
    let mut changed = desk.routes.changed();
    let open = || kinds.is_empty() || desk.routes.any_usable(kinds.iter().copied());
    while !shutdown.is_cancelled() {
        if !open() {
            tokio::select! {
                () = shutdown.cancelled() => return,
                // A pause ends by time as well as by word.
                _ = tokio::time::timeout(Duration::from_secs(1), changed.changed()) => continue,
            }
        }
        let mut subscription = match desk
            .node
            .broker
            .subscribe(queue, prefetch(&desk, &kinds))
            .await
        {
            Ok(subscription) => subscription,
            Err(error) => {
                tracing::warn!(%queue, %error, "subscribing failed");
                tokio::time::sleep(RESUBSCRIBE).await;
                continue;
            }
        };
        while open() {
            let delivery = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                _ = changed.changed() => continue,
                delivery = subscription.next() => delivery,
            };
            let Some(delivery) = delivery else { break };
            if !wait_until_alive(&desk, &shutdown).await {
                return;
            }
            let carried = frames::carry(Arc::clone(&desk), queue, delivery, shutdown.clone());
            calls.spawn(carried);
        }
        tracing::info!(%queue, "no usable route: the queue waits");
    }
}

/// A process whose lease has aged takes nothing; false at shutdown.
async fn wait_until_alive(desk: &Desk, shutdown: &CancellationToken) -> bool {
    while !desk.node.instance.alive() {
        tokio::select! {
            () = shutdown.cancelled() => return false,
            () = tokio::time::sleep(Duration::from_millis(100)) => {}
        }
    }
    !shutdown.is_cancelled()
}

/// About two seconds of the routes' rate, so that a backlog waits in the broker and not here.
fn prefetch(desk: &Desk, kinds: &[MessageType]) -> u16 {
    let rate: u32 = desk
        .routes
        .routes()
        .iter()
        .filter(|route| {
            kinds.is_empty() || route.spec().kinds().iter().any(|kind| kinds.contains(kind))
        })
        .map(|route| route.spec().tps())
        .fold(0, u32::saturating_add);
    let two_seconds = u16::try_from(rate.saturating_mul(2)).unwrap_or(u16::MAX);
    two_seconds.clamp(8, desk.config.prefetch.max(8))
}
