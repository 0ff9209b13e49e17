//! Sends a vendor's reports to the caller, signed, up to 100 at a time, until they are accepted.

use std::sync::Arc;
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use pabal_common::clock::{Clock as _, SystemClock};
use secrecy::ExposeSecret as _;
use sha2::Sha256;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::reports::Item;
use crate::vendor::Vendor;

/// The most reports in one callback.
const BATCH: usize = 100;
/// The most callbacks of one vendor under way.
const CONCURRENCY: usize = 8;
const TIMEOUT: Duration = Duration::from_secs(10);

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
pub(crate) async fn send(vendor: Arc<Vendor>, client: reqwest::Client, stop: CancellationToken) {
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
        let items = vendor.reports.take_due(BATCH);
        if items.is_empty() {
            continue;
        }
        let (vendor, client, stop) = (Arc::clone(&vendor), client.clone(), stop.clone());
        tokio::spawn(async move {
            let _ends_with_it = permit;
            tokio::select! {
                () = stop.cancelled() => {}
                () = deliver(&vendor, &client, &items) => {}
            }
        });
    }
}

async fn deliver(vendor: &Vendor, client: &reqwest::Client, items: &[Item]) {
    let now = SystemClock.now();
    let Some(body) = vendor.callback_body(items, now) else {
        return;
    };
    vendor.announce(items);
    let begun = Instant::now();
    let mut pause = vendor.pace.callback_retry;
    while begun.elapsed() < vendor.pace.callback_retry_for {
        match attempt(vendor, client, body.clone()).await {
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

async fn attempt(vendor: &Vendor, client: &reqwest::Client, body: Vec<u8>) -> Result<(), String> {
    let base = vendor.callback_base().borrow().clone();
    let base = base.ok_or("no address for callbacks")?;
    let timestamp = SystemClock.now().unix_seconds().to_string();
    let secret = vendor.account.callback_secret.expose_secret();
    let response = client
        .post(format!(
            "{}/callbacks/{}",
            base.trim_end_matches('/'),
            vendor.account.account
        ))
        .header("content-type", "application/json")
        .header("x-vendor-signature", sign(secret, &timestamp, &body))
        .header("x-vendor-timestamp", timestamp)
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

/// Hexadecimal HMAC-SHA256 of `timestamp.body`.
pub(crate) fn sign(secret: &str, timestamp: &str, body: &[u8]) -> String {
    // HMAC takes a key of any length, so that there is always a signature.
    Hmac::<Sha256>::new_from_slice(secret.as_bytes())
        .map(|mut mac| {
            mac.update(timestamp.as_bytes());
            mac.update(b".");
            mac.update(body);
            hex::encode(mac.finalize().into_bytes())
        })
        .unwrap_or_default()
}
