//! `pabal partner disable` and `enable`

use pabal_common::domain::id::PartnerId;
use pabal_common::ledger::PartnerStatus;

use super::{Registry, show};
use crate::command::Failure;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The partner's id
    id: PartnerId,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn disable(registry: &Registry, arguments: Arguments) -> Result<(), Failure> {
    let read = registry.partner(&arguments.id).await?;
    let mut partner = read.clone();
    partner.status = PartnerStatus::Disabled;
    registry.keep(&read, &partner).await?;
    let said = format!(
        "{} is disabled; what it sent before goes on to its end.",
        partner.id
    );
    show::changed(registry, &partner.id, arguments.json, &said).await
}

/// Also the way back for an endpoint that answered 410: its webhooks have waited in the ledger.
pub(super) async fn enable(registry: &Registry, arguments: Arguments) -> Result<(), Failure> {
    let read = registry.partner(&arguments.id).await?;
    let mut partner = read.clone();
    partner.status = PartnerStatus::Active;
    let endpoint_again = partner.webhook.disabled.take().is_some();
    registry.keep(&read, &partner).await?;
    let said = match endpoint_again {
        true => format!(
            "{} is enabled, and so is its webhook endpoint: what waited for it is sent now.",
            partner.id
        ),
        false => format!("{} is enabled.", partner.id),
    };
    show::changed(registry, &partner.id, arguments.json, &said).await
}
