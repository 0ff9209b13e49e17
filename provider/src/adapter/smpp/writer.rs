//! What leaves over a bound connection.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncWriteExt as _, WriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::pdu::{Pdu, command};
use super::session::{Ended, Shared, Unanswered};
use super::status;
use super::ticket::{Submission, Ticket};
use super::transport::Wire;

/// How many bytes go into one write.
const FULL: usize = 64 << 10;

/// What the writer is told beside the messages.
pub(super) enum Control {
    Pdu(Pdu),
    /// After which nothing is written.
    Last(Pdu),
    /// No message is begun any more; those that wait have not left. Tells when it is so.
    NoMore(oneshot::Sender<()>),
}

pub(super) struct Writer<'a> {
    pub(super) write: WriteHalf<Box<dyn Wire>>,
    pub(super) counts_bytes: bool,
    pub(super) controls: mpsc::Receiver<Control>,
    pub(super) messages: mpsc::Receiver<Submission>,
    pub(super) shared: &'a Shared,
    /// How long the other end may take no byte.
    pub(super) limit: Duration,
}

/// What is written at once.
#[derive(Default)]
struct Batch {
    out: BytesMut,
    /// Where each message begins.
    leaving: Vec<(usize, Arc<Ticket>)>,
    last: bool,
}

impl Writer<'_> {
    pub(super) async fn run(mut self) -> Ended {
        loop {
            let mut batch = Batch::default();
            tokio::select! {
                biased;
                Some(control) = self.controls.recv() => self.obey(control, &mut batch),
                Some(message) = self.messages.recv() => self.board(message, &mut batch),
                else => return Ended::Stopped,
            }
            self.fill(&mut batch);
            if let Err(written) = self.write(&batch.out).await {
                if self.counts_bytes {
                    batch.stayed_from(written);
                }
                return Ended::Broken;
            }
            if batch.last {
                return Ended::Unbound;
            }
        }
    }

    /// Adds what else is waiting.
    fn fill(&mut self, batch: &mut Batch) {
        while batch.out.len() < FULL && !batch.last {
            if let Ok(control) = self.controls.try_recv() {
                self.obey(control, batch);
            } else if let Ok(message) = self.messages.try_recv() {
                self.board(message, batch);
            } else {
                return;
            }
        }
    }

    fn obey(&mut self, control: Control, batch: &mut Batch) {
        match control {
            Control::Pdu(pdu) => pdu.put(&mut batch.out),
            Control::Last(pdu) => {
                pdu.put(&mut batch.out);
                batch.last = true;
            }
            Control::NoMore(closed) => {
                self.messages.close();
                while self.messages.try_recv().is_ok() {}
                let _ = closed.send(());
            }
        }
    }

    /// From here on the message may have been sent.
    fn board(&self, message: Submission, batch: &mut Batch) {
        let Submission {
            body,
            about,
            ticket,
            reply,
        } = message;
        if !ticket.leave() {
            return;
        }
        let sequence = self.shared.next_sequence();
        self.shared.remember(sequence, Unanswered { about, reply });
        batch.leaving.push((batch.out.len(), ticket));
        Pdu {
            command: command::SUBMIT_SM,
            status: status::OK,
            sequence,
            body,
        }
        .put(&mut batch.out);
    }

    /// Writes it all, or says how many bytes were taken.
    async fn write(&mut self, out: &[u8]) -> Result<(), usize> {
        let mut written = 0;
        while written < out.len() {
            match timeout(self.limit, self.write.write(&out[written..])).await {
                Ok(Ok(taken @ 1..)) => written += taken,
                _ => return Err(written),
            }
        }
        // Over TLS, bytes may have been taken without being sent.
        match timeout(self.limit, self.write.flush()).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(written),
        }
    }
}

impl Batch {
    /// The messages of which not one byte was taken have not left.
    fn stayed_from(&self, written: usize) {
        for (begin, ticket) in &self.leaving {
            if *begin >= written {
                ticket.stayed();
            }
        }
    }
}

#[cfg(test)]
mod tests;
