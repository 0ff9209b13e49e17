//! Routes' health is shared by all senders with the heartbeat, and so is the budget.

use std::sync::Arc;
use std::time::Duration;

use pabal_common::domain::kind::MessageType;
use pabal_common::ledger::SharedHealth;
use pabal_common::rounds::Rounds;
use pabal_common::telemetry::metric;
use pabal_provider::route::{Condition, SharedState};
use tokio_util::sync::CancellationToken;

use crate::desk::Desk;

const ROUND: Duration = Duration::from_millis(500);

pub(crate) async fn run(desk: Arc<Desk>, shutdown: CancellationToken) {
    let mut rounds = Rounds::every(ROUND, shutdown);
    while rounds.next().await {
        share(&desk);
    }
}

fn share(desk: &Desk) {
    let instance = &desk.node.instance;
    let senders = u32::try_from(instance.live_with_role("sender"))
        .unwrap_or(1)
        .max(1);
    desk.routes.set_live_senders(senders);
    desk.routes
        .learn(instance.learned_health().into_iter().filter_map(heard));
    let states = desk.routes.states();
    for state in &states {
        let full = desk
            .routes
            .routes()
            .iter()
            .find(|route| route.name() == state.route)
            .map_or(1, |route| route.spec().tps().max(1));
        metric::route_usable(
            &state.route,
            f64::from(state.allowed_rate) / f64::from(full),
        );
    }
    let mut told: Vec<SharedHealth> = states
        .into_iter()
        .filter_map(|state| {
            let shared = state.shared?;
            let (health, rate) = match shared.condition {
                Condition::Open => ("OK", state.allowed_rate),
                Condition::Limited { rate, .. } => ("OVERLOAD", rate),
                Condition::Closed => ("FAIL", 0),
            };
            Some(SharedHealth {
                route: state.route,
                health: health.to_owned(),
                rate,
                since: shared.since,
            })
        })
        .collect();
    told.extend(
        MessageType::ALL.into_iter().map(|kind| {
            SharedHealth::of_type(kind, desk.routes.usable(kind), desk.node.clock.now())
        }),
    );
    instance.set_health(told);
}

fn heard(told: SharedHealth) -> Option<(String, SharedState)> {
    let condition = match told.health.as_str() {
        "OK" => Condition::Open,
        "OVERLOAD" => Condition::Limited {
            rate: told.rate,
            from: told.since,
        },
        "FAIL" => Condition::Closed,
        _ => return None,
    };
    Some((
        told.route,
        SharedState {
            since: told.since,
            condition,
        },
    ))
}
