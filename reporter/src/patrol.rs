//! The patrol walks over every message that has not ended and finds those that stand still
//! because a process died, or a frame or a report was lost.
//!
//! It is the safety net, never the usual way: it looks at a bounded number of messages a second,
//! and whatever it does is a conditional update that finds nothing to do where it is wrong.

use std::collections::{BTreeMap, BTreeSet};

use pabal_common::broker::{QueueName, ReportFrame, SendFrame};
use pabal_common::domain::id::{InstanceId, MessageId};
use pabal_common::ledger::{LedgerError, Watched, WatchedStatus};
use pabal_common::node::Node;
use pabal_common::rounds::Rounds;
use tokio::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

use crate::answer::in_time;
use crate::burial;
use crate::config::Config;
use crate::webhook::WakeDelivery;

mod duties;
pub mod judge;

use duties::Duties;
use judge::{Context, Doubts, QueueState, doubts, judge};

/// The most messages read and judged at a time.
const PAGE: u32 = 500;
/// How often frames that nobody could read are collected, and how many at a time.
const COLLECT_EVERY: Duration = Duration::from_secs(5);
const COLLECT: usize = 100;
/// The most webhooks of lapsed owners taken over at a time.
const ADOPT: u32 = 1_000;

/// Looks after messages nobody looks after.
#[derive(Debug)]
pub struct Patrol {
    node: Node,
    config: Config,
    webhooks: WakeDelivery,
    /// How far each walk has come; nothing at the start of a round.
    received: Option<MessageId>,
    sent: Option<MessageId>,
    collected: Option<Instant>,
}

/// What one look found, in messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Looked at.
    pub walked: u32,
    /// Taken over from an owner that is gone.
    pub taken_over: u32,
    /// Put into their queue again.
    pub queued_again: u32,
    /// Ended because their time had passed.
    pub expired: u32,
    /// Overdue, and asked for once more.
    pub asked: u32,
    /// Their recorded answer was put into the report queue again.
    pub reported_again: u32,
    /// Waited without anything to wake them.
    pub delayed_again: u32,
}

impl Patrol {
    /// A patrol over the node's ledger; `webhooks` is told when some were written or taken over.
    pub fn new(node: &Node, config: &Config, webhooks: WakeDelivery) -> Self {
        Self {
            node: node.clone(),
            config: config.clone(),
            webhooks,
            received: None,
            sent: None,
            collected: None,
        }
    }

    /// Walks until `shutdown`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut rounds = Rounds::every(self.config.patrol_period, shutdown);
        while rounds.next().await {
            let look = async {
                if let Err(error) = self.look().await {
                    tracing::warn!(%error, "the patrol could not go on");
                }
                self.adopt_webhooks().await;
                if self
                    .collected
                    .is_none_or(|at| at.elapsed() >= COLLECT_EVERY)
                {
                    self.collected = Some(Instant::now());
                    self.collect_frames().await;
                }
            };
            rounds.carry_out(look).await;
        }
    }

    /// One look: the next messages of both walks. A walk that is at its end starts over with the
    /// next look.
    ///
    /// # Errors
    /// [`LedgerError`]: the walks go on where they were.
    pub async fn look(&mut self) -> Result<Found, LedgerError> {
        let budget = self.budget();
        // Messages that wait for a report are many and seldom need anything: half at most.
        let (sent, after) = self
            .walk(WatchedStatus::Sent, self.sent, budget / 2)
            .await?;
        self.sent = after;
        let rest = (budget - sent.walked).max(1);
        let (received, after) = self
            .walk(WatchedStatus::Received, self.received, rest)
            .await?;
        self.received = after;
        Ok(sent.and(received))
    }

    /// Takes over webhooks whose owner is gone; returns how many.
    pub async fn adopt_webhooks(&self) -> u64 {
        let instance = &self.node.instance;
        if !instance.unbroken() {
            return 0;
        }
        let adopted = self.node.ledger.adopt_webhooks(instance.id(), ADOPT);
        match in_time(adopted).await {
            Ok(0) => 0,
            Ok(webhooks) => {
                tracing::info!(
                    webhooks,
                    "webhooks of processes that are gone were taken over"
                );
                self.webhooks.wake();
                webhooks
            }
            Err(error) => {
                tracing::warn!(%error, "webhooks were not taken over");
                0
            }
        }
    }

    /// Makes dead letters of frames that nobody could read; returns how many.
    pub async fn collect_frames(&self) -> usize {
        if !self.node.instance.alive() {
            return 0;
        }
        let frames = match in_time(self.node.broker.dead_frames(COLLECT)).await {
            Ok(frames) => frames,
            Err(error) => {
                tracing::warn!(%error, "unreadable frames were not collected");
                return 0;
            }
        };
        let ids = self.node.instance.ids();
        let letters: Vec<_> = frames
            .iter()
            .map(|frame| {
                let read = match frame.queue() {
                    QueueName::Report => ReportFrame::decode(frame.body()).err(),
                    _ => SendFrame::decode(frame.body()).err(),
                };
                let why = read.map_or_else(|| "refused".to_owned(), |error| error.to_string());
                burial::frame(ids, frame.as_ref(), &why)
            })
            .collect();
        if burial::bury(&self.node, &letters).await.is_none() {
            return 0;
        }
        let count = frames.len();
        for frame in frames {
            frame.ack().await;
        }
        count
    }

    /// How many messages one look may see: this process's share. Every reporter walks over all of
    /// them, and together they may not read more than one alone.
    fn budget(&self) -> u32 {
        let period = u32::try_from(self.config.patrol_period.as_millis()).unwrap_or(u32::MAX);
        let reporters = self.node.instance.live_with_role("reporter").max(1) as u64;
        let rows = u64::from(self.config.patrol_rows) * u64::from(period) / 1_000 / reporters;
        u32::try_from(rows).unwrap_or(u32::MAX).max(2)
    }

    /// Walks at most `budget` messages on; returns where to go on, nothing at the end.
    async fn walk(
        &self,
        status: WatchedStatus,
        mut after: Option<MessageId>,
        budget: u32,
    ) -> Result<(Found, Option<MessageId>), LedgerError> {
        let mut found = Found::default();
        while found.walked < budget && self.node.instance.alive() {
            let limit = PAGE.min(budget - found.walked);
            let rows = in_time(self.node.ledger.walk(status, after, limit)).await?;
            found = found.and(self.see_to(&rows).await);
            after = rows.last().map(|row| row.id);
            if rows.len() < limit as usize {
                return Ok((found, None));
            }
        }
        Ok((found, after))
    }

    async fn see_to(&self, rows: &[Watched]) -> Found {
        let walked = u32::try_from(rows.len()).unwrap_or(u32::MAX);
        let context = self.context(rows).await;
        let mut duties = Duties::default();
        for row in rows {
            if let Some(duty) = judge(row, &context) {
                let askable = |account| self.config.askable.can(account);
                let ask_at = row.account.as_ref().is_some_and(askable);
                duties.add(row, duty, ask_at.then_some(context.now));
            }
        }
        let found = self.carry_out(&duties).await;
        Found { walked, ..found }
    }

    /// Finds out what judging these messages needs.
    async fn context(&self, rows: &[Watched]) -> Context {
        let instance = &self.node.instance;
        let (now, margins) = (self.node.clock.now(), self.config.margins);
        let Doubts { mut owners, queues } = doubts(rows, now, margins);
        owners.remove(&instance.id());
        let unbroken = instance.unbroken();
        Context {
            now,
            me: instance.id(),
            unbroken,
            lapsed: if unbroken {
                self.lapsed(owners).await
            } else {
                BTreeSet::new()
            },
            call_limit: self.config.call_limit,
            margins,
            publishing: self.node.relay.admit().is_ok(),
            queues: self.queues(queues).await,
            overdue: self.config.overdue,
            ask_grace: self.config.ask_grace,
            askable: rows
                .iter()
                .filter_map(|row| row.account.clone())
                .filter(|account| self.config.askable.can(account))
                .collect(),
        }
    }

    async fn lapsed(&self, owners: BTreeSet<InstanceId>) -> BTreeSet<InstanceId> {
        if owners.is_empty() {
            return owners;
        }
        let owners: Vec<_> = owners.into_iter().collect();
        match in_time(self.node.ledger.lapsed(&owners)).await {
            Ok(lapsed) => lapsed.into_iter().collect(),
            Err(error) => {
                tracing::warn!(%error, "who is gone is not known");
                BTreeSet::new()
            }
        }
    }

    async fn queues(&self, doubted: BTreeSet<QueueName>) -> BTreeMap<QueueName, QueueState> {
        let mut states = BTreeMap::new();
        if doubted.is_empty() {
            return states;
        }
        let taken = match in_time(self.node.ledger.taken()).await {
            Ok(taken) => taken,
            Err(error) => {
                tracing::warn!(%error, "how far queues were taken is not known");
                Vec::new()
            }
        };
        for queue in doubted {
            // While its frames cannot be published the outbox has them: they are not lost.
            if self.node.relay.admit_to(queue).is_err() {
                continue;
            }
            let ready = in_time(self.node.broker.ready(queue)).await;
            let of_queue = taken.iter().find(|one| one.queue == queue);
            let state = QueueState {
                ready: ready.ok(),
                taken: of_queue.map(|one| one.queued_at),
            };
            states.insert(queue, state);
        }
        states
    }
}

impl Found {
    const fn and(self, more: Self) -> Self {
        Self {
            walked: self.walked + more.walked,
            taken_over: self.taken_over + more.taken_over,
            queued_again: self.queued_again + more.queued_again,
            asked: self.asked + more.asked,
            expired: self.expired + more.expired,
            reported_again: self.reported_again + more.reported_again,
            delayed_again: self.delayed_again + more.delayed_again,
        }
    }
}
