//! `pabal partner add`

use std::time::Duration;

use pabal_common::crypto::SecretHasher;
use pabal_common::domain::id::PartnerId;
use pabal_common::domain::sender::Sender;
use pabal_common::domain::text::Unencodable;
use pabal_gateway::partners::{self, Application, Credentials, EXPRESS_PER_SECOND, PER_SECOND};
use serde_json::json;

use super::webhook::{Endpoint, note_refused};
use super::{Registry, show};
use crate::command::{Failure, print_json};

pub(super) const EXAMPLES: &str = "\
The client secret and the webhook secret are printed once and kept as a hash and sealed: store them
before you close the terminal. A lost one is replaced with rotate-secret or rotate-webhook-secret.

Examples:
  pabal partner add shop --sender 02-0000-0000 --webhook-url https://shop.example/hook
  pabal partner add bank --name 'Bank of Pabal' --rate 5000 --express-rate 500 --sender 1588-0000
  pabal partner add bulk --webhook-url https://bulk.example/hook --webhook-batch 100 --json";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Its id and clientId: 1 to 32 of a-z, 0-9 and '-'
    id: PartnerId,
    /// Its name, for people; the id if not given
    #[arg(long, value_parser = name)]
    name: Option<String>,
    /// Accepted messages a second, 1 to 100000
    #[arg(long, value_name = "N", default_value_t = PER_SECOND, value_parser = rate())]
    rate: u32,
    /// AUTH messages a second on the express lane, 1 to 100000; those beyond count as any other message
    #[arg(long, value_name = "N", default_value_t = EXPRESS_PER_SECOND, value_parser = rate())]
    express_rate: u32,
    /// Where results are sent; without it they are there by query alone
    #[arg(long, value_name = "URL")]
    webhook_url: Option<Endpoint>,
    /// The most results in one webhook, 1 to 100
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = super::webhook::batch())]
    webhook_batch: u16,
    /// Tell SENT too, not only how a message ended
    #[arg(long)]
    webhook_sent: bool,
    /// What happens to characters that SMS, LMS and MMS cannot carry: reject, or replace:? (or
    /// another character)
    #[arg(long, value_name = "POLICY", default_value_t = Unencodable::Reject)]
    unencodable: Unencodable,
    /// A number it may send from, such as 02-123-4567, or the domain of its mails; may be repeated
    #[arg(long = "sender", value_name = "NUMBER")]
    senders: Vec<Sender>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(registry: &Registry, arguments: Arguments) -> Result<(), Failure> {
    let as_json = arguments.json;
    let application = arguments.application();
    let hasher = SecretHasher::new(1, Duration::from_secs(30));
    let (ledger, sealer) = (registry.storage.ledger.as_ref(), registry.sealer());
    let told = application.clone();
    let credentials = partners::add(ledger, &sealer, &hasher, application, registry.now()).await?;
    if as_json {
        let partner = show::one(registry, &credentials.client_id).await?;
        print_json(&json!({
            "clientId": credentials.client_id,
            "clientSecret": credentials.client_secret.expose(),
            "webhookSecret": credentials.webhook_secret.expose(),
            "partner": partner,
        }));
    } else {
        tell(&credentials, &told);
    }
    if let Some(url) = &told.webhook_url {
        note_refused(&registry.values, url);
    }
    Ok(())
}

impl Arguments {
    fn application(self) -> Application {
        Application {
            name: self.name.unwrap_or_else(|| self.id.to_string()),
            per_second: self.rate,
            express_per_second: self.express_rate,
            unencodable: self.unencodable,
            webhook_url: self.webhook_url.and_then(Endpoint::url),
            webhook_batch: self.webhook_batch,
            webhook_sent: self.webhook_sent,
            senders: self.senders,
            id: self.id,
        }
    }
}

fn tell(credentials: &Credentials, application: &Application) {
    let id = &credentials.client_id;
    println!("Partner {id} was added. Its secrets are shown this once:");
    println!("  clientId       {id}");
    println!("  clientSecret   {}", credentials.client_secret.expose());
    println!("  webhookSecret  {}", credentials.webhook_secret.expose());
    if application.senders.is_empty() {
        println!("It may not send yet: pabal partner allow-sender {id} NUMBER");
    }
    if application.webhook_url.is_none() {
        println!("It is told no results yet: pabal partner set-webhook {id} URL");
    }
}

fn rate() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=100_000)
}

fn name(text: &str) -> Result<String, String> {
    let text = text.trim();
    match (1..=100).contains(&text.chars().count()) && !text.contains(char::is_control) {
        true => Ok(text.to_owned()),
        false => Err("a name is 1 to 100 characters on one line".to_owned()),
    }
}
