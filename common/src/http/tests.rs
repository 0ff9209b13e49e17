//! The server as clients meet it: over real sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Extension, Router};
use serde::Deserialize;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::health::{self, Readiness};
use super::*;
use crate::broker::QueueName;
use crate::domain::code::ErrorReason;
use crate::domain::id::MessageId;

/// Nothing here takes long; who waits longer than this waits in vain.
const SOON: Duration = Duration::from_secs(10);

struct Running {
    address: SocketAddr,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    async fn start(router: Router) -> Self {
        Self::with(router, ServerLimits::default()).await
    }

    async fn with(router: Router, limits: ServerLimits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(serve(listener, finish(router), limits, shutdown.clone()));
        Self {
            address,
            shutdown,
            task,
        }
    }

    async fn connect(&self) -> Client {
        Client(TcpStream::connect(self.address).await.unwrap())
    }

    async fn ask(&self, request: &str) -> Answer {
        let mut client = self.connect().await;
        client.send(request).await;
        client.answer().await
    }
}

struct Client(TcpStream);

impl Client {
    async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// Reads one answer with a Content-Length.
    async fn answer(&mut self) -> Answer {
        timeout(SOON, async {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(self.0.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap();
            let mut answer = Answer {
                status: head[9..12].parse().unwrap(),
                head: head.to_ascii_lowercase(),
                body: Vec::new(),
            };
            let length = answer.header("content-length").unwrap().parse().unwrap();
            answer.body.resize(length, 0);
            self.0.read_exact(&mut answer.body).await.unwrap();
            answer
        })
        .await
        .unwrap()
    }

    /// Waits for the server to close, and gives what it said until then.
    async fn closed(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let _ = timeout(SOON, self.0.read_to_end(&mut rest)).await.unwrap();
        rest
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The shape of every error: status, code, reason, and the same id in body and header.
    fn assert_error(&self, status: u16, code: &str, reason: &str) -> Value {
        let body = self.json();
        assert_eq!(self.status, status, "{body}");
        assert_eq!(body["code"], code);
        assert_eq!(body["reason"], reason);
        assert!(!body["message"].as_str().unwrap().is_empty());
        assert_eq!(body["requestId"], self.header("x-request-id").unwrap());
        assert!(body["details"].is_array());
        body
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Hello {
    name: String,
}

fn api() -> Router {
    let small = BodyLimits {
        max_bytes: 64,
        deadline: Duration::from_millis(300),
    };
    Router::new()
        .route(
            "/hello",
            post(async |JsonBody(hello): JsonBody<Hello>| hello.name),
        )
        .layer(Extension(small))
        .route(
            "/form",
            post(async |FormBody(hello): FormBody<Hello>| hello.name),
        )
        .route(
            "/query",
            get(async |QueryParams(hello): QueryParams<Hello>| hello.name),
        )
        .route(
            "/id",
            get(async |request: RequestContext| request.id.to_string()),
        )
        .route("/panic", get(panics))
        .route(
            "/fail",
            get(async || -> Result<(), ApiError> {
                Err(ApiError::internal("the table messages is locked"))
            }),
        )
        .route(
            "/busy",
            get(async || -> Result<(), ApiError> {
                Err(ApiError::new(ErrorReason::QueueUnavailable)
                    .retry_after(Duration::from_millis(2100)))
            }),
        )
        .route(
            "/who",
            get(async || -> Result<(), ApiError> { Err(ApiError::new(ErrorReason::TokenExpired)) }),
        )
        .route(
            "/oauth",
            get(async || -> Result<(), ApiError> {
                Err(ApiError::new(ErrorReason::RefreshTokenReused)
                    .oauth("invalid_grant", StatusCode::BAD_REQUEST))
            }),
        )
        .route(
            "/again",
            get(async || -> Result<(), ApiError> {
                Err(ApiError::new(ErrorReason::DuplicateSame).message_id(MessageId::from_number(1)))
            }),
        )
}

async fn panics() {
    panic!("a secret of ours");
}

fn post_hello(body: &str) -> String {
    format!(
        "POST /hello HTTP/1.1\r\nhost: x\r\ncontent-type: application/json; charset=utf-8\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn get_path(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")
}

#[tokio::test]
async fn a_good_request_is_answered() {
    let server = Running::start(api()).await;
    let answer = server.ask(&post_hello(r#"{"name":"kim"}"#)).await;
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"kim"[..]));
    let form = "POST /form HTTP/1.1\r\nhost: x\r\n\
        content-type: application/x-www-form-urlencoded\r\ncontent-length: 8\r\n\r\nname=a+b";
    assert_eq!(server.ask(form).await.body, b"a b");
    assert_eq!(server.ask(&get_path("/query?name=%41")).await.body, b"A");
}

#[tokio::test]
async fn a_body_over_the_limit_gets_413_in_our_shape() {
    let server = Running::start(api()).await;
    let body = format!(r#"{{"name":"{}"}}"#, "x".repeat(500_000));
    let answer = server.ask(&post_hello(&body)).await;
    let said = answer.assert_error(413, "E001", "BODY_TOO_LARGE");
    assert_eq!(said["details"][0]["limit"], 64);
    assert_eq!(said["details"][0]["actual"], body.len());
}

#[tokio::test]
async fn a_body_over_the_limit_that_is_only_announced_is_refused_before_it_is_sent() {
    let server = Running::start(api()).await;
    let answer = server
        .ask(
            "POST /hello HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
             expect: 100-continue\r\ncontent-length: 1000000\r\n\r\n",
        )
        .await;
    answer.assert_error(413, "E001", "BODY_TOO_LARGE");
}

#[tokio::test]
async fn a_body_that_is_announced_too_large_is_refused_while_it_is_awaited() {
    // Longer than the test waits: who waited for the body would wait in vain.
    let patient = BodyLimits {
        max_bytes: 64,
        deadline: SOON * 2,
    };
    let hello = post(async |JsonBody(hello): JsonBody<Hello>| hello.name);
    let router = Router::new().route("/hello", hello);
    let server = Running::start(router.layer(Extension(patient))).await;
    let mut client = server.connect().await;
    client
        .send(
            "POST /hello HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
             content-length: 1000000\r\n\r\n{\"na",
        )
        .await;
    let answer = client.answer().await;
    let said = answer.assert_error(413, "E001", "BODY_TOO_LARGE");
    assert_eq!(said["details"][0]["actual"], 1_000_000);
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(client.closed().await.is_empty());
}

#[tokio::test]
async fn a_chunked_body_is_refused_as_soon_as_it_is_too_large() {
    let server = Running::start(api()).await;
    let mut client = server.connect().await;
    let head = "POST /hello HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                transfer-encoding: chunked\r\n\r\n";
    // More follows, as far as the server can know.
    client
        .send(&format!("{head}41\r\n{}\r\n", " ".repeat(0x41)))
        .await;
    let answer = client.answer().await;
    answer.assert_error(413, "E001", "BODY_TOO_LARGE");
    assert!(client.closed().await.is_empty());
}

#[tokio::test]
async fn another_charset_than_utf_8_is_refused() {
    let server = Running::start(api()).await;
    let with = |charset: &str| post_hello(r#"{"name":"kim"}"#).replace("charset=utf-8", charset);
    for good in ["charset=UTF-8", "charset=\"utf-8\"", "charset=utf8", "v=1"] {
        assert_eq!(server.ask(&with(good)).await.status, 200, "{good}");
    }
    for bad in ["charset=euc-kr", "v=1; Charset = \"cp949\"", "charset="] {
        let answer = server.ask(&with(bad)).await;
        let said = answer.assert_error(415, "E001", "UNSUPPORTED_MEDIA_TYPE");
        let detail = &said["details"][0];
        assert_eq!(detail["field"], "Content-Type", "{bad}");
        assert_eq!(detail["rule"], "charset");
        assert_eq!(detail["expected"], "application/json; charset=utf-8");
    }
}

#[tokio::test]
async fn a_client_that_sends_a_byte_at_a_time_gets_408() {
    let server = Running::start(api()).await;
    let client = server.connect().await;
    let (read, mut write) = client.0.into_split();
    let dribble = tokio::spawn(async move {
        let head = "POST /hello HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                    content-length: 60\r\n\r\n";
        write.write_all(head.as_bytes()).await.unwrap();
        // One byte whenever a while has passed, until the server has had enough.
        let mut pace = tokio::time::interval(Duration::from_millis(20));
        while write.write_all(b" ").await.is_ok() {
            pace.tick().await;
        }
        write
    });
    let mut text = Vec::new();
    let mut read = read;
    let _ = timeout(SOON, read.read_to_end(&mut text)).await.unwrap();
    dribble.abort();
    let text = String::from_utf8(text).unwrap();
    assert!(text.starts_with("HTTP/1.1 408 "), "{text}");
    assert!(
        text.contains("BODY_TOO_SLOW") && text.contains("requestId"),
        "{text}"
    );
}

#[tokio::test]
async fn a_client_that_is_slow_with_its_head_is_cut() {
    let limits = ServerLimits {
        header_read: Duration::from_millis(100),
        ..ServerLimits::default()
    };
    let server = Running::with(api(), limits).await;
    let mut client = server.connect().await;
    client.send("GET /id HTTP/1.1\r\nhos").await;
    assert!(client.closed().await.is_empty());
}

#[tokio::test]
async fn wrong_bodies_are_refused_by_name() {
    let server = Running::start(api()).await;
    for (body, reason, field) in [
        ("{", "INVALID_JSON", "body"),
        ("", "INVALID_JSON", "body"),
        (r#"{"name":"a","nmae":"b"}"#, "UNKNOWN_FIELD", "nmae"),
        ("{}", "MISSING_FIELD", "name"),
        (r#"{"name":7}"#, "INVALID_VALUE", "name"),
    ] {
        let said = server
            .ask(&post_hello(body))
            .await
            .assert_error(400, "E001", reason);
        assert_eq!(said["details"][0]["field"], field, "{said}");
    }
    let plain = post_hello("{}").replace("application/json", "text/plain");
    let said = server
        .ask(&plain)
        .await
        .assert_error(415, "E001", "UNSUPPORTED_MEDIA_TYPE");
    assert_eq!(said["details"][0]["expected"], "application/json");
    let packed = post_hello("{}").replace(
        "application/json",
        "application/json\r\nContent-Encoding: gzip",
    );
    let said = server
        .ask(&packed)
        .await
        .assert_error(415, "E001", "UNSUPPORTED_MEDIA_TYPE");
    assert_eq!(said["details"][0]["field"], "Content-Encoding");
    let said =
        server
            .ask(&get_path("/query?nam=x"))
            .await
            .assert_error(400, "E001", "UNKNOWN_FIELD");
    assert_eq!(said["details"][0]["field"], "nam");
}

#[tokio::test]
async fn what_axum_itself_refuses_has_the_same_shape() {
    let server = Running::start(api()).await;
    let answer = server.ask(&get_path("/nowhere")).await;
    answer.assert_error(404, "E001", "ROUTE_NOT_FOUND");
    let answer = server.ask(&get_path("/hello")).await;
    answer.assert_error(405, "E001", "METHOD_NOT_ALLOWED");
    assert_eq!(answer.header("allow"), Some("post"));
}

#[tokio::test]
async fn what_is_no_request_gets_a_bare_status_and_the_connection_is_closed() {
    let server = Running::start(api()).await;
    // It is too long before its end is seen.
    let long_head = format!("GET /id HTTP/1.1\r\nx: {}", "x".repeat(70_000));
    let long_path = get_path(&format!("/{}", "x".repeat(65_535)));
    for (head, status) in [
        ("GET /id HTTP/1.1\r\nno colon\r\n\r\n", 400),
        ("nonsense\r\n\r\n", 400),
        (long_path.as_str(), 414),
        (long_head.as_str(), 431),
    ] {
        let mut client = server.connect().await;
        client.send(head).await;
        let said = String::from_utf8(client.closed().await).unwrap();
        assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{said}");
        assert!(said.ends_with("\r\n\r\n"), "{said}");
    }
}

#[tokio::test]
async fn a_panic_is_e100_with_a_request_id_and_shows_nothing() {
    let server = Running::start(api()).await;
    for path in ["/panic", "/fail"] {
        let answer = server.ask(&get_path(path)).await;
        answer.assert_error(500, "E100", "INTERNAL");
        for inside in ["secret", "locked", "messages is"] {
            assert!(!String::from_utf8_lossy(&answer.body).contains(inside));
        }
    }
}

#[tokio::test]
async fn the_language_follows_the_caller() {
    let server = Running::start(api()).await;
    let korean = "GET /nowhere HTTP/1.1\r\nhost: x\r\naccept-language: ko-KR,en;q=0.8\r\n\r\n";
    let answer = server.ask(korean).await;
    let said = answer.assert_error(404, "E001", "ROUTE_NOT_FOUND");
    assert!(
        said["message"]
            .as_str()
            .unwrap()
            .starts_with("존재하지 않는")
    );
    assert_eq!(answer.header("content-language"), Some("ko"));
}

#[tokio::test]
async fn a_callers_request_id_is_kept_and_a_bad_one_is_replaced() {
    let server = Running::start(api()).await;
    let with = |id: &str| format!("GET /id HTTP/1.1\r\nhost: x\r\nx-request-id: {id}\r\n\r\n");
    let answer = server.ask(&with("mine-1")).await;
    assert_eq!(answer.header("x-request-id"), Some("mine-1"));
    assert_eq!(answer.body, b"mine-1");
    for bad in [&"x".repeat(65), "two words"] {
        let answer = server.ask(&with(bad)).await;
        assert_eq!(answer.header("x-request-id").unwrap().len(), 32);
    }
}

#[tokio::test]
async fn headers_say_when_to_come_back_and_how_to_log_in() {
    let server = Running::start(api()).await;
    let answer = server.ask(&get_path("/busy")).await;
    answer.assert_error(503, "E101", "QUEUE_UNAVAILABLE");
    assert_eq!(answer.header("retry-after"), Some("3"));
    let answer = server.ask(&get_path("/who")).await;
    let said = answer.assert_error(401, "E002", "TOKEN_EXPIRED");
    assert!(said["error"].is_null() && said["error_description"].is_null());
    let scheme = answer.header("www-authenticate").unwrap();
    assert!(scheme.starts_with("bearer ") && scheme.contains("invalid_token"));
    let answer = server.ask(&get_path("/oauth")).await;
    let said = answer.assert_error(400, "E002", "REFRESH_TOKEN_REUSED");
    assert_eq!(said["error"], "invalid_grant");
    assert_eq!(said["error_description"], said["message"]);
    assert_eq!(answer.header("www-authenticate"), None);
}

#[tokio::test]
async fn a_duplicate_names_the_message_that_was_accepted() {
    let server = Running::start(api()).await;
    let said = server
        .ask(&get_path("/again"))
        .await
        .assert_error(409, "E004", "SAME");
    assert_eq!(said["messageId"], MessageId::from_number(1).to_string());
}

#[tokio::test]
async fn a_router_that_is_finished_twice_answers_as_one_finished_once() {
    let server = Running::start(finish(api())).await;
    let answer = server.ask(&get_path("/nowhere")).await;
    answer.assert_error(404, "E001", "ROUTE_NOT_FOUND");
    assert_eq!(answer.head.matches("x-request-id").count(), 1);
}

/// A handler that says when it has begun and ends when it is told to.
fn held() -> (Router, Arc<Notify>, Arc<Notify>) {
    let (begun, end) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (say, wait) = (Arc::clone(&begun), Arc::clone(&end));
    let router = Router::new().route(
        "/held",
        get(async move || {
            say.notify_one();
            wait.notified().await;
            "done"
        }),
    );
    (router, begun, end)
}

#[tokio::test]
async fn shutdown_lets_a_request_in_flight_finish_and_takes_no_new_one() {
    let (router, begun, end) = held();
    let server = Running::start(router).await;
    let mut idle = server.connect().await;
    let mut client = server.connect().await;
    client.send(&get_path("/held")).await;
    begun.notified().await;

    server.shutdown.cancel();
    assert!(idle.closed().await.is_empty());
    assert!(!server.task.is_finished());
    end.notify_one();
    assert_eq!(client.answer().await.body, b"done");
    timeout(SOON, server.task).await.unwrap().unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn a_request_that_outlasts_the_drain_is_cut() {
    let (router, begun, _end) = held();
    let limits = ServerLimits {
        drain: Duration::from_millis(50),
        ..ServerLimits::default()
    };
    let server = Running::with(router, limits).await;
    let mut client = server.connect().await;
    client.send(&get_path("/held")).await;
    begun.notified().await;
    server.shutdown.cancel();
    timeout(SOON, server.task).await.unwrap().unwrap();
    assert!(client.closed().await.is_empty());
}

#[tokio::test]
async fn dropping_the_server_drops_its_connections() {
    let (router, begun, _end) = held();
    let server = Running::start(router).await;
    let mut client = server.connect().await;
    client.send(&get_path("/held")).await;
    begun.notified().await;
    server.task.abort();
    assert!(client.closed().await.is_empty());
}

#[tokio::test]
async fn one_connection_more_than_allowed_waits_for_another_to_end() {
    let (router, begun, end) = held();
    let limits = ServerLimits {
        max_connections: 1,
        ..ServerLimits::default()
    };
    let server = Running::with(router.merge(api()), limits).await;
    let mut first = server.connect().await;
    first.send(&get_path("/held")).await;
    begun.notified().await;
    let mut second = server.connect().await;
    second.send(&get_path("/id")).await;

    let mut byte = [0];
    let early = timeout(Duration::from_millis(100), second.0.peek(&mut byte)).await;
    assert!(early.is_err(), "the second was served beside the first");
    end.notify_one();
    assert_eq!(first.answer().await.body, b"done");
    drop(first);
    assert_eq!(second.answer().await.status, 200);
}

#[tokio::test]
async fn health_readiness_and_metrics_are_answered() {
    let shutdown = CancellationToken::new();
    let readiness = Readiness::new(shutdown.clone());
    let (ledger, refusing) = (readiness.part("ledger"), readiness.clone());
    let router = health::healthz()
        .merge(health::readyz(readiness))
        .merge(health::metrics(crate::telemetry::prometheus()));
    let server = Running::start(router).await;

    assert_eq!(server.ask(&get_path("/healthz")).await.status, 200);
    let answer = server.ask(&get_path("/readyz")).await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.json()["notReady"]["ledger"], "starting");
    ledger.ready();
    let answer = server.ask(&get_path("/readyz")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["refusingQueues"], serde_json::json!([]));
    refusing.note_refusing(vec![QueueName::Report]);
    let answer = server.ask(&get_path("/readyz")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.json()["refusingQueues"],
        serde_json::json!(["report.queue"])
    );
    shutdown.cancel();
    assert_eq!(server.ask(&get_path("/readyz")).await.status, 503);

    let text = server.ask(&get_path("/metrics")).await;
    let text = String::from_utf8(text.body).unwrap();
    assert!(text.contains(r#"pabal_http_request_seconds_count{route="/healthz",status="2xx"}"#));
}
