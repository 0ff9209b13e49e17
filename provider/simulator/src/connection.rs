//! One HTTP connection, served until it ends or the door shuts.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;
use tower::ServiceExt as _;

use crate::door::{DoorState, at};

/// An idle connection is closed only after this long, so that its client is surely not writing.
const IDLE_BEFORE_CLOSING: Duration = Duration::from_millis(250);

/// Marks a response that must not be written: the connection closes instead.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut;

/// Whether a connection is being used, and when it last was.
struct Activity {
    begun: Instant,
    in_flight: AtomicUsize,
    last_millis: AtomicU64,
}

impl Activity {
    fn new() -> Self {
        Self {
            begun: Instant::now(),
            in_flight: AtomicUsize::new(0),
            last_millis: AtomicU64::new(0),
        }
    }

    fn enter(&self) {
        self.in_flight.fetch_add(1, Ordering::SeqCst);
    }

    fn leave(&self) {
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_millis.store(now, Ordering::SeqCst);
        self.in_flight.fetch_sub(1, Ordering::SeqCst);
    }

    /// Until when the connection counts as in use, were nothing to come.
    fn closable_at(&self) -> Instant {
        if self.in_flight.load(Ordering::SeqCst) > 0 {
            return Instant::now() + IDLE_BEFORE_CLOSING;
        }
        let last = Duration::from_millis(self.last_millis.load(Ordering::SeqCst));
        self.begun + last + IDLE_BEFORE_CLOSING
    }
}

/// Serves `stream` until it ends. Once the door is shut, it closes after an answer, or when idle.
pub(crate) async fn serve(
    router: Router,
    stream: TcpStream,
    mut state: watch::Receiver<DoorState>,
) {
    let activity = Arc::new(Activity::new());
    let service = service_fn({
        let (state, activity) = (state.clone(), Arc::clone(&activity));
        move |request| {
            answer(
                router.clone(),
                state.clone(),
                Arc::clone(&activity),
                request,
            )
        }
    });
    let mut serving = std::pin::pin!(
        hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), service)
    );
    loop {
        let shut = *state.borrow_and_update() == DoorState::Shut;
        let closable_at = shut.then(|| activity.closable_at());
        if closable_at.is_some_and(|moment| moment <= Instant::now()) {
            serving.as_mut().graceful_shutdown();
            let _ = serving.await;
            return;
        }
        tokio::select! {
            _ = &mut serving => return,
            () = at(closable_at) => {}
            changed = state.changed() => if changed.is_err() {
                return;
            },
        }
    }
}

#[derive(Debug)]
struct NoAnswer;

impl std::fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the answer is withheld")
    }
}

impl std::error::Error for NoAnswer {}

async fn answer(
    router: Router,
    mut state: watch::Receiver<DoorState>,
    activity: Arc<Activity>,
    request: Request<Incoming>,
) -> Result<Response<Body>, NoAnswer> {
    if *state.borrow() == DoorState::Hanging {
        let _ = state.wait_for(|state| *state != DoorState::Hanging).await;
        return Err(NoAnswer);
    }
    activity.enter();
    let _left = Leave(activity);
    let answered: Result<_, Infallible> = router.oneshot(request.map(Body::new)).await;
    let Ok(mut response) = answered;
    if response.extensions().get::<Cut>().is_some() {
        return Err(NoAnswer);
    }
    if *state.borrow() == DoorState::Shut {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    Ok(response)
}

struct Leave(Arc<Activity>);

impl Drop for Leave {
    fn drop(&mut self) {
        self.0.leave();
    }
}
