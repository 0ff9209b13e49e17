//! One run of a peer: it is started, warms up, is loaded, and is given time until its SMSC has all.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pabal_gateway::trial::site::Site;

use super::Peer;
use super::callback::Callbacks;
use super::script::{Counts, Processes, Said};
use crate::command::bench::books::told_of;
use crate::command::bench::load::Outbox;
use crate::command::bench::load::closed::Closed;
use crate::command::bench::load::letter::Letter;
use crate::command::bench::load::line::Target;
use crate::command::bench::measure::meter::{Meter, Watched};
use crate::command::bench::measure::timing::Timing;
use crate::command::bench::order::Plan;
use crate::command::bench::report::progress::Progress;
use crate::command::bench::report::result::{ACCEPTED_A_SECOND, Figure, Run, TOLD_A_SECOND};
use crate::command::bench::scenario::rate;
use crate::command::bench::witness::Mark;

/// How long a peer may take until its SMSC has all, and all reports have come, once nothing more is sent.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// What is called after this process in tables.
const OURSELVES: &str = "load and callbacks";

/// What a peer's run came to.
pub(super) struct Told {
    /// Its own word.
    pub(super) version: String,
    pub(super) run: Run,
    /// What must not happen, and did.
    pub(super) faults: Vec<String>,
}

/// A peer that runs, and who loads it.
struct House<'a> {
    reports: bool,
    said: Said,
    target: Target,
    callbacks: Callbacks,
    client: reqwest::Client,
    plan: &'a Plan,
    progress: Progress,
}

/// What was seen of one load.
struct Seen {
    outbox: Outbox,
    /// The reports that came.
    told: Vec<Mark>,
    /// How many messages of this load the SMSC took.
    submits: usize,
    /// Of them, how many it took more than once; nothing if it has forgotten.
    again: Option<usize>,
}

/// Starts a peer in the folder `state`, loads it, and stops it.
pub(super) async fn run(
    peer: Peer,
    reports: bool,
    scripts: &Path,
    state: &Path,
    plan: &Plan,
    progress: Progress,
) -> anyhow::Result<Told> {
    progress.say(&format!("starting {}", peer.name()));
    let callbacks = Callbacks::open().await?;
    let processes = Processes::new(peer, scripts, state);
    let said = processes.start(reports, callbacks.url()).await?;
    callbacks.answer_with(&said.callback.answer);
    let (base, _) = said.accept.parts()?;
    let house = House {
        reports,
        target: Target::anonymous(base).await?,
        said,
        callbacks,
        client: Site::client()?,
        plan,
        progress,
    };
    house.load(plan.warm_up().lasts).await?;
    let meter = Meter::start(house.watched());
    let seen = house.load(plan.lasts).await?;
    let usage = meter.stop();
    progress.say(&format!("stopping {}", peer.name()));
    processes.end().await?;
    let run = Run {
        messages: seen.outbox.accepted.len(),
        figures: figures(&seen, reports),
        timings: timings(&seen, reports),
        usage,
        ..Run::default()
    };
    Ok(Told {
        version: house.said.version,
        run,
        faults: seen.outbox.faults,
    })
}

impl House<'_> {
    /// A closed loop for a while, then the wait until the SMSC has all and all reports have come.
    async fn load(&self, lasts: Duration) -> anyhow::Result<Seen> {
        let mark = format!("b{:08x}", fastrand::u32(..));
        self.callbacks.begin(&mark);
        let before = self.counts().await?;
        let (_, template) = self.said.accept.parts()?;
        let count = Arc::new(AtomicUsize::new(0));
        let load = Closed {
            targets: std::slice::from_ref(&self.target),
            letter: Letter::query(template, self.said.accept.status, &mark)?,
            connections: self.plan.connections,
            lasts,
            count: Arc::clone(&count),
        };
        let line = || format!("{} accepted", count.load(Ordering::Relaxed));
        let outbox = self.progress.during(load.run(), line).await?;
        let accepted = outbox.ids();
        let line = || {
            let reports = self.callbacks.len();
            format!("{} accepted, {reports} reported", accepted.len())
        };
        let waiting = self.drained(&accepted, before);
        let after = self.progress.during(waiting, line).await?;
        let submits = after.submits.saturating_sub(before.submits);
        let distinct = after.distinct.zip(before.distinct);
        let distinct = distinct.map(|(after, before)| after.saturating_sub(before));
        Ok(Seen {
            outbox,
            told: self.callbacks.so_far(),
            submits,
            again: distinct.map(|distinct| submits.saturating_sub(distinct)),
        })
    }

    /// Waits, not for ever; what the SMSC has counted by then.
    async fn drained(&self, accepted: &[u64], before: Counts) -> anyhow::Result<Counts> {
        let begun = Instant::now();
        loop {
            let counts = self.counts().await?;
            let is_sent = counts.submits >= before.submits + accepted.len();
            let is_told = !self.reports || self.is_told(accepted);
            if is_sent && is_told || begun.elapsed() > PATIENCE {
                return Ok(counts);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn is_told(&self, accepted: &[u64]) -> bool {
        self.callbacks.len() >= accepted.len()
            && told_of(accepted, &ids(&self.callbacks.so_far())) == accepted.len()
    }

    async fn counts(&self) -> anyhow::Result<Counts> {
        let answer = self.client.get(&self.said.counts).send().await?;
        let text = answer.error_for_status()?.text().await?;
        Ok(serde_json::from_str(&text)?)
    }

    fn watched(&self) -> Vec<Watched> {
        let theirs = self.said.processes.iter();
        let theirs = theirs.map(|(name, pid)| Watched {
            name: name.clone(),
            pid: *pid,
        });
        let own = Watched {
            name: OURSELVES.to_owned(),
            pid: std::process::id(),
        };
        theirs.chain([own]).collect()
    }
}

fn figures(seen: &Seen, reports: bool) -> Vec<Figure> {
    let accepted = seen.outbox.accepted.len();
    let mut figures = vec![
        Figure::count("messages", accepted),
        Figure::count("requests sent again", seen.outbox.repeated),
        Figure::new(ACCEPTED_A_SECOND, rate(accepted, seen.outbox.lasted())),
    ];
    let told = told_of(&seen.outbox.ids(), &ids(&seen.told));
    if reports {
        let last = seen.told.last().map_or(seen.outbox.ended, |mark| mark.at);
        let whole = last.saturating_duration_since(seen.outbox.begun);
        figures.push(Figure::new(TOLD_A_SECOND, rate(told, whole)));
    }
    let missing = accepted.saturating_sub(seen.submits - seen.again.unwrap_or(0));
    figures.push(Figure::count("accepted, not at the SMSC", missing));
    figures.extend(
        seen.again
            .map(|again| Figure::count("at the SMSC more than once", again)),
    );
    if reports {
        figures.push(Figure::count("accepted, no callback", accepted - told));
    }
    figures
}

fn timings(seen: &Seen, reports: bool) -> Vec<Timing> {
    let answers = seen.outbox.answers.iter().copied();
    let mut timings = vec![Timing::of("request to answer", answers)];
    if reports {
        let accepted = &seen.outbox.accepted;
        timings.push(Timing::between("answer to callback", accepted, &seen.told));
    }
    timings
}

fn ids(marks: &[Mark]) -> Vec<u64> {
    marks.iter().map(|mark| mark.id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(accepted: &[u64], told: &[u64], submits: usize, again: Option<usize>) -> Seen {
        let at = Instant::now();
        let marks = |ids: &[u64]| ids.iter().map(|&id| Mark { id, at }).collect();
        Seen {
            outbox: Outbox {
                accepted: marks(accepted),
                answers: Vec::new(),
                lateness: Vec::new(),
                repeated: 0,
                faults: Vec::new(),
                begun: at,
                ended: at,
            },
            told: marks(told),
            submits,
            again,
        }
    }

    fn value(figures: &[Figure], name: &str) -> Option<f64> {
        let found = figures.iter().find(|figure| figure.name == name);
        found.map(|figure| figure.value)
    }

    #[test]
    fn what_a_peer_lost_sent_twice_or_did_not_report_is_counted() {
        let seen = seen(&[1, 2, 3, 4], &[2, 2, 1], 4, Some(1));
        let figures = figures(&seen, true);
        assert_eq!(value(&figures, "accepted, not at the SMSC"), Some(1.0));
        assert_eq!(value(&figures, "at the SMSC more than once"), Some(1.0));
        assert_eq!(value(&figures, "accepted, no callback"), Some(2.0));
    }

    #[test]
    fn without_reports_no_callback_is_missing() {
        let seen = seen(&[1, 2], &[], 2, None);
        let figures = figures(&seen, false);
        assert_eq!(value(&figures, "accepted, not at the SMSC"), Some(0.0));
        assert_eq!(value(&figures, "at the SMSC more than once"), None);
        assert_eq!(value(&figures, "accepted, no callback"), None);
        assert_eq!(value(&figures, TOLD_A_SECOND), None);
    }
}
