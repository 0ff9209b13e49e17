//! One `submit_sm` on its way, and whether any byte of it may have left.
//!
//! This is the one place that tells "surely not sent" from "unknown". A ticket is waiting until the
//! connection's writer begins with it. From then on the message may have been sent, and only the
//! writer can take that back, when it knows that not one byte was taken off its hands. Who waits for
//! the answer may withdraw a waiting ticket, and then it is never written.

use std::sync::atomic::{AtomicU8, Ordering};

use bytes::Bytes;
use pabal_common::domain::id::{MessageId, SubmissionId};
use tokio::sync::oneshot;

const WAITING: u8 = 0;
const LEAVING: u8 = 1;
const WITHDRAWN: u8 = 2;

#[derive(Debug, Default)]
pub(super) struct Ticket(AtomicU8);

impl Ticket {
    /// Before the first byte is written; false if it was withdrawn.
    pub(super) fn leave(&self) -> bool {
        self.turn(WAITING, LEAVING).is_ok()
    }

    /// After all: no byte of it was written, and none will be.
    pub(super) fn stayed(&self) {
        let _ = self.turn(LEAVING, WAITING);
    }

    /// Gives up waiting; true if surely no byte has left or will.
    pub(super) fn withdraw(&self) -> bool {
        self.turn(WAITING, WITHDRAWN) != Err(LEAVING)
    }

    fn turn(&self, from: u8, to: u8) -> Result<u8, u8> {
        self.0
            .compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst)
    }
}

/// Which part of its message a `submit_sm` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Share {
    /// All of it.
    Whole,
    /// The last of several parts, sent when the others had been taken.
    Last,
    /// Another part.
    Earlier,
}

/// What a `submit_sm` belongs to.
#[derive(Clone, Copy, Debug)]
pub(super) struct About {
    pub(super) message: MessageId,
    pub(super) submission: SubmissionId,
    pub(super) share: Share,
}

/// What the message centre answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) status: u32,
    pub(super) id: Option<String>,
}

/// A `submit_sm` for a connection's writer. Whoever drops it leaves the ticket to say what that
/// means.
pub(super) struct Submission {
    pub(super) body: Bytes,
    pub(super) about: About,
    pub(super) ticket: std::sync::Arc<Ticket>,
    pub(super) reply: oneshot::Sender<Reply>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_withdrawn_never_leaves() {
        let ticket = Ticket::default();
        assert!(ticket.withdraw());
        assert!(!ticket.leave());
        assert!(ticket.withdraw());
    }

    #[test]
    fn what_is_leaving_cannot_be_withdrawn_unless_it_stayed() {
        let ticket = Ticket::default();
        assert!(ticket.leave());
        assert!(!ticket.withdraw());
        ticket.stayed();
        assert!(ticket.withdraw());
    }
}
