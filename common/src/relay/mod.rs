//! The way from the outbox to the broker, one per process.
//!
//! Whoever committed a change publishes its frames at once through [`Relay::publish`]. What could
//! not be published then is left in the outbox, and the sweep of [`Relay::run`] brings it: this
//! process's own rows, and those of processes that died. A circuit breaker keeps everyone from
//! waiting for a broker that is away, and one for each queue from waiting for that queue: the frames
//! of a row are published queue by queue, and a row stays until each of its queues has confirmed.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::breaker::{BreakerRules, Open, State};
use crate::broker::{BrokerError, Publication, QueueName, SharedBroker};
use crate::clock::{Clock, boot_time};
use crate::deadline::{NoAnswer as _, in_time};
use crate::domain::id::OutboxId;
use crate::instance::Instance;
use crate::ledger::{Dispatch, LedgerError, Outbox};
use crate::rounds::Rounds;
use crate::telemetry::metric;

mod breakers;
mod forwarder;
mod hand;
mod publisher;
mod tally;
#[cfg(test)]
mod tests;

pub use forwarder::{Forwarder, ForwarderConfig, NotKept};
pub use publisher::Publisher;
pub use tally::Tally;

use breakers::{Breakers, Ending, Turn};
use hand::{Grip, Hand};

/// From how many confirmed rows on a commit takes them along.
const RETIRE_ALONG: usize = 32;
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
    /// How long the broker may take to confirm the frames of one row for one queue.
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
    breakers: Mutex<Breakers>,
    /// How far the sweep has come; nothing at the start of a walk.
    swept: Mutex<Option<OutboxId>>,
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
            breakers: Mutex::new(Breakers::new(config.breaker)),
            swept: Mutex::default(),
        }
    }

    /// Publishes what a transaction wants published. True once the broker has confirmed all of it;
    /// the row then waits to be retired. False if some of it is left to the sweep: the broker or a
    /// queue failed, was too slow, or is not asked now. Either way the promise is kept.
    ///
    /// Cancellation safe: a caller that goes away leaves the row to the sweep.
    pub async fn publish(&self, dispatch: Dispatch) -> bool {
        // Trials of a broker that was away are the sweep's.
        let asked = self.breakers().broker(boot_time()) == State::Closed;
        asked && self.bring(dispatch).await
    }

    /// Whether new work may come in, as far as that does not depend on its queue.
    ///
    /// # Errors
    /// When to ask again, while the broker is not to be asked: what came in could only wait.
    pub fn admit(&self) -> Result<(), Duration> {
        match self.breakers().broker(boot_time()) {
            State::Closed => Ok(()),
            State::Open { retry_after } => Err(retry_after),
            State::HalfOpen => Err(self.config.period),
        }
    }

    /// Whether new work for `queue` may come in.
    ///
    /// # Errors
    /// When to ask again, while the broker or this queue is not to be asked.
    pub fn admit_to(&self, queue: QueueName) -> Result<(), Duration> {
        self.admit()?;
        let admitted = self.breakers().admits(queue, boot_time());
        admitted.map_err(|Open { retry_after }| retry_after)
    }

    /// The queues that take no frames: they are not asked, or tried with one at a time.
    pub fn refusing(&self) -> Vec<QueueName> {
        self.breakers().refusing(boot_time())
    }

    /// Confirmed rows to be retired by the caller's next commit: none until there are enough to be
    /// worth a statement of it, for which all its callers wait. Give them back with
    /// [`retire_failed`](Self::retire_failed) if that fails; rows that are lost here are published
    /// once more and retired then.
    pub fn take_retired(&self) -> Vec<OutboxId> {
        self.hand().take_confirmed_if(RETIRE_ALONG, RETIRE_AT_ONCE)
    }

    /// Takes back rows whose commit failed.
    pub fn retire_failed(&self, rows: Vec<OutboxId>) {
        self.hand().put_back(rows);
    }

    /// Retires and sweeps until `shutdown`, then retires a last time. Stop it after everything that
    /// publishes.
    pub async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        metric::breaker_open(false);
        for queue in QueueName::all() {
            metric::queue_breaker_open(queue, false);
        }
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
            let rows = self.hand().take_confirmed(RETIRE_AT_ONCE);
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
        let state = self.breakers().broker(boot_time());
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

    /// Asks the broker once whether it is back, with a frame for no queue: what becomes of a row
    /// depends on its queues too, and an idle process has none.
    async fn trial(&self) -> bool {
        if !self.breakers().try_broker(boot_time()) {
            return false;
        }
        let probe = in_time(self.config.deadline, self.broker.probe()).await;
        if let Err(error) = &probe {
            tracing::debug!(%error, "the broker is still away");
        }
        let turn = self.breakers().probed(probe.is_ok(), boot_time());
        self.tell_broker(turn);
        probe.is_ok()
    }

    /// Own rows that are old enough and that no one is busy with: a commit whose answer was lost, a
    /// task that ended early, a broker that was away, a queue that refused. A page of which nothing
    /// could be published ends the round; the next round goes on behind it, so that rows of a queue
    /// that refuses do not stand before the others.
    async fn republish_own(&self) {
        loop {
            let after = *self.swept();
            let Some(rows) = self.own_rows(after, PAGE).await else {
                return;
            };
            let last = rows.last().map(|row| row.outbox);
            let next = last.filter(|_| rows.len() == PAGE as usize);
            let free = self.hand().free(rows);
            let confirmed = self.republish(free, "own").await;
            if !self.may_go_on() {
                return;
            }
            *self.swept() = next;
            if next.is_none() || confirmed == 0 || !self.retire().await {
                return;
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
            // What could not be published is swept with the own rows from now on.
            self.republish(rows, "adopted").await;
            if !more {
                break;
            }
        }
    }

    /// Publishes rows, a few at a time, as long as the broker is there; returns how many were
    /// confirmed.
    async fn republish(&self, mut rows: Vec<Dispatch>, whose: &'static str) -> usize {
        let mut confirmed = 0;
        while !rows.is_empty() && self.may_go_on() {
            let some = rows.drain(..AT_A_TIME.min(rows.len()));
            let outcomes = join_all(some.map(|row| self.bring(row))).await;
            confirmed += outcomes.iter().filter(|&&confirmed| confirmed).count();
        }
        if confirmed > 0 {
            tracing::info!(
                rows = confirmed,
                whose,
                "published outbox rows that had waited"
            );
        }
        confirmed
    }

    /// While this process has no way to the broker, others may have one.
    async fn release_if_cut_off(&self) {
        let broken_for = self.breakers().broken_for(boot_time());
        let cut_off = broken_for.is_some_and(|time| time > self.config.release_after);
        if !cut_off || self.instance.live() < 2 {
            return;
        }
        let released = self.ledger.release_outbox(self.instance.id());
        match read("released rows", from_ledger(released).await) {
            Some(0) | None => {}
            Some(rows) => {
                self.hand().forget_parts();
                tracing::warn!(rows, "gave outbox rows away: the broker is out of reach");
            }
        }
    }

    /// Publishes what is left of one row, unless it is in another hand.
    async fn bring(&self, row: Dispatch) -> bool {
        let held = match self.hand().take(row.outbox) {
            Grip::Confirmed => return true,
            Grip::InHand => return false,
            Grip::Taken => Held {
                relay: self,
                row: row.outbox,
            },
        };
        let mut queues: BTreeMap<QueueName, Vec<Publication>> = BTreeMap::new();
        for frame in row.frames {
            queues.entry(frame.queue).or_default().push(frame);
        }
        let left = self.hand().left_of(row.outbox, queues);
        let parts = left.into_iter().map(|(queue, frames)| async move {
            let confirmed = self.publish_to(queue, frames).await;
            if confirmed {
                self.hand().confirm_part(row.outbox, queue);
            }
            confirmed
        });
        let all = join_all(parts).await.into_iter().all(|confirmed| confirmed);
        if all {
            self.hand().confirm(held.row);
        }
        all
    }

    /// Publishes frames for one queue, if it is to be asked now.
    async fn publish_to(&self, queue: QueueName, frames: Vec<Publication>) -> bool {
        let begun = boot_time();
        if !self.breakers().try_queue(queue, begun) {
            return false;
        }
        let limit = self.config.deadline;
        let ending = match timeout(limit, self.broker.publish(frames)).await {
            Ok(Ok(())) => Ending::Confirmed,
            Ok(Err(error @ (BrokerError::Refused(_) | BrokerError::Returned(_)))) => {
                Ending::Refused(error)
            }
            Ok(Err(error)) => Ending::Away(error),
            Err(_) => Ending::Late(BrokerError::no_answer(limit)),
        };
        let now = boot_time();
        let turned = self.breakers().note(queue, &ending, begun, now);
        match &ending {
            Ending::Confirmed => metric::published(queue, now.saturating_sub(begun)),
            Ending::Refused(error) | Ending::Late(error) | Ending::Away(error) => {
                tracing::warn!(%queue, %error, "frames were not published and stay in the outbox");
            }
        }
        self.tell_queue(queue, turned.queue);
        self.tell_broker(turned.broker);
        matches!(ending, Ending::Confirmed)
    }

    fn tell_broker(&self, turn: Option<Turn>) {
        match turn {
            Some(Turn::Opened) => {
                metric::breaker_open(true);
                tracing::error!("the broker is away; new messages are refused until it is back");
            }
            Some(Turn::Closed) => {
                metric::breaker_open(false);
                tracing::info!("the broker is back");
            }
            None => {}
        }
    }

    fn tell_queue(&self, queue: QueueName, turn: Option<Turn>) {
        match turn {
            Some(Turn::Opened) => {
                metric::queue_breaker_open(queue, true);
                tracing::error!(%queue, "the queue takes no frames; new messages for it are refused until it does");
            }
            Some(Turn::Closed) => {
                metric::queue_breaker_open(queue, false);
                tracing::info!(%queue, "the queue takes frames again");
            }
            None => {}
        }
    }

    /// `None` if the ledger does not tell.
    async fn own_rows(&self, after: Option<OutboxId>, limit: u32) -> Option<Vec<Dispatch>> {
        let before = self.clock.now().minus(self.config.grace);
        let own = self
            .ledger
            .outbox_of(self.instance.id(), after, before, limit);
        read("own rows", from_ledger(own).await)
    }

    /// Whether the sweep may publish: the lease is good and the broker is asked.
    fn may_go_on(&self) -> bool {
        self.instance.alive() && self.breakers().broker(boot_time()) == State::Closed
    }

    fn hand(&self) -> MutexGuard<'_, Hand> {
        self.hand.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn breakers(&self) -> MutexGuard<'_, Breakers> {
        self.breakers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn swept(&self) -> MutexGuard<'_, Option<OutboxId>> {
        self.swept.lock().unwrap_or_else(PoisonError::into_inner)
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
