//! One vendor call: claim, open, call, settle.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pabal_common::batch::BatchError;
use pabal_common::broker::Member;
use pabal_common::crypto::SealError;
use pabal_common::domain::id::SubmissionId;
use pabal_common::domain::kind::MessageType;
use pabal_common::domain::message::Content;
use pabal_common::domain::phase::Settled;
use pabal_common::domain::reason::Reason;
use pabal_common::domain::report::Verdict;
use pabal_common::files::FileError;
use pabal_common::ledger::{Claim, ClaimedMessage, LedgerError, Settlement};
use pabal_provider::route::{Permit, Route};
use pabal_provider::{Call, Lost, Outcome, Outgoing};

use crate::attachments;
use crate::desk::Desk;
use crate::hand;
use crate::refusals;
use crate::verdict::{self, Circumstances};

/// A message that was quarantined this often is given up.
const POISONED: u16 = 5;
/// How long a message waits that this process cannot open, or whose files cannot be had: long enough
/// to be seen in the log, short enough for another to send it in time.
const NOT_NOW: Duration = Duration::from_secs(5);
/// How long to wait before recording an outcome again when the ledger does not answer.
const SETTLE_AGAIN: Duration = Duration::from_millis(250);

/// How a part of a frame ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carried {
    /// Every member is answered, waiting, unknown, or not ours.
    Done,
    /// The ledger did not answer: what was not claimed is still in its queue.
    LedgerAway,
    /// The process must act as dead: nothing was begun.
    Lapsed,
    /// The ledger cannot handle one of these messages, or working on them panicked.
    Faulty,
}

/// Claims `members` for one call with the permit in hand, makes the call and records its end.
pub(crate) async fn carry(
    desk: &Arc<Desk>,
    kind: MessageType,
    members: &[Member],
    mut permit: Permit,
) -> Carried {
    // A permit may take long to come. What a process takes that acts as dead is taken over at once.
    if !desk.node.instance.alive() {
        permit.return_unused(members.len());
        return Carried::Lapsed;
    }
    let route = Arc::clone(permit.route());
    let submission = desk.node.instance.ids().submission();
    let claim = Claim {
        submission,
        route: route.name().to_owned(),
        account: route.provider().account().clone(),
        members: members.to_vec(),
    };
    let in_hand = desk.hand.take(hand::Call {
        submission,
        account: claim.account.clone(),
        messages: members.iter().map(|member| member.id).collect(),
    });
    let (claimed, doubtful) = match desk.claims.submit(claim).await {
        Ok(claimed) => (claimed.call.messages, claimed.doubtful),
        Err(BatchError::Failed(LedgerError::Refused(error) | LedgerError::Corrupt(error))) => {
            tracing::error!(%kind, error, "messages cannot be claimed");
            permit.return_unused(members.len());
            in_hand.ended();
            return Carried::Faulty;
        }
        Err(error) => {
            tracing::warn!(%kind, %error, "claiming failed");
            (Vec::new(), true)
        }
    };
    let unclaimed = match doubtful {
        true => unclaimed(desk, submission, &route, members, &claimed),
        false => Vec::new(),
    };
    let (sendable, outgoing, unfit) = open(desk, submission, &route, claimed).await;
    permit.return_unused(members.len().saturating_sub(sendable.len()));
    let mut settlements = unfit;
    settlements.extend(unclaimed);
    if !sendable.is_empty() {
        settlements.extend(call(desk, submission, &route, sendable, outgoing).await);
    }
    drop(permit);
    let all_recorded = settle(desk, settlements).await;
    // A claim in doubt may still land.
    if all_recorded && !doubtful {
        in_hand.ended();
    }
    match doubtful {
        // The frame comes again: a member that was not claimed at all is still queued.
        true => Carried::LedgerAway,
        false => Carried::Done,
    }
}

/// Members of a claim whose commit's answer was lost, and that a second look did not find: whatever
/// became of the claim, no byte of them has left. Where they are not ours this changes nothing.
fn unclaimed(
    desk: &Desk,
    submission: SubmissionId,
    route: &Route,
    members: &[Member],
    claimed: &[ClaimedMessage],
) -> Vec<Settlement> {
    let now = desk.node.clock.now();
    members
        .iter()
        .filter(|member| claimed.iter().all(|message| message.id != member.id))
        .map(|member| Settlement {
            id: member.id,
            submission,
            settled: Settled::NotTaken { charged: false },
            account: route.provider().account().clone(),
            vendor_code: None,
            at: now,
            due: Some(now.plus(desk.config.throttle_pause)),
            tell_sent: false,
        })
        .collect()
}

/// Why a message is not sent.
enum Unfit {
    /// It is sealed with a key that this process has not read, or its files cannot be had just now.
    /// Another may send it, or this one later, so it waits; its validity ends it.
    NotNow(String),
    /// Nobody can send it.
    Never(Reason, String),
}

impl Unfit {
    fn settled(&self) -> Settled {
        match self {
            Self::NotNow(_) => Settled::NotTaken { charged: false },
            Self::Never(reason, _) => Settled::Final(Verdict::Failed(*reason), None),
        }
    }

    fn poisoned(error: impl ToString) -> Self {
        Self::Never(Reason::Poisoned, error.to_string())
    }

    fn without_files(error: FileError) -> Self {
        match error.may_pass() {
            true => Self::NotNow(error.to_string()),
            false => Self::Never(Reason::AttachmentMissing, error.to_string()),
        }
    }
}

/// What a message says.
fn content(desk: &Desk, message: &ClaimedMessage) -> Result<Content, Unfit> {
    let plain = match desk.sealer.open(message.id, &message.sealed) {
        Err(error @ SealError::UnknownKey(_)) => return Err(Unfit::NotNow(error.to_string())),
        opened => opened.map_err(Unfit::poisoned)?,
    };
    if message.poison >= POISONED {
        return Err(Unfit::poisoned("it was quarantined too often"));
    }
    serde_json::from_slice(&plain).map_err(Unfit::poisoned)
}

/// What a message says, with the files that go with it, read until `until`.
async fn opened(desk: &Desk, message: &ClaimedMessage, until: Instant) -> Result<Outgoing, Unfit> {
    let content = content(desk, message)?;
    let attachments = attachments::load(&desk.node.files, &content, until.into()).await;
    Ok(Outgoing {
        id: message.id,
        kind: message.kind,
        purpose: message.purpose,
        attachments: attachments.map_err(Unfit::without_files)?,
        content,
    })
}

/// Opens the sealed contents. What cannot be opened, has lost its files, or was quarantined too often,
/// ends here; what another process may send, or this one later, is given back.
async fn open(
    desk: &Desk,
    submission: SubmissionId,
    route: &Route,
    claimed: Vec<ClaimedMessage>,
) -> (Vec<ClaimedMessage>, Vec<Outgoing>, Vec<Settlement>) {
    let (mut sendable, mut outgoing, mut unfit) = (Vec::new(), Vec::new(), Vec::new());
    let until = Instant::now() + attachments::LIMIT;
    for message in claimed {
        match opened(desk, &message, until).await {
            Ok(one) => {
                outgoing.push(one);
                sendable.push(message);
            }
            Err(why) => {
                let now = desk.node.clock.now();
                let due = match &why {
                    Unfit::NotNow(error) => {
                        tracing::error!(message_id = %message.id, error, "a message was given back");
                        Some(now.plus(NOT_NOW))
                    }
                    Unfit::Never(_, error) => {
                        tracing::error!(message_id = %message.id, error, "a message was given up");
                        None
                    }
                };
                unfit.push(Settlement {
                    id: message.id,
                    submission,
                    settled: why.settled(),
                    account: route.provider().account().clone(),
                    vendor_code: None,
                    at: now,
                    due,
                    tell_sent: false,
                });
            }
        }
    }
    (sendable, outgoing, unfit)
}

/// Makes the call, if the lease lasts long enough to begin one.
async fn call(
    desk: &Desk,
    submission: SubmissionId,
    route: &Route,
    claimed: Vec<ClaimedMessage>,
    messages: Vec<Outgoing>,
) -> Vec<Settlement> {
    let provider = route.provider();
    let mut circumstances = Circumstances {
        submission,
        account: provider.account().clone(),
        can_be_asked: provider.capabilities().can_be_asked,
        route_was_closed: false,
        now: desk.node.clock.now(),
        jitter: fastrand::f64(),
        throttle_pause: desk.config.throttle_pause,
        ask_after: desk.config.ask_after,
    };
    // A claim that is taken over becomes UNKNOWN and is never sent again, so even a late first byte
    // is the only one. Not beginning what might be taken over keeps it from being lost.
    if desk.node.instance.remaining() <= desk.config.first_byte_limit {
        return verdict::given_back(&claimed, &circumstances);
    }
    let call = Call {
        submission,
        messages,
    };
    let started = Instant::now();
    let outcome = tokio::time::timeout(desk.config.call_limit, provider.submit(&call))
        .await
        .unwrap_or(Outcome::Unknown(Lost::TimedOut));
    let found = desk.routes.observe(route, verdict::observation(&outcome));
    circumstances.route_was_closed = found == pabal_provider::route::Health::Fail;
    circumstances.now = desk.node.clock.now();
    verdict::tell(
        route.name(),
        &outcome,
        call.messages.len(),
        started.elapsed(),
    );
    refusals::note(desk, route, &claimed, &call.messages, &outcome).await;
    verdict::settlements(&claimed, &outcome, &circumstances)
}

/// Records how the call ended. What is known must not be forgotten, so this goes on until the
/// ledger takes it; only the end of the process leaves it to the take-over, as unknown. False if some
/// of it could not be recorded.
async fn settle(desk: &Desk, settlements: Vec<Settlement>) -> bool {
    if settlements.iter().any(|one| one.due.is_some()) {
        desk.delayed.notify_one();
    }
    let mut open = settlements;
    let mut all_recorded = true;
    while !open.is_empty() {
        let results = desk.settlements.submit_all(open.clone()).await;
        let mut again = Vec::new();
        for (one, result) in open.into_iter().zip(results) {
            match result {
                Ok(()) => {}
                Err(BatchError::Closed) => all_recorded = false,
                Err(BatchError::Failed(
                    LedgerError::Refused(error) | LedgerError::Corrupt(error),
                )) => {
                    all_recorded = false;
                    tracing::error!(message_id = %one.id, error, "an outcome cannot be recorded");
                }
                Err(BatchError::Failed(_) | BatchError::Lost) => again.push(one),
            }
        }
        open = again;
        if !open.is_empty() {
            tokio::time::sleep(SETTLE_AGAIN).await;
        }
    }
    desk.delayed.notify_one();
    all_recorded
}
