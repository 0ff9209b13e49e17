//! Which addresses a partner's endpoint may have.
//!
//! Partners choose where their webhooks go, so the address decides whether we would speak to the
//! public internet or to a machine of our own house. The check stands where the connection is
//! made: the one resolver of the one client refuses a name if **any** of its addresses is
//! forbidden, and the client dials only what was checked, so nothing can change between check and
//! use. An address written as a literal never meets the resolver and is checked before.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use pabal_common::address::is_public;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::Semaphore;

/// Names looked up at once. The system's resolver blocks a thread and cannot be interrupted.
const LOOKUPS: usize = 64;

/// What is allowed beyond public addresses over HTTPS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddressPolicy {
    /// Plain HTTP to any endpoint.
    pub allow_http: bool,
    /// Loopback, and plain HTTP to it: for development and the demo.
    pub allow_loopback: bool,
}

/// Why an endpoint is never called. It names no address: a partner may read it, and must not
/// learn our network from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not an absolute URL with a host.
    #[error("the endpoint's URL is not valid")]
    BadUrl,
    /// Neither HTTPS nor, where that is allowed, HTTP.
    #[error("the endpoint's URL must use https")]
    Scheme,
    /// It leads somewhere that is not the public internet.
    #[error("the endpoint's address is not allowed")]
    Address,
}

impl AddressPolicy {
    /// The endpoint of `url`, if it may be called as far as can be told before looking up its name.
    ///
    /// # Errors
    /// Why it is never called.
    pub fn endpoint(self, url: &str) -> Result<Url, Refused> {
        let url = Url::parse(url).map_err(|_| Refused::BadUrl)?;
        let host = url.host_str().ok_or(Refused::BadUrl)?;
        let literal = literal(host);
        if let Some(address) = literal
            && !self.allows(address)
        {
            return Err(Refused::Address);
        }
        let loops =
            literal.map_or_else(|| is_localhost(host), |ip| ip.to_canonical().is_loopback());
        match url.scheme() {
            "https" => Ok(url),
            "http" if self.allow_http || (self.allow_loopback && loops) => Ok(url),
            _ => Err(Refused::Scheme),
        }
    }

    /// Whether an endpoint may have this address.
    pub fn allows(self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        (self.allow_loopback && address.is_loopback()) || is_public(address)
    }
}

/// An address written into a URL; the URL's own parser has already brought the many notations of
/// IPv4 (octal, hexadecimal, one number) into the usual one.
fn literal(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[')
        .trim_end_matches(']')
        .parse()
        .ok()
}

fn is_localhost(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    host == "localhost" || host.ends_with(".localhost")
}

/// The resolver of the client that calls endpoints.
#[derive(Clone)]
pub struct GuardedResolver {
    policy: AddressPolicy,
    budget: Duration,
    lookups: Arc<Semaphore>,
}

impl GuardedResolver {
    /// A resolver that refuses what `policy` forbids and gives up after `budget`.
    pub fn new(policy: AddressPolicy, budget: Duration) -> Self {
        Self {
            policy,
            budget,
            lookups: Arc::new(Semaphore::new(LOOKUPS)),
        }
    }

    async fn addresses(&self, name: &str) -> Result<Vec<SocketAddr>, ResolveError> {
        let found = if is_localhost(name) {
            // By RFC 6761 never a question for the network.
            vec![
                SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
                SocketAddr::from((Ipv6Addr::LOCALHOST, 0)),
            ]
        } else {
            tokio::time::timeout(self.budget, self.look_up(name))
                .await
                .map_err(|_| ResolveError::NotFound)??
        };
        checked(self.policy, found)
    }

    async fn look_up(&self, name: &str) -> Result<Vec<SocketAddr>, ResolveError> {
        // A final dot: the machine's search domains are not the partner's.
        let question = format!("{}.", name.trim_end_matches('.'));
        let permit = Arc::clone(&self.lookups)
            .acquire_owned()
            .await
            .map_err(|_| ResolveError::NotFound)?;
        let answer = tokio::task::spawn_blocking(move || {
            let _until_the_thread_is_free = permit;
            (question.as_str(), 0)
                .to_socket_addrs()
                .map(Iterator::collect::<Vec<_>>)
        });
        let answer: io::Result<Vec<SocketAddr>> =
            answer.await.map_err(|_| ResolveError::NotFound)?;
        answer.map_err(|_| ResolveError::NotFound)
    }
}

/// All of `found`, if none of it is forbidden: a name that leads into the house at all is not
/// trusted outside it either.
fn checked(policy: AddressPolicy, found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, ResolveError> {
    if found.is_empty() {
        return Err(ResolveError::NotFound);
    }
    if found.iter().all(|address| policy.allows(address.ip())) {
        Ok(found)
    } else {
        Err(ResolveError::Refused(Refused::Address))
    }
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.clone();
        Box::pin(async move {
            let addresses = resolver.addresses(name.as_str()).await?;
            let addresses: Addrs = Box::new(addresses.into_iter());
            Ok(addresses)
        })
    }
}

impl fmt::Debug for GuardedResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedResolver")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

/// Why a name led nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ResolveError {
    /// No answer, no address, or none in time.
    #[error("the endpoint's name could not be resolved")]
    NotFound,
    /// It leads where we do not go.
    #[error(transparent)]
    Refused(Refused),
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRICT: AddressPolicy = AddressPolicy {
        allow_http: false,
        allow_loopback: false,
    };
    const HTTP: AddressPolicy = AddressPolicy {
        allow_http: true,
        ..STRICT
    };
    const DEVELOPMENT: AddressPolicy = AddressPolicy {
        allow_http: false,
        allow_loopback: true,
    };

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_of_the_house_are_forbidden() {
        for text in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "10.255.255.255",
            "100.64.0.1",
            "100.100.100.200",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.7",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::8.8.8.8",
            "100::1",
            "2001:2::1",
            "2001:10::1",
            "2001:20::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "2002:a9fe:a9fe::",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!STRICT.allows(ip(text)), "{text}");
        }
    }

    #[test]
    fn addresses_just_outside_the_forbidden_networks_are_public() {
        for text in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "168.63.129.15",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.0.3.0",
            "192.88.98.255",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2001:200::1",
            "2001:4860:4860::8888",
            "2002:808:808::1",
            "2606:4700:4700::1111",
            "2a00:1450::1",
            "3ffe::1",
        ] {
            assert!(STRICT.allows(ip(text)), "{text}");
        }
    }

    #[test]
    fn literals_are_refused_in_every_notation() {
        for url in [
            "https://127.0.0.1/hook",
            "https://127.1/hook",
            "https://2130706433/hook",
            "https://0x7f000001/hook",
            "https://0177.0.0.1/hook",
            "https://[::1]/hook",
            "https://[::ffff:127.0.0.1]/hook",
            "https://[::ffff:7f00:1]:8443/hook",
            "https://169.254.169.254/latest/meta-data",
            "https://[fd00:ec2::254]/",
            "https://192.168.0.10:9000/",
        ] {
            assert_eq!(STRICT.endpoint(url), Err(Refused::Address), "{url}");
        }
    }

    #[test]
    fn only_https_unless_http_is_allowed_and_nothing_else_ever() {
        assert!(STRICT.endpoint("https://partner.example/hook").is_ok());
        assert_eq!(
            STRICT.endpoint("http://partner.example/hook"),
            Err(Refused::Scheme)
        );
        assert!(HTTP.endpoint("http://partner.example/hook").is_ok());
        for url in ["ftp://partner.example/", "ws://partner.example/"] {
            assert_eq!(HTTP.endpoint(url), Err(Refused::Scheme), "{url}");
        }
        for url in [
            "",
            "hook",
            "//partner.example/",
            "file:///etc/passwd",
            "https://",
        ] {
            assert!(HTTP.endpoint(url).is_err(), "{url}");
        }
    }

    #[test]
    fn development_mode_allows_loopback_and_plain_http_to_it_alone() {
        for url in [
            "http://127.0.0.1:8080/hook",
            "http://localhost:8080/hook",
            "http://[::1]:8080/hook",
        ] {
            assert!(DEVELOPMENT.endpoint(url).is_ok(), "{url}");
        }
        assert_eq!(
            DEVELOPMENT.endpoint("http://partner.example/"),
            Err(Refused::Scheme)
        );
        assert_eq!(
            DEVELOPMENT.endpoint("http://10.0.0.1/"),
            Err(Refused::Address)
        );
        assert!(!DEVELOPMENT.allows(ip("64:ff9b::127.0.0.1")));
    }

    #[test]
    fn one_forbidden_answer_refuses_the_name() {
        let public = SocketAddr::from(([8, 8, 8, 8], 0));
        let private = SocketAddr::from(([10, 0, 0, 1], 0));
        assert_eq!(checked(STRICT, vec![public]), Ok(vec![public]));
        let refused = Err(ResolveError::Refused(Refused::Address));
        assert_eq!(checked(STRICT, vec![public, private]), refused);
        assert_eq!(checked(STRICT, vec![]), Err(ResolveError::NotFound));
    }

    #[tokio::test]
    async fn localhost_is_loopback_whatever_the_name_service_says() {
        let strict = GuardedResolver::new(STRICT, Duration::from_secs(5));
        let refused = Err(ResolveError::Refused(Refused::Address));
        assert_eq!(strict.addresses("localhost").await, refused);
        assert_eq!(strict.addresses("deep.LOCALHOST.").await, refused);
        let open = GuardedResolver::new(DEVELOPMENT, Duration::from_secs(5));
        let found = open.addresses("localhost").await.unwrap();
        assert!(found.iter().all(|address| address.ip().is_loopback()));
    }
}
