//! Mail straight to the servers of the recipient's domain.
//!
//! What happens to a domain is the domain's alone: its mail waits, that of others goes on. It never uses
//! up an attempt of a mail, and ends one only by a word that is final.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use pabal_common::address::is_public;
use pabal_common::domain::mail::MailAddress;
use pabal_common::domain::reason::Reason;
use tokio::time::timeout_at;

use super::courier::{Courier, Letter};
use super::destination::Seen;
use super::destinations::{Destinations, Slot};
use super::mx::{Mx, NoAddress, NoServers};
use super::session::{Deadlines, NoSession, Sent, Server, Session};
use super::settings;
use super::smarthost::{delivered, later, refused};
use super::status::{self, Said};
use crate::adapter::BuildError;
use crate::provider::{Answer, Outcome};

/// The recipients' servers.
pub(super) struct Direct {
    mx: Mx,
    destinations: Destinations,
    port: u16,
    private_targets: bool,
}

/// Why no server of a domain could be talked to.
enum Nobody {
    /// It will never take this mail.
    Never(&'static str),
    /// Their names cannot be resolved now; of the servers themselves nothing is known.
    Unresolved,
    /// They have too much.
    Busy,
    /// They are away.
    Away,
}

impl Direct {
    pub(super) fn new(settings: settings::Direct) -> Result<Self, BuildError> {
        Ok(Self {
            mx: Mx::new(settings.nameserver)?,
            destinations: Destinations::new(settings.windows),
            port: settings.port,
            private_targets: settings.private_targets,
        })
    }

    /// Brings a mail to its recipient's server.
    pub(super) async fn send(
        &self,
        courier: &Courier,
        to: &MailAddress,
        letter: Letter<'_>,
    ) -> Outcome {
        let mut slot = match self.destinations.admit(to.domain()) {
            Ok(slot) => slot,
            Err(wait) => return deferred("DOMAIN_BUSY", Some(wait)),
        };
        let deadlines = Deadlines::from_now(&courier.manner);
        let found = timeout_at(deadlines.words, self.talk(courier, to.domain(), deadlines)).await;
        match found.unwrap_or(Err(Nobody::Away)) {
            Ok((host, session)) => {
                let sent = courier.deliver(&host, session, letter, deadlines).await;
                outcome(sent, &mut slot)
            }
            Err(why) => unsent(&why, &mut slot),
        }
    }

    /// A session with the first server of the domain that talks to us.
    async fn talk(
        &self,
        courier: &Courier,
        domain: &str,
        deadlines: Deadlines,
    ) -> Result<(String, Session), Nobody> {
        let servers = self.mx.servers(domain).await.map_err(|why| match why {
            NoServers::NoDomain => Nobody::Never(status::NO_DOMAIN),
            NoServers::NullMx => Nobody::Never(status::NULL_MX),
            NoServers::Trouble => Nobody::Unresolved,
        })?;
        let mut nobody = None;
        for host in servers {
            if let Some(session) = courier.idle(&host, deadlines.words).await {
                return Ok((host, session));
            }
            let why = match self.addresses(&host).await {
                Ok(addresses) => {
                    let server = Server {
                        host: &host,
                        implicit_tls: false,
                        security: courier.manner.tls.security,
                        login: None,
                    };
                    match courier.open(server, &addresses, deadlines.words).await {
                        Ok(session) => return Ok((host, session)),
                        Err(NoSession::Turned(reply)) if reply.is_transient() => Nobody::Busy,
                        // Another server of theirs may let us in; and if none does, perhaps later.
                        Err(_) => Nobody::Away,
                    }
                }
                Err(why) => why,
            };
            nobody = Some(more_hopeful(nobody, why));
        }
        Err(nobody.unwrap_or(Nobody::Unresolved))
    }

    async fn addresses(&self, host: &str) -> Result<Vec<SocketAddr>, Nobody> {
        let all = self.mx.addresses(host).await.map_err(|why| match why {
            NoAddress::Never => Nobody::Never(status::NO_ROUTE),
            NoAddress::Trouble => Nobody::Unresolved,
        })?;
        let is_allowed = |address: &IpAddr| self.private_targets || is_public(*address);
        let allowed = all.into_iter().filter(is_allowed);
        let allowed: Vec<_> = allowed
            .map(|address| SocketAddr::new(address, self.port))
            .collect();
        match allowed.is_empty() {
            true => Err(Nobody::Never(status::PRIVATE_TARGET)),
            false => Ok(allowed),
        }
    }
}

/// What is to be said of several servers: the most hopeful, because a mail is given up only if none is
/// left to hope for.
fn more_hopeful(one: Option<Nobody>, other: Nobody) -> Nobody {
    let hope = |why: &Nobody| match why {
        Nobody::Never(_) => 0,
        Nobody::Unresolved => 1,
        Nobody::Away => 2,
        Nobody::Busy => 3,
    };
    match one {
        Some(one) if hope(&one) >= hope(&other) => one,
        _ => other,
    }
}

fn unsent(why: &Nobody, slot: &mut Slot) -> Outcome {
    match why {
        Nobody::Never(code) => Outcome::Answered(vec![refused(code, Reason::InvalidRecipient)]),
        Nobody::Unresolved => deferred("DNS", None),
        Nobody::Busy => {
            slot.saw(Seen::Overloaded);
            deferred("DOMAIN_BUSY", None)
        }
        Nobody::Away => {
            slot.saw(Seen::Unreachable);
            deferred("DOMAIN_DOWN", None)
        }
    }
}

fn outcome(sent: Sent, slot: &mut Slot) -> Outcome {
    match sent {
        Sent::Answered(reply) if reply.is_positive() => Outcome::Answered(vec![delivered(&reply)]),
        Sent::Answered(reply) => Outcome::Answered(vec![match status::said(&reply) {
            Said::Refused(code, reason) => refused(code, reason),
            Said::Later => later(&reply),
            Said::Overloaded => {
                slot.saw(Seen::Overloaded);
                later(&reply)
            }
        }]),
        Sent::TooLarge => {
            Outcome::Answered(vec![refused(status::TOO_LARGE, Reason::ContentRejected)])
        }
        Sent::Untaken(_) => {
            slot.saw(Seen::Unreachable);
            deferred("DOMAIN_DOWN", None)
        }
        Sent::Lost(broken) => Outcome::Unknown(broken.into()),
    }
}

fn deferred(code: &str, retry_after: Option<Duration>) -> Outcome {
    Outcome::Answered(vec![Answer::Deferred {
        code: code.to_owned(),
        retry_after,
    }])
}
