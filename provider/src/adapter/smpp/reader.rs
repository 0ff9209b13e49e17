//! What comes over a bound connection.

use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, ReadHalf};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::bind::Party;
use super::pdu::{Pdu, ShortMessage, command};
use super::receipt::{self, Delivered};
use super::receipts::Notice;
use super::session::{Ended, Shared};
use super::status;
use super::ticket::Reply;
use super::transport::Wire;
use super::writer::Control;

pub(super) struct Reader<'a> {
    pub(super) read: ReadHalf<Box<dyn Wire>>,
    pub(super) buffer: BytesMut,
    pub(super) shared: &'a Shared,
    pub(super) control: mpsc::Sender<Control>,
    pub(super) notices: mpsc::Sender<Notice>,
    /// Where the other end's wish to unbind goes, by its number.
    pub(super) unbound: mpsc::Sender<u32>,
    pub(super) party: &'a Party,
}

impl Reader<'_> {
    pub(super) async fn run(mut self) -> Ended {
        loop {
            if let Err(ended) = self.hear_all() {
                return ended;
            }
            if let Err(ended) = self.more().await {
                return ended;
            }
        }
    }

    fn hear_all(&mut self) -> Result<(), Ended> {
        loop {
            match Pdu::take(&mut self.buffer) {
                Ok(Some(pdu)) => self.hear(pdu)?,
                Ok(None) => return Ok(()),
                Err(_) => return Err(Ended::Garbled),
            }
        }
    }

    /// Waits for bytes; a silence is broken by asking, and the next one ends the session.
    async fn more(&mut self) -> Result<(), Ended> {
        let binding = &self.party.binding;
        if let Ok(read) = timeout(binding.enquire_link, self.read.read_buf(&mut self.buffer)).await
        {
            return some(read);
        }
        let sequence = self.shared.next_sequence();
        self.tell(Pdu::bare(command::ENQUIRE_LINK, status::OK, sequence))?;
        timeout(binding.answer_timeout, self.read.read_buf(&mut self.buffer))
            .await
            .map_or(Err(Ended::Silent), some)
    }

    fn hear(&self, pdu: Pdu) -> Result<(), Ended> {
        match pdu.command {
            command::SUBMIT_SM_RESP | command::GENERIC_NACK => self.answered(&pdu),
            command::DELIVER_SM => self.delivered(pdu),
            command::ENQUIRE_LINK => self.respond(command::ENQUIRE_LINK_RESP, status::OK, &pdu),
            command::UNBIND => {
                // A second one changes nothing.
                let _ = self.unbound.try_send(pdu.sequence);
                Ok(())
            }
            command::UNBIND_RESP => Err(Ended::Unbound),
            _ if pdu.is_response() => Ok(()),
            _ => self.respond(command::GENERIC_NACK, status::UNKNOWN_COMMAND, &pdu),
        }
    }

    fn answered(&self, pdu: &Pdu) -> Result<(), Ended> {
        let Some(message) = self.shared.recall(pdu.sequence) else {
            return Ok(());
        };
        let id = (pdu.command == command::SUBMIT_SM_RESP).then(|| pdu.first_text());
        let reply = Reply {
            status: pdu.status,
            id: id.flatten().filter(|id| !id.is_empty()),
        };
        if let Err(reply) = message.reply.send(reply) {
            let about = message.about;
            if self
                .notices
                .try_send(Notice::Late { about, reply })
                .is_err()
            {
                tracing::warn!(account = %self.party.account, "a late answer was not kept");
            }
        }
        match pdu.status {
            status::NOT_BOUND => Err(Ended::Unbound),
            _ => Ok(()),
        }
    }

    fn delivered(&self, pdu: Pdu) -> Result<(), Ended> {
        let read = ShortMessage::read(pdu.body.clone());
        let delivered = read.map(|sm| receipt::read(&sm, &self.party.reading));
        let status = match delivered {
            Some(Delivered::Receipt(receipt)) => {
                let sequence = pdu.sequence;
                match self.notices.try_send(Notice::Receipt { sequence, receipt }) {
                    Ok(()) => return Ok(()),
                    Err(_) => status::TRY_AGAIN,
                }
            }
            Some(Delivered::Other) => status::REJECTED,
            Some(Delivered::Nameless) | None => {
                tracing::warn!(account = %self.party.account, "a receipt cannot be read");
                status::UNREADABLE
            }
        };
        self.tell(delivered_response(pdu.sequence, status))
    }

    fn respond(&self, command: u32, status: u32, to: &Pdu) -> Result<(), Ended> {
        self.tell(Pdu::bare(command, status, to.sequence))
    }

    fn tell(&self, pdu: Pdu) -> Result<(), Ended> {
        let told = self.control.try_send(Control::Pdu(pdu));
        told.map_err(|_| Ended::Flooded)
    }
}

fn some(read: std::io::Result<usize>) -> Result<(), Ended> {
    match read {
        Ok(1..) => Ok(()),
        _ => Err(Ended::Broken),
    }
}

/// A `deliver_sm_resp`; its body is an unused id, always empty (SMPP 3.4 §4.6.2).
pub(super) fn delivered_response(sequence: u32, status: u32) -> Pdu {
    Pdu {
        body: bytes::Bytes::from_static(&[0]),
        ..Pdu::bare(command::DELIVER_SM_RESP, status, sequence)
    }
}
