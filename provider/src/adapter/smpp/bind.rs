//! One of an account's binds: connected and bound again for as long as the sender runs.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use pabal_common::domain::report::VendorAccount;
use secrecy::ExposeSecret as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use super::pdu::{BindTransceiver, Pdu, command};
use super::session::{Ended, Open, Session, Shared, converse};
use super::settings::{Binding, ReceiptReading};
use super::status;
use super::transport::{Backoff, Connection, Transport};
use crate::provider::{NotConnected, ReportDesk};

/// A session that lasted so long was a good one: the next try comes soon.
const STEADY: Duration = Duration::from_secs(10);

/// The two ends of every bind of an account.
pub(super) struct Party {
    pub(super) account: VendorAccount,
    pub(super) transport: Transport,
    pub(super) binding: Binding,
    pub(super) reading: ReceiptReading,
}

/// Why a bind takes no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Down {
    /// There is no connection.
    #[error("{0}")]
    NotConnected(NotConnected),
    /// The message centre does not let us bind.
    #[error("bind refused, status {0:#04X}")]
    Refused(u32),
}

enum State {
    Up(Session),
    Down(Down),
}

/// A bind, up or down.
pub(super) struct Bind(Mutex<State>);

impl Bind {
    /// One that nobody has connected yet.
    pub(super) const fn new() -> Self {
        Self(Mutex::new(State::Down(Down::NotConnected(
            NotConnected::Refused,
        ))))
    }

    /// Its session, or why there is none.
    pub(super) fn session(&self) -> Result<Session, Down> {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            State::Up(session) => Ok(session.clone()),
            State::Down(why) => Err(*why),
        }
    }

    /// Keeps it bound until `stop`.
    pub(super) async fn keep(
        &self,
        party: &Party,
        desk: Arc<dyn ReportDesk>,
        stop: CancellationToken,
    ) {
        let mut backoff = Backoff::new();
        loop {
            let opened = tokio::select! {
                () = stop.cancelled() => return,
                opened = open(party) => opened,
            };
            match opened {
                Ok(open) => {
                    let begun = Instant::now();
                    let ended = self.serve(party, open, &*desk, &stop).await;
                    if !stop.is_cancelled() {
                        tracing::warn!(account = %party.account, why = %ended, "a bind is over");
                    }
                    if begun.elapsed() >= STEADY {
                        backoff = Backoff::new();
                    }
                }
                Err(why) => {
                    tracing::warn!(account = %party.account, %why, "not bound");
                    self.set(State::Down(why));
                    if matches!(why, Down::Refused(status) if status::is_about_credentials(status))
                    {
                        // Some lock an account that asks too often.
                        backoff = Backoff::longest();
                    }
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(backoff.next()) => {}
            }
        }
    }

    async fn serve(
        &self,
        party: &Party,
        open: Open,
        desk: &dyn ReportDesk,
        stop: &CancellationToken,
    ) -> Ended {
        let (session, messages) = Session::new(party.binding.window);
        self.set(State::Up(session.clone()));
        tracing::info!(account = %party.account, "bound");
        let ended = converse(party, open, &session, messages, desk, stop).await;
        self.set(State::Down(Down::NotConnected(NotConnected::Refused)));
        session.close();
        ended
    }

    fn set(&self, state: State) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }
}

/// Connects and binds, within the time a connection may take.
async fn open(party: &Party) -> Result<Open, Down> {
    let deadline = Instant::now() + party.binding.connect_timeout;
    let connection = party.transport.connect(deadline).await;
    let connection = connection.map_err(Down::NotConnected)?;
    timeout_at(deadline, bind(connection, &party.binding))
        .await
        .unwrap_or(Err(Down::NotConnected(NotConnected::TimedOut)))
}

async fn bind(mut connection: Connection, binding: &Binding) -> Result<Open, Down> {
    let broken = |_| Down::NotConnected(NotConnected::Refused);
    let mut request = BytesMut::new();
    bind_request(binding).put(&mut request);
    let wire = &mut connection.wire;
    wire.write_all(&request).await.map_err(broken)?;
    wire.flush().await.map_err(broken)?;
    let mut buffer = BytesMut::new();
    loop {
        let pdu = Pdu::take(&mut buffer);
        match pdu.map_err(|_| Down::NotConnected(NotConnected::Refused))? {
            Some(pdu) if answers_bind(&pdu) => {
                return match pdu.status {
                    status::OK => Ok(Open { connection, buffer }),
                    refused => Err(Down::Refused(refused)),
                };
            }
            Some(_) => {}
            None => match connection.wire.read_buf(&mut buffer).await {
                Ok(1..) => {}
                _ => return Err(Down::NotConnected(NotConnected::Refused)),
            },
        }
    }
}

fn answers_bind(pdu: &Pdu) -> bool {
    matches!(
        pdu.command,
        command::BIND_TRANSCEIVER_RESP | command::GENERIC_NACK
    )
}

fn bind_request(binding: &Binding) -> Pdu {
    let body = BindTransceiver {
        system_id: &binding.system_id,
        password: binding.password.expose_secret(),
        system_type: &binding.system_type,
        address_range: &binding.address_range,
    };
    Pdu {
        body: body.body(),
        ..Pdu::bare(command::BIND_TRANSCEIVER, status::OK, Shared::BIND)
    }
}
