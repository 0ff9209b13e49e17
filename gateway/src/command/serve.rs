//! `pabal serve`

use pabal_common::process;
use pabal_gateway::gateway::{self, Running, Service, StartError};

use super::Failure;
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
    let _telemetry = process::init_telemetry(&values, "pabal")?;
    let services = match arguments.services.is_empty() {
        true => Service::ALL.to_vec(),
        false => arguments.services,
    };
    let stop = process::stop_on_signal("pabal")?;
    let mut running = match gateway::start_until(&values, &services, stop).await {
        Err(StartError::Stopped) => return Ok(()),
        started => started.map_err(|error| error.failure())?,
    };
    let has_demo = match "demo".parse() {
        Ok(id) => running.node.ledger.partner(&id).await?.is_some(),
        Err(_) => false,
    };
    welcome(&running, has_demo);
    running.wait().await?;
    Ok(())
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
