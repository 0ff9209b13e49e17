//! A vendor that answers what a test says, and remembers what it was asked.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use serde_json::Value;

/// A request as it came in.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        Some(self.headers.get(name)?.to_str().unwrap())
    }

    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

type Answer = Box<dyn Fn(&Seen) -> (u16, String) + Send + Sync>;

struct Desk {
    answer: Answer,
    seen: Mutex<Vec<Seen>>,
}

pub(crate) struct Canned {
    pub(crate) base_url: String,
    desk: Arc<Desk>,
}

impl Canned {
    /// A vendor whose every answer is `answer`, by status and body.
    pub(crate) async fn new(
        answer: impl Fn(&Seen) -> (u16, String) + Send + Sync + 'static,
    ) -> Self {
        let desk = Arc::new(Desk {
            answer: Box::new(answer),
            seen: Mutex::default(),
        });
        let router = Router::new().fallback(serve).with_state(Arc::clone(&desk));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { base_url, desk }
    }

    /// A vendor that says the same to everything, with success.
    pub(crate) async fn saying(body: impl ToString) -> Self {
        let body = body.to_string();
        Self::new(move |_| (200, body.clone())).await
    }

    /// What was asked, oldest first.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.desk.seen.lock().unwrap().clone()
    }
}

async fn serve(
    State(desk): State<Arc<Desk>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, String) {
    let query = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&uri);
    let seen = Seen {
        method,
        path: uri.path().to_owned(),
        query: query.unwrap().0,
        headers,
        body: serde_json::from_slice(&body).unwrap_or_default(),
    };
    desk.seen.lock().unwrap().push(seen.clone());
    let (status, body) = (desk.answer)(&seen);
    (StatusCode::from_u16(status).unwrap(), body)
}
