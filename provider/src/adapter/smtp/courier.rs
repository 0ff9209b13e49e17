//! Brings one mail to one server, over a connection that is there already or a new one.

use std::net::SocketAddr;

use tokio::time::Instant;

use super::channel::Channel;
use super::data::Data;
use super::pool::Pool;
use super::session::{Deadlines, NoSession, Sent, Server, Session};
use super::settings::Manner;
use super::tls::Security;
use crate::provider::NotConnected;

/// How many idle connections are tried before a new one is made: if two have gone, so have the others.
const STALE: usize = 2;

/// What a mail's envelope says, and the mail.
#[derive(Clone, Copy)]
pub(super) struct Letter<'a> {
    pub(super) from: &'a str,
    pub(super) to: &'a str,
    pub(super) data: &'a Data,
}

/// The connections of an account, and how they are used.
pub(super) struct Courier {
    pub(super) manner: Manner,
    pool: Pool,
}

impl Courier {
    pub(super) fn new(manner: Manner) -> Self {
        Self {
            manner,
            pool: Pool::default(),
        }
    }

    /// An idle connection to this server that still answers.
    pub(super) async fn idle(&self, host: &str, deadline: Instant) -> Option<Session> {
        for _ in 0..STALE {
            let mut session = self.pool.take(host)?;
            if session.reset(deadline).await {
                return Some(session);
            }
        }
        None
    }

    /// A new connection, ready for mail. Where TLS is only wanted if it can be had, and cannot, one
    /// without it.
    pub(super) async fn open(
        &self,
        server: Server<'_>,
        addresses: &[SocketAddr],
        deadline: Instant,
    ) -> Result<Session, NoSession> {
        let opened = self.open_once(server, addresses, deadline).await;
        match opened {
            Err(NoSession::NotConnected(NotConnected::Tls))
                if server.security == Security::Opportunistic && !server.implicit_tls =>
            {
                let plain = Server {
                    security: Security::None,
                    ..server
                };
                self.open_once(plain, addresses, deadline).await
            }
            opened => opened,
        }
    }

    async fn open_once(
        &self,
        server: Server<'_>,
        addresses: &[SocketAddr],
        deadline: Instant,
    ) -> Result<Session, NoSession> {
        let connected = deadline.min(Instant::now() + self.manner.connect_timeout);
        let mut channel = Channel::connect(addresses, connected).await?;
        if server.implicit_tls {
            let (connector, name) = self.manner.tls.to(server.host).ok_or(NotConnected::Tls)?;
            channel = channel.secure(connector, name, connected).await?;
        }
        Session::open(channel, &server, &self.manner, deadline).await
    }

    /// Sends the mail and keeps the connection, if it is of any more use.
    pub(super) async fn deliver(
        &self,
        host: &str,
        mut session: Session,
        letter: Letter<'_>,
        deadlines: Deadlines,
    ) -> Sent {
        let Letter { from, to, data } = letter;
        let sent = session.send(from, to, data, deadlines).await;
        let goes_on = match &sent {
            Sent::Answered(reply) => reply.code != 421,
            Sent::TooLarge => true,
            Sent::Untaken(_) | Sent::Lost(_) => false,
        };
        if goes_on && session.begun < self.manner.per_connection {
            self.pool.put(host, session);
        } else if goes_on {
            session.quit().await;
        }
        sent
    }
}
