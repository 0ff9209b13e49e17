//! One connection to a receiver that stays, and is opened again if it does not.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use futures::FutureExt as _;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::Request;
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderValue};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(30);
const CONNECT: Duration = Duration::from_secs(5);
/// The largest answer that is read, in bytes: that to a batch of a thousand is far below.
const LARGEST: usize = 4 << 20;

/// Where requests go, and as whom.
#[derive(Clone, Debug)]
pub(in crate::command::bench) struct Target {
    addresses: Arc<[SocketAddr]>,
    headers: HeaderMap,
}

impl Target {
    /// A receiver by its base URL, `http://host:port`, for the partner with this token.
    pub(in crate::command::bench) async fn new(base: &str, token: &str) -> anyhow::Result<Self> {
        let mut target = Self::anonymous(base).await?;
        target.headers.extend([
            (AUTHORIZATION, format!("Bearer {token}").parse()?),
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        ]);
        Ok(target)
    }

    /// By its base URL, `http://host:port`, without a word of who asks.
    pub(in crate::command::bench) async fn anonymous(base: &str) -> anyhow::Result<Self> {
        let authority = base.trim_end_matches('/').strip_prefix("http://");
        let authority = authority.with_context(|| format!("{base} is not http://host:port"))?;
        let with_port = match authority.rsplit_once(':') {
            Some((_, port)) if port.parse::<u16>().is_ok() => authority.to_owned(),
            _ => format!("{authority}:80"),
        };
        let addresses = tokio::net::lookup_host(with_port).await?.collect();
        let headers = HeaderMap::from_iter([(HOST, authority.parse()?)]);
        Ok(Self { addresses, headers })
    }
}

/// A status and a body.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Bytes,
}

/// One connection to a target.
pub(in crate::command::bench) struct Line {
    target: Target,
    open: Option<Open>,
}

struct Open {
    sender: SendRequest<Full<Bytes>>,
    connection: Pin<Box<Connection<TokioIo<TcpStream>, Full<Bytes>>>>,
}

impl Line {
    /// A line that connects with its first request.
    pub(in crate::command::bench) const fn new(target: Target) -> Self {
        Self { target, open: None }
    }

    /// Connects, if it is not connected.
    pub(in crate::command::bench) async fn connect(&mut self) -> anyhow::Result<()> {
        if self.open.is_none() {
            let connecting = TcpStream::connect(&self.target.addresses[..]);
            let stream = tokio::time::timeout(CONNECT, connecting).await??;
            stream.set_nodelay(true)?;
            let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            self.open = Some(Open {
                sender,
                connection: Box::pin(connection),
            });
        }
        Ok(())
    }

    /// Whether it is connected, and the other side has not closed it.
    pub(super) fn is_open(&mut self) -> bool {
        let Some(open) = &mut self.open else {
            return false;
        };
        // An idle connection ends when it is closed, and not before.
        let ended = (&mut open.connection).now_or_never();
        if ended.is_some() {
            self.open = None;
        }
        self.open.is_some()
    }

    /// Sends a request and waits for the answer. Without one, nobody knows whether it arrived.
    pub(super) async fn send(
        &mut self,
        mut request: Request<Full<Bytes>>,
    ) -> anyhow::Result<Answer> {
        self.connect().await?;
        *request.headers_mut() = self.target.headers.clone();
        // Whoever breaks off leaves a connection in the middle of an answer: it is not used again.
        let mut open = self.open.take().context("not connected")?;
        let answer = tokio::time::timeout(ANSWER, open.exchange(request)).await??;
        self.open = Some(open);
        Ok(answer)
    }
}

impl Open {
    /// The connection is driven by whoever uses it: no second task has to be woken for each request.
    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> anyhow::Result<Answer> {
        let Self { sender, connection } = self;
        let answering = async {
            sender.ready().await?;
            let response = sender.send_request(request).await?;
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), LARGEST).collect().await;
            let body = body.map_err(anyhow::Error::from_boxed)?.to_bytes();
            anyhow::Ok(Answer { status, body })
        };
        tokio::select! {
            biased;
            answer = answering => answer,
            ended = connection => match ended {
                Ok(()) => bail!("the connection was closed"),
                Err(error) => Err(error.into()),
            },
        }
    }
}
