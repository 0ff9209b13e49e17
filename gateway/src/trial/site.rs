//! What surrounds the program on trial: where its partner reaches it, its vendors, the partner's
//! endpoint, and its own commands.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use pabal_common::crypto::WebhookSecret;
use pabal_simulator::Simulator;
use serde_json::{Value, json};

use super::endpoint::Endpoint;

/// The sender number of every partner on trial.
pub const SENDER: &str = "0212345678";
/// How long a partner waits for an answer.
const ANSWER: Duration = Duration::from_secs(8);

/// The program, as its operator uses it.
#[derive(Clone, Debug)]
pub struct Program {
    /// `pabal` itself.
    pub binary: PathBuf,
    /// Its configuration file.
    pub config: PathBuf,
}

impl Program {
    /// Runs one of its commands to the end.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn run(&self, arguments: &[&str]) -> std::io::Result<Output> {
        let mut command = Command::new(&self.binary);
        without_settings(&mut command);
        command
            .arg("--config")
            .arg(&self.config)
            .args(arguments)
            .stdin(Stdio::null());
        command.output()
    }

    /// Adds a partner that may send faster than any load, and whose webhooks hold up to
    /// `webhook_batch` results.
    ///
    /// # Errors
    /// If the program refuses it.
    pub fn add_partner(
        &self,
        name: &str,
        webhook_url: &str,
        webhook_batch: u16,
    ) -> anyhow::Result<Credentials> {
        let added = self.run(&[
            "partner",
            "add",
            name,
            "--json",
            "--rate",
            "100000",
            "--sender",
            SENDER,
            "--webhook-batch",
            &webhook_batch.to_string(),
            "--webhook-url",
            webhook_url,
        ])?;
        let said = String::from_utf8_lossy(&added.stderr);
        ensure!(added.status.success(), "partner add: {said}");
        let told: Value = serde_json::from_slice(&added.stdout)?;
        let text = |name: &str| {
            let text = told[name].as_str().map(ToOwned::to_owned);
            text.with_context(|| format!("partner add says no {name}"))
        };
        Ok(Credentials {
            client_id: text("clientId")?,
            client_secret: text("clientSecret")?,
            webhook_secret: text("webhookSecret")?.parse()?,
        })
    }
}

/// What a new partner is told once.
pub struct Credentials {
    /// Its name at the login.
    pub client_id: String,
    /// Its password at the login.
    pub client_secret: String,
    /// What its webhooks are signed with.
    pub webhook_secret: WebhookSecret,
}

/// What a trial is told by the environment is no setting of the programs it starts.
pub fn without_settings(command: &mut Command) {
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PABAL_")) {
        command.env_remove(name);
    }
}

/// Everything but the processes on trial.
pub struct Site {
    /// Base addresses that take messages.
    pub receivers: Vec<String>,
    /// Base addresses that answer queries.
    pub reporters: Vec<String>,
    /// The partner's way to them.
    pub client: reqwest::Client,
    /// The vendors: what they took is the witness.
    pub simulator: Arc<Simulator>,
    /// The program's commands.
    pub program: Program,
    /// The processes' logs, in which nothing may have panicked.
    pub logs: Vec<PathBuf>,
}

/// A partner, logged in, and its endpoint.
#[derive(Clone)]
pub struct Partner {
    /// Its id.
    pub name: String,
    /// Its access token.
    pub token: String,
    /// Where its webhooks go.
    pub endpoint: Endpoint,
}

impl Site {
    /// A partner's HTTP client.
    ///
    /// # Errors
    /// If it cannot be built.
    pub fn client() -> reqwest::Result<reqwest::Client> {
        reqwest::Client::builder()
            .no_proxy()
            .timeout(ANSWER)
            .build()
    }

    /// Adds a partner with an endpoint of its own, and logs it in.
    ///
    /// # Errors
    /// If the program refuses it.
    pub async fn add_partner(&self, name: &str) -> anyhow::Result<Partner> {
        let endpoint = Endpoint::start().await?;
        let credentials = self.program.add_partner(name, endpoint.url(), 20)?;
        endpoint.trust(credentials.webhook_secret);
        let (id, secret) = (&credentials.client_id, &credentials.client_secret);
        Ok(Partner {
            name: name.to_owned(),
            token: login(&self.client, &self.receivers[0], id, secret).await?,
            endpoint,
        })
    }
}

/// Logs a partner in at a receiver: its access token.
///
/// # Errors
/// If the receiver refuses it.
pub async fn login(
    client: &reqwest::Client,
    receiver: &str,
    client_id: &str,
    client_secret: &str,
) -> anyhow::Result<String> {
    let login = json!({ "clientId": client_id, "clientSecret": client_secret });
    let url = format!("{receiver}/v1/auth/token");
    let answer = client.post(url).json(&login).send().await?;
    let answer: Value = answer.json().await?;
    let token = answer["accessToken"].as_str();
    let token = token.with_context(|| format!("no token: {answer}"))?;
    Ok(token.to_owned())
}
