//! One transaction for whatever waits, then its frames to the broker in the background.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pabal_common::batch::{BatchLimits, Batching, GroupCommit};
use pabal_common::deadline::in_time;
use pabal_common::domain::id::{ClientMsgId, MessageId, PartnerId};
use pabal_common::domain::message::NewMessage;
use pabal_common::http::health::Part;
use pabal_common::ledger::{Accepted, LedgerError};
use pabal_common::node::Node;
use pabal_common::quota::Quota;
use pabal_common::relay::Publisher;
use pabal_common::telemetry::metric;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;

/// What a row costs beside its sealed content and metadata, in bytes, roughly.
const ROW: usize = 256;

pub(super) fn start(
    node: &Node,
    config: &Config,
    shutdown: CancellationToken,
    tracker: &TaskTracker,
) -> GroupCommit<NewMessage, Accepted, LedgerError> {
    let batching = Batching {
        name: "accept",
        limits: BatchLimits {
            items: config.commit_items,
            bytes: config.commit_bytes,
            queue: config.commit_queue,
            parallel: config.commits_at_once,
        },
        weight: |message: &NewMessage| {
            ROW + message.sealed.len() + message.metadata.as_ref().map_or(0, String::len)
        },
        splits: LedgerError::may_be_one_row,
    };
    let part = node.readiness.part("message commits");
    part.ready();
    let committing = Arc::new(Committing {
        node: node.clone(),
        limit: config.commit_wait,
        publisher: Publisher::new(
            Arc::clone(&node.relay),
            config.publications_at_once,
            tracker.clone(),
        ),
        part,
    });
    let commit = move |messages: Arc<[NewMessage]>| {
        let committing = Arc::clone(&committing);
        async move { committing.commit(&messages).await }
    };
    GroupCommit::start(batching, commit, shutdown, tracker)
}

/// How long a failed commit keeps requests away. While the process is not ready nobody sends what
/// would show that commits succeed again.
const AWAY: Duration = Duration::from_secs(5);

struct Committing {
    node: Node,
    limit: Duration,
    publisher: Publisher,
    /// Whether messages can be kept. The ledger may be read, and a heartbeat fit into it, while a
    /// full disk has no room for messages.
    part: Part,
}

impl Committing {
    async fn commit(&self, messages: &[NewMessage]) -> Result<Vec<Accepted>, LedgerError> {
        let Node {
            ledger,
            relay,
            instance,
            ..
        } = &self.node;
        let retired = relay.take_retired();
        let outbox = instance.ids().outbox();
        let started = Instant::now();
        let accepting = ledger.accept(instance.id(), outbox, messages, &retired);
        let accepted = in_time(self.limit, accepting).await;
        metric::ledger_commit(started.elapsed());
        let batch = match accepted {
            Ok(batch) => {
                self.part.ready();
                batch
            }
            Err(error) => {
                relay.retire_failed(retired);
                if !error.may_be_one_row() {
                    self.part.not_ready_for(AWAY, error.to_string());
                }
                return Err(error);
            }
        };
        let mut news = Vec::new();
        for (message, outcome) in messages.iter().zip(&batch.outcomes) {
            if *outcome == Accepted::Kept {
                metric::messages_accepted(message.kind, 1);
                let NewMessage {
                    partner,
                    client_msg_id,
                    ..
                } = message;
                news.push((partner.clone(), client_msg_id.clone(), message.id));
            }
        }
        if let Some(dispatch) = batch.dispatch {
            // Nobody waits for either; what is not remembered, the ledger finds.
            let remember = remember(Arc::clone(&self.node.quota), news);
            self.publisher.publish_and(dispatch, remember);
        }
        Ok(batch.outcomes)
    }
}

async fn remember(quota: Arc<dyn Quota>, news: Vec<(PartnerId, ClientMsgId, MessageId)>) {
    for (partner, client, message) in news {
        quota.remember(&partner, &client, message).await;
    }
}
