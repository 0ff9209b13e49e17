//! A bound connection: messages out, answers and receipts in, until either end has enough.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::bind::Party;
use super::pdu::{Pdu, command};
use super::reader::Reader;
use super::receipts::{Clerk, Notice};
use super::status;
use super::ticket::{About, Reply, Submission, Ticket};
use super::transport::Connection;
use super::writer::{Control, Writer};
use crate::provider::{Lost, NotConnected, ReportDesk};

/// How many answers of ours may wait to be written.
const CONTROLS: usize = 4096;
/// How many receipts may wait to be kept; with more, the message centre is asked to send them again.
const NOTICES: usize = 1000;
/// How many messages without an answer are remembered beyond those still waited for.
const FORGOTTEN: usize = 10_000;
/// How long the answers still due may take when a session is to end, and how long the goodbye may
/// take after them; the sender allows two seconds for both.
const FAREWELL: Duration = Duration::from_millis(800);

/// What came of one `submit_sm`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// It was answered.
    Answered(Reply),
    /// Surely no byte of it left.
    Unsent(NotConnected),
    /// It may have been taken.
    Lost(Lost),
}

/// Why a session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Ended {
    #[error("the connection broke")]
    Broken,
    #[error("the other end does not answer enquire_link")]
    Silent,
    #[error("the other end unbound, or does not know the bind any more")]
    Unbound,
    #[error("what came is no PDU")]
    Garbled,
    #[error("the other end sends requests and does not read the answers")]
    Flooded,
    #[error("we stop")]
    Stopped,
}

/// A bound connection, for those who send.
#[derive(Clone)]
pub(super) struct Session {
    queue: mpsc::Sender<Submission>,
    room: Arc<Semaphore>,
}

/// Room in a session's window, given back when dropped.
pub(super) struct Room {
    session: Session,
    _place: OwnedSemaphorePermit,
}

impl Session {
    /// One with an empty window, and where its messages come out.
    pub(super) fn new(window: usize) -> (Self, mpsc::Receiver<Submission>) {
        let (queue, messages) = mpsc::channel(window);
        let room = Arc::new(Semaphore::new(window));
        (Self { queue, room }, messages)
    }

    /// Room, if there is some at once.
    pub(super) fn try_enter(&self) -> Option<Room> {
        let place = Arc::clone(&self.room).try_acquire_owned().ok()?;
        Some(self.with(place))
    }

    /// Waits for room; `None` once the session is over.
    pub(super) async fn enter(&self) -> Option<Room> {
        let place = Arc::clone(&self.room).acquire_owned().await.ok()?;
        Some(self.with(place))
    }

    /// Lets nobody in any more.
    pub(super) fn close(&self) {
        self.room.close();
    }

    fn with(&self, place: OwnedSemaphorePermit) -> Room {
        Room {
            session: self.clone(),
            _place: place,
        }
    }
}

impl Room {
    /// Sends one `submit_sm` and waits for its answer until `deadline`.
    pub(super) async fn submit(&self, body: Bytes, about: About, deadline: Instant) -> Sent {
        let (reply, mut answer) = oneshot::channel();
        let ticket = Withdrawn(Arc::default());
        let submission = Submission {
            body,
            about,
            ticket: Arc::clone(&ticket.0),
            reply,
        };
        if self.session.queue.try_send(submission).is_err() {
            return Sent::Unsent(NotConnected::Refused);
        }
        match timeout_at(deadline, &mut answer).await {
            Ok(Ok(reply)) => return Sent::Answered(reply),
            Ok(Err(_)) if ticket.0.withdraw() => return Sent::Unsent(NotConnected::Refused),
            Ok(Err(_)) => return Sent::Lost(Lost::Reset),
            Err(_) if ticket.0.withdraw() => return Sent::Unsent(NotConnected::TimedOut),
            Err(_) => {}
        }
        // An answer from now on is a late one, but not if it was just put down here.
        answer.close();
        answer
            .try_recv()
            .map_or(Sent::Lost(Lost::TimedOut), Sent::Answered)
    }
}

/// Withdraws when the one who waits has gone.
struct Withdrawn(Arc<Ticket>);

impl Drop for Withdrawn {
    fn drop(&mut self) {
        self.0.withdraw();
    }
}

/// A bound connection, and what came behind the answer to the bind.
pub(super) struct Open {
    pub(super) connection: Connection,
    pub(super) buffer: BytesMut,
}

/// What the two directions of a session share.
#[derive(Default)]
pub(super) struct Shared {
    last: AtomicU32,
    unanswered: Mutex<BTreeMap<u32, Unanswered>>,
    all_answered: Notify,
}

/// A message that was written and not answered yet.
pub(super) struct Unanswered {
    pub(super) about: About,
    pub(super) reply: oneshot::Sender<Reply>,
}

impl Shared {
    /// The bind was the first.
    pub(super) const BIND: u32 = 1;

    fn new() -> Self {
        Self {
            last: AtomicU32::new(Self::BIND),
            ..Self::default()
        }
    }

    /// The next sequence number: from 1 to 0x7FFFFFFF, then from 1 again (SMPP 3.4 §5.1.4).
    pub(super) fn next_sequence(&self) -> u32 {
        let next = |last: u32| Some(last % 0x7FFF_FFFF + 1);
        let last = self
            .last
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, next);
        last.map_or(1, |last| last % 0x7FFF_FFFF + 1)
    }

    /// Remembers a message that is being written. The oldest that nobody answers is forgotten.
    pub(super) fn remember(&self, sequence: u32, message: Unanswered) {
        let mut unanswered = self.unanswered();
        unanswered.insert(sequence, message);
        if unanswered.len() > FORGOTTEN {
            unanswered.pop_first();
        }
    }

    /// The message that this answers.
    pub(super) fn recall(&self, sequence: u32) -> Option<Unanswered> {
        let mut unanswered = self.unanswered();
        let message = unanswered.remove(&sequence);
        if unanswered.is_empty() {
            self.all_answered.notify_waiters();
        }
        message
    }

    async fn all_answered(&self) {
        loop {
            let answered = self.all_answered.notified();
            if self.unanswered().is_empty() {
                return;
            }
            answered.await;
        }
    }

    fn unanswered(&self) -> MutexGuard<'_, BTreeMap<u32, Unanswered>> {
        self.unanswered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a bound connection going until it ends. What was not written by then was not sent; what
/// was, and is not answered, has an unknown outcome.
pub(super) async fn converse(
    party: &Party,
    open: Open,
    session: &Session,
    messages: mpsc::Receiver<Submission>,
    desk: &dyn ReportDesk,
    stop: &CancellationToken,
) -> Ended {
    let Connection { wire, counts_bytes } = open.connection;
    let (read, write) = tokio::io::split(wire);
    let (control, controls) = mpsc::channel(CONTROLS);
    let (notices, noticed) = mpsc::channel::<Notice>(NOTICES);
    let (unbound, unbinding) = mpsc::channel(1);
    let shared = Shared::new();
    let reader = Reader {
        read,
        buffer: open.buffer,
        shared: &shared,
        control: control.clone(),
        notices,
        unbound,
        party,
    };
    let writer = Writer {
        write,
        counts_bytes,
        controls,
        messages,
        shared: &shared,
        limit: party.binding.answer_timeout,
    };
    let clerk = Clerk {
        desk,
        account: &party.account,
        noticed,
        control: control.clone(),
    };
    let farewell = farewell(&shared, session, &control, unbinding, stop);
    tokio::select! {
        ended = reader.run() => ended,
        ended = writer.run() => ended,
        ended = clerk.run() => ended,
        ended = farewell => ended,
    }
}

/// Waits until one of the two ends wants to stop, then for the answers still due, and says goodbye.
async fn farewell(
    shared: &Shared,
    session: &Session,
    control: &mpsc::Sender<Control>,
    mut unbinding: mpsc::Receiver<u32>,
    stop: &CancellationToken,
) -> Ended {
    let theirs = tokio::select! {
        () = stop.cancelled() => None,
        Some(sequence) = unbinding.recv() => Some(sequence),
        else => return std::future::pending().await,
    };
    session.close();
    let (closed, no_more) = oneshot::channel();
    let _ = control.send(Control::NoMore(closed)).await;
    let _ = no_more.await;
    let _ = timeout(FAREWELL, shared.all_answered()).await;
    let goodbye = match theirs {
        Some(sequence) => Control::Last(Pdu::bare(command::UNBIND_RESP, status::OK, sequence)),
        None => {
            let sequence = shared.next_sequence();
            Control::Pdu(Pdu::bare(command::UNBIND, status::OK, sequence))
        }
    };
    let _ = control.send(goodbye).await;
    sleep(FAREWELL).await;
    Ended::Stopped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_numbers_begin_again_before_the_sign_bit() {
        let shared = Shared::new();
        assert_eq!(shared.next_sequence(), 2);
        shared.last.store(0x7FFF_FFFE, Ordering::SeqCst);
        assert_eq!(shared.next_sequence(), 0x7FFF_FFFF);
        assert_eq!(shared.next_sequence(), 1);
    }
}
