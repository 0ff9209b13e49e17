//! From the report queue into the ledger.
//!
//! A frame is acknowledged when every report in it was applied, parked, or given up as a dead
//! letter. Until then it stays in hand, or goes back to its queue: a ledger that is away only makes
//! reports wait.

use std::time::Duration;

use pabal_common::batch::BatchError;
use pabal_common::broker::{Delivery, QueueName, ReportFrame, Subscription};
use pabal_common::domain::report::Report;
use pabal_common::ledger::Applied;
use pabal_common::node::Node;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::answer::in_time;
use crate::apply::Applier;
use crate::burial;
use crate::config::Config;

/// A report may outrun the answer of its own call by so much.
const REMATCH: Duration = Duration::from_millis(50);
/// When a parked report is matched first.
const PARK_FOR: Duration = Duration::from_secs(1);
/// The pauses while the ledger or the broker is in trouble.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How often the ledger may refuse a report, alone in its transaction, before it is given up.
const REFUSALS: u32 = 4;
/// How long frames in hand may take after the shutdown; the others go back to the queue.
const DRAIN: Duration = Duration::from_secs(5);

/// Takes report frames and sees to each until it is done with.
#[derive(Clone, Debug)]
pub struct Consumer {
    node: Node,
    applier: Applier,
    prefetch: u16,
}

impl Consumer {
    /// A consumer of the report queue.
    pub fn new(node: &Node, config: &Config, applier: Applier) -> Self {
        Self {
            node: node.clone(),
            applier,
            prefetch: config.prefetch.max(1),
        }
    }

    /// Takes frames until `shutdown`; then what is in hand may be finished, and the rest goes back.
    pub async fn run(&self, shutdown: CancellationToken) {
        let mut in_hand = JoinSet::new();
        let mut pause = Pause::new(shutdown.clone());
        while !shutdown.is_cancelled() {
            let subscribed = self.node.broker.subscribe(QueueName::Report, self.prefetch);
            match in_time(subscribed).await {
                Ok(subscription) => {
                    pause = Pause::new(shutdown.clone());
                    self.take(subscription, &mut in_hand, &shutdown).await;
                }
                Err(error) => tracing::warn!(%error, "the report queue cannot be subscribed to"),
            }
            pause.keep().await;
        }
        let finished = async { while in_hand.join_next().await.is_some() {} };
        if timeout(DRAIN, finished).await.is_err() {
            tracing::warn!(
                frames = in_hand.len(),
                "report frames go back to their queue"
            );
            in_hand.shutdown().await;
        }
    }

    /// Takes frames until the subscription ends, at most `prefetch` at a time.
    async fn take(
        &self,
        mut subscription: Box<dyn Subscription>,
        in_hand: &mut JoinSet<()>,
        shutdown: &CancellationToken,
    ) {
        loop {
            let room = in_hand.len() < usize::from(self.prefetch);
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                Some(finished) = in_hand.join_next() => after_panic(finished, shutdown).await,
                frame = subscription.next(), if room => match frame {
                    Some(frame) => {
                        let span = frame.span();
                        let seen_to = self.clone().see_to(frame, shutdown.clone());
                        in_hand.spawn(seen_to.instrument(span));
                    }
                    None => return,
                },
            }
        }
    }

    /// One frame, until it is done with. If it is not, dropping it gives it back.
    async fn see_to(self, frame: Box<dyn Delivery>, shutdown: CancellationToken) {
        match ReportFrame::decode(frame.body()) {
            Ok(ReportFrame { reports }) => {
                if self.settle(reports, &shutdown).await.is_some() {
                    frame.ack().await;
                }
            }
            Err(error) => {
                tracing::error!(%error, "a report frame cannot be read");
                if frame.redelivered() {
                    // It was perhaps rejected in vain before, and would come back at once again.
                    sleep(FIRST_PAUSE).await;
                }
                frame.reject().await;
            }
        }
    }

    /// Applies reports, parks those without a message. `None` if some are not done with.
    async fn settle(&self, reports: Vec<Report>, shutdown: &CancellationToken) -> Option<()> {
        let unmatched = self.apply_all(reports, shutdown).await?;
        if unmatched.is_empty() {
            return Some(());
        }
        sleep(REMATCH).await;
        let unmatched = self.apply_all(unmatched, shutdown).await?;
        self.park(&unmatched, shutdown).await
    }

    /// Applies every report, however long the ledger takes; returns those without a message.
    /// `None` if the shutdown came before all were applied.
    async fn apply_all(
        &self,
        reports: Vec<Report>,
        shutdown: &CancellationToken,
    ) -> Option<Vec<Report>> {
        let mut left = reports;
        let mut unmatched = Vec::new();
        let mut refusals = 0;
        let mut pause = Pause::new(shutdown.clone());
        loop {
            if self.node.instance.alive() {
                let outcomes = self.applier.apply(left.clone()).await;
                let mut again = Vec::new();
                let mut refused = Vec::new();
                for (report, outcome) in left.into_iter().zip(outcomes) {
                    match outcome {
                        Ok(Applied::Unmatched) => unmatched.push(report),
                        Ok(_) => {}
                        Err(BatchError::Closed) => return None,
                        Err(BatchError::Failed(error)) if error.may_be_one_row() => {
                            refused.push((report, error.to_string()));
                        }
                        Err(error) => {
                            tracing::warn!(%error, "a report was not applied and is tried again");
                            again.push(report);
                        }
                    }
                }
                refusals += u32::from(!refused.is_empty());
                if refusals < REFUSALS || self.give_up(&refused).await.is_none() {
                    again.extend(refused.into_iter().map(|(report, _)| report));
                }
                left = again;
            }
            if left.is_empty() {
                return Some(unmatched);
            }
            if !pause.keep().await {
                return None;
            }
        }
    }

    /// What the ledger refuses again and again must not hold up the frame for ever.
    async fn give_up(&self, refused: &[(Report, String)]) -> Option<()> {
        let letters: Vec<_> = refused
            .iter()
            .map(|(report, why)| burial::report(&self.node.instance, report, why, 0))
            .collect();
        burial::bury(&self.node, &letters).await
    }

    async fn park(&self, reports: &[Report], shutdown: &CancellationToken) -> Option<()> {
        let mut pause = Pause::new(shutdown.clone());
        while !reports.is_empty() {
            let now = self.node.clock.now();
            let parked = self.node.ledger.park(reports, now, now.plus(PARK_FOR));
            match in_time(parked).await {
                Ok(()) => break,
                Err(error) => tracing::warn!(%error, "reports were not parked; trying again"),
            }
            if !pause.keep().await {
                return None;
            }
        }
        Some(())
    }
}

/// A task that panicked has given its frame back, and it comes at once: no hot loop.
async fn after_panic(finished: Result<(), JoinError>, shutdown: &CancellationToken) {
    if let Err(error) = finished {
        tracing::error!(%error, "seeing to a report frame ended early");
        shutdown.run_until_cancelled(sleep(PARK_FOR)).await;
    }
}

/// Pauses that grow while trouble lasts.
struct Pause {
    next: Duration,
    shutdown: CancellationToken,
}

impl Pause {
    const fn new(shutdown: CancellationToken) -> Self {
        Self {
            next: FIRST_PAUSE,
            shutdown,
        }
    }

    /// Pauses. False if the shutdown came.
    async fn keep(&mut self) -> bool {
        let pause = self.next;
        self.next = (pause * 2).min(LONGEST_PAUSE);
        self.shutdown
            .run_until_cancelled(sleep(pause))
            .await
            .is_some()
    }
}
