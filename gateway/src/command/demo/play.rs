//! Sending everything and waiting for the results.

use std::collections::HashSet;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use anyhow::Context as _;
use pabal_common::clock::Timestamp;
use pabal_common::domain::id::MessageId;
use pabal_common::domain::phase::Phase;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout_at};

use super::cases::{CASES, Case};
use super::inbox::Inbox;
use super::refusals::{Refusal, Token, refusals};
use super::stage::{Answer, Stage};

/// After this long without every result, those that are missing have failed.
const DEADLINE: Duration = Duration::from_secs(60);
/// How long every quiet message may take to get to its vendor.
const UNDER_WAY: Duration = Duration::from_secs(15);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A case and how its request was answered.
pub(super) struct Sent {
    pub(super) case: Case,
    /// Our id of it, or code and reason of the refusal.
    pub(super) accepted: Result<MessageId, String>,
}

/// A request that had to be refused, and how it was answered.
pub(super) struct Refused {
    pub(super) refusal: Refusal,
    pub(super) answer: Answer,
}

/// What was sent and said.
pub(super) struct Played {
    pub(super) sent: Vec<Sent>,
    pub(super) refused: Vec<Refused>,
    /// The first and the last moment of sending: which days' numbers to look at.
    pub(super) period: (Timestamp, Timestamp),
}

/// Sends every case and every request that must be refused, and waits for every result.
///
/// One request after another: messages that are sent at once may share a vendor call, and one of
/// them can make the whole call go wrong. Those that stop a vendor for everybody come when the
/// others have got through.
pub(super) async fn play(stage: &Stage, inbox: &mut Inbox) -> anyhow::Result<Played> {
    let begun = Instant::now();
    let clock = &stage.running.node.clock;
    let from = clock.now();
    let mut sent = send(stage, |case| !case.disturbs_others()).await?;
    let refused = refuse(stage).await?;
    let calm = timeout_at(begun + UNDER_WAY, all_under_way(stage, &sent)).await;
    calm.context("the messages did not get to their vendors in time")??;
    sent.extend(send(stage, Case::disturbs_others).await?);
    let to = clock.now();
    sent.sort_by_key(|sent| (sent.case.digits, sent.case.kind.number()));
    wait_for_results(&sent, inbox, begun).await;
    Ok(Played {
        sent,
        refused,
        period: (from, to),
    })
}

async fn send(stage: &Stage, which: impl Fn(&Case) -> bool) -> anyhow::Result<Vec<Sent>> {
    let mut sent = Vec::new();
    for &case in CASES.iter().filter(|case| which(case)) {
        let request = case.request().to_string();
        let answer = stage
            .client
            .post("/v1/messages", Token::Ours, request)
            .await?;
        let accepted = match (answer.status, answer.word("messageId").parse()) {
            (202, Ok(id)) => Ok(id),
            _ => Err(format!(
                "refused {} {}",
                answer.word("code"),
                answer.word("reason")
            )),
        };
        sent.push(Sent { case, accepted });
    }
    Ok(sent)
}

async fn refuse(stage: &Stage) -> anyhow::Result<Vec<Refused>> {
    let mut refused = Vec::new();
    for refusal in refusals() {
        let answer = stage
            .client
            .post(refusal.path, refusal.token, refusal.body.clone())
            .await?;
        refused.push(Refused { refusal, answer });
    }
    Ok(refused)
}

/// Waits until each of these was taken, or its call has ended otherwise.
async fn all_under_way(stage: &Stage, sent: &[Sent]) -> anyhow::Result<()> {
    let mut waiting: Vec<MessageId> = sent
        .iter()
        .filter_map(|sent| sent.accepted.as_ref().ok().copied())
        .collect();
    loop {
        let taken: HashSet<_> = stage
            .simulator
            .taken()
            .iter()
            .map(|one| one.message)
            .collect();
        let mut rest = Vec::new();
        for id in waiting {
            if taken.contains(&id) {
                continue;
            }
            let view = stage.running.node.ledger.message(id).await?;
            let before = [Phase::Queued, Phase::Waiting, Phase::Submitting];
            if view.is_none_or(|view| before.contains(&view.phase)) {
                rest.push(id);
            }
        }
        if rest.is_empty() {
            return Ok(());
        }
        waiting = rest;
        sleep(LOOK_AGAIN).await;
    }
}

async fn wait_for_results(sent: &[Sent], inbox: &mut Inbox, begun: Instant) {
    let accepted = sent.iter().filter_map(|sent| sent.accepted.as_ref().ok());
    let ids: Vec<String> = accepted.map(ToString::to_string).collect();
    let mut progress = Progress::new(ids.len(), begun);
    let mut ticks = interval(Duration::from_millis(200));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        progress.show(inbox.results().len());
        tokio::select! {
            all = timeout_at(begun + DEADLINE, inbox.has_all(&ids)) => {
                if all.is_err() {
                    tracing::error!("not every result arrived in time");
                }
                return progress.clear();
            }
            _ = ticks.tick() => {}
        }
    }
}

/// One line that is written over and over, on a terminal alone.
struct Progress {
    on_terminal: bool,
    expected: usize,
    begun: Instant,
}

impl Progress {
    fn new(expected: usize, begun: Instant) -> Self {
        Self {
            on_terminal: std::io::stderr().is_terminal(),
            expected,
            begun,
        }
    }

    fn show(&mut self, arrived: usize) {
        if self.on_terminal {
            let (expected, seconds) = (self.expected, self.begun.elapsed().as_secs());
            eprint!("\r  {arrived} of {expected} results have arrived, {seconds} s ");
            let _ = std::io::stderr().flush();
        }
    }

    fn clear(&self) {
        if self.on_terminal {
            eprint!("\r{:60}\r", "");
        }
    }
}
