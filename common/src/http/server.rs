//! The accept loop: bounded connections, bounded patience, an orderly end.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::stall::WriteStall;
use crate::telemetry::metric;

/// What a server allows its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerLimits {
    /// How long a connection may take to send a whole request head; also how long it may be idle.
    pub header_read: Duration,
    /// How long a write may make no progress before the client counts as gone.
    pub write_stall: Duration,
    /// Connections held at once; more wait in the listener's backlog.
    pub max_connections: usize,
    /// How long requests in flight may take after shutdown begins.
    pub drain: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            header_read: Duration::from_secs(10),
            write_stall: Duration::from_secs(30),
            max_connections: 10_240,
            drain: Duration::from_secs(8),
        }
    }
}

/// Serves `router` until `shutdown`, then stops accepting, lets the requests in flight finish for
/// at most [`ServerLimits::drain`], closes what is left and returns. No task outlives this call,
/// even if it is dropped.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: ServerLimits,
    shutdown: CancellationToken,
) {
    let connections = TaskTracker::new();
    let cut = CancellationToken::new();
    let _cut_when_dropped = cut.clone().drop_guard();
    let server = Server {
        router,
        limits,
        shutdown: shutdown.clone(),
        cut: cut.clone(),
    };
    let room = Arc::new(Semaphore::new(limits.max_connections));

    while let Some((stream, permit)) = next_connection(&listener, &room, &shutdown).await {
        connections.spawn(server.clone().connection(stream, permit));
    }

    drop(listener);
    connections.close();
    if tokio::time::timeout(limits.drain, connections.wait())
        .await
        .is_err()
    {
        tracing::warn!(
            connections = connections.len(),
            drain_ms = limits.drain.as_millis(),
            "requests did not finish in time, closing their connections"
        );
        cut.cancel();
        connections.wait().await;
    }
}

/// The next connection with its permit; `None` at shutdown.
async fn next_connection(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
    shutdown: &CancellationToken,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let next = async {
        let permit = Arc::clone(room).acquire_owned().await.ok()?;
        loop {
            match listener.accept().await {
                Ok((stream, _)) => return Some((stream, permit)),
                Err(error) => pause_after(&error).await,
            }
        }
    };
    tokio::select! {
        biased;
        () = shutdown.cancelled() => None,
        connection = next => connection,
    }
}

/// A connection that died before we took it costs nothing; with no file left to open it would be
/// a hot loop, so we wait for one to come free.
async fn pause_after(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    const PAUSE: Duration = Duration::from_millis(100);

    if !matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    ) {
        metric::accept_failed();
        tracing::warn!(%error, pause_ms = PAUSE.as_millis(), "cannot accept connections");
        tokio::time::sleep(PAUSE).await;
    }
}

#[derive(Clone)]
struct Server {
    router: Router,
    limits: ServerLimits,
    shutdown: CancellationToken,
    cut: CancellationToken,
}

impl Server {
    async fn connection(self, stream: TcpStream, _permit: OwnedSemaphorePermit) {
        let _counted = metric::Connection::open();
        // Answers are small and whole; waiting for more to send only delays them.
        let _ = stream.set_nodelay(true);
        let stream = TokioIo::new(WriteStall::new(stream, self.limits.write_stall));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.header_read)
            .max_buf_size(64 * 1024)
            .serve_connection(stream, TowerToHyperService::new(self.router));
        let mut connection = std::pin::pin!(connection);

        let served = async {
            tokio::select! {
                ended = connection.as_mut() => return ended,
                () = self.shutdown.cancelled() => {}
            }
            connection.as_mut().graceful_shutdown();
            connection.await
        };
        let ended = tokio::select! {
            ended = served => ended,
            () = self.cut.cancelled() => return,
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "connection ended early");
        }
    }
}
