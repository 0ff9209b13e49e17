//! What the demo runs on: the gateway in a temporary folder, a partner, its webhook endpoint, and a
//! client that speaks to the HTTP API like anybody else.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use pabal_common::clock::SystemClock;
use pabal_common::config::Values;
use pabal_common::crypto::{Sealer, SecretHasher};
use pabal_common::http::{self, ServerLimits};
use pabal_gateway::endpoint::{self, DemoEndpoint};
use pabal_gateway::gateway::{self, Running, Service};
use pabal_gateway::partners::{self, Application};
use pabal_simulator::Simulator;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::cases::SENDERS;
use super::refusals::Token;

/// How long the demo's client waits for an answer.
const ANSWER: Duration = Duration::from_secs(10);

/// The settings that make trouble end within the demo; everything else is as in earnest.
pub(super) fn settings(folder: &Path) -> Vec<(String, String)> {
    let folder = folder.display().to_string();
    let fixed = [
        ("data.folder", folder.as_str()),
        // Wherever the settings lead otherwise: the demo touches nothing but its folder.
        ("ledger.url", ""),
        ("ledger.password_file", ""),
        ("broker.url", ""),
        ("broker.password_file", ""),
        ("quota.url", ""),
        ("quota.password_file", ""),
        ("keys.file", ""),
        ("http.address", "127.0.0.1:0"),
        ("simulator.enabled", "true"),
        // The demo adds its own partner, with an endpoint of its own.
        ("demo.partner", "false"),
        // "No report came" is known after seconds rather than days, but not before the latest
        // report (5 s) and the end of the longest call (7 s).
        ("reporter.sms_deadline", "12s"),
        ("reporter.report_deadline", "12s"),
        ("reporter.patrol_period", "250ms"),
        ("sender.ask_after", "1s"),
        ("sender.ask_again", "2s"),
        ("webhook_receiver.poll_interval", "200ms"),
        ("webhooks.waits", "1s,1s,1s"),
    ];
    fixed
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

/// Everything that runs.
pub(super) struct Stage {
    pub(super) running: Running,
    pub(super) simulator: Arc<Simulator>,
    pub(super) endpoint: DemoEndpoint,
    pub(super) webhook_url: String,
    pub(super) client: Client,
    stop: CancellationToken,
    served: JoinHandle<()>,
}

impl Stage {
    /// Starts the gateway and the endpoint, adds the partner and logs in.
    pub(super) async fn set(values: &Values) -> anyhow::Result<Self> {
        let running = gateway::start(values, &Service::ALL).await?;
        let simulator = running
            .simulator
            .clone()
            .context("the simulated vendors do not run")?;

        let endpoint = DemoEndpoint::new(Arc::new(SystemClock));
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
        let webhook_url = format!("http://{}{}", listener.local_addr()?, endpoint::PATH);
        let stop = CancellationToken::new();
        let router = http::finish(endpoint.router());
        let served = tokio::spawn(http::serve(
            listener,
            router,
            ServerLimits::default(),
            stop.clone(),
        ));

        let mut application = Application::new("demo".parse()?, "Demo partner");
        application.webhook_url = Some(webhook_url.clone());
        for number in SENDERS {
            application.senders.push(number.parse()?);
        }
        let node = &running.node;
        let credentials = partners::add(
            node.ledger.as_ref(),
            &Sealer::new(&node.keyring),
            &SecretHasher::new(1, ANSWER),
            application,
            node.clock.now(),
        )
        .await?;
        endpoint.trust(credentials.webhook_secret.clone());

        let mut client = Client::new(running.address)?;
        client
            .log_in(
                credentials.client_id.as_str(),
                credentials.client_secret.expose(),
            )
            .await?;
        Ok(Self {
            running,
            simulator,
            endpoint,
            webhook_url,
            client,
            stop,
            served,
        })
    }

    /// Stops everything, the gateway first: it may still have webhooks to deliver.
    pub(super) async fn strike(self) -> anyhow::Result<()> {
        self.running.stop().await?;
        self.stop.cancel();
        self.served.await?;
        Ok(())
    }
}

/// An answer of the HTTP API.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Value,
}

impl Answer {
    /// A word of the body; empty where there is none.
    pub(super) fn word(&self, field: &str) -> &str {
        self.body[field].as_str().unwrap_or_default()
    }
}

/// A partner's client.
pub(super) struct Client {
    http: reqwest::Client,
    base: String,
    token: String,
}

impl Client {
    fn new(address: SocketAddr) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(ANSWER)
            .build()?;
        Ok(Self {
            http,
            base: format!("http://{address}"),
            token: String::new(),
        })
    }

    async fn log_in(&mut self, id: &str, secret: &str) -> anyhow::Result<()> {
        let body = json!({"clientId": id, "clientSecret": secret}).to_string();
        let answer = self.post("/v1/auth/token", Token::None, body).await?;
        if answer.status != 200 {
            bail!("no token: HTTP {} {}", answer.status, answer.word("reason"));
        }
        self.token = answer.word("accessToken").to_owned();
        Ok(())
    }

    /// Where the API is.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// Posts a JSON body.
    pub(super) async fn post(
        &self,
        path: &str,
        token: Token,
        body: String,
    ) -> anyhow::Result<Answer> {
        let request = self.http.post(format!("{}{path}", self.base));
        let request = request
            .header("content-type", "application/json")
            .body(body);
        self.answer(request, token).await
    }

    /// Gets a resource as the partner.
    pub(super) async fn get(&self, path: &str) -> anyhow::Result<Answer> {
        let request = self.http.get(format!("{}{path}", self.base));
        self.answer(request, Token::Ours).await
    }

    async fn answer(
        &self,
        request: reqwest::RequestBuilder,
        token: Token,
    ) -> anyhow::Result<Answer> {
        let request = match token {
            Token::Ours => request.bearer_auth(&self.token),
            Token::Forged => request.bearer_auth("a.made-up.token"),
            Token::None => request,
        };
        let response = request.send().await?;
        let status = response.status().as_u16();
        Ok(Answer {
            status,
            body: response.json().await?,
        })
    }
}
