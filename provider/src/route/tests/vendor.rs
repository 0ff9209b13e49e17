//! A vendor that carries nothing, for the book to choose.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use pabal_common::clock::{ManualClock, Timestamp};
use pabal_common::domain::kind::{Lane, MessageType};
use pabal_common::domain::report::{Report, VendorAccount};
use tokio::time::Instant;

use crate::route::{
    Carries, Fit, NoRoute, Observation, Permit, RouteBook, RouteSettings, RouteSpec,
};
use crate::{
    AskError, Asked, Call, CallbackError, Capabilities, Found, Outcome, PollError, Polled,
    ProbeError, Provider, ReportPath,
};

pub(super) const SMS: MessageType = MessageType::Sms;

pub(super) struct Vendor {
    account: VendorAccount,
    capabilities: Capabilities,
    pub(super) alive: AtomicBool,
    slow: Duration,
    pub(super) probes: AtomicUsize,
    pub(super) probing: AtomicUsize,
    pub(super) most_probing: AtomicUsize,
}

impl Vendor {
    pub(super) fn with_batch(batch: usize) -> Self {
        Self {
            account: VendorAccount::new("fake", "one"),
            capabilities: Capabilities {
                batch,
                duplicate_window: None,
                can_be_asked: false,
                answers_finally: true,
                reports: ReportPath::None,
                definitive: &[],
            },
            alive: AtomicBool::new(true),
            slow: Duration::ZERO,
            probes: AtomicUsize::new(0),
            probing: AtomicUsize::new(0),
            most_probing: AtomicUsize::new(0),
        }
    }

    /// Of another account than the others here.
    pub(super) fn of_account(name: &str) -> Self {
        Self {
            account: VendorAccount::new("fake", name),
            ..Self::with_batch(100)
        }
    }

    /// Each probe takes this long.
    pub(super) fn with_slow_probes(self, slow: Duration) -> Self {
        Self { slow, ..self }
    }
}

#[async_trait]
impl Provider for Vendor {
    fn account(&self) -> &VendorAccount {
        &self.account
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn submit(&self, _: &Call) -> Outcome {
        Outcome::Answered(Vec::new())
    }

    async fn ask(&self, _: &[Asked]) -> Result<Vec<Found>, AskError> {
        Ok(Vec::new())
    }

    async fn probe(&self) -> Result<(), ProbeError> {
        self.probes.fetch_add(1, Ordering::SeqCst);
        let now = self.probing.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_probing.fetch_max(now, Ordering::SeqCst);
        tokio::time::sleep(self.slow).await;
        self.probing.fetch_sub(1, Ordering::SeqCst);
        if self.alive.load(Ordering::SeqCst) {
            Ok(())
        } else {
            Err(ProbeError("down".to_owned()))
        }
    }

    fn read_callback(
        &self,
        _: &(dyn Fn(&str) -> Option<String> + Sync),
        _: &[u8],
        _: Timestamp,
    ) -> Result<Vec<Report>, CallbackError> {
        Err(CallbackError::NotExpected)
    }

    async fn poll(&self, _: Option<&str>) -> Result<Polled, PollError> {
        Ok(Polled::default())
    }
}

/// A route for SMS with room for everything.
pub(super) fn wide(name: &str) -> RouteSettings {
    RouteSettings {
        name: name.to_owned(),
        kinds: vec![SMS],
        weight: 1,
        priority: 0,
        tps: 100_000,
        concurrency: 10_000,
        carries: Carries::default(),
    }
}

/// A book whose wall clock stands still: only tokio's (paused) time counts inside.
pub(super) fn book_of(routes: Vec<(RouteSettings, Arc<Vendor>)>) -> RouteBook {
    let routes = routes
        .into_iter()
        .map(|(settings, vendor)| {
            let provider: Arc<dyn Provider> = vendor;
            (RouteSpec::new(settings).unwrap(), provider)
        })
        .collect();
    let clock = ManualClock::new(Timestamp::from_millis(1_790_000_000_000));
    RouteBook::new(routes, Arc::new(clock)).unwrap()
}

/// A book of vendors that take a hundred messages a call.
pub(super) fn book(routes: Vec<RouteSettings>) -> RouteBook {
    book_of(
        routes
            .into_iter()
            .map(|settings| (settings, Arc::new(Vendor::with_batch(100))))
            .collect(),
    )
}

/// How long something took of tokio's time.
pub(super) async fn timed<T>(doing: impl Future<Output = T>) -> (T, Duration) {
    let started = Instant::now();
    let value = doing.await;
    (value, started.elapsed())
}

/// A permit for a call in the ordinary lane.
pub(super) async fn ordinary(book: &RouteBook, wanted: usize) -> Result<Permit, NoRoute> {
    book.permit(SMS, Fit::any(), Lane::Ordinary, wanted).await
}

/// Closes the route at a place, as failed connects do.
pub(super) fn close(book: &RouteBook, at: usize) {
    for _ in 0..3 {
        book.observe(&book.routes()[at], Observation::NotConnected);
    }
}
