//! `pabal partner`

use std::sync::Arc;

use pabal_common::clock::{Clock, SystemClock, Timestamp};
use pabal_common::config::Values;
use pabal_common::crypto::Sealer;
use pabal_common::domain::id::PartnerId;
use pabal_common::domain::sender::Sender;
use pabal_common::ledger::Partner;
use pabal_common::process::Visit;

use super::{Failure, no_such_partner, visit};
use crate::cli::Configuration;

mod add;
mod secrets;
mod show;
mod standing;
mod webhook;

/// A running server obeys every change within two seconds.
#[derive(clap::Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Command {
    /// Add a partner and show its secrets, this once
    #[command(after_help = add::EXAMPLES)]
    Add(add::Arguments),
    /// Every partner; never a secret
    List(show::Arguments),
    /// Refuse every request of a partner (E008); what was accepted before goes on to its end
    Disable(standing::Arguments),
    /// Allow a partner again, and its webhook endpoint if that answered 410: what waits is sent
    Enable(standing::Arguments),
    /// Give a partner another client secret; the old one, its tokens and refresh tokens end at once
    RotateSecret(secrets::ClientArguments),
    /// Give a partner another webhook secret, in two steps without a gap
    #[command(after_help = secrets::EXAMPLES)]
    RotateWebhookSecret(secrets::WebhookArguments),
    /// Allow a partner to send from these numbers
    AllowSender(AllowSender),
    /// Change where and how a partner is told results
    #[command(after_help = webhook::EXAMPLES)]
    SetWebhook(webhook::Arguments),
}

const EXAMPLES: &str = "\
Examples:
  pabal partner add shop --sender 02-0000-0000 --webhook-url https://shop.example/hook
  pabal partner list
  pabal partner disable shop
  pabal partner rotate-secret shop";

#[derive(clap::Args)]
pub(crate) struct AllowSender {
    /// The partner's id
    id: PartnerId,
    /// National digits, such as 02-123-4567 or 1588-1234, or the domain of its mails
    #[arg(required = true, value_name = "NUMBER")]
    numbers: Vec<Sender>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(with: &Configuration, command: Command) -> Result<(), Failure> {
    // Read before the folder is opened: wrong settings are told first.
    let values = with.load()?;
    let registry = Registry::open(values).await?;
    match command {
        Command::Add(arguments) => add::run(&registry, arguments).await,
        Command::List(arguments) => show::list(&registry, &arguments).await,
        Command::Disable(arguments) => standing::disable(&registry, arguments).await,
        Command::Enable(arguments) => standing::enable(&registry, arguments).await,
        Command::RotateSecret(arguments) => secrets::rotate_client(&registry, arguments).await,
        Command::RotateWebhookSecret(arguments) => {
            secrets::rotate_webhook(&registry, arguments).await
        }
        Command::AllowSender(arguments) => allow_sender(&registry, arguments).await,
        Command::SetWebhook(arguments) => webhook::set(&registry, arguments).await,
    }
}

/// The partners of this data folder.
struct Registry {
    values: Values,
    storage: Visit,
    clock: Arc<dyn Clock>,
}

impl Registry {
    async fn open(values: Values) -> Result<Self, Failure> {
        let storage = visit(&values).await?;
        Ok(Self {
            values,
            storage,
            clock: Arc::new(SystemClock),
        })
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn sealer(&self) -> Sealer {
        Sealer::new(&self.storage.keyring)
    }

    async fn partner(&self, id: &PartnerId) -> Result<Partner, Failure> {
        let found = self.storage.ledger.partner(id).await?;
        found.ok_or_else(|| no_such_partner(id))
    }

    /// Keeps what became of the partner that was `read`.
    async fn keep(&self, read: &Partner, changed: &Partner) -> Result<(), Failure> {
        match self.storage.ledger.update_partner(read, changed).await? {
            true => Ok(()),
            false => Err(Failure::failed(format!(
                "{} was changed by somebody else just now, and this command changed nothing: run it \
                 again",
                read.id
            ))),
        }
    }
}

async fn allow_sender(registry: &Registry, arguments: AllowSender) -> Result<(), Failure> {
    let partner = registry.partner(&arguments.id).await?;
    for number in &arguments.numbers {
        registry
            .storage
            .ledger
            .allow_sender(&partner.id, number.entry(), registry.now())
            .await?;
    }
    let senders = registry.storage.ledger.senders(&partner.id).await?;
    let said = format!("{} may send from {}.", partner.id, senders.join(", "));
    show::changed(registry, &partner.id, arguments.json, &said).await
}
