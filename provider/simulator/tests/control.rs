//! The control port, the record and the doors, as another process sees them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use pabal_common::domain::id::MessageId;
use pabal_simulator::{Family, NextAnswer, NotStarted, Observer, Pace, Simulator, SimulatorConfig};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

const MESSAGE: &str = "0000000000042";

async fn start(config: SimulatorConfig) -> (Simulator, String) {
    let simulator = Simulator::start(config, CancellationToken::new())
        .await
        .unwrap();
    let control = format!("http://{}/control", simulator.control_address().unwrap());
    (simulator, control)
}

fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .pool_max_idle_per_host(0)
        .build()
        .unwrap()
}

async fn send(simulator: &Simulator, to: &str) -> reqwest::Result<reqwest::Response> {
    client()
        .post(format!(
            "{}/v2/messages",
            simulator.base_url(Family::Carrier).unwrap()
        ))
        .header("x-api-key", "simulator-key")
        .json(&json!({"messages": [{"ref": MESSAGE, "to": to, "type": "SMS", "text": "\"\n"}]}))
        .send()
        .await
}

async fn get(url: String) -> Value {
    client()
        .get(url)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap()
}

async fn post(url: String, body: &Value) {
    let response = client().post(url).json(body).send().await.unwrap();
    assert!(response.status().is_success(), "{}", response.status());
}

#[tokio::test]
async fn the_witness_can_be_asked_over_http() {
    let (simulator, control) = start(SimulatorConfig::default()).await;
    send(&simulator, "01011112222").await.unwrap();
    send(&simulator, "01011112222").await.unwrap();
    let page = get(format!("{control}/taken?after=1&limit=5")).await;
    assert_eq!(page["total"], 2);
    assert_eq!(page["taken"].as_array().unwrap().len(), 1);
    assert_eq!(page["taken"][0]["message"], MESSAGE);
    assert_eq!(page["taken"][0]["family"], "carrier");
    assert_eq!(page["taken"][0]["call"], 2);
    let twice = get(format!("{control}/duplicates")).await;
    assert_eq!(
        twice,
        json!({"duplicates": [{"message": MESSAGE, "times": 2}]})
    );
}

#[tokio::test]
async fn a_door_is_moved_over_http() {
    let (simulator, control) = start(SimulatorConfig::default()).await;
    post(format!("{control}/doors/carrier/shut"), &json!(null)).await;
    assert_eq!(
        get(format!("{control}/vendors")).await["carrier"]["door"],
        "shut"
    );
    assert!(send(&simulator, "0101").await.unwrap_err().is_connect());
    post(format!("{control}/doors/carrier/open"), &json!(null)).await;
    assert_eq!(send(&simulator, "0101").await.unwrap().status(), 200);
}

#[tokio::test]
async fn answers_are_forced_over_http_one_call_each() {
    let (simulator, control) = start(SimulatorConfig::default()).await;
    let script = json!([
        {"answer": "row", "digits": 64},
        {"answer": "throttle", "retry_after": 7},
        {"answer": "raw", "status": 418, "body": "no", "taken": false},
        {"answer": "refuse"},
        {"answer": "cut", "taken": true},
        {"answer": "slow", "millis": 1},
        {"answer": "normal"},
    ]);
    post(format!("{control}/script/carrier"), &script).await;
    assert_eq!(send(&simulator, "0101").await.unwrap().status(), 500);
    let throttled = send(&simulator, "0101").await.unwrap();
    assert_eq!(throttled.status(), 429);
    assert_eq!(throttled.headers()["retry-after"], "7");
    assert_eq!(send(&simulator, "0101").await.unwrap().status(), 418);
    assert_eq!(send(&simulator, "0101").await.unwrap().status(), 401);
    assert!(send(&simulator, "0101").await.is_err());
    for _ in 0..3 {
        assert_eq!(send(&simulator, "0101").await.unwrap().status(), 200);
    }
    assert_eq!(simulator.taken_count(), 5);
}

#[tokio::test]
async fn callbacks_can_be_pointed_elsewhere_and_owed_ones_come_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let config = || SimulatorConfig {
        record: Some(folder.path().join("record")),
        pace: Pace {
            report: Duration::ZERO,
            ..Pace::default()
        },
        ..SimulatorConfig::default()
    };
    let (simulator, _) = start(config()).await;
    let answer: Value = send(&simulator, "0101")
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    simulator.stop().await;

    let (arrived, mut callbacks) = tokio::sync::mpsc::channel(1);
    let receive = move |axum::Json(body): axum::Json<Value>| async move {
        arrived.send(body).await.unwrap();
    };
    let router = axum::Router::new().route("/callbacks/carrier/main", axum::routing::post(receive));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });

    let (_simulator, control) = start(config()).await;
    post(format!("{control}/callbacks"), &json!({"base": base})).await;
    let reports = callbacks.recv().await.unwrap();
    assert_eq!(reports[0]["id"], answer["results"][0]["id"]);
    assert_eq!(reports[0]["code"], "2000");
}

#[derive(Debug, Default)]
struct Heard(Mutex<Vec<String>>);

impl Heard {
    fn note(&self, what: &str, messages: &mut dyn Iterator<Item = MessageId>) {
        let mut heard = self.0.lock().unwrap();
        heard.extend(messages.map(|message| format!("{what} {message}")));
    }

    fn so_far(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl Observer for Heard {
    fn took(&self, messages: &mut dyn Iterator<Item = MessageId>) {
        self.note("took", messages);
    }

    fn reports(&self, messages: &mut dyn Iterator<Item = MessageId>) {
        self.note("reports", messages);
    }
}

#[tokio::test]
async fn an_observer_hears_of_a_message_by_the_answer_and_of_its_report_by_the_callback() {
    let heard = Arc::new(Heard::default());
    let (arrived, mut callbacks) = tokio::sync::mpsc::channel(1);
    let at_the_callback = Arc::clone(&heard);
    let receive = move || async move { arrived.send(at_the_callback.so_far()).await.unwrap() };
    let router = axum::Router::new().route("/callbacks/carrier/main", axum::routing::post(receive));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });

    let (simulator, _) = start(SimulatorConfig {
        observer: Some(heard.clone()),
        ..SimulatorConfig::default()
    })
    .await;
    assert_eq!(send(&simulator, "0101").await.unwrap().status(), 200);
    let took = format!("took {MESSAGE}");
    assert_eq!(heard.so_far(), std::slice::from_ref(&took));
    simulator.set_callback_base(&base);
    let by_then = callbacks.recv().await.unwrap();
    assert_eq!(by_then, [took, format!("reports {MESSAGE}")]);
}

#[tokio::test]
async fn a_vendor_with_too_many_reports_waiting_takes_nothing() {
    let (simulator, _) = start(SimulatorConfig {
        max_waiting_reports: 1,
        ..SimulatorConfig::default()
    })
    .await;
    // Nowhere to call back, so that the report waits.
    assert_eq!(send(&simulator, "0101").await.unwrap().status(), 200);
    assert_eq!(send(&simulator, "0101").await.unwrap().status(), 429);
    assert_eq!(simulator.taken_count(), 1);
}

#[tokio::test]
async fn a_stopped_simulator_frees_its_ports() {
    let (simulator, _) = start(SimulatorConfig::default()).await;
    let addresses = simulator.addresses();
    simulator.stop().await;
    for (_, address) in addresses {
        assert!(tokio::net::TcpStream::connect(address).await.is_err());
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = SimulatorConfig::default();
    config.account_mut(Family::Kakao).listen = taken.local_addr().unwrap();
    let error = Simulator::start(config, CancellationToken::new())
        .await
        .err();
    assert!(error.unwrap().to_string().contains("kakao"));
}

#[tokio::test]
async fn a_family_that_is_not_asked_for_is_not_started() {
    let (simulator, control) = start(SimulatorConfig::of(&[Family::Carrier])).await;
    let started: Vec<_> = simulator.addresses().into_keys().collect();
    assert_eq!(started, [Family::Carrier]);
    assert_eq!(send(&simulator, "0101").await.unwrap().status(), 200);

    let absent = NotStarted(Family::Talk);
    assert_eq!(simulator.base_url(Family::Talk), Err(absent));
    assert_eq!(simulator.door(Family::Talk).err(), Some(absent));
    let script = simulator.script(Family::Talk, [NextAnswer::Refuse]);
    assert_eq!(script, Err(absent));
    let vendors = get(format!("{control}/vendors")).await;
    assert_eq!(vendors.as_object().unwrap().len(), 1);
    let shut = client().post(format!("{control}/doors/talk/shut"));
    assert_eq!(shut.send().await.unwrap().status(), 404);
}
