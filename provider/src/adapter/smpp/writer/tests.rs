//! Which messages have left when a write fails.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use pabal_common::domain::id::{MessageId, SubmissionId};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

use super::*;
use crate::adapter::smpp::ticket::{About, Reply, Share};

/// Takes so many bytes, and then fails.
struct Breaking(usize);

impl AsyncRead for Breaking {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Breaking {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        out: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.0 == 0 {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let taken = out.len().min(self.0);
        self.0 -= taken;
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

const MESSAGES: usize = 3;
/// A header and a body.
const LENGTH: usize = 16 + 10;

/// Writes three messages over a connection that breaks after `bytes`; which of them surely stayed.
async fn stayed(bytes: usize, counts_bytes: bool) -> Vec<bool> {
    let wire: Box<dyn Wire> = Box::new(Breaking(bytes));
    let (_read, write) = tokio::io::split(wire);
    let (queue, messages) = mpsc::channel(MESSAGES);
    let (_control, controls) = mpsc::channel(1);
    let mut sent = Vec::new();
    for number in 0..MESSAGES {
        let ticket = Arc::new(Ticket::default());
        let (reply, answer) = oneshot::channel::<Reply>();
        let submission = Submission {
            body: Bytes::from_static(&[0; LENGTH - 16]),
            about: About {
                message: MessageId::from_number(number as u64),
                submission: SubmissionId::from_number(1),
                share: Share::Whole,
            },
            ticket: Arc::clone(&ticket),
            reply,
        };
        queue.try_send(submission).ok().unwrap();
        sent.push((ticket, answer));
    }
    let shared = Shared::default();
    let writer = Writer {
        write,
        counts_bytes,
        controls,
        messages,
        shared: &shared,
        limit: Duration::from_secs(10),
    };
    assert_eq!(writer.run().await, Ended::Broken);
    sent.iter().map(|(ticket, _)| ticket.withdraw()).collect()
}

#[tokio::test]
async fn a_message_of_which_one_byte_was_taken_may_have_left() {
    for (bytes, expected) in [
        (0, [true, true, true]),
        (1, [false, true, true]),
        (LENGTH, [false, true, true]),
        (LENGTH + 1, [false, false, true]),
        (2 * LENGTH, [false, false, true]),
        (3 * LENGTH - 1, [false, false, false]),
    ] {
        assert_eq!(stayed(bytes, true).await, expected, "{bytes} bytes");
    }
}

#[tokio::test]
async fn over_tls_every_message_of_a_failed_write_may_have_left() {
    for bytes in [0, 1, LENGTH] {
        assert_eq!(stayed(bytes, false).await, [false; MESSAGES]);
    }
}

#[tokio::test]
async fn a_withdrawn_message_is_not_written() {
    let wire: Box<dyn Wire> = Box::new(Breaking(0));
    let (_read, write) = tokio::io::split(wire);
    let (queue, messages) = mpsc::channel(1);
    let (control, controls) = mpsc::channel(1);
    let ticket = Arc::new(Ticket::default());
    let (reply, mut answer) = oneshot::channel();
    let about = About {
        message: MessageId::from_number(1),
        submission: SubmissionId::from_number(1),
        share: Share::Whole,
    };
    assert!(ticket.withdraw());
    let submission = Submission {
        body: Bytes::new(),
        about,
        ticket,
        reply,
    };
    queue.try_send(submission).ok().unwrap();
    drop((queue, control));
    let shared = Shared::default();
    let writer = Writer {
        write,
        counts_bytes: true,
        controls,
        messages,
        shared: &shared,
        limit: Duration::from_secs(10),
    };
    // The connection would break at the first byte.
    assert_eq!(writer.run().await, Ended::Stopped);
    assert!(answer.try_recv().is_err());
}
