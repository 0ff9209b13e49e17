//! Whether a ledger that has been in use for two months is slower than an empty one.
//!
//! The same is measured twice, with the ledger empty and with ten million messages that have ended: a
//! closed loop, an open loop, the look-up of one message after another, and a month's numbers. Then the
//! reporter is started with a retention that lets the oldest day go, and single requests come by the
//! same schedule until the day's last message is gone.
//!
//! `query.window` is 90 days here, so that any of the messages may be looked up, and not those of one
//! day alone, which the server has in its memory; `query.per_second` does not limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use pabal_common::clock::{Clock as _, SystemClock};
use pabal_common::domain::id::MessageId;
use tokio_util::sync::CancellationToken;

use super::{Scenario, flow};
use crate::command::bench::fill::Filling;
use crate::command::bench::load::Outbox;
use crate::command::bench::load::closed::Closed;
use crate::command::bench::load::letter::{Kind, Letter};
use crate::command::bench::load::line::{Line, Target};
use crate::command::bench::load::open::Open;
use crate::command::bench::load::question;
use crate::command::bench::load::schedule::Schedule;
use crate::command::bench::measure::meter::Meter;
use crate::command::bench::measure::timing::Timing;
use crate::command::bench::order::Plan;
use crate::command::bench::report::result::{Figure, Run};
use crate::command::bench::stage::{House, Needs, Partner, Stage};

/// How long the messages of a day may take to go, and how often it is looked.
const PATIENCE: Duration = Duration::from_secs(1_800);
const LOOK: Duration = Duration::from_millis(50);
/// Requests come for so long at least while messages go.
const LEAST: Duration = Duration::from_secs(1);
/// Of the time that a load lasts, each kind of question is asked for one part in so many.
const ASKING: u32 = 4;
/// A month.
const DAYS: u32 = 30;
const A_DAY: Duration = Duration::from_secs(86_400);

/// What the numbers of an empty ledger are called.
const EMPTY: Names = Names {
    accepted: "accepted a second, empty",
    told: "told a second, to the last webhook, empty",
    due: "empty: due to answer",
    message: "empty: look-up of a message",
    month: "empty: a month's numbers",
};
/// What those of a filled one are called.
const FILLED: Names = Names {
    accepted: "accepted a second, filled",
    told: "told a second, to the last webhook, filled",
    due: "filled: due to answer",
    message: "filled: look-up of a message",
    month: "filled: a month's numbers",
};
const RETIRING: &str = "filled, a day goes: due to answer";

pub(super) const SCENARIO: Scenario = Scenario {
    runs: 1,
    connections: Some(64),
    rate: Some(500),
    rows: Some(10_000_000),
    needs: |_| Needs {
        settings: &[("query.window", "90d"), ("query.per_second", "100000")],
        ..Needs::USUAL
    },
    ..Scenario::new(
        "growth",
        "accepting, sending, look-ups and retention with 10,000,000 messages in the ledger",
        |stage, plan| Box::pin(run(stage, plan)),
    )
};

async fn run(stage: &Stage, plan: &Plan) -> anyhow::Result<Run> {
    let partner = stage.first_partner()?;
    let eye = Eye {
        stage,
        plan,
        partner,
        desk: partner.desks.first().context("nobody can be asked")?,
    };
    let meter = Meter::start(stage.watched());
    let empty = eye.look(&EMPTY, None).await?;
    if plan.rows == 0 {
        let books = stage.close(&empty.outboxes()).await?;
        return Ok(Run {
            messages: books.accepted,
            figures: empty.figures(),
            usage: meter.stop(),
            timings: empty.timings,
            traces: Vec::new(),
            books,
        });
    }

    let house = stage.house.as_ref().context("there is no ledger")?;
    let filling = Filling::new(&partner.name, plan.rows, SystemClock.now());
    let model = empty.burst.accepted.first().context("nothing to copy")?;
    let begun = Instant::now();
    let model = MessageId::from_number(model.id);
    let filled = filling.fill(house, model, stage.progress).await?;
    let filling_took = begun.elapsed();

    let meter = Meter::start(stage.watched());
    let full = eye.look(&FILLED, Some(&filling)).await?;
    let usage = meter.stop();
    let retiring = eye.retire(house, &filling).await?;

    let outboxes = [empty.outboxes(), full.outboxes(), vec![&retiring.beside]];
    stage.progress.say("the books are compared");
    let books = stage.close(&outboxes.concat()).await?;
    let repeated = outboxes.iter().flatten().map(|one| one.repeated).sum();
    let calm = full.p99_due();
    let beside = Timing::of(RETIRING, retiring.beside.answers.iter().copied());
    let mut figures = vec![
        Figure::count("messages", books.accepted),
        Figure::count("requests sent again", repeated),
        Figure::new("rows filled in", filling.rows() as f64),
        Figure::new("seconds to fill them in", filling_took.as_secs_f64()),
        Figure::new(
            "messages with their indexes, MiB",
            filled.bytes as f64 / f64::from(1 << 20),
        ),
    ];
    figures.extend(empty.figures());
    figures.extend(full.figures());
    figures.extend([
        Figure::new(
            "accepted, filled in % of empty",
            percent(full.accepted, empty.accepted),
        ),
        Figure::new("told, filled in % of empty", percent(full.told, empty.told)),
        Figure::new(
            "messages of the day that goes",
            filling.of_first_day() as f64,
        ),
        Figure::new("seconds until they are gone", retiring.took.as_secs_f64()),
        Figure::new(
            "p99 of accepting while they go, % of before",
            percent(beside.millis(99.0), calm),
        ),
    ]);
    let messages = full.outboxes().iter().map(|one| one.accepted.len()).sum();
    let timings = empty.timings.into_iter().chain(full.timings);
    Ok(Run {
        messages,
        figures,
        timings: timings.chain([beside]).collect(),
        traces: Vec::new(),
        usage,
        books,
    })
}

/// Names of the same numbers, one of them for each state of the ledger.
struct Names {
    accepted: &'static str,
    told: &'static str,
    due: &'static str,
    message: &'static str,
    month: &'static str,
}

/// Who looks.
struct Eye<'a> {
    stage: &'a Stage,
    plan: &'a Plan,
    partner: &'a Partner,
    /// Where it is asked what became of messages.
    desk: &'a Target,
}

/// What was seen of one state of the ledger.
struct Sight {
    names: &'static Names,
    burst: Outbox,
    steady: Outbox,
    /// How many a second.
    accepted: f64,
    told: f64,
    timings: Vec<Timing>,
}

impl Sight {
    fn outboxes(&self) -> Vec<&Outbox> {
        vec![&self.burst, &self.steady]
    }

    fn figures(&self) -> Vec<Figure> {
        vec![
            Figure::new(self.names.accepted, self.accepted),
            Figure::new(self.names.told, self.told),
        ]
    }

    fn p99_due(&self) -> f64 {
        let due = self.timings.iter().find(|one| one.name == self.names.due);
        due.map_or(0.0, |due| due.millis(99.0))
    }
}

/// What was seen while the messages of a day went.
struct Retiring {
    beside: Outbox,
    took: Duration,
}

impl Eye<'_> {
    /// Measures everything once. Looked up are messages of the filling or, without one, of this load.
    async fn look(
        &self,
        names: &'static Names,
        filling: Option<&Filling>,
    ) -> anyhow::Result<Sight> {
        let burst = self.burst().await?;
        self.stage.await_told(&burst.ids()).await;
        let told = self.stage.witness.told.so_far();
        let last = told.last().map_or(burst.ended, |mark| mark.at);
        let whole = last.saturating_duration_since(burst.begun);
        let never = CancellationToken::new();
        let steady = self.steady(self.plan.lasts, &never).await?;
        self.stage.await_told(&steady.ids()).await;

        self.stage.progress.say("looking up messages");
        let sent = burst.ids();
        let any = || match filling {
            Some(filling) => filling.any_own(),
            None => MessageId::from_number(sent[fastrand::usize(..sent.len())]),
        };
        ensure!(!sent.is_empty(), "nothing was accepted");
        let lasts = self.plan.lasts / ASKING;
        let message = || format!("/v1/messages/{}", any());
        let messages = question::ask(self.desk, message, lasts).await?;
        let month = question::ask(self.desk, a_month, lasts).await?;
        Ok(Sight {
            names,
            accepted: flow::rate(burst.accepted.len(), burst.lasted()),
            told: flow::rate(burst.accepted.len(), whole),
            timings: vec![
                Timing::of(names.due, steady.answers.iter().copied()),
                Timing::of(names.message, messages),
                Timing::of(names.month, month),
            ],
            burst,
            steady,
        })
    }

    /// As many messages as can be.
    async fn burst(&self) -> anyhow::Result<Outbox> {
        let count = Arc::new(AtomicUsize::new(0));
        let load = Closed {
            targets: &self.partner.targets,
            letter: self.letter(),
            connections: self.plan.connections,
            lasts: self.plan.lasts,
            count: Arc::clone(&count),
        };
        let line = || format!("{} accepted", count.load(Ordering::Relaxed));
        self.stage.progress.during(load.run(), line).await
    }

    /// Messages by a schedule, for a while or until it is enough.
    async fn steady(&self, lasts: Duration, enough: &CancellationToken) -> anyhow::Result<Outbox> {
        let count = Arc::new(AtomicUsize::new(0));
        let load = Open {
            targets: &self.partner.targets,
            letter: self.letter(),
            connections: self.plan.connections,
            schedule: Schedule::new(self.plan.rate, lasts),
            count: Arc::clone(&count),
        };
        let line = || format!("{} accepted by schedule", count.load(Ordering::Relaxed));
        let sending = load.run_until(enough);
        self.stage.progress.during(sending, line).await
    }

    fn letter(&self) -> Letter {
        Letter::single(Kind::Sms, &self.stage.from, &self.stage.mark())
    }

    /// Messages by the same schedule while those of the first day go. The reporter deletes what is old
    /// as soon as it has started.
    async fn retire(&self, house: &House, filling: &Filling) -> anyhow::Result<Retiring> {
        let keep = Filling::all_but_first_day().as_secs();
        let retention = format!("reporter.retention = \"{keep}s\"");
        self.stage.progress.say("starting the reporter anew");
        house.restart_with("reporter", &retention).await?;
        let begun = Instant::now();
        let enough = CancellationToken::new();
        let going = async {
            let least = tokio::time::sleep(LEAST);
            let (gone, ()) = tokio::join!(self.gone(filling.last_own_of_first_day()), least);
            let took = gone?.saturating_duration_since(begun);
            enough.cancel();
            anyhow::Ok(took)
        };
        let (beside, took) = tokio::try_join!(self.steady(PATIENCE, &enough), going)?;
        self.stage.await_told(&beside.ids()).await;
        Ok(Retiring { beside, took })
    }

    /// When nobody knows the message any more.
    async fn gone(&self, message: MessageId) -> anyhow::Result<Instant> {
        let path = format!("/v1/messages/{message}");
        let mut line = Line::new(self.desk.clone());
        let begun = Instant::now();
        while question::status(&mut line, &path).await? != 404 {
            let goes_on = begun.elapsed() < PATIENCE;
            ensure!(goes_on, "{message} is not gone within {PATIENCE:?}");
            tokio::time::sleep(LOOK).await;
        }
        Ok(Instant::now())
    }
}

/// The path of the last thirty days' numbers.
fn a_month() -> String {
    let now = SystemClock.now();
    let first = now.minus(A_DAY * (DAYS - 1));
    let (first, last) = (first.kst_day(), now.kst_day());
    format!("/v1/stats/daily?from={first}&to={last}")
}

fn percent(value: f64, of: f64) -> f64 {
    100.0 * value / of.max(f64::EPSILON)
}
