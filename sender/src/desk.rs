//! What every part of the sender works with.

use std::collections::HashMap;
use std::sync::Arc;

use pabal_common::batch::{BatchLimits, Batching, GroupCommit};
use pabal_common::crypto::Sealer;
use pabal_common::domain::report::VendorAccount;
use pabal_common::ledger::{Claim, ClaimedCall, LedgerError, Settlement};
use pabal_common::node::Node;
use pabal_common::relay::Publisher;
use pabal_provider::Provider;
use pabal_provider::route::RouteBook;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::hand::Hand;
use crate::refusals::Refusals;

/// How many publishes may be under way.
const PUBLISHES: usize = 64;

/// What a claim got.
pub(crate) struct Claimed {
    pub(crate) call: ClaimedCall,
    /// The commit's answer was lost and this was read again: members that are not in it may be
    /// another's by now, not claimed at all, or claimed and taken over in between.
    pub(crate) doubtful: bool,
}

pub(crate) struct Desk {
    pub(crate) node: Node,
    pub(crate) routes: RouteBook,
    pub(crate) vendors: HashMap<VendorAccount, Arc<dyn Provider>>,
    pub(crate) sealer: Sealer,
    pub(crate) config: Config,
    /// Calls in hand, by submission.
    pub(crate) hand: Hand,
    pub(crate) refusals: Refusals,
    pub(crate) claims: GroupCommit<Claim, Claimed, LedgerError>,
    pub(crate) settlements: GroupCommit<Settlement, (), LedgerError>,
    pub(crate) publisher: Publisher,
    /// Wakes the release of delayed messages: one of ours may be due before the next round.
    pub(crate) delayed: Arc<Notify>,
}

impl Desk {
    pub(crate) fn new(
        node: Node,
        routes: RouteBook,
        vendors: HashMap<VendorAccount, Arc<dyn Provider>>,
        config: Config,
        closing: &CancellationToken,
        tracker: &TaskTracker,
    ) -> Self {
        let publisher = Publisher::new(Arc::clone(&node.relay), PUBLISHES, tracker.clone());
        Self {
            claims: claims(&node, closing, tracker),
            settlements: settlements(&node, publisher.clone(), closing, tracker),
            sealer: Sealer::new(&node.keyring),
            publisher,
            node,
            routes,
            vendors,
            config,
            hand: Hand::default(),
            refusals: Refusals::default(),
            delayed: Arc::new(Notify::new()),
        }
    }

    /// Whether this account's vendor can be asked what became of a message.
    pub(crate) fn can_be_asked(&self, account: &VendorAccount) -> bool {
        self.vendors
            .get(account)
            .is_some_and(|vendor| vendor.capabilities().can_be_asked)
    }
}

fn claims(
    node: &Node,
    closing: &CancellationToken,
    tracker: &TaskTracker,
) -> GroupCommit<Claim, Claimed, LedgerError> {
    let node = node.clone();
    let batching = Batching {
        name: "claim",
        limits: BatchLimits {
            items: 64,
            ..BatchLimits::default()
        },
        weight: |claim: &Claim| claim.members.len() * 16,
        splits: LedgerError::may_be_one_row,
    };
    let commit = move |claims: Arc<[Claim]>| {
        let node = node.clone();
        async move {
            let me = node.instance.id();
            match node.ledger.claim(me, &claims, node.clock.now()).await {
                // The commit may have happened although its answer was lost.
                Err(LedgerError::Unavailable(_)) => {
                    let mut calls = Vec::with_capacity(claims.len());
                    for claim in claims.iter() {
                        let call = node.ledger.reread(claim).await?;
                        calls.push(Claimed {
                            call,
                            doubtful: true,
                        });
                    }
                    Ok(calls)
                }
                calls => {
                    let sure = |call| Claimed {
                        call,
                        doubtful: false,
                    };
                    calls.map(|calls| calls.into_iter().map(sure).collect())
                }
            }
        }
    };
    GroupCommit::start(batching, commit, closing.clone(), tracker)
}

fn settlements(
    node: &Node,
    publisher: Publisher,
    closing: &CancellationToken,
    tracker: &TaskTracker,
) -> GroupCommit<Settlement, (), LedgerError> {
    let node = node.clone();
    let batching = Batching {
        name: "settle",
        limits: BatchLimits::default(),
        weight: |_: &Settlement| 256,
        splits: LedgerError::may_be_one_row,
    };
    let commit = move |settlements: Arc<[Settlement]>| {
        let (node, publisher) = (node.clone(), publisher.clone());
        async move {
            let (me, outbox) = (node.instance.id(), node.instance.ids().outbox());
            let retired = node.relay.take_retired();
            match node.ledger.settle(me, outbox, &settlements, &retired).await {
                Ok(dispatch) => {
                    publisher.publish(dispatch);
                    Ok(vec![(); settlements.len()])
                }
                Err(error) => {
                    node.relay.retire_failed(retired);
                    Err(error)
                }
            }
        }
    };
    GroupCommit::start(batching, commit, closing.clone(), tracker)
}
