//! How many uploads are in memory at once, and how many of them are one partner's: who sends slowly must
//! not keep the others waiting.

use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use pabal_common::domain::code::ErrorReason;
use pabal_common::domain::id::PartnerId;
use pabal_common::http::ApiError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// How long an upload waits for its turn, and when it should come again if it found none.
const PATIENCE: Duration = Duration::from_secs(5);
const MOST_PARTNERS: u64 = 10_000;
/// Longer than any upload takes, so that a partner is not forgotten while it has a turn.
const REMEMBERED_FOR: Duration = Duration::from_secs(3600);

/// Turns to upload.
pub(crate) struct Turns {
    all: Arc<Semaphore>,
    /// A partner's share: half of all, at least one.
    share: usize,
    partners: Cache<PartnerId, Arc<Semaphore>>,
}

/// One of them; given back when dropped.
pub(crate) struct Turn {
    _own: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Turns {
    pub(crate) fn new(at_once: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(at_once)),
            share: (at_once / 2).max(1),
            partners: Cache::builder()
                .max_capacity(MOST_PARTNERS)
                .time_to_idle(REMEMBERED_FOR)
                .build(),
        }
    }

    /// # Errors
    /// OVERLOADED if none becomes free in time.
    pub(crate) async fn take(&self, partner: &PartnerId) -> Result<Turn, ApiError> {
        let share = async { Arc::new(Semaphore::new(self.share)) };
        let own = self.partners.get_with_by_ref(partner, share).await;
        // Its own first: who waits for that takes nothing from the others.
        let both = async {
            Ok(Turn {
                _own: own.acquire_owned().await?,
                _of_all: Arc::clone(&self.all).acquire_owned().await?,
            })
        };
        let turn: Result<Result<Turn, tokio::sync::AcquireError>, _> =
            timeout(PATIENCE, both).await;
        match turn {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(ApiError::new(ErrorReason::Overloaded).retry_after(PATIENCE)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partner(name: &str) -> PartnerId {
        name.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn one_partner_has_half_of_the_turns_and_leaves_the_rest_to_others() {
        let turns = Turns::new(4);
        let (one, two, three) = (partner("one"), partner("two"), partner("three"));
        let first = turns.take(&one).await.ok().unwrap();
        let _second = turns.take(&one).await.ok().unwrap();
        let refused = turns.take(&one).await.err().unwrap();
        assert_eq!(refused.reason(), ErrorReason::Overloaded);
        let _others = (
            turns.take(&two).await.ok().unwrap(),
            turns.take(&two).await.ok().unwrap(),
        );
        assert!(turns.take(&three).await.is_err());
        drop(first);
        assert!(turns.take(&three).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_turn_gets_the_next_one() {
        let turns = Turns::new(1);
        let (one, two) = (partner("one"), partner("two"));
        let first = turns.take(&one).await.ok().unwrap();
        let later = async {
            tokio::time::sleep(PATIENCE / 2).await;
            drop(first);
        };
        let (second, ()) = tokio::join!(turns.take(&two), later);
        assert!(second.is_ok());
    }
}
