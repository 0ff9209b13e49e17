//! Whether one partner's burst, or its endpoint that hangs, holds up the others.
//!
//! A sends as many messages as it is told, in batches, as fast as they are taken: first alone, then while
//! B sends a few ordinary messages a second and C a few AUTH messages, both by a schedule, until all of
//! A's are told. Then B goes on alone; and then beside D, whose endpoint takes webhooks and answers none.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use super::{Scenario, flow};
use crate::command::bench::load::Outbox;
use crate::command::bench::load::closed::Closed;
use crate::command::bench::load::letter::{Kind, Letter};
use crate::command::bench::load::open::Open;
use crate::command::bench::load::schedule::Schedule;
use crate::command::bench::measure::meter::Meter;
use crate::command::bench::measure::timing::Timing;
use crate::command::bench::order::Plan;
use crate::command::bench::report::result::{Figure, Run};
use crate::command::bench::stage::{Needs, Partner, Stage};
use crate::command::bench::witness::Mark;

/// Messages in one request of A and D.
const SIZE: usize = 100;
/// How many connections each of B and C has: far more than their rates need.
const STEADY_CONNECTIONS: usize = 16;
/// Nobody bursts longer.
const LONGEST: Duration = Duration::from_secs(3_600);
/// How many messages D has, whose webhooks hang.
const HANGING: u64 = 1_000;
/// How long D's endpoint hangs: longer than a webhook may take, so that the gateway sees it fail.
const HANGS: Duration = Duration::from_secs(15);

pub(super) const SCENARIO: Scenario = Scenario {
    connections: Some(8),
    rate: Some(10),
    messages: Some(100_000),
    needs: |_| Needs {
        partners: 4,
        ..Needs::USUAL
    },
    ..Scenario::new(
        "fairness",
        "what other partners feel of one's burst, and of one whose endpoint hangs",
        |stage, plan| Box::pin(run(stage, plan)),
    )
};

async fn run(stage: &Stage, plan: &Plan) -> anyhow::Result<Run> {
    let [a, b, c, d] = &stage.partners[..] else {
        anyhow::bail!("four partners are needed");
    };
    let cast = Cast { stage, plan };
    let meter = Meter::start(stage.watched());
    let alone = cast.burst(a, plan.messages).await?;
    let together = cast.beside_a_burst(a, b, c).await?;
    let quiet = cast.steady(b, Kind::Sms, plan.lasts).await?;
    stage.await_told(&quiet.ids()).await;
    let (hanging, beside) = cast.beside_a_hanging(d, b).await?;
    let usage = meter.stop();

    let outboxes = [
        &alone,
        &together.a,
        &together.b,
        &together.c,
        &quiet,
        &hanging,
        &beside,
    ];
    let books = stage.close(&outboxes).await?;
    let repeated = outboxes.iter().map(|outbox| outbox.repeated).sum();
    let seen = Seen::of(stage);
    let (rate_alone, rate_beside) = (seen.rate(&alone), seen.rate(&together.a));
    Ok(Run {
        messages: books.accepted,
        figures: vec![
            Figure::count("messages", books.accepted),
            Figure::count("requests sent again", repeated),
            Figure::new("A to the vendor a second, alone", rate_alone),
            Figure::new("A to the vendor a second, beside B and C", rate_beside),
            Figure::new(
                "A beside the others, % of alone",
                100.0 * rate_beside / rate_alone.max(f64::EPSILON),
            ),
        ],
        timings: vec![
            seen.to_vendor("B, A bursts: answer to vendor", &together.b, &together.a),
            seen.to_vendor("C, A bursts: answer to vendor", &together.c, &together.a),
            seen.to_webhook("B, nobody else: report to webhook", &quiet),
            seen.to_webhook("B, D hangs: report to webhook", &beside),
        ],
        traces: Vec::new(),
        usage,
        books,
    })
}

/// What the partners do.
struct Cast<'a> {
    stage: &'a Stage,
    plan: &'a Plan,
}

/// What was sent at the same time.
struct Together {
    a: Outbox,
    b: Outbox,
    c: Outbox,
}

impl Cast<'_> {
    /// So many messages, as fast as they are taken, until the last is told.
    async fn burst(&self, partner: &Partner, messages: u64) -> anyhow::Result<Outbox> {
        let sent = self.bulk(partner, messages).await?;
        self.stage.await_told(&sent.ids()).await;
        Ok(sent)
    }

    /// So many messages, as fast as they are taken.
    async fn bulk(&self, partner: &Partner, messages: u64) -> anyhow::Result<Outbox> {
        let stage = self.stage;
        let count = Arc::new(AtomicUsize::new(0));
        let load = Closed {
            targets: &partner.targets,
            letter: Letter::batch(Kind::Sms, SIZE, &stage.from, &stage.mark()),
            connections: self.plan.connections,
            lasts: LONGEST,
            count: Arc::clone(&count),
        };
        let line = || format!("{} of {messages} accepted", count.load(Ordering::Relaxed));
        let sending = load.run_up_to(messages);
        stage.progress.during(sending, line).await
    }

    /// Messages by a schedule for a while.
    async fn steady(
        &self,
        partner: &Partner,
        kind: Kind,
        lasts: Duration,
    ) -> anyhow::Result<Outbox> {
        self.schedule(partner, kind, lasts).run().await
    }

    /// Messages by a schedule.
    fn schedule<'b>(&self, partner: &'b Partner, kind: Kind, lasts: Duration) -> Open<'b> {
        let stage = self.stage;
        Open {
            targets: &partner.targets,
            letter: Letter::single(kind, &stage.from, &stage.mark()),
            connections: STEADY_CONNECTIONS,
            schedule: Schedule::new(self.plan.rate, lasts),
            count: Arc::default(),
        }
    }

    /// B and C send until all of A's burst is told.
    async fn beside_a_burst(
        &self,
        a: &Partner,
        b: &Partner,
        c: &Partner,
    ) -> anyhow::Result<Together> {
        let enough = CancellationToken::new();
        let bursting = async {
            let sent = self.burst(a, self.plan.messages).await?;
            enough.cancel();
            anyhow::Ok(sent)
        };
        let ordinary = self.schedule(b, Kind::Sms, LONGEST);
        let urgent = self.schedule(c, Kind::Auth, LONGEST);
        let (a, b, c) = tokio::try_join!(
            bursting,
            ordinary.run_until(&enough),
            urgent.run_until(&enough)
        )?;
        let rest: Vec<u64> = b.ids().into_iter().chain(c.ids()).collect();
        self.stage.await_told(&rest).await;
        Ok(Together { a, b, c })
    }

    /// B sends while D's endpoint hangs; then D's answers, and is told all that waited.
    async fn beside_a_hanging(&self, d: &Partner, b: &Partner) -> anyhow::Result<(Outbox, Outbox)> {
        let sink = d.sink.as_ref().context("D has no endpoint")?;
        let lasts = match self.plan.short {
            true => self.plan.lasts,
            false => HANGS,
        };
        sink.set_hanging(true);
        let sending = async {
            let hanging = self.bulk(d, HANGING.min(self.plan.messages)).await?;
            let beside = self.steady(b, Kind::Sms, lasts).await?;
            self.stage.await_told(&beside.ids()).await;
            anyhow::Ok((hanging, beside))
        };
        let sent = sending.await;
        sink.set_hanging(false);
        let (hanging, beside) = sent?;
        self.stage.await_told(&hanging.ids()).await;
        Ok((hanging, beside))
    }
}

/// What was seen at the far ends.
struct Seen {
    taken: Vec<Mark>,
    reported: Vec<Mark>,
    told: Vec<Mark>,
}

impl Seen {
    fn of(stage: &Stage) -> Self {
        Self {
            taken: stage.witness.taken.so_far(),
            reported: stage.witness.reported.so_far(),
            told: stage.witness.told.so_far(),
        }
    }

    /// Messages a second to the vendor, from the first request until the last was taken.
    fn rate(&self, outbox: &Outbox) -> f64 {
        let ids = outbox.ids();
        match last_of(&ids, &self.taken) {
            Some(last) => flow::rate(ids.len(), last.saturating_duration_since(outbox.begun)),
            None => 0.0,
        }
    }

    /// How long a partner's messages took that were accepted while the burst was not yet all sent.
    fn to_vendor(&self, name: &'static str, of: &Outbox, burst: &Outbox) -> Timing {
        let end = last_of(&burst.ids(), &self.taken).unwrap_or(burst.ended);
        let beside = accepted_by(end, &of.accepted);
        Timing::between(name, &beside, &self.taken)
    }

    /// How long it took to tell what became of these.
    fn to_webhook(&self, name: &'static str, of: &Outbox) -> Timing {
        let ids: HashSet<u64> = of.ids().into_iter().collect();
        let reported = self.reported.iter().filter(|mark| ids.contains(&mark.id));
        let reported: Vec<Mark> = reported.copied().collect();
        Timing::between(name, &reported, &self.told)
    }
}

/// When the last of these was seen.
fn last_of(ids: &[u64], marks: &[Mark]) -> Option<Instant> {
    let ids: HashSet<u64> = ids.iter().copied().collect();
    let of_these = marks.iter().filter(|mark| ids.contains(&mark.id));
    of_these.map(|mark| mark.at).max()
}

/// Those that happened until then.
fn accepted_by(end: Instant, marks: &[Mark]) -> Vec<Mark> {
    let by_then = marks.iter().filter(|mark| mark.at <= end);
    by_then.copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(id: u64, at: Instant) -> Mark {
        Mark { id, at }
    }

    #[test]
    fn a_burst_ends_when_the_last_of_its_own_is_taken_whatever_else_is() {
        let begin = Instant::now();
        let at = |millis| begin + Duration::from_millis(millis);
        let taken = [
            mark(1, at(5)),
            mark(2, at(30)),
            mark(3, at(20)),
            mark(9, at(90)),
        ];
        assert_eq!(last_of(&[1, 2, 3], &taken), Some(at(30)));
        assert_eq!(last_of(&[4], &taken), None);
    }

    #[test]
    fn what_was_accepted_after_the_burst_is_not_beside_it() {
        let begin = Instant::now();
        let at = |millis| begin + Duration::from_millis(millis);
        let accepted = [mark(1, at(5)), mark(2, at(30)), mark(3, at(31))];
        assert_eq!(accepted_by(at(30), &accepted), accepted[..2]);
    }
}
