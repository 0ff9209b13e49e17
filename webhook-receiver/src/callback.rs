//! The vendors' callbacks: one address per account.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Extension, Router};
use pabal_common::clock::Clock;
use pabal_common::domain::code::ErrorReason;
use pabal_common::domain::report::VendorAccount;
use pabal_common::http::{ApiError, BodyLimits, BoundedBody, Detail};
use pabal_common::node::Node;
use pabal_common::relay::Forwarder;
use pabal_common::telemetry::metric::{self, CallbackRefusal};
use pabal_provider::{CallbackError, Provider};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::config::Config;
use crate::vendors::Vendors;

/// How long a callback waits for its turn while too many of its account are being read.
const TURN: Duration = Duration::from_secs(2);

/// `POST /callbacks/{provider}/{account}` for every account of `vendors`.
///
/// | answer | when |
/// |---|---|
/// | 200 | the broker has confirmed the reports, or they are in the ledger's outbox |
/// | 400 | authentic, but not readable |
/// | 401 | not authentic, or outside the replay window |
/// | 404 | no such account, or its vendor does not call back |
/// | 408, 413 | the body was too slow or too large |
/// | 503 with Retry-After | nothing could be kept, or too many callbacks at once |
///
/// Whoever serves it wraps it with [`pabal_common::http::finish`]. It forwards reports from now on,
/// so this is called inside the runtime.
pub fn router(node: Node, vendors: &Vendors, config: Config) -> Router {
    let gate = |vendor: &Arc<dyn Provider>| {
        metric::account_known(vendor.account());
        let gate = Gate {
            vendor: Arc::clone(vendor),
            places: Arc::new(Semaphore::new(config.callbacks_at_once)),
            warned: AtomicBool::new(false),
        };
        (vendor.account().clone(), Arc::new(gate))
    };
    let desk = Desk {
        gates: vendors.iter().map(gate).collect(),
        clock: Arc::clone(&node.clock),
        forwarder: Forwarder::start(node, config.forwarder()),
        retry_after: config.retry_after,
    };
    Router::new()
        .route("/callbacks/{provider}/{account}", post(callback))
        .layer(Extension(BodyLimits {
            max_bytes: config.body_bytes,
            deadline: config.body_deadline,
        }))
        .with_state(Arc::new(desk))
}

async fn callback(
    State(desk): State<Arc<Desk>>,
    entered: Entered,
    headers: HeaderMap,
    BoundedBody(body): BoundedBody,
) -> Result<StatusCode, ApiError> {
    let gate = entered.gate;
    let account = gate.vendor.account();
    let header = |name: &str| Some(headers.get(name)?.to_str().ok()?.to_owned());
    let reports = gate
        .vendor
        .read_callback(&header, &body, desk.clock.now())
        .map_err(|error| gate.refuse(error, body.len()))?;
    drop(body);
    gate.warned.store(false, Ordering::Relaxed);
    let forwarded = desk.forwarder.forward(account, reports).await;
    forwarded.map_err(|error| {
        metric::callback_refused(account, CallbackRefusal::NotKept);
        ApiError::new(ErrorReason::QueueUnavailable)
            .retry_after(desk.retry_after)
            .caused_by(error)
    })?;
    Ok(StatusCode::OK)
}

/// What the handler works with.
struct Desk {
    gates: HashMap<VendorAccount, Arc<Gate>>,
    clock: Arc<dyn Clock>,
    forwarder: Forwarder,
    retry_after: Duration,
}

/// The way in for one account.
struct Gate {
    vendor: Arc<dyn Provider>,
    /// Bounds the bodies in memory, so that one vendor, or who pretends to be it, leaves room for
    /// the others.
    places: Arc<Semaphore>,
    /// Whether it was logged that callbacks are not authentic, since the last one that was: a wrong
    /// secret has to be seen, but strangers must not fill the log.
    warned: AtomicBool,
}

impl Gate {
    fn refuse(&self, error: CallbackError, bytes: usize) -> ApiError {
        let account = self.vendor.account();
        match error {
            CallbackError::NotExpected => {
                metric::callback_refused(account, CallbackRefusal::NotExpected);
                ApiError::new(ErrorReason::RouteNotFound)
            }
            CallbackError::NotAuthentic(_) => {
                metric::callback_refused(account, CallbackRefusal::NotAuthentic);
                if !self.warned.swap(true, Ordering::Relaxed) {
                    tracing::warn!(%account, %error, "refused a callback; others like it are only counted");
                }
                ApiError::new(ErrorReason::SignatureInvalid)
            }
            // What the adapter says may quote the body, so it is not logged.
            CallbackError::Unreadable(_) => {
                metric::callback_refused(account, CallbackRefusal::Unreadable);
                tracing::warn!(%account, bytes, "an authentic callback cannot be read");
                ApiError::new(ErrorReason::InvalidValue).detail(Detail::new("body", "format"))
            }
        }
    }
}

/// A known account and a place to read its callback; asked for before the body is.
struct Entered {
    gate: Arc<Gate>,
    _place: OwnedSemaphorePermit,
}

impl FromRequestParts<Arc<Desk>> for Entered {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, desk: &Arc<Desk>) -> Result<Self, ApiError> {
        let unknown = || ApiError::new(ErrorReason::RouteNotFound);
        let Path((provider, account)) = Path::<(String, String)>::from_request_parts(parts, desk)
            .await
            .map_err(|_| unknown())?;
        let account = VendorAccount::new(&provider, &account);
        let gate = Arc::clone(desk.gates.get(&account).ok_or_else(unknown)?);
        let place = timeout(TURN, Arc::clone(&gate.places).acquire_owned()).await;
        match place {
            Ok(Ok(place)) => Ok(Self {
                gate,
                _place: place,
            }),
            Ok(Err(_)) | Err(_) => {
                metric::callback_refused(&account, CallbackRefusal::Busy);
                Err(ApiError::new(ErrorReason::Overloaded).retry_after(desk.retry_after))
            }
        }
    }
}
