//! E-mail over SMTP: to a submission server (*smarthost*), or straight to the servers of each recipient's
//! domain (*direct*).
//!
//! A server takes a mail by its answer to the final dot and is answerable for it from then on, so that
//! answer ends the message: DELIVERED says that the next server has it. Before the first byte of the
//! final dot nothing is taken, and the mail waits on a schedule of its own until its validity ends;
//! after it a lost answer is unknown, and the mail is never sent again. See [`session`].

mod channel;
mod compose;
mod courier;
mod data;
mod destination;
mod destinations;
mod direct;
mod dkim;
mod mx;
mod pool;
mod reply;
mod return_path;
mod server;
mod session;
mod settings;
mod smarthost;
mod status;
mod tls;

use async_trait::async_trait;
use futures::future::join_all;
use pabal_common::domain::report::VendorAccount;

use super::{Account, BuildError};
use crate::provider::{
    Answer, Call, Capabilities, Outcome, Outgoing, ProbeError, Provider, ReportPath,
};
use compose::compose;
use courier::{Courier, Letter};
use direct::Direct;
use dkim::Signers;
use settings::{Settings, Way};
use smarthost::Smarthost;

pub use return_path::ReturnPaths;
#[cfg(test)]
pub(super) use status::CODES;

/// One account of mail.
pub(super) struct Smtp {
    account: VendorAccount,
    capabilities: Capabilities,
    courier: Courier,
    to: To,
    signers: Signers,
    return_paths: Option<ReturnPaths>,
}

enum To {
    Smarthost(Box<Smarthost>),
    Direct(Box<Direct>),
}

impl Smtp {
    /// The adapter; nothing is connected yet.
    pub(super) fn new(account: Account) -> Result<Self, BuildError> {
        let settings = Settings::of(&account)?;
        Ok(Self {
            account: account.account,
            capabilities: Capabilities {
                batch: 1,
                duplicate_window: None,
                can_be_asked: false,
                answers_finally: true,
                reports: ReportPath::None,
                definitive: &status::DEFINITIVE,
            },
            courier: Courier::new(settings.manner),
            to: match settings.way {
                Way::Smarthost { server, login } => {
                    To::Smarthost(Box::new(Smarthost { server, login }))
                }
                Way::Direct(settings) => To::Direct(Box::new(Direct::new(settings)?)),
            },
            signers: settings.signers,
            return_paths: settings.return_paths,
        })
    }

    async fn send(&self, outgoing: &Outgoing) -> Outcome {
        let mail = match compose(outgoing, &self.signers) {
            Ok(mail) => mail,
            Err(why) => {
                tracing::warn!(message_id = %outgoing.id, %why, "a message is no mail");
                return Outcome::Answered(vec![status::CODES.answer(status::UNWRITABLE, None)]);
            }
        };
        let return_path = self
            .return_paths
            .as_ref()
            .map(|paths| paths.of(outgoing.id));
        let letter = Letter {
            from: return_path.as_deref().unwrap_or(mail.from.expose()),
            to: mail.to.expose(),
            data: &mail.data,
        };
        match &self.to {
            To::Smarthost(smarthost) => smarthost.send(&self.courier, letter).await,
            To::Direct(direct) => direct.send(&self.courier, &mail.to, letter).await,
        }
    }
}

#[async_trait]
impl Provider for Smtp {
    fn account(&self) -> &VendorAccount {
        &self.account
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn submit(&self, call: &Call) -> Outcome {
        let mut outcomes = join_all(call.messages.iter().map(|one| self.send(one))).await;
        // A call has one message: the batch declared above.
        outcomes
            .pop()
            .unwrap_or(Outcome::Answered(Vec::<Answer>::new()))
    }

    async fn probe(&self) -> Result<(), ProbeError> {
        match &self.to {
            To::Smarthost(smarthost) => smarthost.probe(&self.courier).await.map_err(ProbeError),
            // There is no one server to ask; each domain has a state of its own.
            To::Direct(_) => Ok(()),
        }
    }
}
