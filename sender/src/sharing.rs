//! Routes' health is shared by all senders with the heartbeat, and so is the budget.

use std::sync::Arc;
use std::time::Duration;

use pabal_common::domain::kind::MessageType;
use pabal_common::instance::Instance;
use pabal_common::ledger::SharedHealth;
use pabal_common::rounds::Rounds;
use pabal_common::telemetry::metric;
use pabal_provider::Closed;
use pabal_provider::route::{Condition, RouteState, SharedState};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::desk::Desk;

const ROUND: Duration = Duration::from_millis(500);
/// Until every other sender knows of this one: a heartbeat of ours, one of theirs, and their round.
const HEARD: Duration = Duration::from_millis(2_500);

/// A newcomer takes nothing until the others know of it and have given it its share; until then
/// they use the whole rate of every route. Alone it need not wait.
pub(crate) async fn until_heard(instance: &Instance, shutdown: &CancellationToken) {
    if instance.live_with_role("sender") > 1 {
        let _ = timeout(HEARD, shutdown.cancelled()).await;
    }
}

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
    measure(desk, &states);
    let mut told: Vec<SharedHealth> = states
        .into_iter()
        .filter_map(|state| {
            let shared = state.shared?;
            let (health, rate) = match shared.condition {
                Condition::Open => ("OK", state.allowed_rate),
                Condition::Limited { rate, .. } => ("OVERLOAD", rate),
                Condition::Closed(None) => ("FAIL", 0),
                Condition::Closed(Some(why)) => (why.name(), 0),
            };
            Some(SharedHealth {
                route: state.route,
                health: health.to_owned(),
                rate,
                since: shared.since,
            })
        })
        .collect();
    let now = desk.node.clock.now();
    told.extend(MessageType::ALL.into_iter().map(|kind| {
        let limit = desk.routes.text_limit(kind);
        SharedHealth::of_type(kind, desk.routes.usable(kind), limit, now)
    }));
    instance.set_health(told);
}

fn measure(desk: &Desk, states: &[RouteState]) {
    let routes = desk.routes.routes();
    for (state, route) in states.iter().zip(routes.iter()) {
        let full = route.spec().tps().max(1);
        let share = f64::from(state.allowed_rate) / f64::from(full);
        metric::route_usable(&state.route, share);
        for why in Closed::ALL {
            metric::route_closed(&state.route, why.name(), state.closed == Some(why));
        }
    }
}

fn heard(told: SharedHealth) -> Option<(String, SharedState)> {
    let condition = match told.health.as_str() {
        "OK" => Condition::Open,
        "OVERLOAD" => Condition::Limited {
            rate: told.rate,
            from: told.since,
        },
        "FAIL" => Condition::Closed(None),
        // What a newer program may say is not heard.
        word => Condition::Closed(Some(Closed::parse(word)?)),
    };
    Some((
        told.route,
        SharedState {
            since: told.since,
            condition,
        },
    ))
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;
    use crate::fake::House;

    #[tokio::test]
    async fn a_newcomer_waits_until_the_others_know_of_it_and_one_alone_does_not() {
        let never = CancellationToken::new();
        let alone = House::open(10, false).await;
        let waited = until_heard(&alone.desk.node.instance, &never).now_or_never();
        assert!(waited.is_some());
        let newcomer = House::beside(1, 10, false).await;
        let waited = until_heard(&newcomer.desk.node.instance, &never).now_or_never();
        assert!(waited.is_none());
    }
}
