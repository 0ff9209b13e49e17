//! A process on a folder of its own, asked over HTTP.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::*;

/// Nothing here takes long; who waits longer than this waits in vain.
const SOON: Duration = Duration::from_secs(20);

fn values(folder: &tempfile::TempDir, more: &[(&str, &str)]) -> Values {
    let data = folder.path().join("data");
    let own = [
        ("data.folder", data.to_str().unwrap()),
        ("http.address", "127.0.0.1:0"),
    ];
    let flags: Vec<_> = own
        .iter()
        .chain(more)
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    settings::load_service(&[], None, std::iter::empty(), &flags).unwrap()
}

async fn open(values: &Values, stop: &CancellationToken) -> Process {
    let opened = Process::open(values, "receiver", stop);
    timeout(SOON, opened).await.unwrap().unwrap().unwrap()
}

/// Status and body of what is at `path`.
async fn ask(address: SocketAddr, path: &str) -> (u16, String) {
    let asked = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), body.to_owned())
    };
    timeout(SOON, asked).await.unwrap()
}

async fn not_ready(address: SocketAddr) -> Value {
    let (status, body) = ask(address, "/readyz").await;
    assert_eq!(status, 503, "{body}");
    serde_json::from_str::<Value>(&body).unwrap()["notReady"].take()
}

fn work() -> Router {
    Router::new().route("/work", get(async || "done"))
}

#[tokio::test]
async fn a_process_is_not_ready_before_it_serves() {
    let folder = tempfile::tempdir().unwrap();
    let stop = CancellationToken::new();
    let process = open(&values(&folder, &[]), &stop).await;
    let address = process.address;
    // The watch has seen that everything behind it is there.
    let waiting = async {
        while not_ready(address).await.as_object().unwrap().len() > 1 {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, waiting).await.unwrap();
    assert_eq!(not_ready(address).await["services"], "starting");
    assert_eq!(ask(address, "/work").await.0, 503);
    let kept = tokio::spawn(process.keep(work()));
    let serving = async {
        while ask(address, "/readyz").await.0 != 200 {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, serving).await.unwrap();
    assert_eq!(ask(address, "/work").await, (200, "done".to_owned()));
    stop.cancel();
    timeout(SOON, kept).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_process_that_is_asked_to_stop_is_first_not_ready_and_still_serves() {
    let folder = tempfile::tempdir().unwrap();
    let stop = CancellationToken::new();
    // Longer than the test: nothing is closed as long as it asks.
    let process = open(&values(&folder, &[("http.unready_wait", "2m")]), &stop).await;
    let address = process.address;
    let kept = tokio::spawn(process.keep(work()));
    assert_eq!(ask(address, "/healthz").await.0, 200);
    stop.cancel();
    for _ in 0..100 {
        let why = not_ready(address).await;
        assert_eq!(why["process"], "shutting down");
        assert_eq!(ask(address, "/work").await, (200, "done".to_owned()));
    }
    kept.abort();
}

#[tokio::test]
async fn a_process_that_stopped_has_closed_its_port_and_left_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let stop = CancellationToken::new();
        let process = open(&values(&folder, &[]), &stop).await;
        let address = process.address;
        stop.cancel();
        let kept = timeout(SOON, process.keep(work())).await;
        kept.unwrap().unwrap();
        assert!(TcpStream::connect(address).await.is_err());
    }
}

#[tokio::test]
async fn a_service_that_ends_by_itself_ends_the_process_and_the_others_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = open(&values(&folder, &[]), &CancellationToken::new()).await;
    let (told, heard) = oneshot::channel();
    process.run(Floor::Work, "steady", |token| async move {
        token.cancelled().await;
        let _ = told.send(());
    });
    process.run(Floor::Intake, "broken", |_| async { panic!("on purpose") });
    let ended = timeout(SOON, process.keep(Router::new())).await.unwrap();
    assert!(
        matches!(ended, Err(Stopped::Service("broken"))),
        "{ended:?}"
    );
    assert!(heard.await.is_ok());
}

#[tokio::test]
async fn a_process_whose_ledger_is_away_answers_says_so_and_can_be_stopped() {
    let folder = tempfile::tempdir().unwrap();
    // A port that was free a moment ago: nothing listens there.
    let free = |listener: std::net::TcpListener| listener.local_addr().unwrap().port();
    let port = free(std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let http = format!(
        "127.0.0.1:{}",
        free(std::net::TcpListener::bind("127.0.0.1:0").unwrap())
    );
    let ledger = format!("mysql://pabal:hunter2@127.0.0.1:{port}/pabal");
    let broker = format!("amqp://pabal:hunter2@127.0.0.1:{port}/%2f");
    let values = values(
        &folder,
        &[
            ("ledger.url", &ledger),
            ("broker.url", &broker),
            ("http.address", &http),
        ],
    );
    let stop = CancellationToken::new();
    let address: SocketAddr = http.parse().unwrap();
    let asking = async {
        while TcpStream::connect(address).await.is_err() {
            tokio::task::yield_now().await;
        }
        let why = loop {
            let ledger = not_ready(address).await["ledger"].take();
            if ledger != "starting" {
                break ledger.as_str().unwrap().to_owned();
            }
        };
        let begins = format!("waiting for the ledger at 127.0.0.1:{port}: ");
        assert!(
            why.starts_with(&begins) && !why.contains("hunter2"),
            "{why}"
        );
        assert_eq!(ask(address, "/healthz").await.0, 200);
        let (status, body) = ask(address, "/v1/messages").await;
        assert_eq!(status, 503);
        assert!(body.contains("\"E102\""), "{body}");
        stop.cancel();
    };
    let opening = Process::open(&values, "receiver", &stop);
    let (opened, ()) = timeout(SOON, async { tokio::join!(opening, asking) })
        .await
        .unwrap();
    assert!(opened.unwrap().is_none());
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_departure_that_hangs_is_given_up() {
    assert!(!done_within(Duration::from_millis(1), std::future::pending()).await);
    assert!(done_within(Duration::from_secs(20), std::future::ready(())).await);
}

#[test]
fn what_is_wrong_for_good_is_wrong_use_and_what_may_pass_a_failure() {
    let misconfigured = || LedgerError::Misconfigured("ledger.url".into());
    let away = || LedgerError::Unavailable("away".into());
    let of = |error: StartError| error.failure().code();
    assert_eq!(of(StorageError::from(misconfigured()).into()), 2);
    assert_eq!(of(JoinError::from(misconfigured()).into()), 2);
    assert_eq!(of(StorageError::from(away()).into()), 1);
    assert_eq!(
        of(JoinError::LedgerWentBack { seen: 2, found: 1 }.into()),
        1
    );
}
