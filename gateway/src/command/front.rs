//! `pabal front`: one port in front of services that are processes of their own on this machine.
//! For trying a cluster out; in earnest the edge is a proxy that also ends TLS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use clap::Args;
use pabal_common::http::{self, ServerLimits};
use pabal_common::process;
use reqwest::redirect::Policy;
use tokio::net::TcpListener;

use super::Failure;

/// The largest body that is handed on: a little more than a service takes.
const LARGEST: usize = 9 << 20;
const CONNECT: Duration = Duration::from_secs(2);
/// Longer than any service takes for an answer.
const ANSWER: Duration = Duration::from_secs(60);

#[derive(Args)]
pub(crate) struct Arguments {
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// The receivers: what sends messages and logs in
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',', required = true)]
    receivers: Vec<SocketAddr>,
    /// The reporters: what asks for messages, numbers and dead letters
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',', required = true)]
    reporters: Vec<SocketAddr>,
    /// The webhook-receivers: vendors' callbacks
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',', required = true)]
    webhook_receivers: Vec<SocketAddr>,
}

struct Front {
    client: reqwest::Client,
    arguments: Arguments,
    turn: AtomicUsize,
}

/// Runs until it is interrupted.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let address = arguments.listen;
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| Failure::usage(format!("--listen {address}: {error}")))?;
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(Policy::none())
        .connect_timeout(CONNECT)
        .timeout(ANSWER)
        .build()?;
    let front = Arc::new(Front {
        client,
        arguments,
        turn: AtomicUsize::new(0),
    });
    let router = Router::new().fallback(hand_on).with_state(front);
    let stop = process::stop_on_signal("pabal front")?;
    println!("listening on http://{address}");
    http::serve(listener, router, ServerLimits::default(), stop).await;
    Ok(())
}

async fn hand_on(State(front): State<Arc<Front>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, LARGEST).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let services = front.services(&head.method, head.uri.path());
    let first = front.turn.fetch_add(1, Ordering::Relaxed);
    for step in 0..services.len() {
        let service = services[(first + step) % services.len()];
        let asked = front
            .client
            .request(head.method.clone(), format!("http://{service}{path}"))
            .headers(end_to_end(&head.headers))
            .body(body.clone())
            .send()
            .await;
        match asked {
            Ok(answer) => return answered(answer).await,
            // Nothing arrived there, so another may be asked.
            Err(error) if error.is_connect() => {}
            Err(_) => return StatusCode::BAD_GATEWAY.into_response(),
        }
    }
    StatusCode::BAD_GATEWAY.into_response()
}

impl Front {
    /// Which services answer this.
    fn services(&self, method: &Method, path: &str) -> &[SocketAddr] {
        let asks = method == Method::GET && path.starts_with("/v1/messages");
        if path.starts_with("/callbacks/") {
            &self.arguments.webhook_receivers
        } else if asks || path.starts_with("/v1/stats") || path.starts_with("/v1/webhooks") {
            &self.arguments.reporters
        } else {
            &self.arguments.receivers
        }
    }
}

async fn answered(answer: reqwest::Response) -> Response {
    let (status, headers) = (answer.status(), end_to_end(answer.headers()));
    let body: Bytes = match answer.bytes().await {
        Ok(body) => body,
        Err(_) => return StatusCode::BAD_GATEWAY.into_response(),
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// Without what belongs to one connection alone (RFC 9110 section 7.6.1).
fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    const HOP: [HeaderName; 8] = [
        header::CONNECTION,
        header::TRANSFER_ENCODING,
        header::CONTENT_LENGTH,
        header::HOST,
        header::UPGRADE,
        header::TE,
        header::TRAILER,
        header::EXPECT,
    ];
    let mut kept = headers.clone();
    for name in HOP {
        kept.remove(name);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_request_goes_to_the_service_that_answers_it() {
        let at = |port| vec![SocketAddr::from(([127, 0, 0, 1], port))];
        let front = Front {
            client: reqwest::Client::new(),
            arguments: Arguments {
                listen: at(1)[0],
                receivers: at(2),
                reporters: at(3),
                webhook_receivers: at(4),
            },
            turn: AtomicUsize::new(0),
        };
        for (method, path, port) in [
            (Method::POST, "/v1/messages", 2),
            (Method::POST, "/v1/messages/batch", 2),
            (Method::POST, "/v1/auth/token", 2),
            (Method::POST, "/oauth2/token", 2),
            (Method::GET, "/openapi.json", 2),
            (Method::GET, "/v1/messages/0PZ4X9M2K7Q1A", 3),
            (Method::GET, "/v1/messages", 3),
            (Method::GET, "/v1/stats/daily", 3),
            (Method::POST, "/v1/webhooks/dead-letters/replay", 3),
            (Method::POST, "/callbacks/carrier/main", 4),
        ] {
            assert_eq!(front.services(&method, path), at(port), "{method} {path}");
        }
    }
}
