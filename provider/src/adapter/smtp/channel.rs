//! The connection to a mail server: lines in, octets out, each within its time.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use super::reply::{Assembling, LONGEST_LINE, Reply};
use crate::provider::{Lost, NotConnected};

/// A connection, plain or over TLS.
trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// How a dialogue broke off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Broken {
    /// The other end has gone.
    #[error("the connection broke")]
    Reset,
    /// It took too long.
    #[error("no reply in time")]
    TimedOut,
    /// What came is no reply.
    #[error("not a reply of a mail server")]
    Garbled,
}

impl From<Broken> for Lost {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Reset => Self::Reset,
            Broken::TimedOut => Self::TimedOut,
            Broken::Garbled => Self::Garbled,
        }
    }
}

/// An open connection.
pub(super) struct Channel {
    wire: Box<dyn Wire>,
    buffer: BytesMut,
}

impl Channel {
    /// Connects to the first of these that answers.
    pub(super) async fn connect(
        addresses: &[SocketAddr],
        deadline: Instant,
    ) -> Result<Self, NotConnected> {
        let stream = timeout_at(deadline, TcpStream::connect(addresses)).await;
        let stream = stream.map_err(|_| NotConnected::TimedOut)?;
        let stream = stream.map_err(|error| match error.kind() {
            std::io::ErrorKind::TimedOut => NotConnected::TimedOut,
            _ => NotConnected::Refused,
        })?;
        let _ = stream.set_nodelay(true);
        Ok(Self {
            wire: Box::new(stream),
            buffer: BytesMut::new(),
        })
    }

    /// Goes on over TLS.
    pub(super) async fn secure(
        self,
        connector: &TlsConnector,
        name: ServerName<'static>,
        deadline: Instant,
    ) -> Result<Self, NotConnected> {
        // What was said before TLS must not be taken for what is said within it (CVE-2011-0411).
        if !self.buffer.is_empty() {
            return Err(NotConnected::Tls);
        }
        let stream = timeout_at(deadline, connector.connect(name, self.wire)).await;
        let stream = stream.map_err(|_| NotConnected::TimedOut)?;
        Ok(Self {
            wire: Box::new(stream.map_err(|_| NotConnected::Tls)?),
            buffer: BytesMut::new(),
        })
    }

    /// Says a line, to which CRLF is added, and waits for the reply to it until `deadline`.
    pub(super) async fn ask(&mut self, line: &str, deadline: Instant) -> Result<Reply, Broken> {
        self.write(format!("{line}\r\n").as_bytes(), deadline)
            .await?;
        self.reply(deadline).await
    }

    /// Writes all of this.
    pub(super) async fn write(&mut self, octets: &[u8], deadline: Instant) -> Result<(), Broken> {
        let writing = async {
            self.wire.write_all(octets).await?;
            self.wire.flush().await
        };
        let written = timeout_at(deadline, writing).await;
        written
            .map_err(|_| Broken::TimedOut)?
            .map_err(|_| Broken::Reset)
    }

    /// The next reply.
    pub(super) async fn reply(&mut self, deadline: Instant) -> Result<Reply, Broken> {
        timeout_at(deadline, self.read_reply())
            .await
            .unwrap_or(Err(Broken::TimedOut))
    }

    /// A reply that the server gave unasked, such as the one before it closes the connection.
    pub(super) async fn last_words(&mut self) -> Option<Reply> {
        /// What is said is there already, or comes at once.
        const LAST_WORDS: Duration = Duration::from_millis(200);
        self.reply(Instant::now() + LAST_WORDS).await.ok()
    }

    async fn read_reply(&mut self) -> Result<Reply, Broken> {
        let mut assembling = Assembling::default();
        loop {
            let line = self.read_line().await?;
            let reply = assembling.line(&line);
            if let Some(reply) = reply.map_err(|_| Broken::Garbled)? {
                return Ok(reply);
            }
        }
    }

    async fn read_line(&mut self) -> Result<BytesMut, Broken> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let mut line = self.buffer.split_to(end);
                self.buffer.advance(1);
                if line.ends_with(b"\r") {
                    line.truncate(line.len() - 1);
                }
                return Ok(line);
            }
            if self.buffer.len() > LONGEST_LINE {
                return Err(Broken::Garbled);
            }
            match self.wire.read_buf(&mut self.buffer).await {
                Ok(1..) => {}
                _ => return Err(Broken::Reset),
            }
        }
    }
}
