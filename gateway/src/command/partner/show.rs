//! `pabal partner list`, and how a partner is shown: never with a secret.

use pabal_common::clock::Timestamp;
use pabal_common::domain::id::PartnerId;
use pabal_common::ledger::{Partner, PartnerStatus};
use serde_json::{Value, json};

use super::Registry;
use super::secrets::Rotation;
use crate::command::{Failure, print_json, print_table};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn list(registry: &Registry, arguments: &Arguments) -> Result<(), Failure> {
    let ledger = &registry.storage.ledger;
    let mut rows = Vec::new();
    for partner in ledger.partners().await? {
        let senders = ledger.senders(&partner.id).await?;
        rows.push((partner, senders));
    }
    let now = registry.now();
    if arguments.json {
        let items: Vec<Value> = rows
            .iter()
            .map(|(partner, senders)| view(partner, senders, now))
            .collect();
        print_json(&json!({"items": items}));
    } else if rows.is_empty() {
        println!("There are no partners yet: pabal partner add ID");
    } else {
        let cells: Vec<_> = rows
            .iter()
            .map(|(partner, senders)| cells(partner, senders))
            .collect();
        let headings = [
            "ID", "NAME", "STATUS", "RATE", "EXPRESS", "BATCH", "WEBHOOK", "SENDERS",
        ];
        print_table(headings, &cells);
    }
    Ok(())
}

/// Says what was changed, or shows the partner as it is now.
pub(super) async fn changed(
    registry: &Registry,
    id: &PartnerId,
    as_json: bool,
    said: &str,
) -> Result<(), Failure> {
    match as_json {
        true => print_json(&one(registry, id).await?),
        false => println!("{said}"),
    }
    Ok(())
}

/// A partner as JSON.
pub(super) async fn one(registry: &Registry, id: &PartnerId) -> Result<Value, Failure> {
    let partner = registry.partner(id).await?;
    let senders = registry.storage.ledger.senders(id).await?;
    Ok(view(&partner, &senders, registry.now()))
}

fn view(partner: &Partner, senders: &[String], now: Timestamp) -> Value {
    let webhook = &partner.webhook;
    json!({
        "id": partner.id,
        "name": partner.name,
        "status": status(partner),
        "rate": partner.per_second,
        "expressRate": partner.express_per_second,
        "unencodable": partner.unencodable,
        "credentialVersion": partner.credential_version,
        "webhook": {
            "url": webhook.url,
            "batch": webhook.batch,
            "sent": webhook.sent,
            "disabled": webhook.disabled,
            "rotation": match Rotation::of(webhook, now) {
                Rotation::None => Value::Null,
                Rotation::Waiting => json!({"state": "NOT_ACTIVATED"}),
                Rotation::Ending(until) => {
                    json!({"state": "ACTIVATED", "oldSignsUntil": until.to_rfc3339()})
                }
            },
        },
        "senders": senders,
        "createdAt": partner.created_at.to_rfc3339(),
    })
}

fn cells(partner: &Partner, senders: &[String]) -> [String; 8] {
    let webhook = &partner.webhook;
    let url = webhook.url.as_deref().unwrap_or("-");
    [
        partner.id.to_string(),
        partner.name.clone(),
        status(partner).to_owned(),
        partner.per_second.to_string(),
        partner.express_per_second.to_string(),
        webhook.batch.to_string(),
        match &webhook.disabled {
            Some(why) => format!("{url} (disabled: {why})"),
            None => url.to_owned(),
        },
        match senders.is_empty() {
            true => "-".to_owned(),
            false => senders.join(","),
        },
    ]
}

const fn status(partner: &Partner) -> &'static str {
    match partner.status {
        PartnerStatus::Active => "ACTIVE",
        PartnerStatus::Disabled => "DISABLED",
    }
}
