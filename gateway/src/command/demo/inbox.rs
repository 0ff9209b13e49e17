//! The results as they arrive at the partner's endpoint.

use std::collections::{BTreeMap, BTreeSet};

use pabal_common::clock::{Clock as _, SystemClock, Timestamp};
use pabal_gateway::endpoint::DemoEndpoint;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What the endpoint was told of one message.
#[derive(Clone, Debug)]
pub(super) struct Told {
    /// The `webhook-id`s; one, unless something is wrong.
    pub(super) webhooks: BTreeSet<String>,
    pub(super) status: String,
    pub(super) reason: Option<String>,
    pub(super) vendor_code: Option<String>,
    /// When it arrived first.
    pub(super) at: Timestamp,
}

/// Message id → what was told.
pub(super) type Results = BTreeMap<String, Told>;

/// Collects results while everything else goes on.
pub(super) struct Inbox {
    results: watch::Receiver<Results>,
    collecting: JoinHandle<()>,
}

impl Inbox {
    /// Begins to collect.
    pub(super) fn open(endpoint: DemoEndpoint) -> Self {
        let (found, results) = watch::channel(Results::new());
        let collecting = tokio::spawn(collect(endpoint, found));
        Self {
            results,
            collecting,
        }
    }

    /// What has arrived so far.
    pub(super) fn results(&self) -> Results {
        self.results.borrow().clone()
    }

    /// Waits until all these messages have a result.
    pub(super) async fn has_all(&mut self, messages: &[String]) {
        let all = |results: &Results| messages.iter().all(|id| results.contains_key(id));
        if self.results.wait_for(all).await.is_err() {
            // Nobody collects any more, so there is nothing to wait for.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.collecting.abort();
    }
}

async fn collect(endpoint: DemoEndpoint, found: watch::Sender<Results>) {
    let mut arrivals = endpoint.arrivals();
    let mut seen = 0;
    loop {
        let received = endpoint.received();
        let now = SystemClock.now();
        if received.len() > seen {
            found.send_modify(|results| {
                for webhook in &received[seen..] {
                    for event in webhook.body["events"].as_array().into_iter().flatten() {
                        note(results, &webhook.id, event, now);
                    }
                }
            });
            seen = received.len();
        }
        if arrivals.changed().await.is_err() {
            return;
        }
    }
}

fn note(results: &mut Results, webhook: &str, event: &Value, now: Timestamp) {
    let word = |field: &str| event[field].as_str().map(ToOwned::to_owned);
    let told = results
        .entry(word("messageId").unwrap_or_default())
        .or_insert_with(|| Told {
            webhooks: BTreeSet::new(),
            status: word("status").unwrap_or_default(),
            reason: word("reason"),
            vendor_code: word("vendorCode"),
            at: now,
        });
    told.webhooks.insert(webhook.to_owned());
}
