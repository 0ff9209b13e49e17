//! The calls this process has in hand, and the comparison with what the ledger says it has.
//!
//! A live owner can forget too: a task that panicked, a commit whose re-read failed. Such a claim
//! would never end, because nobody may take over from a live owner.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pabal_common::deadline::in_time;
use pabal_common::domain::id::SubmissionId;
use pabal_common::rounds::Rounds;
use pabal_common::telemetry::metric;
use tokio_util::sync::CancellationToken;

use crate::desk::Desk;

const EVERY: Duration = Duration::from_secs(5);
const AT_A_TIME: u32 = 1000;
/// How long the ledger may take to answer; the next round tries again.
const LEDGER_LIMIT: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub(crate) struct Hand(Arc<Mutex<HashSet<SubmissionId>>>);

/// A call in hand until this is dropped.
#[derive(Debug)]
pub(crate) struct InHand {
    hand: Arc<Mutex<HashSet<SubmissionId>>>,
    submission: SubmissionId,
}

impl Hand {
    /// Takes a call in hand: before its claim is committed, so that the comparison never finds a
    /// claim of ours that is not in hand yet.
    pub(crate) fn take(&self, submission: SubmissionId) -> InHand {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(submission);
        InHand {
            hand: Arc::clone(&self.0),
            submission,
        }
    }

    pub(crate) fn holds(&self, submission: SubmissionId) -> bool {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(&submission)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        self.hand
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.submission);
    }
}

pub(crate) async fn run(desk: Arc<Desk>, shutdown: CancellationToken) {
    let mut rounds = Rounds::every(EVERY, shutdown);
    while rounds.next().await {
        compare(&desk).await;
    }
}

/// Own claims that are not in hand become UNKNOWN. Vendors that can be asked are asked at once.
pub(crate) async fn compare(desk: &Desk) {
    let (node, now) = (&desk.node, desk.node.clock.now());
    if !node.instance.alive() {
        return;
    }
    let listed = node.ledger.submitting(node.instance.id(), now, AT_A_TIME);
    let listed = match in_time(LEDGER_LIMIT, listed).await {
        Ok(listed) => listed,
        Err(error) => {
            tracing::warn!(%error, "own claims could not be compared");
            return;
        }
    };
    // In hand is looked at after the ledger: a call that ended in between is settled, and the
    // conditional update finds nothing.
    let forgotten: Vec<_> = listed
        .into_iter()
        .filter(|held| !desk.hand.holds(held.submission))
        .map(|held| {
            let ask_at = desk.can_be_asked(&held.account).then_some(now);
            (held.id, held.submission, ask_at)
        })
        .collect();
    if forgotten.is_empty() {
        return;
    }
    let taken = node
        .ledger
        .take_over(&forgotten, "its sender no longer has the call", now);
    match in_time(LEDGER_LIMIT, taken).await {
        Ok(moved) => {
            metric::messages_taken_over(u64::from(moved));
            tracing::warn!(
                messages = moved,
                "own claims without a call are unknown outcomes"
            );
        }
        Err(error) => tracing::warn!(%error, "own claims could not be given up"),
    }
}

#[cfg(test)]
mod tests {
    use pabal_common::clock::Clock as _;
    use pabal_common::domain::phase::Phase;
    use pabal_common::domain::report::VendorAccount;
    use pabal_common::ledger::Claim;

    use super::*;
    use crate::fake::{House, members};

    #[tokio::test]
    async fn a_forgotten_call_is_unknown_and_asked_for_only_where_the_vendor_can_be_asked() {
        for can_be_asked in [true, false] {
            let house = House::open(1000, can_be_asked).await;
            let node = &house.desk.node;
            let id = house.accept("text").await;
            let claim = Claim {
                submission: node.instance.ids().submission(),
                route: "sms-a".into(),
                account: VendorAccount::new("fake", "main"),
                members: members(&[id]),
            };
            let (me, now) = (node.instance.id(), house.clock.now());
            node.ledger.claim(me, &[claim], now).await.unwrap();
            house.clock.advance(Duration::from_millis(1));
            compare(&house.desk).await;
            assert_eq!(house.view(id).await.phase, Phase::Unknown);
            let asks = node.ledger.delays_size().await.unwrap();
            assert_eq!(asks, u64::from(can_be_asked));
        }
    }

    #[tokio::test]
    async fn a_call_in_hand_is_left_alone() {
        let house = House::open(1000, true).await;
        let node = &house.desk.node;
        let id = house.accept("text").await;
        let submission = node.instance.ids().submission();
        let claim = Claim {
            submission,
            route: "sms-a".into(),
            account: VendorAccount::new("fake", "main"),
            members: members(&[id]),
        };
        let in_hand = house.desk.hand.take(submission);
        let (me, now) = (node.instance.id(), house.clock.now());
        node.ledger.claim(me, &[claim], now).await.unwrap();
        house.clock.advance(Duration::from_millis(1));
        compare(&house.desk).await;
        assert_eq!(house.view(id).await.phase, Phase::Submitting);
        drop(in_hand);
        compare(&house.desk).await;
        assert_eq!(house.view(id).await.phase, Phase::Unknown);
    }
}
