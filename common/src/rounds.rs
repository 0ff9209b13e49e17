//! How loops that do something again and again keep time.

use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// Rounds at a fixed distance, until the shutdown. A round that takes longer puts off the next.
#[derive(Debug)]
pub struct Rounds {
    ticks: Interval,
    shutdown: CancellationToken,
}

impl Rounds {
    /// The first round begins at once.
    pub fn every(period: Duration, shutdown: CancellationToken) -> Self {
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { ticks, shutdown }
    }

    /// Waits for the next round; false when there is none.
    pub async fn next(&mut self) -> bool {
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => false,
            _ = self.ticks.tick() => true,
        }
    }

    /// Carries out one round, which the shutdown may cut short.
    pub async fn carry_out(&self, round: impl Future<Output = ()>) {
        self.shutdown.run_until_cancelled(round).await;
    }
}
