//! Delayed messages whose time has come go back to a queue: as fast as their routes can take them,
//! over all senders together, and not at all while their routes are closed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use pabal_common::broker::SendFrame;
use pabal_common::clock::Timestamp;
use pabal_common::domain::kind::MessageType;
use pabal_common::ledger::{Dispatch, DueGroup};
use tokio_util::sync::CancellationToken;

use crate::desk::Desk;

/// The round that finds what no timer of this process knows of.
const ROUND: Duration = Duration::from_secs(1);
/// The most messages released in one transaction.
const AT_A_TIME: u32 = 500;

pub(crate) async fn run(desk: Arc<Desk>, shutdown: CancellationToken) {
    let mut allowance = Allowance::default();
    while !shutdown.is_cancelled() {
        let next = match desk.node.instance.alive() {
            true => release(&desk, &mut allowance).await,
            false => None,
        };
        let wait = next
            .map_or(ROUND, |due| due.since(desk.node.clock.now()))
            .clamp(Duration::from_millis(10), ROUND);
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = desk.delayed.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// How many of each type may still be released in this second.
#[derive(Default)]
struct Allowance {
    second: i64,
    used: HashMap<MessageType, u32>,
}

impl Allowance {
    fn left(&mut self, kind: MessageType, rate: u32, now: Timestamp) -> u32 {
        if self.second != now.unix_seconds() {
            self.second = now.unix_seconds();
            self.used.clear();
        }
        rate.saturating_sub(self.used.get(&kind).copied().unwrap_or(0))
    }

    fn use_up(&mut self, dispatch: &Dispatch) {
        for frame in &dispatch.frames {
            if let Ok(frame) = SendFrame::decode(&frame.body) {
                let members = u32::try_from(frame.members.len()).unwrap_or(u32::MAX);
                let used = self.used.entry(frame.kind).or_default();
                *used = used.saturating_add(members);
            }
        }
    }
}

/// Releases what is due and allowed; when to look again.
async fn release(desk: &Desk, allowance: &mut Allowance) -> Option<Timestamp> {
    let (node, now) = (&desk.node, desk.node.clock.now());
    let senders = u32::try_from(node.instance.live_with_role("sender"))
        .unwrap_or(1)
        .max(1);
    let groups: Vec<DueGroup> = MessageType::ALL
        .into_iter()
        .filter_map(|kind| {
            let rate = desk.routes.release_rate(kind);
            let share = if rate == 0 {
                0
            } else {
                (rate / senders).max(1)
            };
            let limit = allowance.left(kind, share, now).min(AT_A_TIME);
            (limit > 0).then_some(DueGroup { kind, limit })
        })
        .collect();
    let kinds: Vec<MessageType> = groups.iter().map(|group| group.kind).collect();
    let next = match node.ledger.next_due(&kinds).await {
        Ok(next) => next?,
        Err(error) => {
            tracing::warn!(%error, "delayed messages could not be looked up");
            return None;
        }
    };
    if next > now {
        return Some(next);
    }
    let (me, outbox) = (node.instance.id(), node.instance.ids().outbox());
    match node.ledger.release_due(me, outbox, &groups, now).await {
        Ok(dispatch) => {
            if let Some(dispatch) = &dispatch {
                allowance.use_up(dispatch);
            }
            desk.publisher.publish(dispatch);
            Some(now)
        }
        Err(error) => {
            tracing::warn!(%error, "delayed messages could not be released");
            None
        }
    }
}
