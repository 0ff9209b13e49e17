//! `pabal partner rotate-secret` and `rotate-webhook-secret`

use std::time::Duration;

use pabal_common::clock::Timestamp;
use pabal_common::crypto::{ClientSecret, SecretHasher, WebhookSecret};
use pabal_common::domain::id::PartnerId;
use pabal_common::ledger::{Partner, WebhookSettings};
use pabal_gateway::partners;
use serde_json::json;

use super::Registry;
use crate::command::{Failure, print_json};

/// How long the old webhook secret still signs in `webhook-signature` once the new one is active.
const OVERLAP: Duration = Duration::from_secs(24 * 3600);

pub(super) const EXAMPLES: &str = "\
Without a gap, in two steps:
  1. pabal partner rotate-webhook-secret shop
     prints the new secret once. From now on webhook-signature carries a signature of each secret;
     X-Signature stays with the old one. The partner installs the new secret.
  2. pabal partner rotate-webhook-secret shop --activate
     X-Signature changes to the new secret; the old one signs in webhook-signature for 24 hours more.

A partner that checks X-Signature alone changes its secret at the moment of step 2.
If the new secret was lost before step 2, or the old one must not sign any longer, --discard drops
the second secret and makes another.";

#[derive(clap::Args)]
pub(crate) struct ClientArguments {
    /// The partner's id
    id: PartnerId,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub(crate) struct WebhookArguments {
    /// The partner's id
    id: PartnerId,
    /// Step 2: sign X-Signature with the new secret
    #[arg(long, conflicts_with = "discard")]
    activate: bool,
    /// Step 1 again: drop the second secret, whichever it is, and make another
    #[arg(long)]
    discard: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn rotate_client(
    registry: &Registry,
    arguments: ClientArguments,
) -> Result<(), Failure> {
    let read = registry.partner(&arguments.id).await?;
    let mut partner = read.clone();
    let secret = ClientSecret::generate();
    partner.secret_hash = SecretHasher::new(1, Duration::from_secs(30))
        .hash(&secret)
        .await?;
    partner.credential_version += 1;
    registry.keep(&read, &partner).await?;
    // Only now: a login with the old secret may have kept one more until this moment.
    registry
        .storage
        .ledger
        .revoke_refresh_of(&partner.id)
        .await?;
    let id = &partner.id;
    match arguments.json {
        true => print_json(&json!({
            "clientId": id,
            "clientSecret": secret.expose(),
            "credentialVersion": partner.credential_version,
        })),
        false => {
            println!(
                "{id} has a new client secret, shown this once. The old one and every token end."
            );
            println!("  clientId      {id}");
            println!("  clientSecret  {}", secret.expose());
        }
    }
    Ok(())
}

pub(super) async fn rotate_webhook(
    registry: &Registry,
    arguments: WebhookArguments,
) -> Result<(), Failure> {
    let partner = registry.partner(&arguments.id).await?;
    match arguments.activate {
        true => activate(registry, partner, arguments.json).await,
        false => begin(registry, partner, arguments.discard, arguments.json).await,
    }
}

/// Where a partner's webhook secrets are in their rotation.
#[derive(Clone, Copy)]
pub(super) enum Rotation {
    /// One secret.
    None,
    /// The new one signs too and waits to be activated.
    Waiting,
    /// The new one is active; the old one signs too until then.
    Ending(Timestamp),
}

impl Rotation {
    pub(super) fn of(settings: &WebhookSettings, now: Timestamp) -> Self {
        match (&settings.other_secret, settings.other_until) {
            (None, _) => Self::None,
            (Some(_), None) => Self::Waiting,
            (Some(_), Some(until)) if now < until => Self::Ending(until),
            (Some(_), Some(_)) => Self::None,
        }
    }
}

async fn begin(
    registry: &Registry,
    read: Partner,
    discard: bool,
    as_json: bool,
) -> Result<(), Failure> {
    let (id, mut partner) = (read.id.clone(), read.clone());
    match Rotation::of(&partner.webhook, registry.now()) {
        Rotation::Waiting if !discard => {
            return Err(Failure::failed(format!(
                "{id} has a second webhook secret that waits to be activated with --activate; if it \
                 was lost, --discard makes another"
            )));
        }
        Rotation::Ending(until) if !discard => {
            return Err(Failure::failed(format!(
                "the last rotation of {id} is not over: its old webhook secret signs until {until}; \
                 --discard drops that one now and makes another"
            )));
        }
        _ => {}
    }
    let secret = WebhookSecret::generate();
    partner.webhook.other_secret = Some(partners::seal(&registry.sealer(), &id, &secret));
    partner.webhook.other_until = None;
    registry.keep(&read, &partner).await?;
    match as_json {
        true => print_json(&json!({
            "clientId": id, "webhookSecret": secret.expose(), "activated": false,
        })),
        false => {
            println!("{id} has a second webhook secret, shown this once:");
            println!("  webhookSecret  {}", secret.expose());
            println!("It signs in webhook-signature beside the first. X-Signature changes with");
            println!("  pabal partner rotate-webhook-secret {id} --activate");
        }
    }
    Ok(())
}

async fn activate(registry: &Registry, read: Partner, as_json: bool) -> Result<(), Failure> {
    let (id, now) = (read.id.clone(), registry.now());
    let mut partner = read.clone();
    let webhook = &mut partner.webhook;
    let new = match (Rotation::of(webhook, now), webhook.other_secret.take()) {
        (Rotation::Waiting, Some(new)) => new,
        (Rotation::Ending(until), _) => {
            return Err(Failure::failed(format!(
                "the new webhook secret of {id} is active already; the old one signs until {until}"
            )));
        }
        _ => {
            return Err(Failure::failed(format!(
                "{id} has no second webhook secret to activate; `pabal partner \
                 rotate-webhook-secret {id}` makes one"
            )));
        }
    };
    let until = now.plus(OVERLAP);
    webhook.other_secret = Some(std::mem::replace(&mut webhook.secret, new));
    webhook.other_until = Some(until);
    registry.keep(&read, &partner).await?;
    match as_json {
        true => print_json(&json!({
            "clientId": id, "activated": true, "oldSignsUntil": until.to_rfc3339(),
        })),
        false => println!(
            "X-Signature of {id} uses the new secret; the old one signs in webhook-signature until {until}."
        ),
    }
    Ok(())
}
