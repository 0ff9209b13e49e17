//! A bucket that speaks S3.
//!
//! The object-store crate brings an HTTP client of its own, whose features would switch HTTP/2 on for
//! every client of this program, those of vendors and webhooks included. So it is given this one.

use std::time::Duration;

use async_trait::async_trait;
use axum::http::Response;
use http_body_util::BodyExt as _;
use object_store::aws::AmazonS3Builder;
use object_store::client::{
    ClientOptions, HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService,
};
use object_store::{ObjectStore, RetryConfig};
use reqwest::redirect;
use secrecy::ExposeSecret as _;

use super::{BadPlace, LIMIT, S3Place};

const CONNECT: Duration = Duration::from_secs(3);
/// How often a request that failed in passing is made again, within [`LIMIT`]: putting and removing a
/// file twice is the same as once.
const RETRIES: usize = 2;

pub(super) fn open(place: &S3Place) -> Result<Box<dyn ObjectStore>, BadPlace> {
    let bad = |error: &dyn std::fmt::Display| BadPlace(error.to_string());
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&place.bucket)
        .with_region(&place.region)
        .with_http_connector(Connector)
        // Files go one by one, and not every service knows the other way.
        .with_disable_bulk_delete(true)
        .with_retry(RetryConfig {
            max_retries: RETRIES,
            retry_timeout: LIMIT,
            ..RetryConfig::default()
        });
    if let Some(endpoint) = &place.endpoint {
        let is_plain = endpoint.starts_with("http://");
        builder = builder.with_endpoint(endpoint).with_allow_http(is_plain);
    }
    if let Some(access) = &place.access {
        builder = builder
            .with_access_key_id(&access.id)
            .with_secret_access_key(access.secret.expose_secret());
    }
    let store = builder.build().map_err(|error| bad(&error))?;
    Ok(Box::new(store))
}

#[derive(Debug)]
struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(CONNECT)
            .timeout(LIMIT)
            .build();
        let client = client.map_err(|error| object_store::Error::Generic {
            store: "S3",
            source: Box::new(error),
        })?;
        Ok(HttpClient::new(Client(client)))
    }
}

#[derive(Debug)]
struct Client(reqwest::Client);

#[async_trait]
impl HttpService for Client {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (head, body) = request.into_parts();
        // What is put is in memory already, in one piece.
        let body = body.collect().await?.to_bytes();
        let request = self
            .0
            .request(head.method, head.uri.to_string())
            .headers(head.headers)
            .body(body);
        let answer = request.send().await.map_err(told)?;
        let (head, body) = Response::<reqwest::Body>::from(answer).into_parts();
        let body = HttpResponseBody::new(body.map_err(told));
        Ok(HttpResponse::from_parts(head, body))
    }
}

/// Without the address: it names the bucket and may hold a signature.
fn told(error: reqwest::Error) -> HttpError {
    let kind = match &error {
        error if error.is_connect() => HttpErrorKind::Connect,
        error if error.is_timeout() => HttpErrorKind::Timeout,
        error if error.is_decode() => HttpErrorKind::Decode,
        _ => HttpErrorKind::Interrupted,
    };
    HttpError::new(kind, error.without_url())
}
