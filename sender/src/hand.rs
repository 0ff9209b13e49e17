//! The calls this process has in hand, and the comparison with what the ledger says it has.
//!
//! A live owner can forget too: a task that panicked, a commit whose re-read failed. Such a claim
//! would never end, because nobody may take over from a live owner.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pabal_common::domain::id::SubmissionId;
use pabal_common::rounds::Rounds;
use pabal_common::telemetry::metric;
use tokio_util::sync::CancellationToken;

use crate::desk::Desk;

const EVERY: Duration = Duration::from_secs(5);
const AT_A_TIME: u32 = 1000;

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

/// Own claims that are not in hand become UNKNOWN.
async fn compare(desk: &Desk) {
    let (node, now) = (&desk.node, desk.node.clock.now());
    if !node.instance.alive() {
        return;
    }
    let listed = match node
        .ledger
        .submitting(node.instance.id(), now, AT_A_TIME)
        .await
    {
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
        .filter(|(_, submission)| !desk.hand.holds(*submission))
        .map(|(id, submission)| (id, submission, Some(now)))
        .collect();
    if forgotten.is_empty() {
        return;
    }
    match node
        .ledger
        .take_over(&forgotten, "its sender no longer has the call", now)
        .await
    {
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
