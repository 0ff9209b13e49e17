//! What surrounds the program on trial: where its partner reaches it, its vendors, the partner's
//! endpoint, and its own commands.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
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
        let added = self.program.run(&[
            "partner",
            "add",
            name,
            "--json",
            "--rate",
            "100000",
            "--sender",
            SENDER,
            "--webhook-batch",
            "20",
            "--webhook-url",
            endpoint.url(),
        ])?;
        let said = String::from_utf8_lossy(&added.stderr);
        ensure!(added.status.success(), "partner add: {said}");
        let credentials: Value = serde_json::from_slice(&added.stdout)?;
        let secret = credentials["webhookSecret"].as_str().context("no secret")?;
        endpoint.trust(secret.parse()?);
        let login = json!({
            "clientId": credentials["clientId"], "clientSecret": credentials["clientSecret"],
        });
        let url = format!("{}/v1/auth/token", self.receivers[0]);
        let answer = self.client.post(url).json(&login).send().await?;
        let answer: Value = answer.json().await?;
        let token = answer["accessToken"].as_str();
        Ok(Partner {
            name: name.to_owned(),
            token: token
                .with_context(|| format!("no token: {answer}"))?
                .to_owned(),
            endpoint,
        })
    }
}
