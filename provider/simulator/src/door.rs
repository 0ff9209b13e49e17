//! A vendor's listening socket, which can really be closed, and its connections.
//!
//! Closing keeps the port: a bound socket that does not listen makes the operating system refuse
//! connections, and nobody else can take the port meanwhile. A kept-alive connection is closed
//! after its answer, or once it has been idle for a moment, so that a request that is already on
//! the wire is answered rather than cut.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::service::{House, Service};

const MAX_CONNECTIONS: usize = 4096;
const BACKLOG: u32 = 1024;
/// How long [`Door::shut`] waits for connections to end.
const SHUT_LIMIT: Duration = Duration::from_secs(2);

/// How a door stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DoorState {
    /// Listening and answering.
    Open,
    /// Not listening: connections are refused.
    Shut,
    /// Listening, but nothing is ever answered and nothing taken.
    Hanging,
}

/// The handle on a vendor's door.
#[derive(Clone, Debug)]
pub struct Door {
    address: SocketAddr,
    state: watch::Receiver<DoorState>,
    orders: mpsc::Sender<Order>,
    connections: watch::Receiver<usize>,
}

#[derive(Debug)]
struct Order {
    to: DoorState,
    lasts: Option<Duration>,
    done: oneshot::Sender<()>,
}

impl Door {
    /// Where the vendor listens, or would.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// How the door stands.
    pub fn state(&self) -> DoorState {
        *self.state.borrow()
    }

    /// Closes the listening socket; returns when connecting is refused and the connections there
    /// were have ended (at most 2 s, for those that still wait for an answer).
    pub async fn shut(&self) {
        self.order(DoorState::Shut, None).await;
        let mut connections = self.connections.clone();
        let _ = timeout(SHUT_LIMIT, connections.wait_for(|open| *open == 0)).await;
    }

    /// Listens and answers again.
    pub async fn open(&self) {
        self.order(DoorState::Open, None).await;
    }

    /// Accepts connections and never answers; requests held so are cut when the door changes.
    pub async fn hang(&self) {
        self.order(DoorState::Hanging, None).await;
    }

    /// Closes the listening socket for a while; returns as soon as connecting is refused.
    pub(crate) async fn shut_for(&self, lasts: Duration) {
        self.order(DoorState::Shut, Some(lasts)).await;
    }

    async fn order(&self, to: DoorState, lasts: Option<Duration>) {
        let (done, carried_out) = oneshot::channel();
        let order = Order { to, lasts, done };
        if self.orders.send(order).await.is_ok() {
            let _ = carried_out.await;
        }
    }
}

/// A bound door that does not yet know what is behind it.
pub(crate) struct Threshold {
    listener: TcpListener,
    state: watch::Sender<DoorState>,
    orders: mpsc::Receiver<Order>,
    connections: watch::Sender<usize>,
    door: Door,
}

impl Threshold {
    /// Binds `address`.
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = reserve(address)?.listen(BACKLOG)?;
        let address = listener.local_addr()?;
        let (state, state_seen) = watch::channel(DoorState::Open);
        let (order, orders) = mpsc::channel(16);
        let (connections, connections_seen) = watch::channel(0);
        Ok(Self {
            listener,
            state,
            orders,
            connections,
            door: Door {
                address,
                state: state_seen,
                orders: order,
                connections: connections_seen,
            },
        })
    }

    /// The handle.
    pub(crate) fn door(&self) -> Door {
        self.door.clone()
    }

    /// Serves `service` until `stop`.
    pub(crate) async fn serve(self, service: Service, stop: CancellationToken) {
        let Self {
            listener,
            state,
            mut orders,
            connections,
            door,
        } = self;
        let house = House {
            service,
            state: door.state.clone(),
            connections: connections.clone(),
            stop: stop.clone(),
        };
        let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut socket = Socket::Listening(listener);
        let mut reopen_at = None;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                order = orders.recv() => {
                    let Some(order) = order else { return };
                    // Requests see the new state before the socket changes, so that none is
                    // taken by a vendor whose door is about to refuse.
                    let _ = state.send(order.to);
                    if order.to == DoorState::Shut {
                        socket = socket.close(&house, &permits, door.address);
                    } else {
                        socket = socket.open(door.address);
                    }
                    reopen_at = match order.lasts {
                        Some(lasts) => Some(Instant::now() + lasts),
                        None => socket.retry_at(order.to),
                    };
                    let _ = order.done.send(());
                }
                () = at(reopen_at) => {
                    socket = socket.open(door.address);
                    reopen_at = socket.retry_at(DoorState::Open);
                    let _ = state.send(DoorState::Open);
                }
                (stream, permit) = socket.accept(&permits) => house.welcome(stream, permit),
            }
        }
    }
}

/// Waits until `moment`, for ever if there is none.
pub(crate) async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

fn reserve(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

enum Socket {
    Listening(TcpListener),
    Reserved(TcpSocket),
    Gone,
}

impl Socket {
    fn close(self, house: &House, permits: &Arc<Semaphore>, address: SocketAddr) -> Self {
        let Self::Listening(listener) = self else {
            return self;
        };
        // Who is connected already is let in: closing now would reset a connection that its
        // client saw succeed.
        while let Some(Ok((stream, _))) = listener.accept().now_or_never() {
            let Ok(permit) = Arc::clone(permits).try_acquire_owned() else {
                break;
            };
            house.welcome(stream, permit);
        }
        drop(listener);
        reserve(address).map_or_else(
            |error| {
                tracing::warn!(%address, %error, "port not reserved while the door is shut");
                Self::Gone
            },
            Self::Reserved,
        )
    }

    fn open(self, address: SocketAddr) -> Self {
        let listening = match self {
            Self::Listening(listener) => return Self::Listening(listener),
            Self::Reserved(socket) => socket.listen(BACKLOG),
            Self::Gone => reserve(address).and_then(|socket| socket.listen(BACKLOG)),
        };
        listening.map_or_else(
            |error| {
                tracing::error!(%address, %error, "door not opened");
                Self::Gone
            },
            Self::Listening,
        )
    }

    /// When to try again to open, if the port was lost to somebody.
    fn retry_at(&self, wanted: DoorState) -> Option<Instant> {
        let lost = matches!(self, Self::Gone) && wanted != DoorState::Shut;
        lost.then(|| Instant::now() + Duration::from_millis(100))
    }

    async fn accept(&self, permits: &Arc<Semaphore>) -> (TcpStream, OwnedSemaphorePermit) {
        let Self::Listening(listener) = self else {
            return std::future::pending().await;
        };
        let Ok(permit) = Arc::clone(permits).acquire_owned().await else {
            return std::future::pending().await;
        };
        loop {
            match listener.accept().await {
                Ok((stream, _)) => return (stream, permit),
                Err(error) => {
                    tracing::warn!(%error, "connection not accepted");
                    sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
}
