//! Who listens to which queue, and when not.

use std::sync::Arc;
use std::time::Duration;

use pabal_common::broker::QueueName;
use pabal_common::domain::kind::{Channel, Lane, MessageType};
use pabal_common::supervisor::Supervisor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::desk::Desk;
use crate::{frames, sharing};

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
    sharing::until_heard(&desk.node.instance, &shutdown).await;
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
        let frames = prefetch(&desk, &kinds);
        let mut subscription = match desk.node.broker.subscribe(queue, frames).await {
            Ok(subscription) => subscription,
            Err(error) => {
                tracing::warn!(%queue, %error, "subscribing failed");
                tokio::time::sleep(RESUBSCRIBE).await;
                continue;
            }
        };
        // Another number of senders is another share: then the subscription is made anew.
        while open() && prefetch(&desk, &kinds) == frames {
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
        if !open() {
            tracing::info!(%queue, "no usable route: the queue waits");
        }
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

/// As many frames as this sender may send messages in two seconds, so that a backlog waits in the
/// broker and not here: were each frame of one message, two seconds of work; were each full, two
/// seconds for every place in a frame. That is minutes, also on the slowest route, and stays within
/// the half hour after which RabbitMQ takes a consumer for dead; also in a bulk queue, which may
/// get no more than a fifth of the route.
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
    let senders = desk.node.instance.live_with_role("sender").max(1);
    let two_seconds = u64::from(rate) * 2 / senders as u64;
    let most = desk.config.prefetch.max(1);
    u16::try_from(two_seconds)
        .unwrap_or(u16::MAX)
        .clamp(1, most)
}

#[cfg(test)]
mod tests {
    use pabal_common::broker::FRAME_IDS;

    use super::*;
    use crate::fake::House;

    #[tokio::test]
    async fn even_full_frames_in_hand_are_minutes_of_work_however_slow_the_route() {
        for tps in [1, 2, 10, 100, 1_000] {
            let house = House::open(tps, false).await;
            let frames = usize::from(prefetch(&house.desk, &[MessageType::Sms]));
            let seconds = frames * FRAME_IDS / tps as usize;
            let in_bulk = 5 * seconds;
            assert!(in_bulk < 1_800, "{tps} messages a second: {in_bulk} s");
            assert!(frames >= 1);
        }
    }

    #[tokio::test]
    async fn senders_share_what_is_in_hand_too() {
        let house = House::beside(3, 20, false).await;
        assert_eq!(prefetch(&house.desk, &[MessageType::Sms]), 10);
    }
}
