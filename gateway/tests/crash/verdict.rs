//! The end of a test: every book must say the same.

use std::time::Duration;

use pabal_gateway::trial::books::{self, Others, Outcome, Verdict};
use pabal_gateway::trial::load::Outbox;
use pabal_gateway::trial::site::Partner;

use crate::trial::Trial;
use crate::world::World;

/// Deadlines, margins and retries of the configuration together are far less.
const PATIENCE: Duration = Duration::from_secs(60);
/// Of how many messages the history is shown when something is wrong with them.
const SHOWN: usize = 5;

/// Waits until every accepted message has ended and the partner knows, then compares the books.
/// The program must be running.
///
/// # Panics
/// If two of them disagree: with the messages concerned and their history.
pub(crate) async fn close(
    world: &World,
    partner: &Partner,
    outbox: &Outbox,
    trial: &mut Trial,
) -> Outcome {
    let nobody = Others::default();
    let verdict = books::close(&world.site, partner, outbox, &nobody, PATIENCE).await;
    let outcome = verdict.outcome;
    trial.tell(&format!(
        "accepted {} ({} lost answers, {} known before), taken {}, doubled {}, delivered {}, \
         failed {}, expired {} (in doubt {}), unended {}, webhooks {}, settled in {:.1} s",
        outbox.accepted.len(),
        outbox.lost_answers,
        outbox.known_before,
        world.site.simulator.taken_count(),
        outcome.doubled,
        outcome.delivered,
        outcome.failed,
        outcome.expired,
        outcome.in_doubt,
        outcome.unended,
        partner.endpoint.memory().deliveries,
        verdict.settled.as_secs_f64(),
    ));
    if !verdict.is_clean() {
        show(world, outbox, &verdict);
        let what: Vec<_> = verdict.violations.iter().map(|(what, _)| what).collect();
        panic!("seed {}: {what:?}", trial.seed);
    }
    outcome
}

/// What has to be known to find out.
fn show(world: &World, outbox: &Outbox, verdict: &Verdict) {
    for (what, messages) in &verdict.violations {
        println!("VIOLATION {what}: {}", messages.join(" "));
        for id in messages.iter().take(SHOWN) {
            let sent = outbox.accepted.get(id);
            let row = sent.map(|sent| (sent.kind.name(), sent.row));
            println!("--- {id} {row:?}");
            let shown = world.site.program.run(&["message", "show", id]).unwrap();
            println!("{}", String::from_utf8_lossy(&shown.stdout));
            println!("{}", String::from_utf8_lossy(&shown.stderr));
        }
    }
    println!("--- the end of the log\n{}", world.log());
}
