//! The way from the outbox to the broker, one per process.
//!
//! Whoever committed a change publishes its frames at once through [`Relay::publish`]. What could
//! not be published then is left in the outbox, and the sweep of [`Relay::run`] brings it: this
//! process's own rows, and those of processes that died. A circuit breaker keeps everyone from
//! waiting for a broker that is away.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::future::join_all;
use tokio_util::sync::CancellationToken;

use crate::breaker::{Breaker, BreakerRules, State};
use crate::broker::{BrokerError, Publication, SharedBroker};
use crate::clock::{Clock, boot_time};
use crate::deadline::in_time;
use crate::domain::id::OutboxId;
use crate::instance::Instance;
use crate::ledger::{Dispatch, LedgerError, Outbox};
use crate::rounds::Rounds;
use crate::telemetry::metric;

mod hand;
mod publisher;
#[cfg(test)]
mod tests;

pub use publisher::Publisher;

use hand::{Grip, Hand};

/// The most rows retired in one transaction.
const RETIRE_AT_ONCE: usize = 1_000;
/// The most rows read from the outbox at a time, and how many of them are published at a time.
const PAGE: u32 = 256;
const AT_A_TIME: usize = 4;
/// How long the outbox may take to answer the sweep.
const LEDGER_LIMIT: Duration = Duration::from_secs(5);

/// The relay's times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayConfig {
    /// How long the broker may take to confirm the frames of one row.
    pub deadline: Duration,
    /// How often confirmed rows are retired and the outbox is swept.
    pub period: Duration,
    /// How old a row must be before the sweep takes it: younger ones are on their way.
    pub grace: Duration,
    /// After this long without a broker, own rows are given to processes that may have one.
    pub release_after: Duration,
    /// When to stop asking the broker.
    pub breaker: BreakerRules,
}

impl Default for RelayConfig {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(2),
            period: Duration::from_secs(1),
            grace: Duration::from_secs(2),
            release_after: Duration::from_secs(10),
            breaker: BreakerRules::default(),
        }
    }
}

/// Publishes outbox rows and notes which are done.
pub struct Relay {
    ledger: Arc<dyn Outbox>,
    broker: SharedBroker,
    instance: Arc<Instance>,
    clock: Arc<dyn Clock>,
    config: RelayConfig,
    hand: Mutex<Hand>,
    breaker: Mutex<Breaker>,
}

impl Relay {
    /// A relay for the rows of `instance`. `clock` is the one that dates the rows.
    pub fn new(
        ledger: Arc<dyn Outbox>,
        broker: SharedBroker,
        instance: Arc<Instance>,
        clock: Arc<dyn Clock>,
        config: RelayConfig,
    ) -> Self {
        Self {
            ledger,
            broker,
            instance,
            clock,
            config,
            hand: Mutex::default(),
            breaker: Mutex::new(Breaker::new(config.breaker)),
        }
    }

    /// Publishes what a transaction wants published. True once the broker has confirmed all of it;
    /// the row then waits to be retired. False if it is left to the sweep: the broker failed, was
    /// too slow, or is not asked now. Either way the promise is kept.
    ///
    /// Cancellation safe: a caller that goes away leaves the row to the sweep.
    pub async fn publish(&self, dispatch: Dispatch) -> bool {
        // Trials of a broker that was away are the sweep's.
        let asked = self.breaker().state(boot_time()) == State::Closed;
        asked && self.bring(dispatch).await
    }

    /// Whether new work may come in.
    ///
    /// # Errors
    /// When to ask again, while the broker is not to be asked: what came in could only wait.
    pub fn admit(&self) -> Result<(), Duration> {
        match self.breaker().state(boot_time()) {
            State::Closed => Ok(()),
            State::Open { retry_after } => Err(retry_after),
            State::HalfOpen => Err(self.config.period),
        }
    }

    /// Confirmed rows, at most 1,000, to be retired by the caller's next commit. Give them back
    /// with [`retire_failed`](Self::retire_failed) if that fails; rows that are lost here are
    /// published once more and retired then.
    pub fn take_retired(&self) -> Vec<OutboxId> {
        self.hand().take_confirmed(RETIRE_AT_ONCE)
    }

    /// Takes back rows whose commit failed.
    pub fn retire_failed(&self, rows: Vec<OutboxId>) {
        self.hand().put_back(rows);
    }

    /// Retires and sweeps until `shutdown`, then retires a last time. Stop it after everything that
    /// publishes.
    pub async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        metric::breaker_open(false);
        let mut rounds = Rounds::every(self.config.period, shutdown);
        while rounds.next().await {
            self.retire().await;
            rounds.carry_out(self.sweep()).await;
        }
        self.retire().await;
    }

    /// Retires what is confirmed and did not ride along in a commit. True if nothing is left.
    async fn retire(&self) -> bool {
        loop {
            let rows = self.take_retired();
            if rows.is_empty() {
                return true;
            }
            if let Err(error) = from_ledger(self.ledger.retire(&rows)).await {
                tracing::warn!(%error, rows = rows.len(), "outbox rows were not retired");
                self.retire_failed(rows);
                return false;
            }
        }
    }

    async fn sweep(&self) {
        if !self.instance.alive() {
            return;
        }
        let state = self.breaker().state(boot_time());
        let usable = match state {
            State::Closed => true,
            State::HalfOpen => self.trial().await,
            State::Open { .. } => false,
        };
        if usable {
            self.republish_own().await;
            self.republish_lapsed().await;
        }
        self.release_if_cut_off().await;
    }

    /// Asks the broker once whether it is back: with a row if one waits, else with the mark, so
    /// that an idle process finds its way back too.
    async fn trial(&self) -> bool {
        let own = self.own_rows(1).await.unwrap_or_default();
        let free = self.hand().free(own);
        if self.breaker().admit(boot_time()).is_err() {
            return false;
        }
        match free.into_iter().next() {
            Some(row) => self.bring(row).await,
            None => {
                let outcome = self.instance.remember_mark().await;
                self.record(outcome)
            }
        }
    }

    /// Own rows that are old enough and that no one is busy with: a commit whose answer was lost, a
    /// task that ended early, a broker that was away.
    async fn republish_own(&self) {
        while let Some(rows) = self.own_rows(PAGE).await {
            let more = rows.len() == PAGE as usize;
            let free = self.hand().free(rows);
            let all = self.republish(free, "own").await;
            // The next page begins where retired rows end.
            if !(more && all && self.retire().await) {
                break;
            }
        }
    }

    /// Rows of processes that died or gave theirs away.
    async fn republish_lapsed(&self) {
        while self.may_go_on() && self.instance.unbroken() {
            let adopted = self.ledger.adopt_outbox(self.instance.id(), PAGE);
            let Some(rows) = read("adopted rows", from_ledger(adopted).await) else {
                break;
            };
            let more = rows.len() == PAGE as usize;
            if !(self.republish(rows, "adopted").await && more) {
                break;
            }
        }
    }

    /// Publishes rows, a few at a time, until one fails. True if all were confirmed.
    async fn republish(&self, mut rows: Vec<Dispatch>, whose: &'static str) -> bool {
        let mut confirmed = 0;
        let mut all = true;
        while all && !rows.is_empty() && self.may_go_on() {
            let some = rows.drain(..AT_A_TIME.min(rows.len()));
            let outcomes = join_all(some.map(|row| self.bring(row))).await;
            confirmed += outcomes.iter().filter(|&&confirmed| confirmed).count() as u64;
            all = outcomes.into_iter().all(|confirmed| confirmed);
        }
        if confirmed > 0 {
            tracing::info!(
                rows = confirmed,
                whose,
                "published outbox rows that had waited"
            );
        }
        all && rows.is_empty()
    }

    /// While this process has no way to the broker, others may have one.
    async fn release_if_cut_off(&self) {
        let broken_for = self.breaker().broken_for(boot_time());
        let cut_off = broken_for.is_some_and(|time| time > self.config.release_after);
        if !cut_off || self.instance.live() < 2 {
            return;
        }
        let released = self.ledger.release_outbox(self.instance.id());
        match read("released rows", from_ledger(released).await) {
            Some(0) | None => {}
            Some(rows) => tracing::warn!(rows, "gave outbox rows away: the broker is out of reach"),
        }
    }

    /// Publishes one row, unless it is in another hand.
    async fn bring(&self, row: Dispatch) -> bool {
        let held = match self.hand().take(row.outbox) {
            Grip::Confirmed => return true,
            Grip::InHand => return false,
            Grip::Taken => Held {
                relay: self,
                row: row.outbox,
            },
        };
        let outcome = self.publish_in_time(row.frames).await;
        let confirmed = self.record(outcome);
        if confirmed {
            self.hand().confirm(held.row);
        }
        confirmed
    }

    async fn publish_in_time(&self, frames: Vec<Publication>) -> Result<(), BrokerError> {
        let queues: BTreeSet<_> = frames.iter().map(|frame| frame.queue).collect();
        let begun = Instant::now();
        in_time(self.config.deadline, self.broker.publish(frames)).await?;
        for queue in queues {
            metric::published(queue, begun.elapsed());
        }
        Ok(())
    }

    /// Tells the breaker how it went.
    fn record(&self, outcome: Result<(), BrokerError>) -> bool {
        let now = boot_time();
        match outcome {
            Ok(()) => {
                if self.breaker().succeeded(now) {
                    metric::breaker_open(false);
                    tracing::info!("the broker is back");
                }
                true
            }
            Err(error) => {
                let opened = self.breaker().failed(now);
                tracing::warn!(%error, "frames were not published and stay in the outbox");
                if opened {
                    metric::breaker_open(true);
                    tracing::error!(
                        "the broker is away; new messages are refused until it is back"
                    );
                }
                false
            }
        }
    }

    /// `None` if the ledger does not tell.
    async fn own_rows(&self, limit: u32) -> Option<Vec<Dispatch>> {
        let before = self.clock.now().minus(self.config.grace);
        let own = self.ledger.outbox_of(self.instance.id(), before, limit);
        read("own rows", from_ledger(own).await)
    }

    /// Whether the sweep may publish: the lease is good and the broker is asked.
    fn may_go_on(&self) -> bool {
        self.instance.alive() && self.breaker().state(boot_time()) == State::Closed
    }

    fn hand(&self) -> MutexGuard<'_, Hand> {
        self.hand.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A row in hand; released whatever happens to the one who publishes it.
struct Held<'a> {
    relay: &'a Relay,
    row: OutboxId,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.relay.hand().release(self.row);
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay")
            .field("instance", &self.instance)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

async fn from_ledger<T>(
    call: impl Future<Output = Result<T, LedgerError>>,
) -> Result<T, LedgerError> {
    in_time(LEDGER_LIMIT, call).await
}

fn read<T>(what: &'static str, outcome: Result<T, LedgerError>) -> Option<T> {
    outcome
        .inspect_err(|error| tracing::warn!(%error, what, "the outbox could not be swept"))
        .ok()
}
