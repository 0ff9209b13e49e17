//! Once a second: is the ledger there, how full are the queues, and how many receivers share the
//! limits.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::broker::QueueName;
use crate::deadline::in_time;
use crate::http::health::Part;
use crate::node::Node;
use crate::rounds::Rounds;
use crate::telemetry::metric;

const ROUND: Duration = Duration::from_secs(1);
/// Large tables are counted only every so many rounds.
const COUNT_EVERY: u32 = 15;
/// The service whose processes share the limits.
const RECEIVER: &str = "receiver";
/// After this long without an answer a part is not ready.
const PATIENCE: Duration = Duration::from_secs(2);

/// Watches until `shutdown`.
pub(super) async fn run(node: Node, shutdown: CancellationToken) {
    let mut watch = Watch::new(node);
    let mut rounds = Rounds::every(ROUND, shutdown);
    while rounds.next().await {
        // A part that does not answer must not hold the stop up.
        rounds.carry_out(watch.round()).await;
    }
}

/// Tells the limits among how many receivers they are divided.
pub(super) fn note_receivers(node: &Node) {
    let receivers = node.instance.live_with_role(RECEIVER);
    node.quota.note_receivers(receivers.max(1));
}

struct Watch {
    ledger: Part,
    broker: Part,
    lease: Part,
    node: Node,
    rounds: u32,
}

impl Watch {
    fn new(node: Node) -> Self {
        Self {
            ledger: node.readiness.part("ledger"),
            broker: node.readiness.part("broker"),
            lease: node.readiness.part("lease"),
            node,
            rounds: 0,
        }
    }

    async fn round(&mut self) {
        let node = &self.node;
        note_receivers(node);
        // A small table: whether the ledger answers must not depend on how much there is in it.
        match in_time(PATIENCE, node.ledger.taken()).await {
            Ok(_) => self.ledger.ready(),
            Err(error) => self.ledger.not_ready(error.to_string()),
        }
        // Counting costs as much as there is to count.
        if self.rounds.is_multiple_of(COUNT_EVERY) {
            if let Ok(rows) = in_time(PATIENCE, node.ledger.outbox_size()).await {
                metric::outbox_rows(rows);
            }
            if let Ok(rows) = in_time(PATIENCE, node.ledger.delays_size()).await {
                metric::delays_due(rows);
            }
            if let Ok(rows) = in_time(PATIENCE, node.ledger.parked_size()).await {
                metric::reports_parked(rows);
            }
        }
        self.rounds = self.rounds.wrapping_add(1);
        for queue in QueueName::all() {
            if let Ok(ready) = in_time(PATIENCE, node.broker.ready(queue)).await {
                metric::queue_ready(queue, ready);
            }
        }
        match node.relay.admit() {
            Ok(()) => self.broker.ready(),
            Err(_) => self.broker.not_ready("the circuit breaker is open"),
        }
        match node.instance.alive() {
            true => self.lease.ready(),
            false => self.lease.not_ready("not renewed"),
        }
    }
}
