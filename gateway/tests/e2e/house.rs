//! A gateway in a folder and on a stack of its own, and what partners ask of it.

use std::panic::Location;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pabal_common::crypto::{Sealer, SecretHasher};
use pabal_common::domain::id::{MessageId, PartnerId};
use pabal_common::ledger::{Ledger, MessageView, Partner as PartnerRow};
use pabal_gateway::gateway::{self, Running, Service};
use pabal_gateway::partners::{self, Application};
use pabal_gateway::settings;
use pabal_simulator::Simulator;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::api::{Answer, SENDER};
use crate::endpoint::Endpoint;
use crate::partner::Partner;
use crate::stack::Stack;
use crate::wait::PATIENCE;

/// What every house is set to; a test's own settings come after it.
const USUAL: &[(&str, &str)] = &[
    ("http.address", "127.0.0.1:0"),
    ("demo.partner", "false"),
    ("webhook_receiver.poll_interval", "50ms"),
    ("reporter.parked_period", "50ms"),
    ("reporter.patrol_period", "50ms"),
    ("sender.throttle_pause", "100ms"),
    ("sender.ask_after", "200ms"),
    ("sender.ask_again", "200ms"),
    ("webhooks.waits", "100ms,200ms,200ms"),
    ("webhooks.timeout", "500ms"),
    ("query.per_second", "10000"),
];

pub(crate) struct House {
    /// Deleted after the house has stopped.
    _stack: Stack,
    folder: TempDir,
    flags: Vec<(String, String)>,
    /// A configuration file's text.
    file: Option<String>,
    running: Option<Running>,
    client: reqwest::Client,
    partners: Mutex<Vec<Arc<Partner>>>,
}

impl House {
    /// A house that is set up as usual but for these settings.
    pub(crate) async fn open(settings: &[(&str, &str)]) -> Self {
        Self::open_with_file(settings, None).await
    }

    /// The same with a configuration file.
    pub(crate) async fn open_with_file(settings: &[(&str, &str)], file: Option<String>) -> Self {
        let stack = Stack::open().await;
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let own = [("data.folder", data.to_str().unwrap())];
        let flags = USUAL.iter().chain(&own).chain(settings);
        let flags = flags.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let mut house = Self {
            flags: flags.chain(stack.settings()).collect(),
            _stack: stack,
            file,
            folder,
            running: None,
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
            partners: Mutex::default(),
        };
        house.start().await;
        house
    }

    /// Starts again on the same folder and stack, perhaps at another port.
    pub(crate) async fn start(&mut self) {
        assert!(self.running.is_none());
        let file = self
            .file
            .clone()
            .map(|text| (self.folder.path().join("pabal.toml"), text));
        let values = settings::load(file, std::iter::empty(), &self.flags).unwrap();
        self.running = Some(gateway::start(&values, &Service::ALL).await.unwrap());
    }

    /// Stops in order; what is accepted stays.
    pub(crate) async fn stop(&mut self) {
        let stopped = self.running.take().unwrap().stop();
        let stopped = tokio::time::timeout(PATIENCE, stopped).await;
        stopped.expect("it stops").unwrap();
    }

    pub(crate) fn running(&self) -> &Running {
        self.running.as_ref().unwrap()
    }

    pub(crate) fn ledger(&self) -> &dyn Ledger {
        self.running().node.ledger.as_ref()
    }

    pub(crate) fn simulator(&self) -> &Simulator {
        self.running().simulator.as_deref().unwrap()
    }

    pub(crate) fn base(&self) -> String {
        format!("http://{}", self.running().address)
    }

    pub(crate) fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// Adds a partner with an endpoint that takes everything.
    pub(crate) async fn partner(&self, name: &str) -> Arc<Partner> {
        self.partner_with(name, Endpoint::start(), |_| {}).await
    }

    /// Adds a partner that is set up otherwise, and logs it in.
    pub(crate) async fn partner_with(
        &self,
        name: &str,
        endpoint: Endpoint,
        change: impl FnOnce(&mut Application),
    ) -> Arc<Partner> {
        let id: PartnerId = name.parse().unwrap();
        let mut application = Application {
            webhook_url: Some(endpoint.url()),
            senders: vec![SENDER.parse().unwrap()],
            per_second: 10_000,
            ..Application::new(id.clone(), name)
        };
        change(&mut application);
        let node = &self.running().node;
        let (sealer, hasher) = (Sealer::new(&node.keyring), SecretHasher::new(1, PATIENCE));
        let now = node.clock.now();
        let added = partners::add(node.ledger.as_ref(), &sealer, &hasher, application, now).await;
        let credentials = added.unwrap();
        endpoint.trust(credentials.webhook_secret.clone());
        let login = json!({
            "clientId": name, "clientSecret": credentials.client_secret.expose(),
        });
        let request = self.client.post(format!("{}/v1/auth/token", self.base()));
        let answer = Answer::to(request.json(&login)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let token = answer.text("accessToken").to_owned();
        let partner = Arc::new(Partner::new(id, credentials, token, endpoint));
        self.partners().push(Arc::clone(&partner));
        partner
    }

    /// Changes a partner behind the API's back, as an operator does.
    pub(crate) async fn change(&self, partner: &Partner, change: impl FnOnce(&mut PartnerRow)) {
        let read = self.ledger().partner(&partner.id).await.unwrap().unwrap();
        let mut row = read.clone();
        change(&mut row);
        assert!(self.ledger().update_partner(&read, &row).await.unwrap());
    }

    pub(crate) async fn get(&self, partner: &Partner, path: &str) -> Answer {
        let request = self.client.get(format!("{}{path}", self.base()));
        Answer::to(request.bearer_auth(&partner.token)).await
    }

    pub(crate) async fn post(&self, partner: &Partner, path: &str, body: &Value) -> Answer {
        self.try_post(partner, path, body).await.unwrap()
    }

    /// Posts to a gateway that may be about to stop, and notes what it said to have accepted.
    pub(crate) async fn try_post(
        &self,
        partner: &Partner,
        path: &str,
        body: &Value,
    ) -> Result<Answer, reqwest::Error> {
        let request = self.client.post(format!("{}{path}", self.base()));
        let answer = Answer::try_to(request.bearer_auth(&partner.token).json(body)).await?;
        partner.note(body, &answer);
        Ok(answer)
    }

    /// Posts a text as it is, with this token.
    pub(crate) async fn post_text(&self, token: &str, path: &str, text: String) -> Answer {
        let request = self
            .client
            .post(format!("{}{path}", self.base()))
            .bearer_auth(token);
        Answer::to(
            request
                .header("content-type", "application/json")
                .body(text),
        )
        .await
    }

    /// Sends one message.
    pub(crate) async fn send(&self, partner: &Partner, message: &Value) -> Answer {
        self.post(partner, "/v1/messages", message).await
    }

    /// Sends one message that is accepted; its id.
    pub(crate) async fn accept(&self, partner: &Partner, message: &Value) -> String {
        let answer = self.send(partner, message).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        answer.text("messageId").to_owned()
    }

    /// Sends a batch that is accepted as a whole; the messages' ids.
    pub(crate) async fn accept_batch(&self, partner: &Partner, batch: &Value) -> Vec<String> {
        let answer = self.post(partner, "/v1/messages/batch", batch).await;
        assert_eq!(
            (answer.status, &answer.body["rejected"]),
            (200, &json!(0)),
            "{answer:?}"
        );
        let results = answer.body["results"].as_array().unwrap();
        results
            .iter()
            .map(|one| one["messageId"].as_str().unwrap().to_owned())
            .collect()
    }

    /// The message as the ledger has it.
    pub(crate) async fn view(&self, id: &str) -> MessageView {
        let id: MessageId = id.parse().unwrap();
        self.ledger().message(id).await.unwrap().unwrap()
    }

    /// The names of what unusual happened to a message.
    pub(crate) async fn events(&self, id: &str) -> Vec<String> {
        let events = self.ledger().events(id.parse().unwrap()).await.unwrap();
        events.into_iter().map(|event| event.kind).collect()
    }

    /// Waits for the webhook with a message's final result; the result.
    #[track_caller]
    pub(crate) fn result(&self, partner: &Partner, id: &str) -> impl Future<Output = Value> {
        let caller = Location::caller();
        async move {
            let arrived = tokio::time::timeout(PATIENCE, partner.result(id)).await;
            if let Ok(result) = arrived {
                return result;
            }
            let (view, events) = (self.view(id).await, self.events(id).await);
            panic!("no result at {caller}: {events:?} {view:#?}");
        }
    }

    pub(crate) fn partners(&self) -> MutexGuard<'_, Vec<Arc<Partner>>> {
        self.partners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for House {
    /// A test that failed: what still ran would make again what the stack deletes.
    fn drop(&mut self) {
        let Some(running) = self.running.take() else {
            return;
        };
        // The test's own runtime, which runs the gateway, cannot be waited on here.
        let stopped = std::thread::spawn(|| {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async { tokio::time::timeout(PATIENCE, running.stop()).await })
        });
        if let Err(error) = stopped.join().unwrap() {
            eprintln!("the gateway does not stop: {error}");
        }
    }
}
