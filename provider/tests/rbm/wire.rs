//! Requests as the reference shows them.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, Method, Uri};
use pabal_common::domain::id::MessageId;
use pabal_provider::adapter;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::world::{account, call, taken};

const UUID: &str = "12345678-9abc-8def-8000-00706162616c";

type Seen = (Method, Uri, HeaderMap, Bytes);

/// A platform that grants a token, knows every recipient and takes every message.
async fn platform() -> (String, mpsc::UnboundedReceiver<Seen>) {
    let (seen, requests) = mpsc::unbounded_channel();
    let seen = Arc::new(seen);
    let answer = move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| async move {
        let answer = match uri.path() {
            "/token" => r#"{"access_token":"ya29.token","expires_in":3599,"token_type":"Bearer"}"#
                .to_owned(),
            path if path.ends_with("capabilities") => {
                r#"{"features":["RICHCARD_STANDALONE"]}"#.to_owned()
            }
            _ => serde_json::json!({
                "name": format!("phones/+821022345600/agentMessages/{UUID}"),
                "sendTime": "2026-11-18T00:00:00.123456Z",
                "contentMessage": { "text": "text" }
            })
            .to_string(),
        };
        seen.send((method, uri, headers, body)).unwrap();
        answer
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(answer);
    tokio::spawn(async move { axum::serve(listener, router).await });
    (base_url, requests)
}

#[tokio::test]
async fn a_token_is_granted_the_recipient_asked_for_and_the_message_created() {
    let (base_url, mut requests) = platform().await;
    let mut account = account(&base_url);
    account
        .settings
        .insert("check_capability".to_owned(), true.into());
    let provider = adapter::build("rbm", account).unwrap();
    let mut sent = call(0);
    sent.messages[0].id = MessageId::from_number(0x1234_5678_9abc_def0);
    assert_eq!(taken(&provider.submit(&sent).await).as_str(), UUID);

    let (method, uri, headers, body) = requests.recv().await.unwrap();
    assert_eq!((method, uri.path()), (Method::POST, "/token"));
    let kind = "application/x-www-form-urlencoded";
    assert_eq!(headers["content-type"], kind);
    assert!(headers.get("authorization").is_none());
    let form = std::str::from_utf8(&body).unwrap();
    let grant = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=ey";
    assert!(form.starts_with(grant));

    let (method, uri, headers, _) = requests.recv().await.unwrap();
    assert_eq!(method, Method::GET);
    let asked = "/v1/phones/+821022345600/capabilities?agentId=simulated_agent";
    assert_eq!(uri, asked);
    assert_eq!(headers["authorization"], "Bearer ya29.token");

    let (method, uri, headers, body) = requests.recv().await.unwrap();
    assert_eq!(method, Method::POST);
    let created =
        format!("/v1/phones/+821022345600/agentMessages?messageId={UUID}&agentId=simulated_agent");
    assert_eq!(uri, created.as_str());
    assert_eq!(headers["authorization"], "Bearer ya29.token");
    assert_eq!(headers["content-type"], "application/json");
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let text = sent.messages[0].content.text.as_str();
    let published = serde_json::json!({ "contentMessage": { "text": text } });
    assert_eq!(body, published);
}
