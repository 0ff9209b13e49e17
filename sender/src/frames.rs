//! One frame: its messages become vendor calls, and the frame is acknowledged when each of them is
//! answered, waiting, unknown, or not ours to take.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::join_all;
use futures::stream::{FuturesUnordered, StreamExt as _};
use pabal_common::broker::{Delivery, FrameError, Member, QueueName, SendFrame};
use pabal_common::ledger::Hold;
use pabal_provider::route::{NoRoute, Permit};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::calling::{self, Carried};
use crate::desk::Desk;
use crate::sorting::{self, Part};

/// How long a message waits whose processing failed for a reason of its own.
const QUARANTINE: Duration = Duration::from_secs(30);
/// How long a message without a usable route waits at least; then the routes decide.
const UNROUTED: Duration = Duration::from_millis(500);
/// The longest that one waits whose type flows, while none of the routes that carry the message does:
/// it comes round again when it is twice as old, and from then on so often.
const LONGEST_UNROUTED: Duration = Duration::from_secs(60);
/// How long a frame is kept back when the ledger does not answer.
const LEDGER_PAUSE: Duration = Duration::from_millis(500);

/// What becomes of the broker's message; of a frame in parts, the last of what becomes of each.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Done,
    GiveBack,
    Pause,
}

/// Carries one frame to its end, in the trace it was published in. Whatever happens, the frame is
/// acknowledged, given back or dead.
pub(crate) async fn carry(
    desk: Arc<Desk>,
    queue: QueueName,
    delivery: Box<dyn Delivery>,
    shutdown: CancellationToken,
) {
    let span = delivery.span();
    let ended = to_its_end(desk, queue, delivery, shutdown);
    ended.instrument(span).await;
}

async fn to_its_end(
    desk: Arc<Desk>,
    queue: QueueName,
    delivery: Box<dyn Delivery>,
    shutdown: CancellationToken,
) {
    let frame = match SendFrame::decode(delivery.body()) {
        Ok(frame) => frame,
        Err(FrameError::Newer(version)) => {
            // The ledger's sweep brings its messages back in a version every process reads.
            tracing::warn!(%queue, version, "a send frame of a newer program was left to the sweep");
            return delivery.ack().await;
        }
        Err(FrameError::Garbled(error)) => {
            tracing::error!(%queue, error, "an unreadable send frame goes to the dead letters");
            return delivery.reject().await;
        }
    };
    desk.node
        .instance
        .note_taken(delivery.queue(), frame.queued_at);
    let work = messages(&desk, queue, &frame, &shutdown);
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(End::Done) => delivery.ack().await,
        Ok(End::GiveBack) => drop(delivery),
        Ok(End::Pause) => {
            tokio::time::sleep(LEDGER_PAUSE).await;
            drop(delivery);
        }
        Err(_) => {
            tracing::error!(%queue, "processing a frame panicked; its messages wait");
            match quarantine(&desk, &frame, &frame.members).await {
                true => delivery.ack().await,
                false => drop(delivery),
            }
        }
    }
}

async fn messages(
    desk: &Arc<Desk>,
    queue: QueueName,
    frame: &SendFrame,
    shutdown: &CancellationToken,
) -> End {
    let parts = match sorting::parts(desk, frame).await {
        Ok(parts) => parts,
        Err(error) => {
            tracing::warn!(%queue, %error, "the messages of a frame could not be looked at");
            return End::Pause;
        }
    };
    let carried = parts
        .iter()
        .map(|part| part_of(desk, queue, frame, part, shutdown));
    let ends = join_all(carried).await;
    ends.into_iter().max().unwrap_or(End::Done)
}

/// Carries those messages of a frame that the same routes carry.
async fn part_of(
    desk: &Arc<Desk>,
    queue: QueueName,
    frame: &SendFrame,
    part: &Part,
    shutdown: &CancellationToken,
) -> End {
    let mut rest = part.members.as_slice();
    let mut calls = FuturesUnordered::new();
    let mut end = End::Done;
    loop {
        while let Some(carried) = next_ready(&mut calls) {
            note(desk, frame, carried, &mut end).await;
        }
        if rest.is_empty() || !matches!(end, End::Done) {
            break;
        }
        let permit = tokio::select! {
            biased;
            () = shutdown.cancelled() => {
                end = End::GiveBack;
                break;
            }
            Some(carried) = calls.next(), if !calls.is_empty() => {
                note(desk, frame, carried, &mut end).await;
                continue;
            }
            permit = desk.routes.permit(frame.kind, part.fit.clone(), queue.lane(), rest.len()) => permit,
        };
        match permit {
            Ok(permit) => {
                let (chunk, after) = rest.split_at(permit.size().min(rest.len()));
                rest = after;
                calls.push(one_call(desk, frame, chunk.to_vec(), permit));
            }
            Err(NoRoute(_)) => {
                end = without_route(desk, queue, frame, part, rest).await;
                break;
            }
        }
    }
    while let Some(carried) = calls.next().await {
        note(desk, frame, carried, &mut end).await;
    }
    end
}

/// A finished call, without waiting for one.
fn next_ready<F: Future<Output = (Vec<Member>, Carried)>>(
    calls: &mut FuturesUnordered<F>,
) -> Option<(Vec<Member>, Carried)> {
    calls.next().now_or_never().flatten()
}

/// One call. If it panics, the others of its frame go on: dropping them would lose their answers.
async fn one_call(
    desk: &Arc<Desk>,
    frame: &SendFrame,
    members: Vec<Member>,
    permit: Permit,
) -> (Vec<Member>, Carried) {
    let call = calling::carry(desk, frame.kind, &members, permit);
    let carried = AssertUnwindSafe(call)
        .catch_unwind()
        .await
        .unwrap_or_else(|_| {
            tracing::error!(kind = %frame.kind, "a call panicked; what it had not claimed waits");
            Carried::Faulty
        });
    (members, carried)
}

async fn note(
    desk: &Desk,
    frame: &SendFrame,
    (members, carried): (Vec<Member>, Carried),
    end: &mut End,
) {
    match carried {
        Carried::Done => {}
        Carried::LedgerAway => *end = End::Pause,
        Carried::Lapsed => {
            if matches!(end, End::Done) {
                *end = End::GiveBack;
            }
        }
        Carried::Faulty => {
            if !quarantine(desk, frame, &members).await {
                *end = End::Pause;
            }
        }
    }
}

/// Without a usable route a type's own queue gets its frame back and is paused; a message from the
/// shared retry queue, or one of a queue that flows for others, waits in the ledger.
async fn without_route(
    desk: &Desk,
    queue: QueueName,
    frame: &SendFrame,
    part: &Part,
    rest: &[Member],
) -> End {
    if let QueueName::Send(channel, _) = queue
        && !desk.routes.any_usable(channel.kinds())
    {
        return End::GiveBack;
    }
    let wait = match part.accepted_at {
        Some(at) if desk.routes.usable(frame.kind) => desk.node.clock.now().since(at),
        _ => UNROUTED,
    };
    let wait = wait.clamp(UNROUTED, LONGEST_UNROUTED);
    match hold(desk, frame, rest, Hold::NoRoute, wait).await {
        true => End::Done,
        false => End::Pause,
    }
}

/// A message that fails for a reason of its own must not come round in a hot loop, nor for ever:
/// the ledger counts how often this happens to it.
async fn quarantine(desk: &Desk, frame: &SendFrame, members: &[Member]) -> bool {
    hold(desk, frame, members, Hold::Faulty, QUARANTINE).await
}

async fn hold(
    desk: &Desk,
    frame: &SendFrame,
    members: &[Member],
    why: Hold,
    wait: Duration,
) -> bool {
    let now = desk.node.clock.now();
    match desk
        .node
        .ledger
        .hold(frame.kind, members, why, now.plus(wait), now)
        .await
    {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(%error, "messages could not be made to wait");
            false
        }
    }
}

#[cfg(test)]
mod tests;
