//! The book of routes: it chooses the route of each vendor call, and hands out the permit.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use pabal_common::clock::{Clock, Timestamp};
use pabal_common::domain::kind::{Lane, MessageType};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::fit::{Fit, Traits};
use super::health::{Condition, Health, Observation, SharedState};
use super::line::Group;
use super::permit::{NoRoute, Permit, Waiting};
use super::shelf::{Route, Shelf};
use super::spec::RouteSpec;
use super::state::{Change, State};
use crate::Provider;
use crate::provider::Closed;

/// Why a book cannot be made, or a route not be found in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BookError {
    /// Two routes have the same name.
    #[error("two routes are named {0:?}")]
    Duplicate(String),
    /// No route has the name.
    #[error("no route is named {0:?}")]
    Unknown(String),
}

/// How a route is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteState {
    /// The route's name.
    pub route: String,
    /// Its health.
    pub health: Health,
    /// Messages a second it may carry now over all senders; 0 while it is closed or paused.
    pub allowed_rate: u32,
    /// When its health began, by the wall clock.
    pub since: Timestamp,
    /// Why its vendor closed the account, where it has.
    pub closed: Option<Closed>,
    /// Whether an operator has paused it.
    pub paused: bool,
    /// What to tell other senders, with times by the wall clock; `None` if nothing has happened to
    /// the route in this process yet.
    pub shared: Option<SharedState>,
}

/// Every route of this process. Cloning it gives another handle to the same book.
#[derive(Clone)]
pub struct RouteBook {
    book: Arc<Book>,
}

impl RouteBook {
    /// A book of these routes, all in good health.
    ///
    /// # Errors
    /// [`BookError::Duplicate`] if a name is there twice.
    pub fn new(
        routes: Vec<(RouteSpec, Arc<dyn Provider>)>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, BookError> {
        let epoch = clock.now();
        let book = Arc::new(Book {
            shelf: RwLock::default(),
            clock,
            epoch,
            started: Instant::now(),
            state: Mutex::default(),
            changed: watch::Sender::new(0),
            time: tokio::sync::Mutex::new(()),
            wake_moved: Notify::new(),
            event_moved: Notify::new(),
        });
        let book = Self { book };
        book.set_routes(routes, &BTreeSet::new())?;
        Ok(book)
    }

    /// From now on these are the routes, in their order, and an operator has paused those that are
    /// named in `paused`. One that keeps its name and account keeps its health, and the slots of the
    /// calls that are on their way; one that is not named carries nothing more. Whoever waits for
    /// some of a type's routes is told [`NoRoute`], and asks again.
    ///
    /// # Errors
    /// [`BookError::Duplicate`] if a name is there twice; nothing is changed.
    pub fn set_routes(
        &self,
        routes: Vec<(RouteSpec, Arc<dyn Provider>)>,
        paused: &BTreeSet<String>,
    ) -> Result<(), BookError> {
        let mut names = BTreeSet::new();
        for (spec, _) in &routes {
            if !names.insert(spec.name()) {
                return Err(BookError::Duplicate(spec.name().to_owned()));
            }
        }
        self.book.set_routes(routes, paused);
        Ok(())
    }

    /// Waits for the right to send up to `wanted` (at least 1) messages of a type in one call: a
    /// free slot and tokens on one of the usable routes of the lowest priority number. Weights
    /// decide among those that have room; while none has, the first to get room carries the call.
    /// Express waiters go first, then ordinary ones, then bulk; each lane in the order of coming.
    /// Where ordinary and bulk both wait, one call in five is bulk's. Dropping the future takes
    /// nothing.
    ///
    /// # Errors
    /// [`NoRoute`] as soon as none of the routes that `fit` is usable, at once or while waiting.
    pub async fn permit(
        &self,
        kind: MessageType,
        fit: Fit,
        lane: Lane,
        wanted: usize,
    ) -> Result<Permit, NoRoute> {
        let group = Group { kind, fit };
        Waiting::join(Arc::clone(&self.book), group, lane, wanted.max(1))
            .turn()
            .await
    }

    /// Whether the type has a route that does not carry every message of it: then each is to be
    /// looked at before a permit is asked for.
    pub fn is_selective(&self, kind: MessageType) -> bool {
        self.book.read(|state, _| state.is_selective(kind))
    }

    /// The routes that carry a message.
    pub fn fit(&self, message: &Traits<'_>) -> Fit {
        self.book.read(|state, _| state.fit(message))
    }

    /// Every route of its type, for a message that cannot be looked at.
    pub fn fit_all(&self) -> Fit {
        self.book.read(|state, _| state.fit_all())
    }

    /// The longest text that any route of a type carries, in the type's unit; `None` if no route
    /// carries the type.
    pub fn text_limit(&self, kind: MessageType) -> Option<usize> {
        self.book.read(|state, _| state.text_limit(kind))
    }

    /// Takes note of what a call on a route showed. Returns the health the route had before: a
    /// failure that finds the route closed costs a message no attempt.
    pub fn observe(&self, route: &Route, seen: Observation) -> Health {
        self.book
            .change(|state, now| state.observe(route.at(), seen, now))
    }

    /// Whether some route can carry the type now.
    pub fn usable(&self, kind: MessageType) -> bool {
        self.book
            .read(|state, now| !state.usable(kind, &state.fit_all(), now).is_empty())
    }

    /// Whether some route can carry one of the types now.
    pub fn any_usable(&self, kinds: impl IntoIterator<Item = MessageType>) -> bool {
        kinds.into_iter().any(|kind| self.usable(kind))
    }

    /// Messages a second, over all senders, that the routes which now carry the type may carry:
    /// how fast waiting messages may be released. 0 while no route is usable.
    pub fn release_rate(&self, kind: MessageType) -> u32 {
        self.book.read(|state, now| state.rate_of(kind, now))
    }

    /// A route's health now.
    pub fn health(&self, route: &Route) -> Health {
        self.book.read(|state, now| {
            state
                .health(route.at())
                .map_or(Health::Fail, |machine| machine.health(now))
        })
    }

    /// Every route, in the order of the configuration.
    pub fn routes(&self) -> Arc<[Arc<Route>]> {
        self.book.shelf().in_use()
    }

    /// Wakes on every change of a route's health or usability; the number counts them. Changes
    /// that come by time alone (the end of a pause) are told while
    /// [`run_probes`](Self::run_probes) runs.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.book.changed.subscribe()
    }

    /// Probes closed routes on their schedule and reopens those that answer, until `shutdown`.
    /// One such task a process.
    pub async fn run_probes(&self, shutdown: CancellationToken) {
        self.book.run_probes(shutdown).await;
    }

    /// How every route is now.
    pub fn states(&self) -> Vec<RouteState> {
        let wall = self.book.clock.now();
        let routes = self.routes();
        self.book.read(|state, now| {
            let states = routes.iter().filter_map(|route| {
                let machine = state.health(route.at())?;
                Some(RouteState {
                    route: route.name().to_owned(),
                    health: machine.health(now),
                    allowed_rate: state.allowed_rate(route.at(), now),
                    since: moved(machine.since(now), now, wall),
                    closed: machine.closed_by_vendor(),
                    paused: state.is_paused(route.at()),
                    shared: machine.shared().map(|told| translated(told, now, wall)),
                })
            });
            states.collect()
        })
    }

    /// Takes over what other senders tell of routes, each by its name, where it is newer than what
    /// is known here. Routes that are not in this book are left out.
    pub fn learn(&self, heard: impl IntoIterator<Item = (String, SharedState)>) {
        let wall = self.book.clock.now();
        let heard: Vec<(usize, SharedState)> = heard
            .into_iter()
            .filter_map(|(name, told)| Some((self.book.find(&name)?, told)))
            .collect();
        self.book.change(|state, now| {
            for (at, told) in heard {
                state.learn(at, translated(told, wall, now), now);
            }
        });
    }

    /// Says how many senders are alive and share the routes' messages a second.
    pub fn set_live_senders(&self, senders: u32) {
        self.book
            .change(|state, now| state.set_live_senders(senders, now));
    }

    /// Stops using a route, by an operator's word, until it is resumed. Calls on their way end as
    /// they do.
    ///
    /// # Errors
    /// [`BookError::Unknown`] if there is no such route.
    pub fn pause(&self, name: &str) -> Result<(), BookError> {
        self.set_paused(name, true)
    }

    /// Ends an operator's pause.
    ///
    /// # Errors
    /// [`BookError::Unknown`] if there is no such route.
    pub fn resume(&self, name: &str) -> Result<(), BookError> {
        self.set_paused(name, false)
    }

    fn set_paused(&self, name: &str, paused: bool) -> Result<(), BookError> {
        let at = self
            .book
            .find(name)
            .ok_or_else(|| BookError::Unknown(name.to_owned()))?;
        self.book.change(|state, _| state.set_paused(at, paused));
        Ok(())
    }
}

impl fmt::Debug for RouteBook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouteBook")
            .field("routes", &self.routes())
            .finish()
    }
}

/// What the handles, the permits and the probes share.
pub(super) struct Book {
    shelf: RwLock<Arc<Shelf>>,
    clock: Arc<dyn Clock>,
    /// The wall clock when the book was made. Inside, time goes on from here by a clock that
    /// nobody can set: a wall clock put back an hour must not pause a route for an hour.
    epoch: Timestamp,
    started: Instant,
    state: Mutex<State>,
    changed: watch::Sender<u64>,
    /// Held by the one waiter that keeps the time for all.
    time: tokio::sync::Mutex<()>,
    wake_moved: Notify,
    event_moved: Notify,
}

impl Book {
    /// A route by its place.
    pub(super) fn route(&self, at: usize) -> Arc<Route> {
        self.shelf().at(at)
    }

    fn set_routes(&self, routes: Vec<(RouteSpec, Arc<dyn Provider>)>, paused: &BTreeSet<String>) {
        let mut shelf = self.shelf.write().unwrap_or_else(PoisonError::into_inner);
        let (next, seats) = shelf.arranged(routes, paused);
        *shelf = Arc::new(next);
        drop(shelf);
        // Afterwards: whatever place the state gives out is on the shelf.
        self.change(|state, now| state.set_routes(seats, now));
        self.changed.send_modify(|count| *count += 1);
    }

    fn shelf(&self) -> Arc<Shelf> {
        let shelf = self.shelf.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&shelf)
    }

    /// The only way to change the state: serves those who wait afterwards, and tells of what
    /// changed.
    pub(super) fn change<T>(&self, act: impl FnOnce(&mut State, Timestamp) -> T) -> T {
        let mut state = self.lock();
        let now = self.now();
        let (wake, event) = (state.wake(), state.event());
        let value = act(&mut state, now);
        state.serve(now);
        state.look_ahead(now);
        let wake_moved = state.wake() != wake;
        let event_moved = state.event() != event;
        let changes = state.changes(now);
        drop(state);
        if wake_moved {
            self.wake_moved.notify_one();
        }
        if event_moved {
            self.event_moved.notify_one();
        }
        for change in &changes {
            self.tell(change);
        }
        if !changes.is_empty() {
            self.changed.send_modify(|count| *count += 1);
        }
        value
    }

    /// Serves the line whenever time alone makes room, for as long as it is polled.
    pub(super) async fn keep_time(&self) -> Infallible {
        let _duty = self.time.lock().await;
        loop {
            let wake = self.read(|state, _| state.wake());
            self.sleep_until(wake, &self.wake_moved).await;
            if wake.is_some_and(|wake| wake <= self.now()) {
                self.change(|_, _| ());
            }
        }
    }

    /// Returns when time alone changes a route or makes a probe due, or when that time has moved.
    pub(super) async fn next_event(&self) {
        let event = self.read(|state, _| state.event());
        self.sleep_until(event, &self.event_moved).await;
    }

    async fn sleep_until(&self, at: Option<Timestamp>, or: &Notify) {
        match at {
            None => or.notified().await,
            Some(at) => {
                let at = self.started + at.since(self.epoch);
                tokio::select! {
                    () = or.notified() => {}
                    () = tokio::time::sleep_until(at) => {}
                }
            }
        }
    }

    fn read<T>(&self, look: impl FnOnce(&State, Timestamp) -> T) -> T {
        let state = self.lock();
        look(&state, self.now())
    }

    fn tell(&self, change: &Change) {
        let route = self.route(change.route);
        match change.closed {
            Some(why) => tracing::error!(
                route = route.name(),
                %why,
                "the vendor has closed the account: nothing is sent on this route until it opens again"
            ),
            None => tracing::info!(
                route = route.name(),
                health = change.health.name(),
                usable = change.usable,
                "route changed"
            ),
        }
    }

    fn find(&self, name: &str) -> Option<usize> {
        let routes = self.shelf().in_use();
        let found = routes.iter().find(|route| route.name() == name);
        found.map(|route| route.at())
    }

    /// The book's own time.
    fn now(&self) -> Timestamp {
        self.epoch.plus(self.started.elapsed())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics half-way through a change; if it did, counting on is better than
        // stopping all traffic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A moment told on one clock, on another; `here` and `there` are the same moment on both.
fn moved(at: Timestamp, here: Timestamp, there: Timestamp) -> Timestamp {
    let ahead = there.millis().saturating_sub(here.millis());
    Timestamp::from_millis(at.millis().saturating_add(ahead))
}

fn translated(told: SharedState, here: Timestamp, there: Timestamp) -> SharedState {
    SharedState {
        since: moved(told.since, here, there),
        condition: match told.condition {
            Condition::Limited { rate, from } => Condition::Limited {
                rate,
                from: moved(from, here, there),
            },
            other => other,
        },
    }
}
