//! One fault under a steady load, and what became of the messages.

use std::time::{Duration, Instant};

use pabal_gateway::trial::books::{self, Verdict};
use pabal_gateway::trial::load::{Load, Manner};

use super::faults::Fault;
use super::stage::Stage;

/// How long everything goes well before the fault.
const BEFORE: Duration = Duration::from_secs(3);
/// How long it goes on after the first message has come through.
const AFTER: Duration = Duration::from_secs(2);
/// How long a message may take to come through once the part is back.
const COMING_BACK: Duration = Duration::from_secs(60);
/// More than the deadlines, margins and retries of the configuration together.
const PATIENCE: Duration = Duration::from_secs(150);

/// One line of the table.
pub(super) struct Row {
    /// What was done.
    pub(super) fault: &'static Fault,
    /// How many messages the partner was promised.
    pub(super) accepted: usize,
    /// How many requests had to be made again.
    pub(super) repeated: usize,
    /// What the books say.
    pub(super) verdict: Verdict,
    /// From the part's return to the first message asked for after it that was told as ended.
    pub(super) recovery: Option<Duration>,
    /// The memory of the largest process before and after, in KiB.
    pub(super) memory: (u64, u64),
}

impl Row {
    /// Whether everything is as promised.
    pub(super) fn is_good(&self) -> bool {
        self.verdict.is_clean() && self.recovery.is_some_and(|taken| taken < Fault::MOST)
    }
}

/// Lets one fault happen under load.
pub(super) async fn run(
    stage: &Stage,
    fault: &'static Fault,
    rate: f64,
    mut random: fastrand::Rng,
) -> anyhow::Result<Row> {
    let name = format!("p{:08x}", random.u32(..));
    let partner = stage.site.add_partner(&name).await?;
    let manner = Manner {
        mix: fault.mix,
        rate,
        patience: Duration::from_secs(420),
    };
    let before = stage.memory();
    let load = Load::start(&stage.site, &partner, &name, manner, random.fork());
    tokio::time::sleep(BEFORE).await;
    let injected = (fault.inject)(stage, &mut random).await;
    let back = Instant::now();
    let recovery = first_through(&load, back, |id| partner.endpoint.told_at(id)).await;
    tokio::time::sleep(AFTER).await;
    let outbox = load.finish().await;
    injected?;
    stage.cluster.ready().await?;
    let others = stage.others().clone();
    let mut verdict = books::close(&stage.site, &partner, &outbox, &others, PATIENCE).await;

    if fault.forgets {
        forgive_the_forgotten(&mut verdict);
    }
    stage.others().extend(&outbox);
    Ok(Row {
        fault,
        accepted: outbox.accepted.len(),
        repeated: outbox.lost_answers,
        verdict,
        recovery,
        memory: (before, stage.memory()),
    })
}

/// What a restored backup does not know cannot be in it: it is told as lost, and the vendors' record
/// alone says that nothing was sent twice.
fn forgive_the_forgotten(verdict: &mut Verdict) {
    verdict
        .violations
        .retain(|(what, _)| what.contains("more than once") || what.contains("panicked"));
}

/// How long after `back` the first message that was asked for since has been told as ended.
async fn first_through(
    load: &Load,
    back: Instant,
    told_at: impl Fn(&str) -> Option<Instant>,
) -> Option<Duration> {
    while back.elapsed() < COMING_BACK {
        let fresh = load.asked_since(back);
        let told = fresh.iter().filter_map(|id| told_at(id)).min();
        if let Some(told) = told {
            return Some(told.saturating_duration_since(back));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    None
}
