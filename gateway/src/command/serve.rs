//! `pabal serve`

use pabal_common::telemetry;
use pabal_gateway::gateway::{self, Running, Service};
use pabal_gateway::settings;

use super::{Failure, not_started};
use crate::cli::Configuration;

#[derive(clap::Args, Default)]
pub(crate) struct Arguments {
    /// Only these services, comma separated: receiver, sender, webhook-receiver, reporter
    #[arg(long, value_delimiter = ',', value_name = "NAMES", value_parser = service)]
    services: Vec<Service>,
}

fn service(name: &str) -> Result<Service, String> {
    Service::parse(name.trim()).ok_or_else(|| {
        let names: Vec<_> = Service::ALL.iter().map(|service| service.name()).collect();
        format!("there is no such service; there are {}", names.join(", "))
    })
}

pub(crate) async fn run(with: &Configuration, arguments: Arguments) -> Result<(), Failure> {
    let values = with.load()?;
    let _telemetry = telemetry::init(&settings::telemetry(&values))
        .map_err(|error| Failure::usage(error.to_string()))?;
    let services = match arguments.services.is_empty() {
        true => Service::ALL.to_vec(),
        false => arguments.services,
    };
    let mut running = gateway::start(&values, &services)
        .await
        .map_err(not_started)?;
    let has_demo = match "demo".parse() {
        Ok(id) => running.node.ledger.partner(&id).await?.is_some(),
        Err(_) => false,
    };
    welcome(&running, has_demo);
    let asked = tokio::select! {
        ended = running.wait() => {
            ended?;
            false
        }
        () = asked_to_stop() => true,
    };
    if asked {
        tracing::info!("draining; once more to stop at once");
        tokio::select! {
            stopped = running.stop() => stopped?,
            () = asked_to_stop() => return Err(Failure::failed("stopped before the drain ended")),
        }
        tracing::info!("stopped; nothing was lost");
    }
    Ok(())
}

/// Ctrl-C or SIGTERM.
async fn asked_to_stop() {
    let interrupt = tokio::signal::ctrl_c();
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = interrupt => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    let _ = interrupt.await;
}

/// What a newcomer needs: where it is, and, the first time, who they are and what to paste.
fn welcome(running: &Running, has_demo: bool) {
    let base = format!("http://{}", running.address);
    println!("Pabal is ready at {base}   (API description: {base}/docs)");
    if running.simulator.is_some() {
        println!(
            "Simulated vendors carry every type; the recipient's last two digits choose the outcome."
        );
    }
    let Some(credentials) = &running.credentials else {
        if has_demo && running.endpoint.is_some() {
            println!(
                "The demo partner is from an earlier start. `pabal partner rotate-secret demo` gives it a new secret."
            );
        }
        return;
    };
    let (id, secret) = (&credentials.client_id, credentials.client_secret.expose());
    println!(
        "
A partner was added for trying things out. Its secrets are shown this once:
  clientId        {id}
  clientSecret    {secret}
  webhookSecret   {webhook}
  sender numbers  02-0000-0000, 1588-0000

Paste these lines into another terminal:

TOKEN=$(curl -s {base}/v1/auth/token -H 'Content-Type: application/json' \\
  -d '{{\"clientId\":\"{id}\",\"clientSecret\":\"{secret}\"}}' | sed 's/.*\"accessToken\":\"\\([^\"]*\\)\".*/\\1/')

curl -s {base}/v1/messages -H \"Authorization: Bearer $TOKEN\" -H 'Content-Type: application/json' \\
  -d '{{\"clientMsgId\":\"hello-1\",\"type\":\"SMS\",\"to\":\"010-0000-0000\",\"from\":\"02-0000-0000\",\"text\":\"안녕하세요, 파발입니다.\"}}'

curl -s \"{base}/v1/messages?clientMsgId=hello-1\" -H \"Authorization: Bearer $TOKEN\"

curl -s \"{base}/v1/stats/daily?from=$(TZ=Asia/Seoul date +%F)&to=$(TZ=Asia/Seoul date +%F)\" -H \"Authorization: Bearer $TOKEN\"

curl -s {base}/demo/webhooks      # the signed webhooks the demo endpoint received
",
        webhook = credentials.webhook_secret.expose(),
    );
}
