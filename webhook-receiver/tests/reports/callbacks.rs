//! What a vendor that calls back is answered, and what reaches the report queue.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use pabal_common::domain::report::{Report, VendorAccount, VendorMessageId, Verdict};
use pabal_webhook_receiver::{Config, Vendors};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::house::{DEADLINE, House, Mood, NOW, until};
use crate::vendor::{Callback, Scripted, carrier};

const PATH: &str = "/callbacks/carrier/main";

fn carriers() -> Vendors {
    Vendors::new([carrier("main"), carrier("other")])
}

#[tokio::test]
async fn an_authentic_callback_is_in_the_report_queue_before_it_is_answered() {
    let house = House::open().await;
    let process = house.process().await;
    let base = process.serve(&carriers(), Config::default()).await;

    let answer = Callback::delivered(&["00FF", "0A"]).post(&base, PATH).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(house.frames().await, 1);
    let report = |id| Report {
        account: VendorAccount::new("carrier", "main"),
        vendor_id: VendorMessageId::new(id),
        message: None,
        submission: None,
        verdict: Verdict::Delivered,
        vendor_code: Some("2000".to_owned()),
        occurred_at: NOW,
    };
    assert_eq!(house.reports(2).await, [report("ff"), report("a")]);
    assert_eq!(house.outbox().await, 0);
}

#[tokio::test]
async fn a_callback_without_reports_is_taken_and_publishes_nothing() {
    let house = House::open().await;
    let process = house.process().await;
    let base = process.serve(&carriers(), Config::default()).await;
    let answer = Callback::delivered(&[]).post(&base, PATH).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(house.broker.publishes(), 0);
}

#[tokio::test]
async fn what_the_vendor_did_not_sign_lately_is_refused() {
    let house = House::open().await;
    let process = house.process().await;
    let base = process.serve(&carriers(), Config::default()).await;
    let genuine = Callback::delivered(&["1"]);
    let tampered = Callback {
        body: Callback::delivered(&["2"]).body,
        ..genuine.clone()
    };
    let unsigned = Callback {
        signature: String::new(),
        ..genuine.clone()
    };
    let old = Callback::signed(genuine.body, NOW.minus(Duration::from_secs(301)));
    for callback in [tampered, unsigned, old] {
        assert_eq!(callback.post(&base, PATH).await.status(), 401);
    }
    assert_eq!(house.frames().await, 0);
    assert_eq!(house.outbox().await, 0);
}

#[tokio::test]
async fn there_is_no_address_for_unknown_accounts_nor_for_vendors_that_are_polled() {
    let house = House::open().await;
    let process = house.process().await;
    let vendors = Vendors::new([carrier("main"), Scripted::new("main") as _]);
    let base = process.serve(&vendors, Config::default()).await;
    for path in [
        "/callbacks/carrier/nobody",
        "/callbacks/nobody/main",
        "/callbacks/carrier%2Fmain/x",
        "/callbacks/carrier",
        "/callbacks/scripted/main",
    ] {
        let answer = Callback::delivered(&["1"]).post(&base, path).await;
        assert_eq!(answer.status(), 404, "{path}");
    }
    let get = reqwest::get(format!("{base}{PATH}")).await.unwrap();
    assert_eq!(get.status(), 405);
}

#[tokio::test]
async fn an_authentic_callback_that_cannot_be_read_is_refused_without_repeating_it() {
    let house = House::open().await;
    let process = house.process().await;
    let base = process.serve(&carriers(), Config::default()).await;
    let garbage = Callback::signed(r#"[{"id":"1","code":{"to":"01012345678"}}]"#, NOW);
    let answer = garbage.post(&base, PATH).await;
    assert_eq!(answer.status(), 400);
    assert!(!answer.text().await.unwrap().contains("01012345678"));
    assert_eq!(house.frames().await, 0);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let house = House::open().await;
    let process = house.process().await;
    let base = process.serve(&carriers(), Config::default()).await;
    let exact = Callback::signed(" ".repeat((1 << 20) - 2) + "[]", NOW);
    assert_eq!(exact.post(&base, PATH).await.status(), 200);
    let larger = Callback::signed(" ".repeat((1 << 20) - 1) + "[]", NOW);
    assert_eq!(larger.post(&base, PATH).await.status(), 413);
}

/// Announces a body and sends one byte of it.
async fn begin(base: &str) -> TcpStream {
    let address = base.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("POST {PATH} HTTP/1.1\r\nhost: pabal\r\ncontent-length: 100\r\n\r\n[");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

async fn status_line(mut stream: TcpStream) -> String {
    let mut answer = vec![0; 12];
    let read = stream.read_exact(&mut answer);
    tokio::time::timeout(DEADLINE, read).await.unwrap().unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_body_that_does_not_arrive_in_time_is_given_up() {
    let house = House::open().await;
    let process = house.process().await;
    let config = Config {
        body_deadline: Duration::from_millis(20),
        ..Config::default()
    };
    let base = process.serve(&carriers(), config).await;
    assert_eq!(status_line(begin(&base).await).await, "HTTP/1.1 408");
}

#[tokio::test]
async fn slow_callbacks_of_one_account_leave_room_for_the_others() {
    let house = House::open().await;
    let process = house.process().await;
    let config = Config {
        callbacks_at_once: 1,
        body_deadline: DEADLINE,
        ..Config::default()
    };
    let base = process.serve(&carriers(), config).await;
    let slow = [begin(&base).await, begin(&base).await];
    let [first, second] = slow.map(status_line);
    // One of the two has the only place of the account; the other is asked to come again.
    let refused = tokio::select! {
        one = first => one,
        other = second => other,
    };
    assert_eq!(refused, "HTTP/1.1 503");
    let other = Callback::delivered(&["1"]);
    let answer = other.post(&base, "/callbacks/carrier/other").await;
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn callbacks_that_come_together_share_publishes() {
    const CALLBACKS: usize = 40;
    let house = House::open().await;
    let process = house.process().await;
    let config = Config {
        publish_wait: DEADLINE,
        publishes_at_once: 1,
        ..Config::default()
    };
    let vendor = Scripted::calling_back("main");
    let base = process
        .serve(&Vendors::new([Arc::clone(&vendor) as _]), config)
        .await;
    let told = Arc::new(Notify::new());
    house.broker.set(Mood::Held(Arc::clone(&told)));

    let post = |number: usize| {
        let callback = Callback::signed(number.to_string(), NOW);
        let base = base.clone();
        tokio::spawn(async move {
            callback
                .post(&base, "/callbacks/scripted/main")
                .await
                .status()
        })
    };
    let first = post(1);
    until("one publish is under way", async || {
        house.broker.publishes() == 1
    })
    .await;
    let others: Vec<_> = (2..=CALLBACKS).map(post).collect();
    until("the others have arrived", async || {
        vendor.callbacks() == CALLBACKS
    })
    .await;
    house.broker.set(Mood::Well);
    told.notify_one();

    assert_eq!(first.await.unwrap(), 200);
    for status in join_all(others).await {
        assert_eq!(status.unwrap(), 200);
    }
    assert_eq!(house.reports(CALLBACKS).await.len(), CALLBACKS);
    // Those that arrived last may not have been in the group yet.
    assert!(house.broker.publishes() <= 4);
}

#[tokio::test]
async fn a_callback_with_hundreds_of_reports_is_taken_whole() {
    let house = House::open().await;
    let process = house.process().await;
    let base = process.serve(&carriers(), Config::default()).await;
    let ids: Vec<_> = (1..=700).map(|number| format!("{number:x}")).collect();
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    let answer = Callback::delivered(&ids).post(&base, PATH).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(house.reports(700).await.len(), 700);
}
