//! Sends a vendor's reports to the caller, worded and signed as its family does, until they are
//! accepted.

use std::sync::Arc;
use std::time::Duration;

use pabal_common::clock::{Clock as _, SystemClock, Timestamp};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::reports::Item;
use crate::vendor::Vendor;

/// The most callbacks of one vendor under way.
const CONCURRENCY: usize = 8;
const TIMEOUT: Duration = Duration::from_secs(10);

/// Headers by name, in lower case.
pub(crate) type Headers = Vec<(&'static str, String)>;

/// How a family words its callbacks. Each is a `POST` of JSON to `{base}/callbacks/{account}`.
#[derive(Clone, Copy)]
pub(crate) struct Callback {
    /// The most reports in one.
    pub(crate) batch: usize,
    /// The body, the same for every attempt; reports bear the time given.
    pub(crate) body: fn(&Vendor, &[Item], Timestamp) -> serde_json::Result<Vec<u8>>,
    /// What an attempt made at the time given shows of who sends the body.
    pub(crate) headers: fn(&Vendor, &[u8], Timestamp) -> Headers,
}

/// A client for callbacks.
pub(crate) fn client() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(TIMEOUT)
        // Shorter than any server keeps an idle connection.
        .pool_idle_timeout(Duration::from_secs(4))
        .build()
}

/// Sends `vendor`'s reports as they fall due, until `stop`.
pub(crate) async fn send(
    vendor: Arc<Vendor>,
    callback: Callback,
    client: reqwest::Client,
    stop: CancellationToken,
) {
    let permits = Arc::new(Semaphore::new(CONCURRENCY));
    let mut base = vendor.callback_base();
    loop {
        let ready = async {
            let known = base.wait_for(Option::is_some).await.is_ok();
            vendor.reports.due().await;
            let permit = Arc::clone(&permits).acquire_owned().await;
            permit.ok().filter(|_| known)
        };
        let permit = tokio::select! {
            () = stop.cancelled() => return,
            permit = ready => permit,
        };
        let Some(permit) = permit else { return };
        let items = vendor.reports.take_due(callback.batch);
        if items.is_empty() {
            continue;
        }
        let (vendor, client, stop) = (Arc::clone(&vendor), client.clone(), stop.clone());
        tokio::spawn(async move {
            let _ends_with_it = permit;
            tokio::select! {
                () = stop.cancelled() => {}
                () = deliver(&vendor, callback, &client, &items) => {}
            }
        });
    }
}

async fn deliver(vendor: &Vendor, callback: Callback, client: &reqwest::Client, items: &[Item]) {
    let body = match (callback.body)(vendor, items, SystemClock.now()) {
        Ok(body) => body,
        Err(error) => {
            tracing::error!(vendor = %vendor.family, %error, "callback not written");
            return;
        }
    };
    vendor.announce(items);
    let begun = Instant::now();
    let mut pause = vendor.pace.callback_retry;
    while begun.elapsed() < vendor.pace.callback_retry_for {
        match attempt(vendor, callback, client, body.clone()).await {
            Ok(()) => {
                vendor.settle(items);
                return;
            }
            Err(reason) => {
                tracing::debug!(vendor = %vendor.family, reason, "callback not accepted");
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(vendor.pace.callback_retry_max);
    }
    tracing::warn!(vendor = %vendor.family, reports = items.len(), "callback given up");
}

async fn attempt(
    vendor: &Vendor,
    callback: Callback,
    client: &reqwest::Client,
    body: Vec<u8>,
) -> Result<(), String> {
    let base = vendor.callback_base().borrow().clone();
    let base = base.ok_or("no address for callbacks")?;
    let mut request = client
        .post(format!(
            "{}/callbacks/{}",
            base.trim_end_matches('/'),
            vendor.account.account
        ))
        .header("content-type", "application/json");
    for (name, value) in (callback.headers)(vendor, &body, SystemClock.now()) {
        request = request.header(name, value);
    }
    let response = request
        .body(body)
        .send()
        .await
        .map_err(|error| error.without_url().to_string())?;
    if response.status().is_success() {
        Ok(())
    } else {
        Err(format!("HTTP {}", response.status().as_u16()))
    }
}
