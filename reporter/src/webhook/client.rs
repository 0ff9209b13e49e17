//! The one HTTP client that calls partners' endpoints.

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client, redirect, retry};

use crate::address::{AddressPolicy, GuardedResolver};

/// Includes looking up the name and the TLS handshake.
const CONNECT: Duration = Duration::from_secs(5);
const LOOKUP: Duration = Duration::from_secs(5);
/// Shorter than most servers keep an idle connection, so that few requests meet one just closed.
const IDLE: Duration = Duration::from_secs(30);
const IDLE_PER_HOST: usize = 8;

/// The client could not be built.
#[derive(Debug, thiserror::Error)]
#[error("the webhook client cannot be set up: {0}")]
pub struct ClientError(#[source] reqwest::Error);

/// A client whose every request ends within `deadline`, that follows no redirect, uses no proxy of
/// the environment, repeats nothing by itself, and dials no address that `policy` forbids.
pub(super) fn build(policy: AddressPolicy, deadline: Duration) -> Result<Client, ClientError> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Client::builder()
        .user_agent(concat!("Pabal/", env!("CARGO_PKG_VERSION")))
        .default_headers(headers)
        .dns_resolver(GuardedResolver::new(policy, LOOKUP))
        .connect_timeout(CONNECT.min(deadline))
        .timeout(deadline)
        .redirect(redirect::Policy::none())
        .referer(false)
        .retry(retry::never())
        .no_proxy()
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(IDLE_PER_HOST)
        .build()
        .map_err(ClientError)
}
