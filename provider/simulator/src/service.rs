//! What is behind a vendor's door: its connections, each served until it ends or the door shuts.

use std::sync::Arc;

use axum::Router;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio_util::sync::CancellationToken;

use crate::connection;
use crate::door::DoorState;
use crate::vendor::{Vendor, smpp, smtp};

/// What speaks on a vendor's connections.
#[derive(Clone)]
pub(crate) enum Service {
    /// HTTP/1.1.
    Http(Router),
    /// SMPP 3.4.
    Smpp(Arc<Vendor>),
    /// SMTP.
    Smtp(Arc<Vendor>),
}

impl Service {
    /// Serves one connection until it ends, soon after the door shuts; while the door hangs it
    /// answers nothing and takes nothing. It is dropped when the simulator stops.
    async fn serve(self, stream: TcpStream, state: watch::Receiver<DoorState>) {
        match self {
            Self::Http(router) => connection::serve(router, stream, state).await,
            Self::Smpp(vendor) => smpp::serve(vendor, stream, state).await,
            Self::Smtp(vendor) => smtp::serve(vendor, stream, state).await,
        }
    }
}

/// A vendor's service and the connections it serves.
pub(crate) struct House {
    pub(crate) service: Service,
    pub(crate) state: watch::Receiver<DoorState>,
    pub(crate) connections: watch::Sender<usize>,
    pub(crate) stop: CancellationToken,
}

impl House {
    /// Serves a connection that came in.
    pub(crate) fn welcome(&self, stream: TcpStream, permit: OwnedSemaphorePermit) {
        let _ = stream.set_nodelay(true);
        let serving = self.service.clone().serve(stream, self.state.clone());
        let counted = Counted::new(self.connections.clone());
        let stop = self.stop.clone();
        tokio::spawn(async move {
            let _ends_with_it = (permit, counted);
            tokio::select! {
                () = stop.cancelled() => {}
                () = serving => {}
            }
        });
    }
}

struct Counted(watch::Sender<usize>);

impl Counted {
    fn new(connections: watch::Sender<usize>) -> Self {
        connections.send_modify(|open| *open += 1);
        Self(connections)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open = open.saturating_sub(1));
    }
}
