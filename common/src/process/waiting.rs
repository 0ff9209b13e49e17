//! Waiting at the start for a part that is away and may come back.

use std::time::Duration;

use tokio::time::sleep;

use crate::broker::BrokerError;
use crate::http::health::Part;
use crate::instance::JoinError;
use crate::ledger::LedgerError;

/// The shortest and the longest pause between two tries.
const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(5);

/// An error after which the same may work later.
pub(super) trait MayPass: Sized {
    /// What is in the way, if it may pass by itself.
    fn may_pass(&self) -> Option<String>;
}

impl MayPass for LedgerError {
    fn may_pass(&self) -> Option<String> {
        match self {
            Self::Unavailable(cause) => Some(cause.clone()),
            _ => None,
        }
    }
}

impl MayPass for BrokerError {
    fn may_pass(&self) -> Option<String> {
        match self {
            Self::Unavailable(cause) => Some(cause.clone()),
            _ => None,
        }
    }
}

impl MayPass for JoinError {
    fn may_pass(&self) -> Option<String> {
        match self {
            Self::Ledger(error) => error.may_pass(),
            Self::Broker(error) => error.may_pass(),
            Self::Frames(_) | Self::TakenForDead => Some(self.to_string()),
            Self::LedgerWentBack { .. } => None,
        }
    }
}

/// The most causes that are remembered as told.
const TOLD: usize = 16;

/// Waiting for one part.
pub(super) struct Waiting<'w> {
    part: Part,
    what: &'w str,
    pause: Duration,
    told: Vec<String>,
}

impl<'w> Waiting<'w> {
    /// For `what`, which makes `part` of the process ready.
    pub(super) const fn new(part: Part, what: &'w str) -> Self {
        Self {
            part,
            what,
            pause: FIRST,
            told: Vec::new(),
        }
    }

    /// Waits a while after a try that failed. Meanwhile the part is not ready, which is said once
    /// for every cause: "waiting for `what`: …".
    ///
    /// # Errors
    /// The error itself, if the same can never work.
    pub(super) async fn after<E: MayPass>(&mut self, error: E) -> Result<(), E> {
        let Some(cause) = error.may_pass() else {
            return Err(error);
        };
        self.tell(cause);
        // Up to a quarter more, so that many processes do not all come at once.
        sleep(self.pause.mul_f64(1.0 + fastrand::f64() / 4.0)).await;
        self.pause = (self.pause * 2).min(LONGEST);
        Ok(())
    }

    /// Each cause once: an absent server often has two, which take turns.
    fn tell(&mut self, cause: String) {
        if self.told.contains(&cause) {
            return;
        }
        self.part
            .not_ready(format!("waiting for {}: {cause}", self.what));
        self.told.truncate(TOLD - 1);
        self.told.insert(0, cause);
    }

    /// It is there.
    pub(super) fn over(self) {
        self.part.ready();
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::http::health::Readiness;

    fn away() -> LedgerError {
        LedgerError::Unavailable("connection refused".to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_waited_for_is_not_ready_until_it_is_there() {
        let readiness = Readiness::new(CancellationToken::new());
        let mut waiting = Waiting::new(readiness.part("ledger"), "the ledger at db:3306");
        waiting.after(away()).await.unwrap();
        let why = &readiness.report().not_ready["ledger"];
        assert_eq!(why, "waiting for the ledger at db:3306: connection refused");
        waiting.over();
        assert!(readiness.report().ready);
    }

    #[tokio::test(start_paused = true)]
    async fn causes_that_take_turns_are_told_once() {
        let readiness = Readiness::new(CancellationToken::new());
        let mut waiting = Waiting::new(readiness.part("ledger"), "it");
        let mut why = Vec::new();
        for cause in ["reset", "refused", "reset", "refused"] {
            let error = LedgerError::Unavailable(cause.to_owned());
            waiting.after(error).await.unwrap();
            why.push(readiness.report().not_ready["ledger"].clone());
        }
        why.dedup();
        assert_eq!(why, ["waiting for it: reset", "waiting for it: refused"]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_pauses_grow_from_a_fifth_of_a_second_to_five() {
        let part = Readiness::new(CancellationToken::new()).part("ledger");
        let mut waiting = Waiting::new(part, "it");
        let mut pauses = Vec::new();
        for _ in 0..10 {
            let begun = Instant::now();
            waiting.after(away()).await.unwrap();
            pauses.push(begun.elapsed());
        }
        let of = |base: Duration| base..=base * 5 / 4 + Duration::from_millis(2);
        assert!(of(FIRST).contains(&pauses[0]), "{pauses:?}");
        assert!(of(FIRST * 4).contains(&pauses[2]), "{pauses:?}");
        assert!(of(LONGEST).contains(&pauses[9]), "{pauses:?}");
    }

    #[tokio::test]
    async fn what_can_never_work_is_not_waited_for() {
        let part = Readiness::new(CancellationToken::new()).part("ledger");
        let wrong = LedgerError::Misconfigured("ledger.url: no such schema".to_owned());
        let refused = Waiting::new(part, "it").after(wrong).await;
        assert!(matches!(refused, Err(LedgerError::Misconfigured(_))));
    }

    #[test]
    fn a_ledger_that_went_back_does_not_come_again_by_itself() {
        let back = JoinError::LedgerWentBack { seen: 9, found: 3 };
        assert!(back.may_pass().is_none());
        assert!(JoinError::TakenForDead.may_pass().is_some());
        assert!(JoinError::from(away()).may_pass().is_some());
    }
}
