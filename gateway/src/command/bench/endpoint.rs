//! An HTTP endpoint on a free loopback port: what webhooks and callbacks come to. Who reads them is
//! said by its [`Desk`].

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

/// The largest request, in bytes: a webhook of a hundred results is far below.
const LARGEST: usize = 4 << 20;
const MAX_CONNECTIONS: usize = 4096;
/// Longer than the gateway keeps an idle connection, so that no webhook meets one just closed.
const IDLE: Duration = Duration::from_secs(120);
const BODY: Duration = Duration::from_secs(10);

/// Who reads what comes.
pub(super) trait Desk: Send + Sync + 'static {
    /// Reads one request; its answer.
    fn take(&self, head: &Parts, body: &[u8]) -> (StatusCode, Bytes);
}

/// The endpoint; it closes when it is dropped.
pub(super) struct Endpoint {
    base: String,
    hangs: watch::Sender<bool>,
    _closes: DropGuard,
}

impl Endpoint {
    /// Listens, and hands `desk` what comes.
    pub(super) async fn open(desk: Arc<dyn Desk>) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let base = format!("http://{}", listener.local_addr()?);
        let closed = CancellationToken::new();
        let (hangs, hanging) = watch::channel(false);
        let serving = listen(listener, Door { desk, hanging }, closed.clone());
        tokio::spawn(closed.clone().run_until_cancelled_owned(serving));
        Ok(Self {
            base,
            hangs,
            _closes: closed.drop_guard(),
        })
    }

    /// `http://host:port`.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// Whether it hangs: takes requests and answers none, until it does not hang any more.
    pub(super) fn set_hanging(&self, hangs: bool) {
        self.hangs.send_replace(hangs);
    }
}

/// What each connection needs.
#[derive(Clone)]
struct Door {
    desk: Arc<dyn Desk>,
    hanging: watch::Receiver<bool>,
}

async fn listen(listener: TcpListener, door: Door, closed: CancellationToken) {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return;
        };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (door, closed) = (door.clone(), closed.clone());
        tokio::spawn(async move {
            closed.run_until_cancelled(serve(stream, door)).await;
            drop(permit);
        });
    }
}

async fn serve(stream: TcpStream, door: Door) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let door = door.clone();
        async move { Ok::<_, Infallible>(door.answer(request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .serve_connection(TokioIo::new(stream), service);
    // A connection that breaks leaves a webhook unanswered; it will come again.
    let _ = connection.await;
}

impl Door {
    async fn answer(mut self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let body = Limited::new(body, LARGEST).collect();
        let body = tokio::time::timeout(BODY, body).await;
        // With the body read, a client that gives up is noticed, and its request is not taken.
        // It fails if the endpoint is gone, and then nobody waits for an answer.
        let _ = self.hanging.wait_for(|hangs| !hangs).await;
        let (status, text) = match body {
            Ok(Ok(body)) => self.desk.take(&head, &body.to_bytes()),
            _ => (StatusCode::BAD_REQUEST, Bytes::new()),
        };
        let mut response = Response::new(Full::new(text));
        *response.status_mut() = status;
        response
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[derive(Default)]
    struct Counting(AtomicUsize);

    impl Desk for Counting {
        fn take(&self, _: &Parts, _: &[u8]) -> (StatusCode, Bytes) {
            self.0.fetch_add(1, Ordering::Relaxed);
            (StatusCode::NO_CONTENT, Bytes::new())
        }
    }

    #[tokio::test]
    async fn while_it_hangs_nothing_is_taken_and_afterwards_what_waited_is() {
        let desk = Arc::new(Counting::default());
        let reads: Arc<dyn Desk> = desk.clone();
        let endpoint = Endpoint::open(reads).await.unwrap();
        endpoint.set_hanging(true);
        let address = endpoint.base().strip_prefix("http://").unwrap();
        let mut client = TcpStream::connect(address).await.unwrap();
        let request = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi";
        client.write_all(request).await.unwrap();
        let mut answer = [0; 12];
        let answering = client.read_exact(&mut answer);
        let hung = tokio::time::timeout(Duration::from_millis(100), answering).await;
        assert!(hung.is_err(), "it answered");
        assert_eq!(desk.0.load(Ordering::Relaxed), 0);
        endpoint.set_hanging(false);
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 204");
        assert_eq!(desk.0.load(Ordering::Relaxed), 1);
    }
}
