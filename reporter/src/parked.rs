//! Reports that came before their message was known under the vendor's id, or for no message of
//! ours: matched again and again until no carrier reports any more, then given up.

use std::time::Duration;

use pabal_common::domain::retry::before_match;
use pabal_common::ledger::{Applied, LedgerError, ParkedReport};
use pabal_common::node::Node;
use pabal_common::rounds::Rounds;
use tokio_util::sync::CancellationToken;

use crate::answer::in_time;
use crate::apply::Applier;
use crate::burial;
use crate::config::Config;

/// How many are matched at a time.
const AT_ONCE: u32 = 256;
/// How long one that was taken is left alone by the others, should its taker die.
const TAKEN_FOR: Duration = Duration::from_secs(30);

/// Matches parked reports again.
#[derive(Clone, Debug)]
pub struct Parked {
    node: Node,
    applier: Applier,
    period: Duration,
    deadline: Duration,
}

/// What one round did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Matched {
    /// Reports that found their message.
    pub matched: usize,
    /// Reports that did not, and wait on.
    pub missed: usize,
    /// Reports that waited too long and are dead letters now.
    pub given_up: usize,
}

impl Parked {
    /// Matches the parked reports of the ledger.
    pub fn new(node: &Node, config: &Config, applier: Applier) -> Self {
        Self {
            node: node.clone(),
            applier,
            period: config.parked_period,
            // Whose report it is nobody knows, so it may be of the type that reports latest.
            deadline: config.overdue.sms.max(config.overdue.others),
        }
    }

    /// Matches until `shutdown`. What was taken and not finished is due again by itself.
    pub async fn run(&self, shutdown: CancellationToken) {
        let mut rounds = Rounds::every(self.period, shutdown);
        while rounds.next().await {
            let round = async {
                if let Err(error) = self.round().await {
                    tracing::warn!(%error, "parked reports were not matched");
                }
            };
            rounds.carry_out(round).await;
        }
    }

    /// Matches every parked report that is due.
    ///
    /// # Errors
    /// [`LedgerError`]: those taken are due again after 30 s.
    pub async fn round(&self) -> Result<Matched, LedgerError> {
        let mut sum = Matched::default();
        while self.node.instance.alive() {
            let now = self.node.clock.now();
            let taken = self
                .node
                .ledger
                .take_parked(now, now.plus(TAKEN_FOR), AT_ONCE);
            let parked = in_time(taken).await?;
            let last = parked.len() < AT_ONCE as usize;
            let some = self.again(parked).await?;
            sum.matched += some.matched;
            sum.missed += some.missed;
            sum.given_up += some.given_up;
            if last {
                break;
            }
        }
        Ok(sum)
    }

    async fn again(&self, parked: Vec<ParkedReport>) -> Result<Matched, LedgerError> {
        let reports = parked.iter().map(|one| one.report.clone()).collect();
        let outcomes = self.applier.apply(reports).await;
        let (mut matched, mut missed) = (Vec::new(), Vec::new());
        for (one, outcome) in parked.into_iter().zip(outcomes) {
            match outcome {
                Ok(Applied::Unmatched) => missed.push(one),
                Ok(_) => matched.push(one.key),
                Err(pabal_common::batch::BatchError::Failed(error)) if error.may_be_one_row() => {
                    tracing::error!(%error, key = one.key, "a parked report was refused");
                    missed.push(one);
                }
                // The ledger is in trouble; these are due again by themselves.
                Err(error) => tracing::warn!(%error, "a parked report was not matched"),
            }
        }
        let now = self.node.clock.now();
        let (late, early): (Vec<_>, Vec<_>) = missed
            .into_iter()
            .partition(|one| now.since(one.since) >= self.deadline);
        let again: Vec<_> = early
            .iter()
            .map(|one| {
                (
                    one.key,
                    now.plus(before_match(one.misses.saturating_add(1))),
                )
            })
            .collect();
        let buried = self.give_up(&late).await;
        let done: Vec<_> = matched.iter().copied().chain(buried).collect();
        if !again.is_empty() {
            in_time(self.node.ledger.repark(&again)).await?;
        }
        if !done.is_empty() {
            in_time(self.node.ledger.unpark(&done)).await?;
        }
        Ok(Matched {
            matched: matched.len(),
            missed: early.len(),
            given_up: done.len() - matched.len(),
        })
    }

    /// Makes dead letters; returns the keys of those that are kept as such.
    async fn give_up(&self, late: &[ParkedReport]) -> Vec<i64> {
        let letters: Vec<_> = late
            .iter()
            .map(|one| {
                let why = "no message was found for it until the carriers' deadline";
                burial::report(
                    &self.node.instance,
                    &one.report,
                    why,
                    one.misses.saturating_add(1),
                )
            })
            .collect();
        match burial::bury(&self.node, &letters).await {
            Some(()) => late.iter().map(|one| one.key).collect(),
            None => Vec::new(),
        }
    }
}
