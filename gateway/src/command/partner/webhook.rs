//! `pabal partner set-webhook`

use std::str::FromStr;

use pabal_common::config::Values;
use pabal_common::domain::id::PartnerId;
use pabal_reporter::address::AddressPolicy;
use reqwest::Url;

use super::{Registry, show};
use crate::command::Failure;

/// The longest URL, in bytes; longer ones are cut or refused by much of what lies between.
const LONGEST_URL: usize = 2000;

pub(super) const EXAMPLES: &str = "\
What waits is sent to the new endpoint. Another URL also ends the disabling by a 410 answer.

Examples:
  pabal partner set-webhook shop https://shop.example/hook
  pabal partner set-webhook shop --batch 100 --sent true
  pabal partner set-webhook shop none";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The partner's id
    id: PartnerId,
    /// Where results are sent: https://…, or `none` for no webhooks
    #[arg(value_name = "URL|none")]
    url: Option<Endpoint>,
    /// The most results in one webhook, 1 to 100
    #[arg(long, value_name = "N", value_parser = batch())]
    batch: Option<u16>,
    /// Whether SENT is told too
    #[arg(long, value_name = "true|false")]
    sent: Option<bool>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Where results go, if anywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint(Option<String>);

impl Endpoint {
    /// The URL; `None` means no webhooks.
    pub(super) fn url(self) -> Option<String> {
        self.0
    }
}

/// The text is not an endpoint.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error(
    "expected a URL such as https://shop.example/hook (http or https, a host, no user or password, \
     no fragment, at most 2000 characters), or none"
)]
pub(super) struct NotAnEndpoint;

impl FromStr for Endpoint {
    type Err = NotAnEndpoint;

    fn from_str(text: &str) -> Result<Self, NotAnEndpoint> {
        if text == "none" {
            return Ok(Self(None));
        }
        let url = Url::parse(text).map_err(|_| NotAnEndpoint)?;
        let fits = matches!(url.scheme(), "http" | "https")
            && url.has_host()
            // A password would be shown by every list; a signature is what proves who calls.
            && url.username().is_empty()
            && url.password().is_none()
            && url.fragment().is_none()
            && url.as_str().len() <= LONGEST_URL;
        match fits {
            true => Ok(Self(Some(url.into()))),
            false => Err(NotAnEndpoint),
        }
    }
}

pub(super) fn batch() -> clap::builder::RangedI64ValueParser<u16> {
    clap::value_parser!(u16).range(1..=100)
}

pub(super) async fn set(registry: &Registry, arguments: Arguments) -> Result<(), Failure> {
    let Arguments {
        id,
        url,
        batch,
        sent,
        json,
    } = arguments;
    if url.is_none() && batch.is_none() && sent.is_none() {
        return Err(Failure::usage(
            "there is nothing to change: give a URL, none, --batch N or --sent true|false",
        ));
    }
    let read = registry.partner(&id).await?;
    let mut partner = read.clone();
    let webhook = &mut partner.webhook;
    if let Some(endpoint) = url {
        let url = endpoint.url();
        if webhook.url != url {
            webhook.disabled = None;
        }
        webhook.url = url;
    }
    webhook.batch = batch.unwrap_or(webhook.batch);
    webhook.sent = sent.unwrap_or(webhook.sent);
    registry.keep(&read, &partner).await?;
    let webhook = &partner.webhook;
    let said = match &webhook.url {
        None => format!("{id} is sent no webhooks."),
        Some(url) => format!(
            "{id} is told results at {url}, at most {} at once, {}.",
            webhook.batch,
            match webhook.sent {
                true => "SENT too",
                false => "only how messages end",
            }
        ),
    };
    show::changed(registry, &id, json, &said).await?;
    if let Some(url) = &webhook.url {
        note_refused(&registry.values, url);
    }
    Ok(())
}

/// Warns of an endpoint that these settings never call.
pub(super) fn note_refused(values: &Values, url: &str) {
    let policy = AddressPolicy {
        allow_http: values.flag("webhooks.allow_http"),
        // Simulated vendors come with an endpoint on this machine.
        allow_loopback: values.flag("webhooks.allow_loopback")
            || pabal_gateway::settings::simulated(values),
    };
    if let Err(refused) = policy.endpoint(url) {
        eprintln!(
            "pabal: note: with the settings in force webhooks to {url} become dead letters: \
             {refused} (see webhooks.allow_http and webhooks.allow_loopback)"
        );
    }
}
