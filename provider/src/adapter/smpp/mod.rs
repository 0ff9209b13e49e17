//! SMS and LMS over SMPP 3.4: transceivers that stay bound, receipts over any of them.
//!
//! A message goes out as a `submit_sm` on a bind with room in its window; the members of a call go
//! out together and each has its own answer. SMPP carries no id of ours, so a `submit_sm` without
//! an answer is unknown and never repeated: see [`ticket`].

mod bind;
mod binds;
mod encoding;
mod gsm7;
mod message;
mod notation;
mod outcome;
mod pdu;
mod reader;
mod receipt;
mod receipts;
mod segmentation;
mod session;
mod settings;
mod status;
mod ticket;
mod transport;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::future::join_all;
use pabal_common::domain::id::SubmissionId;
use pabal_common::domain::report::VendorAccount;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Account, BuildError};
use crate::provider::{
    Answer, Call, Capabilities, Outcome, Outgoing, ProbeError, Provider, ReportDesk, ReportPath,
};
use bind::Party;
use binds::Binds;
use message::Writer;
use outcome::Fate;
use pdu::{Pdu, ShortMessage};
use receipt::Delivered;
use session::{Room, Sent};
use settings::{ReceiptReading, Settings};
use ticket::{About, Share};
use transport::Transport;

#[cfg(test)]
pub(super) use status::CODES;

/// Reads bytes as they might come over a bind, up to the last whole PDU; how many receipts there
/// were. Whatever the bytes, it returns: that is what it is fuzzed for.
#[doc(hidden)]
pub fn read_stream(bytes: &[u8]) -> usize {
    let (mut buffer, mut receipts) = (BytesMut::from(bytes), 0);
    while let Ok(Some(pdu)) = Pdu::take(&mut buffer) {
        let _ = pdu.first_text();
        let delivered = ShortMessage::read(pdu.body)
            .map(|message| receipt::read(&message, &ReceiptReading::default()));
        receipts += usize::from(matches!(delivered, Some(Delivered::Receipt(_))));
    }
    receipts
}

/// One account at a message centre.
pub(super) struct Smpp {
    account: VendorAccount,
    capabilities: Capabilities,
    writer: Writer,
    binds: Binds,
    connect_timeout: Duration,
    answer_timeout: Duration,
}

impl Smpp {
    /// The adapter; nothing is connected yet.
    pub(super) fn new(account: Account) -> Result<Self, BuildError> {
        let settings = Settings::of(&account)?;
        Ok(Self {
            capabilities: Capabilities {
                batch: settings.binding.window,
                duplicate_window: None,
                can_be_asked: false,
                answers_finally: false,
                reports: ReportPath::Session,
                definitive: &status::DEFINITIVE,
            },
            writer: Writer::new(settings.writing),
            binds: Binds::new(Party {
                account: account.account.clone(),
                transport: Transport::new(&account.base_url)?,
                binding: settings.binding,
                reading: settings.reading,
            }),
            account: account.account,
            connect_timeout: account.connect_timeout,
            answer_timeout: account.answer_timeout,
        })
    }

    async fn send(&self, submission: SubmissionId, outgoing: &Outgoing) -> Fate {
        let bodies = match self.writer.write(outgoing) {
            Ok(bodies) => bodies,
            Err(code) => return Fate::Answered(status::CODES.answer(code, None)),
        };
        let room = match self.binds.room(Instant::now() + self.connect_timeout).await {
            Ok(room) => room,
            Err(why) => return why.into(),
        };
        let deadline = Instant::now() + self.answer_timeout;
        send_parts(&room, submission, outgoing, bodies, deadline).await
    }
}

/// Sends the parts one after another, each when the one before was taken, so that a message refused
/// or throttled at its first part is surely not sent at all. The last part alone asks for a receipt:
/// its id is the message's.
async fn send_parts(
    room: &Room,
    submission: SubmissionId,
    outgoing: &Outgoing,
    bodies: Vec<Bytes>,
    deadline: Instant,
) -> Fate {
    let count = bodies.len();
    let mut fate = Fate::Answered(Answer::Taken { vendor_id: None });
    for (at, body) in bodies.into_iter().enumerate() {
        let share = match (count, at + 1 == count) {
            (1, _) => Share::Whole,
            (_, true) => Share::Last,
            (_, false) => Share::Earlier,
        };
        let about = About {
            message: outgoing.id,
            submission,
            share,
        };
        fate = match room.submit(body, about, deadline).await {
            Sent::Answered(reply) => Fate::Answered(receipts::answer(&reply)),
            Sent::Unsent(why) => Fate::Unsent(why),
            Sent::Lost(how) => Fate::Lost(how),
        };
        if !matches!(fate, Fate::Answered(Answer::Taken { .. })) {
            return if at == 0 { fate } else { Fate::Partial };
        }
    }
    fate
}

#[async_trait]
impl Provider for Smpp {
    fn account(&self) -> &VendorAccount {
        &self.account
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn submit(&self, call: &Call) -> Outcome {
        let sending = call
            .messages
            .iter()
            .map(|outgoing| self.send(call.submission, outgoing));
        outcome::of(join_all(sending).await)
    }

    async fn probe(&self) -> Result<(), ProbeError> {
        let up = self.binds.are_up();
        up.map_err(|why| ProbeError(why.to_string()))
    }

    async fn stay_connected(&self, desk: Arc<dyn ReportDesk>, stop: CancellationToken) {
        self.binds.keep(desk, stop).await;
    }
}
