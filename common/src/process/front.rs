//! The HTTP listener, which answers before everything behind it is there.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use tokio::net::TcpListener;
use tower::ServiceExt as _;

use super::StartError;
use crate::domain::code::ErrorReason;
use crate::http;
use crate::http::ApiError;
use crate::http::health::{self, Readiness};
use crate::telemetry;

/// When a client that came too early may come again.
const SOON: Duration = Duration::from_secs(1);

/// What is behind the listener. Clones share it.
#[derive(Clone)]
pub(super) struct Front {
    readiness: Readiness,
    early: Router,
    whole: Arc<OnceLock<Router>>,
}

impl Front {
    /// `/healthz`, `/readyz` and `/metrics`; everything else has to come again.
    pub(super) fn new(readiness: Readiness) -> Self {
        let early = health_of(&readiness).fallback(|| async {
            ApiError::new(ErrorReason::LedgerUnavailable)
                .retry_after(SOON)
                .caused_by("the process is starting")
        });
        Self {
            early: http::finish(early),
            whole: Arc::default(),
            readiness,
        }
    }

    /// From now on these routes are there too.
    pub(super) fn open(&self, router: Router) {
        let whole = http::finish(health_of(&self.readiness).merge(router));
        let _ = self.whole.set(whole);
    }

    /// What the server serves.
    pub(super) fn router(&self) -> Router {
        let front = self.clone();
        Router::new().fallback(async move |request: Request| front.answer(request).await)
    }

    async fn answer(&self, request: Request) -> Response {
        let router = self.whole.get().unwrap_or(&self.early).clone();
        match router.oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

fn health_of(readiness: &Readiness) -> Router {
    health::healthz()
        .merge(health::readyz(readiness.clone()))
        .merge(health::metrics(telemetry::prometheus()))
}

/// Listens at `wanted`; gives the address with its real port.
pub(super) async fn listen(wanted: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Listen {
        address: wanted,
        source,
    };
    let listener = TcpListener::bind(wanted).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}
