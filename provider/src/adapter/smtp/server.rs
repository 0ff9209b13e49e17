//! A mail server as an address names it: `smtp://host:port`, or `smtps://host:port` where TLS comes
//! before the first word (RFC 8314 §3.3).

use std::net::{IpAddr, SocketAddr};

use crate::adapter::BuildError;
use crate::provider::NotConnected;

/// The host that stands for the recipients' own servers.
const MX: &str = "mx";

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) host: String,
    pub(super) port: u16,
    /// Whether TLS is spoken from the first byte.
    pub(super) implicit_tls: bool,
}

impl Place {
    /// From an account's base URL.
    pub(super) fn parse(base_url: &str) -> Result<Self, BuildError> {
        let wrong = |why: &str| BuildError::BaseUrl {
            given: base_url.to_owned(),
            why: why.to_owned(),
        };
        let (scheme, rest) = base_url
            .split_once("://")
            .ok_or_else(|| wrong("expected smtp://host:port or smtps://host:port"))?;
        let implicit_tls = match scheme {
            "smtp" => false,
            "smtps" => true,
            _ => return Err(wrong("allowed are smtp:// and smtps://")),
        };
        let (host, port) = rest
            .trim_end_matches('/')
            .rsplit_once(':')
            .ok_or_else(|| wrong("the port is missing"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() || host.contains(['/', '@', '?', '#']) {
            return Err(wrong("expected a host and a port, and nothing else"));
        }
        Ok(Self {
            host: host.to_owned(),
            port: port.parse().map_err(|_| wrong("the port is no number"))?,
            implicit_tls,
        })
    }

    /// The port of the recipients' servers, if this stands for them.
    pub(super) fn mx_port(&self) -> Option<u16> {
        (self.host == MX && !self.implicit_tls).then_some(self.port)
    }

    /// Whether it is on this machine, without asking anybody.
    pub(super) fn is_local(&self) -> bool {
        let address: Option<IpAddr> = self.host.parse().ok();
        address.is_some_and(|address| address.is_loopback())
    }

    /// Its addresses, by the system's resolver.
    pub(super) async fn addresses(&self) -> Result<Vec<SocketAddr>, NotConnected> {
        let found = tokio::net::lookup_host((self.host.as_str(), self.port)).await;
        Ok(found.map_err(|_| NotConnected::Dns)?.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_scheme_a_host_and_a_port() {
        for given in [
            "smtp://relay.example:587",
            "smtps://relay.example:465/",
            "smtp://[::1]:25",
        ] {
            assert!(Place::parse(given).is_ok(), "{given}");
        }
        for given in [
            "",
            "relay.example:587",
            "http://relay.example:587",
            "smtp://relay.example",
            "smtp://:25",
            "smtp://relay.example:port",
            "smtp://user:secret@relay.example:25",
        ] {
            assert!(Place::parse(given).is_err(), "{given}");
        }
    }

    #[test]
    fn only_an_address_of_this_machine_is_local() {
        let is_local = |given: &str| Place::parse(given).unwrap().is_local();
        assert!(is_local("smtp://127.0.0.1:25") && is_local("smtp://[::1]:25"));
        assert!(!is_local("smtp://10.0.0.1:25") && !is_local("smtp://localhost.example:25"));
    }
}
