//! The calls this process has in hand, and those that left its hand before the ledger knew how they
//! ended: a task that panicked, a commit whose re-read failed. Such a claim would not end, because
//! nobody may take over from a live owner, so its owner gives it up.
//!
//! Every claim of this process is made by a call in hand, so nothing has to be looked for in the
//! ledger: what left the hand is known by name.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pabal_common::clock::boot_time;
use pabal_common::deadline::in_time;
use pabal_common::domain::id::{MessageId, SubmissionId};
use pabal_common::domain::report::VendorAccount;
use pabal_common::rounds::Rounds;
use pabal_common::telemetry::metric;
use tokio_util::sync::CancellationToken;

use crate::desk::Desk;

const EVERY: Duration = Duration::from_secs(5);
/// How long a call that left the hand is looked at: its claim may still be on its way to the ledger.
const LOOKED_AT: Duration = Duration::from_secs(60);
/// The most such calls. Beyond them the oldest is left to whoever finds its claim too old.
const MOST: usize = 10_000;
/// How many messages are given up in one transaction, at least.
const AT_A_TIME: usize = 1000;
/// How long the ledger may take to answer; the next round tries again.
const LEDGER_LIMIT: Duration = Duration::from_secs(5);

/// Every call of this process.
#[derive(Debug, Default)]
pub(crate) struct Hand(Arc<Calls>);

#[derive(Debug, Default)]
struct Calls {
    in_hand: AtomicUsize,
    left: Mutex<VecDeque<Left>>,
}

/// A call whose end the ledger may not know.
#[derive(Clone, Debug)]
struct Left {
    call: Call,
    /// On the clock that nobody sets.
    since: Duration,
}

/// A call as it is claimed.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) submission: SubmissionId,
    pub(crate) account: VendorAccount,
    pub(crate) messages: Vec<MessageId>,
}

/// A call in hand. Dropping it without a word, as a panic does, says that its end may not be known.
#[derive(Debug)]
pub(crate) struct InHand {
    calls: Arc<Calls>,
    call: Option<Call>,
}

impl Hand {
    /// Takes a call in hand: before its claim is committed, so that no claim is without one.
    pub(crate) fn take(&self, call: Call) -> InHand {
        self.0.in_hand.fetch_add(1, Ordering::SeqCst);
        InHand {
            calls: Arc::clone(&self.0),
            call: Some(call),
        }
    }

    /// How many calls are in hand.
    pub(crate) fn len(&self) -> usize {
        self.0.in_hand.load(Ordering::SeqCst)
    }

    fn left(&self) -> MutexGuard<'_, VecDeque<Left>> {
        self.0.left()
    }
}

impl Calls {
    fn left(&self) -> MutexGuard<'_, VecDeque<Left>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InHand {
    /// The ledger knows how every message of the call ended.
    pub(crate) fn ended(mut self) {
        self.call = None;
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        self.calls.in_hand.fetch_sub(1, Ordering::SeqCst);
        let Some(call) = self.call.take() else { return };
        let since = boot_time();
        let mut left = self.calls.left();
        if left.len() == MOST {
            left.pop_front();
        }
        left.push_back(Left { call, since });
    }
}

pub(crate) async fn run(desk: Arc<Desk>, shutdown: CancellationToken) {
    let mut rounds = Rounds::every(EVERY, shutdown);
    while rounds.next().await {
        give_up(&desk).await;
    }
}

/// What is still claimed by calls that left the hand becomes UNKNOWN. Vendors that can be asked are
/// asked at once.
pub(crate) async fn give_up(desk: &Desk) {
    if !desk.node.instance.alive() {
        return;
    }
    let looked = boot_time();
    let left: Vec<Left> = desk.hand.left().iter().cloned().collect();
    for some in lots(&left) {
        if !give_up_some(desk, some).await {
            return;
        }
    }
    // A look after this time is the last one.
    let is_over = |one: &Left| one.since + LOOKED_AT < looked;
    desk.hand.left().retain(|one| !is_over(one));
}

/// Calls whose messages fit into one transaction.
fn lots(left: &[Left]) -> impl Iterator<Item = &[Left]> {
    let mut messages = 0;
    left.chunk_by(move |one, _| {
        messages += one.call.messages.len();
        let fits = messages < AT_A_TIME;
        if !fits {
            messages = 0;
        }
        fits
    })
}

/// False if the ledger does not answer.
async fn give_up_some(desk: &Desk, left: &[Left]) -> bool {
    let (node, now) = (&desk.node, desk.node.clock.now());
    let given_up: Vec<_> = left
        .iter()
        .flat_map(|one| {
            let ask_at = desk.can_be_asked(&one.call.account).then_some(now);
            let messages = one.call.messages.iter();
            messages.map(move |id| (*id, one.call.submission, ask_at))
        })
        .collect();
    let taken = node
        .ledger
        .take_over(&given_up, "its sender no longer has the call", now);
    match in_time(LEDGER_LIMIT, taken).await {
        Ok(0) => true,
        Ok(moved) => {
            metric::messages_taken_over(u64::from(moved));
            tracing::warn!(
                messages = moved,
                "own claims without a call are unknown outcomes"
            );
            true
        }
        Err(error) => {
            tracing::warn!(%error, "own claims could not be given up");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use pabal_common::clock::Clock as _;
    use pabal_common::domain::phase::Phase;
    use pabal_common::ledger::Claim;

    use super::*;
    use crate::fake::{House, members};

    fn call(submission: SubmissionId, messages: &[MessageId]) -> Call {
        Call {
            submission,
            account: VendorAccount::new("fake", "main"),
            messages: messages.to_vec(),
        }
    }

    /// Claims a message for a call that is in hand.
    async fn claimed(house: &House, id: MessageId) -> InHand {
        let node = &house.desk.node;
        let submission = node.instance.ids().submission();
        let in_hand = house.desk.hand.take(call(submission, &[id]));
        let claim = Claim {
            submission,
            route: "sms-a".into(),
            account: VendorAccount::new("fake", "main"),
            members: members(&[id]),
        };
        let (me, now) = (node.instance.id(), house.clock.now());
        node.ledger.claim(me, &[claim], now).await.unwrap();
        in_hand
    }

    #[tokio::test]
    async fn a_call_that_left_the_hand_is_unknown_and_asked_for_only_where_the_vendor_can_be_asked()
    {
        for can_be_asked in [true, false] {
            let house = House::open(1000, can_be_asked).await;
            let id = house.accept("text").await;
            drop(claimed(&house, id).await);
            give_up(&house.desk).await;
            assert_eq!(house.view(id).await.phase, Phase::Unknown);
            let asks = house.desk.node.ledger.delays_size().await.unwrap();
            assert_eq!(asks, u64::from(can_be_asked));
        }
    }

    #[tokio::test]
    async fn a_call_in_hand_is_left_alone_and_so_is_one_that_ended() {
        let house = House::open(1000, true).await;
        let id = house.accept("text").await;
        let in_hand = claimed(&house, id).await;
        give_up(&house.desk).await;
        assert_eq!(house.view(id).await.phase, Phase::Submitting);
        assert_eq!(house.desk.hand.len(), 1);
        in_hand.ended();
        give_up(&house.desk).await;
        assert_eq!(house.view(id).await.phase, Phase::Submitting);
        assert_eq!(house.desk.hand.len(), 0);
    }

    #[tokio::test]
    async fn a_claim_that_lands_after_its_call_left_the_hand_is_found_by_a_later_look() {
        let house = House::open(1000, true).await;
        let id = house.accept("text").await;
        let node = &house.desk.node;
        let submission = node.instance.ids().submission();
        drop(house.desk.hand.take(call(submission, &[id])));
        give_up(&house.desk).await;
        assert_eq!(house.view(id).await.phase, Phase::Queued);
        let claim = Claim {
            submission,
            route: "sms-a".into(),
            account: VendorAccount::new("fake", "main"),
            members: members(&[id]),
        };
        let (me, now) = (node.instance.id(), house.clock.now());
        node.ledger.claim(me, &[claim], now).await.unwrap();
        give_up(&house.desk).await;
        assert_eq!(house.view(id).await.phase, Phase::Unknown);
    }

    #[test]
    fn every_call_is_in_one_lot_and_a_lot_ends_when_it_is_full() {
        let left: Vec<Left> = (0..25)
            .map(|number| Left {
                call: call(
                    SubmissionId::from_number(number),
                    &[MessageId::from_number(number); 100],
                ),
                since: Duration::ZERO,
            })
            .collect();
        let sizes: Vec<_> = lots(&left).map(<[Left]>::len).collect();
        assert_eq!(sizes, [10, 10, 5]);
    }
}
