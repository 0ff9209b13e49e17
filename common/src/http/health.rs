//! `/healthz`, `/readyz`, `/metrics`: what an orchestrator, a load balancer and Prometheus ask.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use crate::broker::QueueName;

/// Whether this process can do its work, part by part. Clones share the same parts.
#[derive(Clone, Debug)]
pub struct Readiness {
    parts: Arc<Mutex<BTreeMap<&'static str, State>>>,
    refusing: Arc<Mutex<Vec<QueueName>>>,
    shutdown: CancellationToken,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Ready,
    NotReady(String),
    /// It failed, and is believed to work again from then on.
    NotReadyUntil(String, Instant),
}

impl State {
    /// Why the part is not ready.
    fn why_not(&self) -> Option<&str> {
        match self {
            Self::Ready => None,
            Self::NotReady(why) => Some(why),
            Self::NotReadyUntil(why, end) => (Instant::now() < *end).then_some(why),
        }
    }
}

impl Readiness {
    /// No parts yet. From the moment `shutdown` begins the process is not ready, so that load
    /// balancers turn away before the listener closes.
    pub fn new(shutdown: CancellationToken) -> Self {
        Self {
            parts: Arc::default(),
            refusing: Arc::default(),
            shutdown,
        }
    }

    /// Notes which queues take no frames. One of them does not make the process unready: what goes
    /// to the others is served.
    pub fn note_refusing(&self, queues: Vec<QueueName>) {
        *lock(&self.refusing) = queues;
    }

    /// Declares a part, which is not ready until it says so. Asking for a known name gives the
    /// same part.
    pub fn part(&self, name: &'static str) -> Part {
        self.parts()
            .entry(name)
            .or_insert_with(|| State::NotReady("starting".to_owned()));
        Part {
            name,
            readiness: self.clone(),
        }
    }

    /// What is ready and what is not.
    pub fn report(&self) -> ReadinessReport {
        let mut not_ready: BTreeMap<&'static str, String> = self
            .parts()
            .iter()
            .filter_map(|(name, state)| Some((*name, state.why_not()?.to_owned())))
            .collect();
        if self.shutdown.is_cancelled() {
            not_ready.insert("process", "shutting down".to_owned());
        }
        ReadinessReport {
            ready: not_ready.is_empty(),
            not_ready,
            refusing_queues: lock(&self.refusing).iter().map(|one| one.name()).collect(),
        }
    }

    fn parts(&self) -> MutexGuard<'_, BTreeMap<&'static str, State>> {
        lock(&self.parts)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One part's say in the readiness of its process.
#[derive(Clone, Debug)]
pub struct Part {
    name: &'static str,
    readiness: Readiness,
}

impl Part {
    /// The part works.
    pub fn ready(&self) {
        self.set(State::Ready);
    }

    /// The part does not work; `why` is shown to whoever asks, so it holds no secrets.
    pub fn not_ready(&self, why: impl Into<String>) {
        self.set(State::NotReady(why.into()));
    }

    /// As [`not_ready`](Self::not_ready), for `how_long` if nothing else is heard. For a part whose
    /// only way to show that it works again is to be asked again: while the process is not ready,
    /// nobody asks.
    pub fn not_ready_for(&self, how_long: Duration, why: impl Into<String>) {
        self.set(State::NotReadyUntil(why.into(), Instant::now() + how_long));
    }

    fn set(&self, state: State) {
        let before = self.readiness.parts().insert(self.name, state.clone());
        let before = before.as_ref().map(State::why_not);
        if before == Some(state.why_not()) {
            return;
        }
        match state.why_not() {
            None => tracing::info!(part = self.name, "ready"),
            Some(why) => tracing::warn!(part = self.name, why, "not ready"),
        }
    }
}

/// The answer of `/readyz`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReadinessReport {
    /// Whether every part works and no shutdown has begun.
    pub ready: bool,
    /// The parts that do not work, each with its reason.
    pub not_ready: BTreeMap<&'static str, String>,
    /// The queues that take no frames: new messages for them are refused (E101), all others go on.
    /// They do not make the process unready.
    #[schema(example = json!(["send.rcs.queue"]))]
    pub refusing_queues: Vec<&'static str>,
}

/// `GET /healthz`: 200 while the process lives.
pub fn healthz() -> Router {
    Router::new().route("/healthz", get(async || "ok\n"))
}

/// `GET /readyz`: 200, or 503 with the parts that are not ready; either way with the queues that take
/// nothing.
pub fn readyz(readiness: Readiness) -> Router {
    Router::new().route(
        "/readyz",
        get(async move || {
            let report = readiness.report();
            let status = if report.ready {
                StatusCode::OK
            } else {
                StatusCode::SERVICE_UNAVAILABLE
            };
            (status, Json(report))
        }),
    )
}

/// `GET /metrics`: everything measured, in Prometheus' text format 0.0.4.
pub fn metrics(handle: PrometheusHandle) -> Router {
    Router::new().route(
        "/metrics",
        get(async move || {
            let format = [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
            (format, handle.render()).into_response()
        }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_ready_when_all_its_parts_are_and_no_longer_at_shutdown() {
        let shutdown = CancellationToken::new();
        let readiness = Readiness::new(shutdown.clone());
        let (ledger, queue) = (readiness.part("ledger"), readiness.part("queue"));
        ledger.ready();
        assert_eq!(
            readiness.report().not_ready,
            BTreeMap::from([("queue", "starting".to_owned())])
        );
        queue.ready();
        assert!(readiness.report().ready);
        queue.not_ready("connection lost");
        assert_eq!(readiness.report().not_ready["queue"], "connection lost");
        readiness.part("queue").ready();
        assert!(readiness.report().ready);
        shutdown.cancel();
        assert!(!readiness.report().ready);
    }

    #[test]
    fn a_queue_that_takes_no_frames_is_named_and_leaves_the_process_ready() {
        let readiness = Readiness::new(CancellationToken::new());
        readiness.note_refusing(vec![QueueName::Report]);
        let report = readiness.report();
        assert_eq!(
            (report.ready, report.refusing_queues),
            (true, vec!["report.queue"])
        );
        readiness.note_refusing(Vec::new());
        assert!(readiness.report().refusing_queues.is_empty());
    }

    #[test]
    fn a_part_that_failed_is_asked_again_after_a_while_or_when_it_works_again() {
        let readiness = Readiness::new(CancellationToken::new());
        let part = readiness.part("writes");
        part.not_ready_for(Duration::from_secs(3600), "the disk is full");
        assert_eq!(readiness.report().not_ready["writes"], "the disk is full");
        part.ready();
        assert!(readiness.report().ready);
        part.not_ready_for(Duration::ZERO, "the disk is full");
        assert!(readiness.report().ready);
    }
}
