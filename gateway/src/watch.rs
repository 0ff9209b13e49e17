//! Once a second: is the ledger there, and how full are the queues.

use std::time::Duration;

use pabal_common::broker::QueueName;
use pabal_common::deadline::in_time;
use pabal_common::node::Node;
use pabal_common::rounds::Rounds;
use pabal_common::telemetry::metric;
use tokio_util::sync::CancellationToken;

const ROUND: Duration = Duration::from_secs(1);
/// Large tables are counted only every so many rounds.
const COUNT_EVERY: u32 = 15;
/// After this long without an answer a part is not ready.
const PATIENCE: Duration = Duration::from_secs(2);

/// Watches until `shutdown`.
pub(crate) async fn run(node: Node, shutdown: CancellationToken) {
    let ledger = node.readiness.part("ledger");
    let broker = node.readiness.part("broker");
    let lease = node.readiness.part("lease");
    let mut rounds = Rounds::every(ROUND, shutdown);
    let mut round: u32 = 0;
    while rounds.next().await {
        match in_time(PATIENCE, node.ledger.outbox_size()).await {
            Ok(rows) => {
                metric::outbox_rows(rows);
                ledger.ready();
            }
            Err(error) => ledger.not_ready(error.to_string()),
        }
        // Counting costs as much as there is to count.
        if round.is_multiple_of(COUNT_EVERY) {
            if let Ok(rows) = in_time(PATIENCE, node.ledger.delays_size()).await {
                metric::delays_due(rows);
            }
            if let Ok(rows) = in_time(PATIENCE, node.ledger.parked_size()).await {
                metric::reports_parked(rows);
            }
        }
        round = round.wrapping_add(1);
        for queue in QueueName::all() {
            if let Ok(ready) = in_time(PATIENCE, node.broker.ready(queue)).await {
                metric::queue_ready(queue, ready);
            }
        }
        match node.relay.admit() {
            Ok(()) => broker.ready(),
            Err(_) => broker.not_ready("the circuit breaker is open"),
        }
        match node.instance.alive() {
            true => lease.ready(),
            false => lease.not_ready("not renewed"),
        }
    }
}
