//! One connection: its bind, what it submits, and the receipts that go over it.

use std::collections::HashMap;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, SinkExt as _, StreamExt as _};
use rusmpp::pdus::{BindTransceiver, BindTransceiverResp, SubmitSm, SubmitSmResp};
use rusmpp::tokio_codec::CommandCodec;
use rusmpp::types::COctetString;
use rusmpp::values::InterfaceVersion;
use rusmpp::{Command, CommandStatus, Pdu};
use secrecy::ExposeSecret as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::codec::Framed;

use super::submission::{self, Asked};
use super::{DEFAULT_WINDOW, SYSTEM_ID, WINDOW, receipt};
use crate::door::DoorState;
use crate::family::Family;
use crate::reports::Item;
use crate::vendor::fault::Fault;
use crate::vendor::{Fate, Member, Vendor};

/// The most receipts without an answer.
const RECEIPTS: usize = 100;
/// How long a connection may go on after the door has shut.
const FAREWELL: Duration = Duration::from_millis(250);
/// No PDU is so short.
const GARBLED: &[u8] = &[0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// The connection ends.
struct Over;

/// How a `submit_sm` is answered.
enum Answer {
    Response(Box<Command>),
    Cut,
    Garbled,
}

pub(super) struct Session<'a> {
    vendor: &'a Vendor,
    framed: Framed<TcpStream, CommandCodec>,
    state: watch::Receiver<DoorState>,
    window: usize,
    bound: bool,
    /// The last number of the other end's requests, and of ours.
    heard: u32,
    told: u32,
    working: FuturesUnordered<BoxFuture<'a, Answer>>,
    receipts: HashMap<u32, Item>,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        vendor: &'a Vendor,
        stream: TcpStream,
        state: watch::Receiver<DoorState>,
    ) -> Self {
        let window = vendor.account.settings.get(WINDOW);
        let window = window.and_then(|text| text.parse().ok());
        Self {
            vendor,
            framed: Framed::new(stream, CommandCodec::new().with_max_length(128 << 10)),
            state,
            window: window.unwrap_or(DEFAULT_WINDOW),
            bound: false,
            heard: 0,
            told: 0,
            working: FuturesUnordered::new(),
            receipts: HashMap::new(),
        }
    }

    pub(super) async fn serve(mut self) {
        while self.step().await.is_ok() {}
        // What was not acknowledged goes over another connection.
        let owed = self
            .receipts
            .drain()
            .map(|(_, item)| (Duration::ZERO, item));
        self.vendor.reports.schedule(owed);
    }

    async fn step(&mut self) -> Result<(), Over> {
        let door = *self.state.borrow_and_update();
        match door {
            DoorState::Open => {}
            DoorState::Shut => return self.leave().await,
            DoorState::Hanging => {
                // What came meanwhile is never looked at.
                let opened = |state: &DoorState| *state != DoorState::Hanging;
                let _ = self.state.wait_for(opened).await;
                return Err(Over);
            }
        }
        let may_report = self.bound && self.receipts.len() < RECEIPTS;
        tokio::select! {
            changed = self.state.changed() => changed.map_err(|_| Over),
            Some(answer) = self.working.next() => self.answer(answer).await,
            heard = self.framed.next() => match heard {
                Some(Ok(command)) => self.hear(command).await,
                Some(Err(_)) => self.nack(0, CommandStatus::EsmeRinvcmdlen).await,
                None => Err(Over),
            },
            () = self.vendor.reports.due(), if may_report => self.report().await,
        }
    }

    /// Says goodbye, so that nothing is sent that nobody reads, and ends.
    async fn leave(&mut self) -> Result<(), Over> {
        let goodbye = self.next_number();
        self.send(goodbye, CommandStatus::EsmeRok, Pdu::Unbind)
            .await?;
        let until = Instant::now() + FAREWELL;
        loop {
            tokio::select! {
                () = sleep_until(until) => return Err(Over),
                Some(answer) = self.working.next() => self.answer(answer).await?,
                heard = self.framed.next() => match heard {
                    Some(Ok(command)) if command.pdu() == Some(&Pdu::UnbindResp) => return Err(Over),
                    Some(Ok(command)) => self.hear(command).await?,
                    _ => return Err(Over),
                },
            }
        }
    }

    async fn hear(&mut self, command: Command) -> Result<(), Over> {
        let (number, status) = (command.sequence_number(), command.status());
        match command.pdu() {
            Some(Pdu::DeliverSmResp(_)) => {
                self.acknowledged(number, status);
                return Ok(());
            }
            Some(Pdu::EnquireLinkResp | Pdu::UnbindResp) => return Ok(()),
            _ => {}
        }
        let follows = number > self.heard || (number == 1 && self.heard == 0x7FFF_FFFF);
        if !follows || number > 0x7FFF_FFFF {
            return self.nack(number, CommandStatus::EsmeRunknownerr).await;
        }
        self.heard = number;
        match command.pdu() {
            Some(Pdu::BindTransceiver(bind)) => self.bind(number, bind).await,
            Some(Pdu::SubmitSm(sm)) => self.submitted(number, sm).await,
            Some(Pdu::EnquireLink) => self.respond(number, Pdu::EnquireLinkResp).await,
            Some(Pdu::Unbind) => {
                self.respond(number, Pdu::UnbindResp).await?;
                Err(Over)
            }
            _ => self.nack(number, CommandStatus::EsmeRinvcmdid).await,
        }
    }

    async fn bind(&mut self, number: u32, bind: &BindTransceiver) -> Result<(), Over> {
        let account = &self.vendor.account;
        let name = account.settings.get(SYSTEM_ID).map(String::as_str);
        let status = if self.bound {
            CommandStatus::EsmeRalybnd
        } else if name != Some(bind.system_id.as_str()) {
            CommandStatus::EsmeRinvsysid
        } else if bind.password.as_str() != account.api_key.expose_secret() {
            CommandStatus::EsmeRinvpaswd
        } else if bind.interface_version != InterfaceVersion::Smpp3_4 {
            CommandStatus::EsmeRbindfail
        } else {
            CommandStatus::EsmeRok
        };
        let response = BindTransceiverResp::new(
            COctetString::from_static_slice(b"simulator\0").unwrap_or_default(),
            Some(InterfaceVersion::Smpp3_4),
        );
        self.send(number, status, Pdu::from(response)).await?;
        if status != CommandStatus::EsmeRok && !self.bound {
            return Err(Over);
        }
        self.bound = true;
        Ok(())
    }

    async fn submitted(&mut self, number: u32, sm: &SubmitSm) -> Result<(), Over> {
        let refused = if !self.bound {
            CommandStatus::EsmeRinvbndsts
        } else if self.working.len() >= self.window {
            CommandStatus::EsmeRthrottled
        } else {
            match submission::read(sm) {
                Ok(Asked::Message(member)) => {
                    self.working.push(take(self.vendor, number, member).boxed());
                    return Ok(());
                }
                // A part alone is no message yet, so its id is never reported.
                Ok(Asked::Part) => {
                    let part = response(number, CommandStatus::EsmeRok, &format!("p{number}"));
                    return self.answer(Answer::Response(part)).await;
                }
                Err(status) => status,
            }
        };
        self.answer(Answer::Response(response(number, refused, "")))
            .await
    }

    async fn answer(&mut self, answer: Answer) -> Result<(), Over> {
        match answer {
            Answer::Response(command) => self.framed.send(*command).await.map_err(|_| Over),
            Answer::Cut => Err(Over),
            Answer::Garbled => {
                let _ = self.framed.get_mut().write_all(GARBLED).await;
                Err(Over)
            }
        }
    }

    async fn report(&mut self) -> Result<(), Over> {
        let room = RECEIPTS - self.receipts.len();
        let items = self.vendor.reports.take_due(room);
        self.vendor.announce(&items);
        let mut numbers = Vec::with_capacity(items.len());
        for item in &items {
            let number = self.next_number();
            self.receipts.insert(number, *item);
            numbers.push(number);
        }
        for (number, item) in numbers.into_iter().zip(&items) {
            let receipt = Pdu::from(receipt::of(item));
            self.send(number, CommandStatus::EsmeRok, receipt).await?;
        }
        Ok(())
    }

    fn acknowledged(&mut self, number: u32, status: CommandStatus) {
        let Some(item) = self.receipts.remove(&number) else {
            return;
        };
        match status {
            CommandStatus::EsmeRok => self.vendor.settle(&[item]),
            CommandStatus::EsmeRxRAppn | CommandStatus::EsmeRxPAppn => {
                tracing::warn!(vendor = %self.vendor.family, "a receipt was refused for good");
            }
            _ => {
                let pause = self.vendor.pace.callback_retry;
                self.vendor.reports.schedule([(pause, item)]);
            }
        }
    }

    async fn nack(&mut self, number: u32, status: CommandStatus) -> Result<(), Over> {
        self.send(number, status, Pdu::GenericNack).await?;
        Err(Over)
    }

    async fn respond(&mut self, number: u32, pdu: Pdu) -> Result<(), Over> {
        self.send(number, CommandStatus::EsmeRok, pdu).await
    }

    async fn send(&mut self, number: u32, status: CommandStatus, pdu: Pdu) -> Result<(), Over> {
        let command = Command::new(status, number, pdu);
        self.framed.send(command).await.map_err(|_| Over)
    }

    fn next_number(&mut self) -> u32 {
        self.told = self.told % 0x7FFF_FFFF + 1;
        self.told
    }
}

/// What becomes of a message, as its recipient's digits say.
async fn take(vendor: &Vendor, number: u32, member: Member) -> Answer {
    let (status, id) = match vendor.receive(vec![member]).await {
        Ok(fates) => match fates.first() {
            Some(Fate::Taken(taken) | Fate::Ended(taken, _)) => {
                (CommandStatus::EsmeRok, Family::Smpp.vendor_id(*taken))
            }
            Some(Fate::Refused) => (CommandStatus::EsmeRinvsrcadr, String::new()),
            None => (CommandStatus::EsmeRsyserr, String::new()),
        },
        Err(Fault::Cut) => return Answer::Cut,
        Err(Fault::Garbled) => return Answer::Garbled,
        Err(fault) => (status_of(&fault), String::new()),
    };
    Answer::Response(response(number, status, &id))
}

fn status_of(fault: &Fault) -> CommandStatus {
    match fault {
        Fault::Throttled { .. } => CommandStatus::EsmeRthrottled,
        Fault::Refused => CommandStatus::EsmeRinvpaswd,
        Fault::Raw { status, .. } => CommandStatus::from(u32::from(*status)),
        Fault::Error | Fault::Cut | Fault::Garbled => CommandStatus::EsmeRsyserr,
    }
}

fn response(number: u32, status: CommandStatus, id: &str) -> Box<Command> {
    let id = COctetString::from_string(id.to_owned()).unwrap_or_default();
    let response = SubmitSmResp::builder().message_id(id).build();
    Box::new(Command::new(status, number, Pdu::from(response)))
}
