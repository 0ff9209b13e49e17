//! A connection that is made again whenever it is lost.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use lapin::{Channel, Connection, ConnectionProperties, Event};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::address::Address;
use super::{ANSWER, GOODBYE, fault, unavailable};
use crate::broker::BrokerError;
use crate::deadline::NoAnswer as _;
use crate::telemetry::metric;

/// How often a connection is looked at, whatever its events say.
const LOOK: Duration = Duration::from_secs(1);
/// The most reasons that are remembered as told.
const TOLD: usize = 16;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Makes one connection.
pub(super) async fn connect(
    address: &Address,
    purpose: &'static str,
) -> Result<Connection, BrokerError> {
    let properties =
        ConnectionProperties::default().with_connection_name(format!("pabal {purpose}").into());
    let connecting = Connection::connect_uri(address.uri(), properties);
    match tokio::time::timeout(ANSWER, connecting).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(fault::of_connecting(&error, address)),
        Err(_) => Err(BrokerError::no_answer(ANSWER)),
    }
}

/// Ends a connection; what was in hand on it is ready again.
pub(super) async fn hang_up(connection: &Connection) {
    let closed = connection.close(200, "closed".into());
    // Whoever does not answer is hung up on all the same.
    let _ = tokio::time::timeout(GOODBYE / 2, closed).await;
}

#[derive(Clone)]
enum State {
    Up(Arc<Connection>),
    /// The broker runs short of memory or disk and takes nothing from those who publish.
    Blocked(Arc<str>),
    Down(Arc<str>),
}

/// A connection, as seen by those who use it.
#[derive(Clone)]
pub(super) struct Link {
    address: Arc<Address>,
    state: watch::Receiver<State>,
}

impl Link {
    /// Looks after `connection` and its successors until `stop`.
    pub(super) fn start(
        address: &Arc<Address>,
        purpose: &'static str,
        connection: Connection,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let connection = Arc::new(connection);
        let (tell, state) = watch::channel(State::Up(Arc::clone(&connection)));
        let supervisor = Supervisor {
            address: Arc::clone(address),
            purpose,
            state: tell,
            stop,
        };
        metric::broker_connected(purpose, true);
        tasks.spawn(supervisor.run(connection));
        Self {
            address: Arc::clone(address),
            state,
        }
    }

    /// The connection, if it may be used now.
    pub(super) fn connection(&self) -> Result<Arc<Connection>, BrokerError> {
        match &*self.state.borrow() {
            State::Up(connection) => Ok(Arc::clone(connection)),
            State::Blocked(why) => Err(unavailable(&format!("the broker is blocked: {why}"))),
            State::Down(why) => Err(unavailable(why)),
        }
    }

    /// A new channel.
    pub(super) async fn channel(&self) -> Result<Channel, BrokerError> {
        let connection = self.connection()?;
        let mut link = self.clone();
        tokio::select! {
            biased;
            channel = fault::answered(ANSWER, connection.create_channel(), &self.address) => channel,
            lost = link.lost() => Err(lost),
        }
    }

    /// Waits until the connection may not be used; says why.
    pub(super) async fn lost(&mut self) -> BrokerError {
        let gone = self.state.wait_for(|state| !matches!(state, State::Up(_)));
        if gone.await.is_err() {
            return super::closed();
        }
        self.connection()
            .err()
            .unwrap_or_else(|| unavailable("the connection was lost for a moment"))
    }
}

/// Tells about one connection and makes the next.
struct Supervisor {
    address: Arc<Address>,
    purpose: &'static str,
    state: watch::Sender<State>,
    stop: CancellationToken,
}

impl Supervisor {
    async fn run(self, mut connection: Arc<Connection>) {
        loop {
            let Some(why) = self.watch(&connection).await else {
                self.tell(State::Down("closed".into()));
                hang_up(&connection).await;
                break;
            };
            metric::broker_connected(self.purpose, false);
            metric::broker_blocked(self.purpose, false);
            tracing::warn!(
                broker = %self.address, connection = self.purpose, %why,
                "the connection to the broker is lost; connecting again"
            );
            self.tell(State::Down(why.into()));
            let Some(next) = self.stop.run_until_cancelled(self.connect_again()).await else {
                break;
            };
            connection = Arc::new(next);
            metric::broker_connected(self.purpose, true);
            tracing::info!(
                broker = %self.address, connection = self.purpose,
                "connected to the broker again"
            );
            self.tell(State::Up(Arc::clone(&connection)));
        }
        metric::broker_connected(self.purpose, false);
    }

    /// Until the connection is lost, and why; `None` if it is to be ended.
    async fn watch(&self, connection: &Arc<Connection>) -> Option<String> {
        let mut events = std::pin::pin!(connection.events_listener());
        let mut look = tokio::time::interval(LOOK);
        loop {
            let event = tokio::select! {
                () = self.stop.cancelled() => return None,
                event = events.next() => event,
                _ = look.tick() => {
                    if connection.status().connected() {
                        continue;
                    }
                    return Some("it ended".to_owned());
                }
            };
            match event {
                // The errors of channels are told here too, and concern those who use them.
                Some(Event::Error(error)) if !connection.status().connected() => {
                    return Some(error.to_string());
                }
                Some(Event::ConnectionBlocked(why)) => {
                    tracing::error!(
                        broker = %self.address, connection = self.purpose, why,
                        "the broker takes no frames: it runs short of memory or disk"
                    );
                    metric::broker_blocked(self.purpose, true);
                    self.tell(State::Blocked(why.into()));
                }
                Some(Event::ConnectionUnblocked) => {
                    tracing::info!(
                        broker = %self.address, connection = self.purpose,
                        "the broker takes frames again"
                    );
                    metric::broker_blocked(self.purpose, false);
                    self.tell(State::Up(Arc::clone(connection)));
                }
                Some(_) => {}
                None => return Some("it ended".to_owned()),
            }
        }
    }

    /// Tries until it succeeds. One line for every reason.
    async fn connect_again(&self) -> Connection {
        let mut pause = Pause::new();
        let mut told = Vec::new();
        loop {
            pause.keep().await;
            match connect(&self.address, self.purpose).await {
                Ok(connection) => return connection,
                Err(error) => {
                    let why = error.to_string();
                    if !told.contains(&why) {
                        tracing::warn!(
                            broker = %self.address, connection = self.purpose, %why,
                            "cannot connect to the broker; trying again"
                        );
                        self.tell(State::Down(why.as_str().into()));
                        // Two reasons often take turns; more are not kept than may be.
                        told.truncate(TOLD - 1);
                        told.insert(0, why);
                    }
                }
            }
        }
    }

    fn tell(&self, state: State) {
        self.state.send_replace(state);
    }
}

/// Pauses that grow from 0.1 to 5 s, each by chance between half and the whole.
pub(super) struct Pause(Duration);

impl Pause {
    pub(super) const fn new() -> Self {
        Self(FIRST_PAUSE)
    }

    pub(super) async fn keep(&mut self) {
        let pause = self.0.mul_f64(0.5 + fastrand::f64() / 2.0);
        self.0 = (self.0 * 2).min(LONGEST_PAUSE);
        tokio::time::sleep(pause).await;
    }
}
