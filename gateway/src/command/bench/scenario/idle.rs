//! What it costs to do nothing.

use std::time::Duration;

use super::Scenario;
use crate::command::bench::measure::meter::Meter;
use crate::command::bench::order::Plan;
use crate::command::bench::report::result::Run;
use crate::command::bench::stage::Stage;

/// How long it is left alone before it is looked at.
const SETTLING: Duration = Duration::from_secs(5);
const SETTLING_IN_SHORT: Duration = Duration::from_secs(1);

pub(super) const SCENARIO: Scenario = Scenario::new(
    "idle",
    "processor time and memory while nothing is to be done",
    |stage, plan| Box::pin(run(stage, plan)),
);

async fn run(stage: &Stage, plan: &Plan) -> anyhow::Result<Run> {
    let settling = match plan.short {
        true => SETTLING_IN_SHORT,
        false => SETTLING,
    };
    stage.progress.say("nothing happens");
    tokio::time::sleep(settling).await;
    let meter = Meter::start(stage.watched());
    tokio::time::sleep(plan.lasts).await;
    Ok(Run {
        usage: meter.stop(),
        books: stage.close(&[]).await?,
        ..Run::default()
    })
}
