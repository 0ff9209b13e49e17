//! Clients that send one byte after another.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::house::House;
use crate::wait::PATIENCE;

/// The pace of a bad line, beside which the limits below are short.
const BETWEEN_BYTES: Duration = Duration::from_millis(50);
const LIMITS: [(&str, &str); 2] = [
    ("receiver.body_deadline", "400ms"),
    ("http.header_timeout", "400ms"),
];

/// Writes `at_once`, then `slowly` byte by byte, until the other side has had enough; what it said.
async fn dribble(house: &House, at_once: &str, slowly: &str) -> String {
    let mut stream = TcpStream::connect(house.running().address).await.unwrap();
    stream.write_all(at_once.as_bytes()).await.unwrap();
    let (mut from, mut to) = stream.split();
    let write = async {
        for byte in slowly.as_bytes() {
            if to.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(BETWEEN_BYTES).await;
        }
        // What comes of it is the reader's business.
        std::future::pending::<()>().await;
    };
    let mut said = Vec::new();
    let read = async {
        // However it ends, it ends.
        let _ = from.read_to_end(&mut said).await;
    };
    tokio::select! {
        () = write => {}
        () = read => {}
        () = tokio::time::sleep(PATIENCE) => panic!("the connection is still held"),
    }
    String::from_utf8(said).unwrap()
}

fn head(token: &str) -> String {
    format!(
        "POST /v1/messages HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: 5000\r\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_sends_its_request_byte_by_byte_is_given_up() {
    let house = House::open(&LIMITS).await;
    let partner = house.partner("shop").await;
    let said = dribble(&house, "", &head(&partner.token)).await;
    assert!(!said.contains(" 202 "), "{said}");
    house.nothing_was_kept(&partner).await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_sends_its_body_byte_by_byte_is_told_that_it_is_too_slow() {
    let house = House::open(&LIMITS).await;
    let partner = house.partner("shop").await;
    let head = head(&partner.token) + "\r\n{\"clientMsgId\":\"order-1\",";
    let said = dribble(&house, &head, &" ".repeat(5000)).await;
    assert!(said.starts_with("HTTP/1.1 408 "), "{said}");
    let body: Value = serde_json::from_str(said.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!(
        (&body["code"], &body["reason"]),
        (&json!("E001"), &json!("BODY_TOO_SLOW"))
    );
    assert!(body["details"].is_array() && body["requestId"].is_string());
    house.nothing_was_kept(&partner).await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_clients_hold_up_nobody() {
    // So long that they are all still there when the others are done.
    let house = House::open(&[("http.header_timeout", "60s")]).await;
    let partner = house.partner("shop").await;
    let mut slow = Vec::new();
    for _ in 0..200 {
        let mut stream = TcpStream::connect(house.running().address).await.unwrap();
        stream.write_all(b"POST /v1/mess").await.unwrap();
        slow.push(stream);
    }
    house.nothing_was_kept(&partner).await;
    drop(slow);
    house.close().await;
}
