//! The way to a message centre: `smpp://host:port`, or `smpps://host:port` over TLS.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use crate::adapter::BuildError;
use crate::provider::NotConnected;

/// A connection, plain or over TLS.
pub(super) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// An open connection.
pub(super) struct Connection {
    pub(super) wire: Box<dyn Wire>,
    /// Whether bytes that a write did not take have surely not left; TLS cannot tell.
    pub(super) counts_bytes: bool,
}

/// Where the message centre is.
#[derive(Clone)]
pub(super) struct Transport {
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Transport {
    /// From an account's base URL.
    pub(super) fn new(base_url: &str) -> Result<Self, BuildError> {
        let wrong = |why: &str| BuildError::BaseUrl {
            given: base_url.to_owned(),
            why: why.to_owned(),
        };
        let (scheme, rest) = base_url
            .split_once("://")
            .ok_or_else(|| wrong("expected smpp://host:port or smpps://host:port"))?;
        let over_tls = match scheme {
            "smpp" => false,
            "smpps" => true,
            _ => return Err(wrong("allowed are smpp:// and smpps://")),
        };
        let (host, port) = rest
            .trim_end_matches('/')
            .rsplit_once(':')
            .ok_or_else(|| wrong("the port is missing"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() || host.contains(['/', '@', '?', '#']) {
            return Err(wrong("expected a host and a port, and nothing else"));
        }
        let port = port.parse().map_err(|_| wrong("the port is no number"))?;
        let tls = over_tls.then(|| tls(host)).transpose();
        Ok(Self {
            host: host.to_owned(),
            port,
            tls: tls.map_err(|why| wrong(&why))?,
        })
    }

    /// Connects, TLS included, until `deadline`.
    pub(super) async fn connect(&self, deadline: Instant) -> Result<Connection, NotConnected> {
        timeout_at(deadline, self.open())
            .await
            .unwrap_or(Err(NotConnected::TimedOut))
    }

    async fn open(&self) -> Result<Connection, NotConnected> {
        let addresses = tokio::net::lookup_host((self.host.as_str(), self.port)).await;
        let addresses: Vec<_> = addresses.map_err(|_| NotConnected::Dns)?.collect();
        let stream = TcpStream::connect(addresses.as_slice()).await;
        let stream = stream.map_err(|error| refused(&error))?;
        let _ = stream.set_nodelay(true);
        let Some((connector, name)) = &self.tls else {
            return Ok(Connection {
                wire: Box::new(stream),
                counts_bytes: true,
            });
        };
        let stream = connector.connect(name.clone(), stream).await;
        Ok(Connection {
            wire: Box::new(stream.map_err(|_| NotConnected::Tls)?),
            counts_bytes: false,
        })
    }
}

fn refused(error: &io::Error) -> NotConnected {
    match error.kind() {
        io::ErrorKind::TimedOut => NotConnected::TimedOut,
        _ => NotConnected::Refused,
    }
}

fn tls(host: &str) -> Result<(TlsConnector, ServerName<'static>), String> {
    let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_platform_verifier())
        .map_err(|error| error.to_string())?
        .with_no_client_auth();
    Ok((TlsConnector::from(Arc::new(config)), name))
}

/// Pauses between two tries to connect: doubling, and never the same for two connections.
pub(super) struct Backoff(Duration);

impl Backoff {
    const FIRST: Duration = Duration::from_millis(200);
    const LONGEST: Duration = Duration::from_secs(30);

    pub(super) const fn new() -> Self {
        Self(Self::FIRST)
    }

    /// As long as pauses get, for what trying soon again cannot mend.
    pub(super) const fn longest() -> Self {
        Self(Self::LONGEST)
    }

    /// The next pause, between half and the whole of its length.
    pub(super) fn next(&mut self) -> Duration {
        let pause = self.0.mul_f64(0.5 + fastrand::f64() / 2.0);
        self.0 = (self.0 * 2).min(Self::LONGEST);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_scheme_a_host_and_a_port() {
        for given in [
            "smpp://smsc.example:2775",
            "smpps://smsc.example:3550/",
            "smpp://[::1]:2775",
        ] {
            assert!(Transport::new(given).is_ok(), "{given}");
        }
        for given in [
            "",
            "smsc.example:2775",
            "http://smsc.example:2775",
            "smpp://smsc.example",
            "smpp://:2775",
            "smpp://smsc.example:port",
            "smpp://user:secret@smsc.example:2775",
            "smpp://smsc.example/path:2775",
            "smpps://not a name:2775",
        ] {
            assert!(Transport::new(given).is_err(), "{given}");
        }
    }

    #[test]
    fn pauses_double_up_to_half_a_minute() {
        let mut backoff = Backoff::new();
        let pauses: Vec<_> = (0..12).map(|_| backoff.next()).collect();
        assert!(pauses[0] <= Backoff::FIRST && pauses[0] >= Backoff::FIRST / 2);
        assert!(pauses[11] <= Backoff::LONGEST && pauses[11] >= Backoff::LONGEST / 2);
    }
}
