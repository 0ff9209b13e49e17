//! Questions of a partner, one after the other over one connection, and how long each answer took.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Uri};

use super::line::{Line, Target};

/// Asks for these paths until the time is over; each must be answered with 200.
pub(in crate::command::bench) async fn ask(
    target: &Target,
    mut path: impl FnMut() -> String,
    lasts: Duration,
) -> anyhow::Result<Vec<Duration>> {
    let mut line = Line::new(target.clone());
    line.connect().await?;
    let mut answers = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < lasts {
        let path = path();
        let asked = Instant::now();
        let status = status(&mut line, &path).await?;
        answers.push(asked.elapsed());
        ensure!(status == 200, "GET {path}: HTTP {status}");
    }
    Ok(answers)
}

/// The status with which one question is answered.
pub(in crate::command::bench) async fn status(line: &mut Line, path: &str) -> anyhow::Result<u16> {
    let mut request = Request::new(Full::new(Bytes::new()));
    let uri: Uri = path.parse().context("not a path and query")?;
    *request.uri_mut() = uri;
    Ok(line.send(request).await?.status)
}
