//! Which servers take mail for a domain: RFC 5321 §5.1, with `hickory`.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{RData, RecordType};

use crate::adapter::BuildError;

/// How long one question may take, and how often it is asked; the call's own time ends it sooner.
const QUESTION: Duration = Duration::from_secs(2);
const TIMES: usize = 2;
/// The most servers of a domain that are tried for one mail, and the most addresses of each.
const MOST_SERVERS: usize = 5;
const MOST_ADDRESSES: usize = 4;

/// Finds servers.
pub(super) struct Mx(TokioResolver);

/// Why mail cannot go to a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoServers {
    /// There is no such domain.
    #[error("no such domain")]
    NoDomain,
    /// It says that it takes no mail (RFC 7505).
    #[error("the domain takes no mail")]
    NullMx,
    /// Nobody answered, or with a failure. That says nothing: least of all that there is no MX.
    #[error("names cannot be resolved")]
    Trouble,
}

/// Why a server has no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoAddress {
    /// It surely has none.
    Never,
    /// As [`NoServers::Trouble`].
    Trouble,
}

impl Mx {
    /// Asks `nameserver`, or those of the system.
    pub(super) fn new(nameserver: Option<SocketAddr>) -> Result<Self, BuildError> {
        let wrong = |error: NetError| BuildError::Settings(format!("name servers: {error}"));
        let mut builder = match nameserver {
            None => TokioResolver::builder_tokio().map_err(wrong)?,
            Some(address) => {
                let mut server = NameServerConfig::udp_and_tcp(address.ip());
                for connection in &mut server.connections {
                    connection.port = address.port();
                }
                let config = ResolverConfig::from_name_servers(vec![server]);
                TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            }
        };
        builder.options_mut().timeout = QUESTION;
        builder.options_mut().attempts = TIMES;
        builder.build().map(Self).map_err(wrong)
    }

    /// The servers of `domain` in the order to try them: by preference, shuffled among equals.
    pub(super) async fn servers(&self, domain: &str) -> Result<Vec<String>, NoServers> {
        // The final dot keeps the search list out.
        let found = match self.0.mx_lookup(format!("{domain}.")).await {
            Ok(found) => found,
            Err(error) => {
                return match nothing(&error) {
                    // The domain is its own server.
                    Some(ResponseCode::NoError) => Ok(vec![domain.to_owned()]),
                    Some(ResponseCode::NXDomain) => Err(NoServers::NoDomain),
                    _ => Err(NoServers::Trouble),
                };
            }
        };
        let records = found
            .answers()
            .iter()
            .filter_map(|record| match &record.data {
                RData::MX(mx) => Some((mx.preference, mx.exchange.to_ascii())),
                _ => None,
            });
        ordered(records.collect())
    }

    /// The addresses of a server: of IPv4, or of IPv6 where it has no others.
    pub(super) async fn addresses(&self, server: &str) -> Result<Vec<IpAddr>, NoAddress> {
        let name = format!("{server}.");
        let mut missing = Vec::new();
        for kind in [RecordType::A, RecordType::AAAA] {
            match self.0.lookup(name.as_str(), kind).await {
                Ok(found) => {
                    let records = found.answers().iter();
                    let addresses = records.filter_map(|record| record.data.ip_addr());
                    let addresses: Vec<_> = addresses.take(MOST_ADDRESSES).collect();
                    if !addresses.is_empty() {
                        return Ok(addresses);
                    }
                }
                Err(error) => missing.push(nothing(&error)),
            }
        }
        let surely = |code: &Option<ResponseCode>| {
            matches!(code, Some(ResponseCode::NoError | ResponseCode::NXDomain))
        };
        match missing.len() == 2 && missing.iter().all(surely) {
            true => Err(NoAddress::Never),
            false => Err(NoAddress::Trouble),
        }
    }
}

/// The response code of an answer without records.
fn nothing(error: &NetError) -> Option<ResponseCode> {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => Some(none.response_code),
        _ => None,
    }
}

fn ordered(mut records: Vec<(u16, String)>) -> Result<Vec<String>, NoServers> {
    let is_null = |(_, server): &(u16, String)| server == ".";
    if records.is_empty() {
        return Err(NoServers::Trouble);
    }
    if records.iter().all(is_null) {
        return Err(NoServers::NullMx);
    }
    records.retain(|record| !is_null(record));
    fastrand::shuffle(&mut records);
    records.sort_by_key(|(preference, _)| *preference);
    let servers = records.into_iter().map(|(_, server)| {
        let server = server.trim_end_matches('.');
        server.to_ascii_lowercase()
    });
    Ok(servers.take(MOST_SERVERS).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(records: &[(u16, &str)]) -> Result<Vec<String>, NoServers> {
        let records = records
            .iter()
            .map(|(preference, server)| (*preference, (*server).to_owned()));
        ordered(records.collect())
    }

    #[test]
    fn lower_preference_goes_first_and_equals_take_turns() {
        let records = [(20, "c.example."), (10, "a.example."), (10, "B.example.")];
        let mut firsts = std::collections::BTreeSet::new();
        for _ in 0..200 {
            let order = order(&records).unwrap();
            assert_eq!(order[2], "c.example");
            firsts.insert(order[0].clone());
        }
        assert_eq!(
            firsts.into_iter().collect::<Vec<_>>(),
            ["a.example", "b.example"]
        );
    }

    #[test]
    fn a_null_mx_takes_no_mail_and_means_nothing_beside_others() {
        assert_eq!(order(&[(0, ".")]), Err(NoServers::NullMx));
        assert_eq!(
            order(&[(0, "."), (10, "a.example.")]),
            Ok(vec!["a.example".to_owned()])
        );
        assert_eq!(order(&[]), Err(NoServers::Trouble));
    }
}
