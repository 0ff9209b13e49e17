//! The loop that brings webhooks to their endpoints.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use pabal_common::clock::Clock;
use pabal_common::crypto::Sealer;
use pabal_common::domain::id::{PartnerId, WebhookId};
use pabal_common::instance::Instance;
use pabal_common::ledger::{DeliveryResult, DueWebhook, LedgerError, SharedLedger};
use pabal_common::node::Node;
use pabal_common::telemetry::metric::{self, WebhookOutcome};
use reqwest::Client;
use tokio::sync::Notify;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::attempt::{Answer, Outcome, Post, post};
use super::board::{Board, Next, Said, Width};
use super::client::{self, ClientError};
use super::config::WebhookConfig;
use super::endpoints::{Endpoints, Target};
use super::recorder::Recorder;
use super::verdict::{Circumstances, verdict};

/// The ledger is asked at least so often, whatever woke nobody.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// How long attempts under way may go on after the shutdown.
const DRAIN: Duration = Duration::from_secs(5);

/// Delivers the webhooks whose rows this process owns.
#[derive(Clone)]
pub struct Deliverer {
    parts: Arc<Parts>,
    wake: WakeDelivery,
}

/// Tells the deliverer that webhooks were written. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct WakeDelivery(Arc<Notify>);

impl WakeDelivery {
    /// Call it after the commit.
    pub fn wake(&self) {
        self.0.notify_one();
    }
}

/// What every attempt needs.
struct Parts {
    config: WebhookConfig,
    ledger: SharedLedger,
    clock: Arc<dyn Clock>,
    instance: Arc<Instance>,
    endpoints: Endpoints,
    client: Client,
}

impl Deliverer {
    /// A deliverer for the rows of this process.
    ///
    /// # Errors
    /// If the HTTP client cannot be built, for example for want of trusted certificates.
    pub fn new(node: &Node, config: WebhookConfig) -> Result<Self, ClientError> {
        let client = client::build(config.addresses, config.timeout)?;
        let sealer = Sealer::new(&node.keyring);
        let parts = Parts {
            ledger: Arc::clone(&node.ledger),
            clock: Arc::clone(&node.clock),
            instance: Arc::clone(&node.instance),
            endpoints: Endpoints::new(Arc::clone(&node.ledger), sealer),
            client,
            config,
        };
        Ok(Self {
            parts: Arc::new(parts),
            wake: WakeDelivery::default(),
        })
    }

    /// Looks for due webhooks now; call it after a commit that wrote some.
    pub fn wake(&self) {
        self.wake.wake();
    }

    /// A handle for those who write webhooks.
    pub fn waker(&self) -> WakeDelivery {
        self.wake.clone()
    }

    /// Delivers until `shutdown`; then attempts under way may end. What does not is delivered again,
    /// with the same id, by whoever takes over the rows.
    pub async fn run(&self, shutdown: CancellationToken) {
        let (tracker, drained) = (TaskTracker::new(), CancellationToken::new());
        let parts = &self.parts;
        let recorder = Recorder::start(
            Arc::clone(&parts.ledger),
            Arc::clone(&parts.clock),
            parts.instance.id(),
            drained.clone(),
            &tracker,
        );
        let mut recorder_ended = pin!(recorder.ended());
        let mut round = Round::new(Arc::clone(parts), recorder);
        while !shutdown.is_cancelled() {
            let until = round.go(Instant::now()).await;
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = self.wake.0.notified() => round.look_soon(),
                () = round.one_finished() => {}
                () = sleep_until(until) => {}
                // Without it nothing that is delivered would be known to be.
                () = &mut recorder_ended => break,
            }
        }
        round.drain().await;
        drained.cancel();
        tracker.close();
        tracker.wait().await;
    }
}

impl std::fmt::Debug for Deliverer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Deliverer").finish_non_exhaustive()
    }
}

/// The state of the loop: what is due, and what is under way.
struct Round {
    parts: Arc<Parts>,
    recorder: Recorder,
    board: Board,
    attempts: JoinSet<Finished>,
    /// Which webhook a task delivers, to know it even if the task panics.
    names: HashMap<Id, (PartnerId, WebhookId)>,
    /// When to ask the ledger again whose webhooks are due.
    look_at: Instant,
    /// When it was asked last.
    looked: Option<Instant>,
}

/// What is left of an attempt when its result is recorded.
struct Finished {
    said: Said,
    /// When it is due again.
    again: Option<Instant>,
}

impl Round {
    fn new(parts: Arc<Parts>, recorder: Recorder) -> Self {
        let width = Width {
            all: parts.config.concurrency,
            endpoint: parts.config.per_endpoint,
        };
        Self {
            parts,
            recorder,
            board: Board::new(width),
            attempts: JoinSet::new(),
            names: HashMap::new(),
            look_at: Instant::now(),
            looked: None,
        }
    }

    /// Somebody wrote webhooks. Under load that happens with every commit, so looks keep a distance.
    fn look_soon(&mut self) {
        let now = Instant::now();
        let earliest = self.looked.map_or(now, |looked| looked + LOOK_AGAIN);
        self.look_at = self.look_at.min(earliest.max(now));
    }

    /// Starts whatever may start. Returns when it is worth coming back if nothing happens before.
    async fn go(&mut self, now: Instant) -> Instant {
        let idle = now + LOOK_EVERY;
        if !self.parts.instance.alive() {
            // Its rows may be another's by now.
            self.board.forget_waiting();
            self.look_at = now;
            return idle;
        }
        if let Err(error) = self.fill(now).await {
            tracing::warn!(%error, "due webhooks could not be read");
            self.look_at = idle;
        }
        if self.board.free() == 0 {
            return idle;
        }
        let opens = self.board.opens(Instant::now()).unwrap_or(idle);
        idle.min(self.look_at).min(opens)
    }

    async fn fill(&mut self, now: Instant) -> Result<(), LedgerError> {
        if self.look_at <= now && self.board.free() > 0 {
            self.look(now).await?;
        }
        let me = self.parts.instance.id();
        while let Some(next) = self.board.next(Instant::now()) {
            match next {
                Next::Start(webhook) => self.start(webhook),
                Next::Read {
                    partner,
                    in_hand,
                    limit,
                } => {
                    let at = self.parts.clock.now();
                    let ledger = &self.parts.ledger;
                    let rows = ledger.due_webhooks(me, &partner, at, &in_hand, limit);
                    self.board.read(&partner, rows.await?, limit);
                }
            }
        }
        Ok(())
    }

    /// Asks the ledger whose webhooks are due, and when the next look is worth it.
    async fn look(&mut self, now: Instant) -> Result<(), LedgerError> {
        self.looked = Some(now);
        let (me, at) = (self.parts.instance.id(), self.parts.clock.now());
        // Those in hand are due as well; beyond them there must be room for a new one.
        let limit = self.board.endpoints() + self.board.free();
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        for endpoint in self.parts.ledger.endpoints_due(me, at, limit).await? {
            self.board.due(&endpoint.partner);
        }
        let next = self.parts.ledger.next_webhook(me).await?;
        let wait = next.filter(|due| *due > at).map(|due| due.since(at));
        self.look_at = now + wait.unwrap_or(LOOK_EVERY).clamp(LOOK_AGAIN, LOOK_EVERY);
        Ok(())
    }

    fn start(&mut self, webhook: DueWebhook) {
        let name = (webhook.partner.clone(), webhook.id);
        let deliver = deliver(Arc::clone(&self.parts), self.recorder.clone(), webhook);
        let task = self.attempts.spawn(deliver);
        self.names.insert(task.id(), name);
    }

    /// Waits until an attempt is over, for ever if none is under way.
    async fn one_finished(&mut self) {
        match self.attempts.join_next_with_id().await {
            Some(finished) => {
                self.finish(finished);
                while let Some(finished) = self.attempts.try_join_next_with_id() {
                    self.finish(finished);
                }
            }
            None => std::future::pending().await,
        }
    }

    fn finish(&mut self, finished: Result<(Id, Finished), JoinError>) {
        let (id, finished) = finished.unwrap_or_else(|error| {
            tracing::error!(%error, "delivering a webhook ended without a result");
            let said = Said::Closed;
            (error.id(), Finished { said, again: None })
        });
        if let Some(again) = finished.again {
            self.look_at = self.look_at.min(again);
        }
        if let Some((partner, webhook)) = self.names.remove(&id) {
            self.board
                .done(&partner, webhook, finished.said, Instant::now());
        }
    }

    async fn drain(mut self) {
        let all = async { while self.attempts.join_next().await.is_some() {} };
        if timeout(DRAIN, all).await.is_err() {
            let left = self.attempts.len();
            tracing::info!(left, "webhooks under way are left to be delivered again");
            self.attempts.shutdown().await;
        }
    }
}

/// One attempt, from the endpoint's settings to the recorded result.
async fn deliver(parts: Arc<Parts>, recorder: Recorder, webhook: DueWebhook) -> Finished {
    let held = Finished {
        said: Said::Closed,
        again: None,
    };
    let target = match parts.endpoints.target(&webhook.partner).await {
        Ok(target) => target,
        Err(error) => {
            let (id, partner) = (webhook.id, &webhook.partner);
            tracing::error!(webhook = %id, %partner, %error, "webhook cannot be delivered for now");
            return held;
        }
    };
    let Target::Open { url, signer } = &*target else {
        return held;
    };
    if !parts.instance.alive() {
        return held;
    }
    let now = parts.clock.now();
    let request = Post {
        url,
        signature: &signer.headers(webhook.id, &webhook.body, now),
        body: webhook.body.clone(),
        now,
    };
    let started = Instant::now();
    let (outcome, answer) = post(&parts.client, parts.config.addresses, request).await;
    let took = started.elapsed();
    note(&webhook, &outcome, answer, took);
    conclude(&parts, &recorder, webhook, outcome, answer, took).await
}

async fn conclude(
    parts: &Parts,
    recorder: &Recorder,
    webhook: DueWebhook,
    outcome: Outcome,
    answer: Answer,
    took: Duration,
) -> Finished {
    let said = match &outcome {
        Outcome::Delivered | Outcome::Never { .. } => Said::Well,
        Outcome::Later { hint, .. } => Said::Ill { hint: *hint },
        Outcome::Gone { .. } => Said::Closed,
    };
    let now = parts.clock.now();
    let circumstances = Circumstances {
        schedule: &parts.config.schedule,
        now,
        jitter: fastrand::f64(),
        letter: parts.instance.ids().dead_letter(),
    };
    let result = verdict(&webhook, outcome, circumstances);
    measure(&result, said, answer, took);
    let again = match &result {
        DeliveryResult::Retry { next_at, .. } => Some(Instant::now() + next_at.since(now)),
        _ => None,
    };
    let gone = matches!(result, DeliveryResult::EndpointGone { .. });
    let partner = webhook.partner.clone();
    if !recorder.record(webhook, result).await {
        return Finished {
            said: Said::Closed,
            again: None,
        };
    }
    if gone {
        parts.endpoints.changed(&partner).await;
    }
    Finished { said, again }
}

fn measure(result: &DeliveryResult, said: Said, answer: Answer, took: Duration) {
    let outcome = match result {
        DeliveryResult::Delivered => WebhookOutcome::Delivered,
        DeliveryResult::Retry { .. } => WebhookOutcome::Retry,
        DeliveryResult::EndpointGone { .. } => WebhookOutcome::Gone,
        DeliveryResult::Dead(_) if answer == Answer::Forbidden => WebhookOutcome::Forbidden,
        DeliveryResult::Dead(_) if said == Said::Well => WebhookOutcome::Refused,
        DeliveryResult::Dead(_) => WebhookOutcome::Exhausted,
    };
    metric::webhook(outcome, took);
    if let DeliveryResult::Dead(letter) = result {
        metric::dead_letter(letter.kind);
    }
}

/// One line for an attempt that failed; nothing of the body, nothing of the answer.
fn note(webhook: &DueWebhook, outcome: &Outcome, answer: Answer, took: Duration) {
    let (id, partner, class) = (webhook.id, &webhook.partner, answer.class());
    let (attempt, took_ms) = (webhook.attempt.saturating_add(1), took.as_millis());
    match outcome {
        Outcome::Delivered => {
            tracing::debug!(webhook = %id, %partner, attempt, took_ms, "webhook delivered");
        }
        Outcome::Gone { .. } => tracing::warn!(
            webhook = %id, %partner, class, attempt, took_ms,
            "webhook endpoint gone; it stays disabled until it is enabled by hand"
        ),
        Outcome::Later { why, .. } | Outcome::Never { why } => tracing::info!(
            webhook = %id, %partner, class, attempt, took_ms, why, "webhook attempt failed"
        ),
    }
}
