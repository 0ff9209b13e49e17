//! Polling the vendors that do not call back.
//!
//! Of all processes one polls an account: the one that has leased it in the ledger. The cursor is
//! the ledger's and moves in the transaction that keeps the reports, so a process that dies in
//! between loses nothing and the next one goes on from the same place.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use pabal_common::clock::Timestamp;
use pabal_common::deadline::in_time;
use pabal_common::domain::report::VendorAccount;
use pabal_common::ledger::LedgerError;
use pabal_common::node::Node;
use pabal_common::relay::Tally;
use pabal_common::telemetry::metric;
use pabal_provider::{PollError, Polled, Provider, ReportPath};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::vendors::Vendors;

/// How long the right to poll is taken for, beyond the time one round may take: a process that
/// lives but no longer polls gives way after it. One that dies gives way when its own lease ends.
const LEASE: Duration = Duration::from_secs(30);

/// Polls every account of `vendors` that is polled, until `shutdown`. What was under way then is
/// given up: it is either kept whole, or polled again from the same cursor.
pub async fn run(node: Node, vendors: Vendors, config: Config, shutdown: CancellationToken) {
    let stop = shutdown.child_token();
    let _stop_when_dropped = stop.clone().drop_guard();
    let pollers = TaskTracker::new();
    for vendor in vendors.iter() {
        if vendor.capabilities().reports != ReportPath::Poll {
            continue;
        }
        let poller = Poller::new(node.clone(), Arc::clone(vendor), config);
        let polling = stop.clone().run_until_cancelled_owned(poller.run());
        pollers.spawn(polling);
    }
    pollers.close();
    shutdown.cancelled().await;
    pollers.wait().await;
}

/// How a round ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Round {
    /// The vendor has more: go on at once.
    More,
    /// Nothing more just now.
    Done,
    /// Another process polls, or this one must not act.
    NotOurs,
}

/// Why a round failed; the next begins from the cursor in the ledger.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Vendor(#[from] PollError),
    #[error("the vendor did not answer within {0:?}")]
    VendorLate(Duration),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("the adapter panicked")]
    Panicked,
}

/// Polls one account.
struct Poller {
    node: Node,
    vendor: Arc<dyn Provider>,
    config: Config,
    /// Until when we surely have the right to poll.
    leased_until: Option<Timestamp>,
    backoff: Backoff,
    /// What was logged last and has not passed.
    trouble: Option<String>,
}

impl Poller {
    fn new(node: Node, vendor: Arc<dyn Provider>, config: Config) -> Self {
        Self {
            node,
            vendor,
            config,
            leased_until: None,
            backoff: Backoff::new(config.poll_interval, config.poll_longest_pause),
            trouble: None,
        }
    }

    async fn run(mut self) -> Infallible {
        loop {
            let round = AssertUnwindSafe(self.round()).catch_unwind().await;
            let pause = match round.unwrap_or(Err(Trouble::Panicked)) {
                Ok(Round::NotOurs) => self.config.poll_interval,
                Ok(Round::Done) => {
                    self.succeeded();
                    self.config.poll_interval
                }
                Ok(Round::More) => {
                    self.succeeded();
                    Duration::ZERO
                }
                Err(trouble) => self.failed(&trouble),
            };
            sleep(pause).await;
        }
    }

    async fn round(&mut self) -> Result<Round, Trouble> {
        if !self.may_poll().await? {
            return Ok(Round::NotOurs);
        }
        let source = self.account().as_str();
        let cursor = self.in_ledger(self.node.ledger.poll_cursor(source)).await?;
        let polled = self.ask(cursor.as_deref()).await?;
        let moved_to = polled.cursor.as_deref();
        let moved_to = moved_to.filter(|&at| cursor.as_deref() != Some(at));
        if polled.reports.is_empty() && moved_to.is_none() {
            return Ok(Round::Done);
        }
        // The vendor may have taken its time.
        if !self.node.instance.alive() {
            return Ok(Round::NotOurs);
        }
        self.keep(&polled, moved_to).await?;
        // Without a move the same would come again.
        Ok(match polled.more && moved_to.is_some() {
            true => Round::More,
            false => Round::Done,
        })
    }

    /// Whether this process is the one that polls; takes or renews the right to where the one it
    /// has would not outlast a round.
    async fn may_poll(&mut self) -> Result<bool, Trouble> {
        let instance = &self.node.instance;
        if !instance.alive() {
            self.leased_until = None;
            return Ok(false);
        }
        let now = self.node.clock.now();
        let round = self.config.poll_timeout + 2 * self.config.ledger_wait;
        let enough = now.plus(round);
        // After a gap in our own lease somebody else may have the right.
        if instance.unbroken() && self.leased_until.is_some_and(|until| until > enough) {
            return Ok(true);
        }
        let until = enough.plus(LEASE);
        let source = self.account().as_str();
        let lease = self
            .node
            .ledger
            .lease_poll(instance.id(), source, now, until);
        let ours = self.in_ledger(lease).await?;
        if ours && self.leased_until.is_none() {
            tracing::info!(account = %self.account(), "polling this vendor account");
        }
        self.leased_until = ours.then_some(until);
        Ok(ours)
    }

    async fn ask(&self, cursor: Option<&str>) -> Result<Polled, Trouble> {
        let within = self.config.poll_timeout;
        let polled = timeout(within, self.vendor.poll(cursor)).await;
        Ok(polled.map_err(|_| Trouble::VendorLate(within))??)
    }

    /// Reports and cursor in one transaction, then the reports to the broker. If that fails the
    /// relay's sweep brings them.
    async fn keep(&self, polled: &Polled, moved_to: Option<&str>) -> Result<(), Trouble> {
        let Node {
            ledger,
            instance,
            relay,
            clock,
            ..
        } = &self.node;
        let account = self.account();
        let cursor = moved_to.map(|at| (account.as_str(), at));
        let outbox = instance.ids().outbox();
        let kept = ledger.keep_reports(instance.id(), outbox, &polled.reports, cursor, clock.now());
        let dispatch = self.in_ledger(kept).await?;
        Tally::of(&polled.reports).received(account);
        if let Some(dispatch) = dispatch {
            relay.publish(dispatch).await;
        }
        Ok(())
    }

    async fn in_ledger<T>(
        &self,
        step: impl Future<Output = Result<T, LedgerError>>,
    ) -> Result<T, Trouble> {
        Ok(in_time(self.config.ledger_wait, step).await?)
    }

    fn succeeded(&mut self) {
        self.backoff.reset();
        if self.trouble.take().is_some() {
            tracing::info!(account = %self.account(), "polling works again");
        }
    }

    /// How long to wait before the next round. The same trouble is logged once.
    fn failed(&mut self, trouble: &Trouble) -> Duration {
        metric::poll_failed(self.account());
        self.leased_until = None;
        let pause = self.backoff.next();
        let said = trouble.to_string();
        if self.trouble.as_ref() != Some(&said) {
            tracing::warn!(account = %self.account(), error = said, "polling failed and is tried again");
            self.trouble = Some(said);
        }
        pause
    }

    fn account(&self) -> &VendorAccount {
        self.vendor.account()
    }
}

/// The pauses after failures: doubled each time, up to the longest.
#[derive(Clone, Copy, Debug)]
struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest: longest.max(first),
            next: first,
        }
    }

    fn next(&mut self) -> Duration {
        let pause = self.next;
        self.next = pause.saturating_mul(2).min(self.longest);
        pause
    }

    fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_from_one_second_to_thirty_and_start_anew_after_a_success() {
        let config = Config::default();
        let mut backoff = Backoff::new(config.poll_interval, config.poll_longest_pause);
        let pauses: Vec<_> = (0..7).map(|_| backoff.next().as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
        backoff.reset();
        assert_eq!(backoff.next(), config.poll_interval);
    }
}
