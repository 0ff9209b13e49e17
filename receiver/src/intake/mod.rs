//! Keeping messages: many callers share one transaction, and the broker is told behind their backs.

mod commit;
mod lanes;

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use pabal_common::batch::{BatchError, GroupCommit};
use pabal_common::broker::QueueName;
use pabal_common::clock::Timestamp;
use pabal_common::crypto::Sealer;
use pabal_common::deadline::in_time;
use pabal_common::domain::code::ErrorReason;
use pabal_common::domain::id::{MessageId, PartnerId};
use pabal_common::domain::kind::Lane;
use pabal_common::domain::message::NewMessage;
use pabal_common::http::ApiError;
use pabal_common::ledger::{Accepted, Duplicate, LedgerError, Partner};
use pabal_common::node::Node;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::message::Draft;
use crate::receiver::LEDGER_LIMIT;

/// How often a message is offered under a new id because another has the old one. Ids are unique as
/// long as node ids are; more than one collision in a row means that they are not.
const OFFERS: usize = 3;

/// A message that was kept.
#[derive(Clone, Copy)]
pub(crate) struct Kept {
    pub(crate) id: MessageId,
    pub(crate) accepted_at: Timestamp,
}

type Outcome = Result<Kept, ApiError>;

/// The way into the ledger.
pub(crate) struct Intake {
    node: Node,
    sealer: Sealer,
    commits: GroupCommit<NewMessage, Accepted, LedgerError>,
    longest_wait: Duration,
    fair_per_second: u32,
}

impl Intake {
    /// Starts committing, in tasks that `tracker` waits for, until `shutdown`.
    pub(crate) fn start(
        node: Node,
        sealer: Sealer,
        config: &Config,
        shutdown: CancellationToken,
        tracker: &TaskTracker,
    ) -> Self {
        let commits = commit::start(&node, config, shutdown, tracker);
        Self {
            node,
            sealer,
            commits,
            longest_wait: config.commit_wait,
            fair_per_second: config.fair_per_second,
        }
    }

    /// Waits until the task that commits has ended.
    pub(crate) fn ended(&self) -> impl Future<Output = ()> + Send + use<> {
        self.commits.ended()
    }

    /// Whether anything may be taken now: the broker can be told, and ids made here are ours alone.
    /// What queue a message goes to is not known yet; [`keep`](Self::keep) asks for that.
    ///
    /// # Errors
    /// E101 or E102.
    pub(crate) fn admit(&self) -> Result<(), ApiError> {
        self.node.relay.admit().map_err(queue_unavailable)?;
        if self.node.instance.alive() {
            Ok(())
        } else {
            Err(ApiError::ledger_unavailable(
                "the lease of this instance is not alive",
            ))
        }
    }

    /// The answer to a repeat that is remembered, from the ledger's row. `None` proves nothing.
    pub(crate) async fn recall(&self, partner: &PartnerId, draft: &Draft) -> Option<ApiError> {
        let recalled = self.node.quota.recall(partner, &draft.client_msg_id);
        let id = recalled.await?;
        let row = in_time(LEDGER_LIMIT, self.node.ledger.message(id)).await;
        let row = row.ok()??;
        // What was remembered is only believed as far as the row goes.
        if row.partner != *partner || row.client_msg_id != draft.client_msg_id {
            return None;
        }
        let duplicate = if row.digest == draft.digest {
            Duplicate::Same
        } else {
            Duplicate::Conflict
        };
        Some(repeated(id, duplicate))
    }

    /// Keeps messages of one partner and says of each, in order, what became of it. Of two with one
    /// client id the first is kept.
    pub(crate) async fn keep(&self, partner: &Partner, drafts: &[Draft]) -> Vec<Outcome> {
        let quota = &*self.node.quota;
        let lanes = lanes::choose(quota, partner, self.fair_per_second, drafts).await;
        let mut outcomes = self.refused(drafts, &lanes);
        let (first, later) = first_of_each(drafts);
        // When the later ones come, the ledger has the first of each and says how they compare.
        for mut open in [first, later] {
            open.retain(|place| !outcomes.contains_key(place));
            for _ in 0..OFFERS {
                if open.is_empty() {
                    break;
                }
                let offered = self.offer(partner, drafts, &lanes, open).await;
                open = Vec::new();
                for (place, said) in offered {
                    match said {
                        Some(outcome) => {
                            outcomes.insert(place, outcome);
                        }
                        None => open.push(place),
                    }
                }
            }
        }
        let unsaid = || Err(ApiError::internal("every message id made here is taken"));
        let places = 0..drafts.len();
        places
            .map(|place| outcomes.remove(&place).unwrap_or_else(unsaid))
            .collect()
    }

    /// E101 for those whose queue takes nothing now; the others go on.
    fn refused(&self, drafts: &[Draft], lanes: &[Lane]) -> BTreeMap<usize, Outcome> {
        let refused = |(place, (draft, lane)): (usize, (&Draft, &Lane))| {
            let queue = QueueName::of(draft.kind, *lane);
            let wait = self.node.relay.admit_to(queue).err()?;
            Some((place, Err(queue_unavailable(wait))))
        };
        let places = drafts.iter().zip(lanes).enumerate();
        places.filter_map(refused).collect()
    }

    /// Offers the drafts at these places under fresh ids; `None` for one whose id is taken.
    async fn offer(
        &self,
        partner: &Partner,
        drafts: &[Draft],
        lanes: &[Lane],
        places: Vec<usize>,
    ) -> Vec<(usize, Option<Outcome>)> {
        let accepted_at = self.node.clock.now();
        let message = |&place: &usize| {
            let (id, lane) = (self.node.instance.ids().message(), lanes[place]);
            drafts[place].message(id, &partner.id, lane, accepted_at, &self.sealer)
        };
        let messages: Vec<_> = places.iter().map(message).collect();
        let ids: Vec<_> = messages.iter().map(|message| message.id).collect();
        let said = self.submit(messages).await.into_iter().zip(ids);
        let said = said.map(|(answer, id)| match answer {
            Ok(Accepted::Kept) => Some(Ok(Kept { id, accepted_at })),
            Ok(Accepted::Repeated(by, duplicate)) => Some(Err(repeated(by, duplicate))),
            Ok(Accepted::IdTaken) => None,
            Err(error) => Some(Err(error)),
        });
        places.into_iter().zip(said).collect()
    }

    async fn submit(&self, messages: Vec<NewMessage>) -> Vec<Result<Accepted, ApiError>> {
        let count = messages.len();
        let answers = timeout(self.longest_wait, self.commits.submit_all(messages)).await;
        let Ok(answers) = answers else {
            let late = format!("no commit within {:?}", self.longest_wait);
            return (0..count)
                .map(|_| Err(ApiError::ledger_unavailable(late.clone())))
                .collect();
        };
        let answers = answers.into_iter();
        answers.map(|answer| answer.map_err(not_kept)).collect()
    }
}

/// The places of the first draft of each client id, and those of the others.
fn first_of_each(drafts: &[Draft]) -> (Vec<usize>, Vec<usize>) {
    let mut seen = HashSet::new();
    (0..drafts.len()).partition(|&place| seen.insert(&drafts[place].client_msg_id))
}

fn queue_unavailable(wait: Duration) -> ApiError {
    ApiError::new(ErrorReason::QueueUnavailable).retry_after(wait)
}

fn repeated(by: MessageId, duplicate: Duplicate) -> ApiError {
    let reason = match duplicate {
        Duplicate::Same => ErrorReason::DuplicateSame,
        Duplicate::Conflict => ErrorReason::DuplicateConflict,
    };
    ApiError::new(reason).message_id(by)
}

fn not_kept(error: BatchError<LedgerError>) -> ApiError {
    match error {
        // One bad row among good ones: nothing the partner could wait for.
        BatchError::Failed(
            error @ (LedgerError::Refused(_) | LedgerError::Corrupt(_) | LedgerError::Schema(_)),
        ) => ApiError::internal(error),
        BatchError::Closed => ApiError::new(ErrorReason::Overloaded).caused_by(error),
        error @ (BatchError::Failed(
            LedgerError::Unavailable(_) | LedgerError::Misconfigured(_),
        )
        | BatchError::Lost) => ApiError::ledger_unavailable(error),
    }
}
