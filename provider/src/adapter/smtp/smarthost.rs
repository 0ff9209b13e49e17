//! Mail by way of one server that sees to the rest.
//!
//! What happens to the server happens to the account: its route is closed or slowed down, as for any
//! other vendor.

use pabal_common::domain::reason::Reason;

use super::channel::Broken;
use super::courier::{Courier, Letter};
use super::reply::Reply;
use super::server::Place;
use super::session::{Deadlines, NoSession, Sent, Server, Session};
use super::settings::Login;
use super::status::{self, Said};
use crate::provider::{Answer, Closed, NotConnected, Outcome};

/// The server and how we are known there.
pub(super) struct Smarthost {
    pub(super) server: Place,
    pub(super) login: Option<Login>,
}

impl Smarthost {
    /// Hands a mail over.
    pub(super) async fn send(&self, courier: &Courier, letter: Letter<'_>) -> Outcome {
        let deadlines = Deadlines::from_now(&courier.manner);
        let session = match courier.idle(&self.server.host, deadlines.words).await {
            Some(session) => session,
            None => match self.connect(courier, deadlines).await {
                Ok(session) => session,
                Err(why) => return unsent(&why),
            },
        };
        let sent = courier
            .deliver(&self.server.host, session, letter, deadlines)
            .await;
        outcome(sent)
    }

    /// Whether the server lets us in.
    pub(super) async fn probe(&self, courier: &Courier) -> Result<(), String> {
        let deadlines = Deadlines::from_now(&courier.manner);
        match self.connect(courier, deadlines).await {
            Ok(session) => {
                session.quit().await;
                Ok(())
            }
            Err(why) => Err(format!("{why:?}")),
        }
    }

    async fn connect(&self, courier: &Courier, deadlines: Deadlines) -> Result<Session, NoSession> {
        let addresses = self.server.addresses().await?;
        let server = Server {
            host: &self.server.host,
            implicit_tls: self.server.implicit_tls,
            security: courier.manner.tls.security,
            login: self.login.as_ref(),
        };
        courier.open(server, &addresses, deadlines.words).await
    }
}

fn unsent(why: &NoSession) -> Outcome {
    match why {
        NoSession::NotConnected(why) => Outcome::NotConnected(*why),
        NoSession::Broken(broken) => Outcome::NotConnected(not_connected(*broken)),
        NoSession::Turned(reply) | NoSession::Login(reply) if reply.is_transient() => {
            Outcome::Throttled { retry_after: None }
        }
        // It does not want our address, or does not know our name.
        NoSession::Turned(reply) | NoSession::Login(reply) => Outcome::Closed {
            code: status::code(reply),
            why: Closed::Credentials,
        },
    }
}

const fn not_connected(broken: Broken) -> NotConnected {
    match broken {
        Broken::TimedOut => NotConnected::TimedOut,
        Broken::Reset | Broken::Garbled => NotConnected::Refused,
    }
}

fn outcome(sent: Sent) -> Outcome {
    match sent {
        Sent::Answered(reply) if reply.is_positive() => Outcome::Answered(vec![delivered(&reply)]),
        Sent::Answered(reply) => match status::said(&reply) {
            Said::Overloaded => Outcome::Throttled { retry_after: None },
            Said::Later => Outcome::Answered(vec![later(&reply)]),
            Said::Refused(code, reason) => match status::closes(&reply) {
                Some(why) => Outcome::Closed {
                    code: status::code(&reply),
                    why,
                },
                None => Outcome::Answered(vec![refused(code, reason)]),
            },
        },
        Sent::TooLarge => {
            Outcome::Answered(vec![refused(status::TOO_LARGE, Reason::ContentRejected)])
        }
        Sent::Untaken(broken) => Outcome::NotConnected(not_connected(broken)),
        Sent::Lost(broken) => Outcome::Unknown(broken.into()),
    }
}

/// The server has taken the mail and is answerable for it from now on (RFC 5321 §6.1).
pub(super) fn delivered(reply: &Reply) -> Answer {
    Answer::Delivered {
        vendor_id: None,
        code: Some(status::code(reply)),
    }
}

/// Not now; on the schedule of mail.
pub(super) fn later(reply: &Reply) -> Answer {
    Answer::Deferred {
        code: status::code(reply),
        retry_after: None,
    }
}

/// Never.
pub(super) fn refused(code: &str, reason: Reason) -> Answer {
    Answer::Refused {
        code: code.to_owned(),
        reason,
    }
}
