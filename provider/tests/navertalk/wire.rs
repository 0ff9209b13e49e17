//! The request as the API's README shows it.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, Method, Uri};
use pabal_provider::adapter;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::world::{account, call, is_delivered};

#[tokio::test]
async fn a_request_bears_the_key_alone_and_our_id_beside_the_body() {
    let (seen, mut requests) = mpsc::channel(1);
    let seen = Arc::new(seen);
    let answer = move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| async move {
        seen.send((method, uri, headers, body)).await.unwrap();
        r#"{"success":true,"resultCode":"00"}"#
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}/gateway", listener.local_addr().unwrap());
    let router = Router::new().fallback(answer);
    tokio::spawn(async move { axum::serve(listener, router).await });
    let mut account = account(&base_url);
    account.settings = toml::toml! { notification = false };
    let provider = adapter::build("navertalk", account).unwrap();

    let sent = call(0);
    assert!(is_delivered(&provider.submit(&sent).await));
    let (method, uri, headers, body) = requests.recv().await.unwrap();
    assert_eq!(method, Method::POST);
    assert_eq!(uri, "/gateway/chatbot/v1/event");
    assert_eq!(headers["authorization"], "simulator-key");
    assert_eq!(headers["content-type"], "application/json");
    assert_eq!(headers["x-request-id"], sent.messages[0].id.to_string());
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let published = serde_json::json!({
        "event": "send",
        "user": "al-2eGuGr5WQOnco1_V-F00",
        "textContent": { "text": "주문이 접수되었습니다 \"A\"\n" }
    });
    assert_eq!(body, published);
}

#[test]
fn a_setting_that_the_protocol_does_not_have_is_named() {
    let mut account = account("https://vendor.example");
    account.settings = toml::toml! { notifications = true };
    let error = adapter::build("navertalk", account).err().unwrap();
    assert!(error.to_string().contains("notifications"), "{error}");
}
