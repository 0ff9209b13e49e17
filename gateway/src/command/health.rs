//! `pabal health`: asks a service whether it is ready, for what watches containers that hold no other
//! program.

use std::time::Duration;

use clap::Args;

use super::Failure;

/// How long the answer may take.
const ANSWER: Duration = Duration::from_secs(5);

#[derive(Args)]
pub(crate) struct Arguments {
    /// What to ask, e.g. http://127.0.0.1:8080/readyz; exit code 0 if it answers 200
    url: reqwest::Url,
}

/// Asks once.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let url = arguments.url;
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(ANSWER)
        .build()?;
    let answer = client.get(url.clone()).send().await;
    let answer = answer.map_err(|error| Failure::failed(format!("{url}: {error}")))?;
    match answer.status() {
        reqwest::StatusCode::OK => Ok(()),
        status => {
            let why = answer.text().await.unwrap_or_default();
            Err(Failure::failed(format!("{url}: {status} {why}")))
        }
    }
}
