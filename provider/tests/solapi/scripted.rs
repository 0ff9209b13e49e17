//! A vendor that answers what a test wants, and remembers what it was asked.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response, Uri};
use pabal_provider::Provider;
use pabal_provider::adapter::{self, Account};
use serde_json::Value;
use tokio::net::TcpListener;

use crate::world::account;

/// A request as it came in.
#[derive(Clone)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

/// Where requests are noted, and what each is answered.
type Script = (Arc<Mutex<Vec<Asked>>>, u16, String);

pub(crate) struct Scripted {
    pub(crate) provider: Arc<dyn Provider>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Scripted {
    /// Answers every request with this status and body.
    pub(crate) async fn answering(status: u16, body: impl Into<String>) -> Self {
        Self::with("key_id = 'NCSAYU7YDBXYORXC'", status, body).await
    }

    /// With these settings of the account.
    pub(crate) async fn with(settings: &str, status: u16, body: impl Into<String>) -> Self {
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let state = (Arc::clone(&asked), status, body.into());
        let answer = |State((asked, status, answer)): State<Script>,
                      method: Method,
                      uri: Uri,
                      headers: HeaderMap,
                      body: Bytes| async move {
            asked.lock().unwrap().push(Asked {
                method,
                uri,
                headers,
                body: serde_json::from_slice(&body).unwrap_or_default(),
            });
            let response = Response::builder().status(status);
            response.body(Body::from(answer)).unwrap()
        };
        let router = Router::new().fallback(answer).with_state(state);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let account = Account {
            settings: toml::from_str(settings).unwrap(),
            ..account(&base_url)
        };
        Self {
            provider: adapter::build("solapi", account).unwrap(),
            asked,
        }
    }

    /// What it was asked, in order.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}
