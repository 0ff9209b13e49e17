//! The routes as they are now and who waits for them: everything behind the book's lock.
//!
//! Pure but for the replies it sends: time is passed in, and every change is followed by
//! [`State::serve`].

use std::collections::{BTreeMap, BTreeSet};

use pabal_common::clock::Timestamp;
use pabal_common::domain::kind::{Lane, MessageType};

use super::budget::Budget;
use super::choice::Choice;
use super::fit::{Fit, Traits};
use super::health::{Health, Observation, RouteHealth, SharedState};
use super::line::{Grant, Group, Lines, Ticket};
use super::permit::NoRoute;
use super::spec::RouteSpec;
use super::turn::Turn;
use crate::provider::Closed;

/// Everything that changes.
#[derive(Debug, Default)]
pub(super) struct State {
    /// By their places, which are never given to another.
    routes: Vec<Live>,
    choices: BTreeMap<MessageType, Choice>,
    /// The types that have a route which does not carry every message.
    selective: BTreeSet<MessageType>,
    /// Raised whenever the routes are others.
    edition: u64,
    /// How many senders share the rates; 0 is one.
    senders: u32,
    pub(super) lines: Lines,
    /// When serving again can help somebody who waits, if nothing else happens before.
    wake: Option<Timestamp>,
    /// When time alone next changes a route or makes a probe due.
    event: Option<Timestamp>,
}

/// A route that is to be used, and its place.
#[derive(Debug)]
pub(super) struct Seat {
    /// One that was given to it before, or the next free one.
    pub(super) at: usize,
    pub(super) spec: RouteSpec,
    /// The batch size of its adapter.
    pub(super) batch: usize,
    /// Whether what is known of it is of another account, or nothing is.
    pub(super) anew: bool,
    /// Whether an operator has paused it.
    pub(super) paused: bool,
}

/// A change of a route that others must hear of.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) route: usize,
    pub(super) health: Health,
    pub(super) usable: bool,
    /// Why the vendor closed the account, where it has.
    pub(super) closed: Option<Closed>,
}

#[derive(Debug)]
struct Live {
    spec: RouteSpec,
    health: RouteHealth,
    budget: Budget,
    batch: usize,
    in_flight: u32,
    turn: Turn,
    /// Paused by an operator.
    paused: bool,
    /// No longer one of the routes; calls may still be on their way.
    retired: bool,
    /// What the others heard of last.
    told: (Health, bool),
}

enum Placed {
    At(Grant),
    Later,
    Nowhere,
}

/// One round of serving those who wait.
struct Round {
    now: Timestamp,
    /// Routes that somebody waits for: they are kept from those who come later.
    kept: Vec<usize>,
}

/// On which of its routes a waiter is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Among {
    All,
    /// Those at which it is bulk's turn.
    BulksTurn,
}

impl State {
    /// From now on these are the routes, in their order. Of one that was there before everything
    /// stays as it is but its settings and its pause; one that is not named carries nothing more.
    pub(super) fn set_routes(&mut self, seats: impl IntoIterator<Item = Seat>, now: Timestamp) {
        for live in &mut self.routes {
            live.retired = true;
        }
        self.edition += 1;
        self.choices.clear();
        self.selective.clear();
        for seat in seats {
            let (at, weight) = (seat.at, seat.spec.weight());
            for kind in seat.spec.kinds() {
                self.choices.entry(*kind).or_default().add(at, weight);
                if seat.spec.carries().is_selective(*kind) {
                    self.selective.insert(*kind);
                }
            }
            match self.routes.get_mut(at) {
                Some(live) => live.set(seat, now),
                None => self.routes.push(Live::new(seat, now)),
            }
        }
        self.set_live_senders(self.senders, now);
    }

    /// The routes that carry a message.
    pub(super) fn fit(&self, message: &Traits<'_>) -> Fit {
        if !self.is_selective(message.kind) {
            return Fit::any();
        }
        let choice = self.choices.get(&message.kind);
        let routes = choice.into_iter().flat_map(Choice::routes);
        let fitting = routes.filter(|at| self.routes[*at].spec.check(message).is_ok());
        Fit {
            edition: self.edition,
            routes: Some(fitting.collect()),
        }
    }

    /// Every route of a type, whatever it carries.
    pub(super) fn fit_all(&self) -> Fit {
        Fit {
            edition: self.edition,
            routes: None,
        }
    }

    /// Whether a route of the type does not carry every message of it.
    pub(super) fn is_selective(&self, kind: MessageType) -> bool {
        self.selective.contains(&kind)
    }

    /// The longest text that any route of a type carries; `None` if there is no route.
    pub(super) fn text_limit(&self, kind: MessageType) -> Option<usize> {
        let choice = self.choices.get(&kind)?;
        let limit = |at: usize| self.routes[at].spec.carries().limit(kind).max;
        choice.routes().map(limit).max()
    }

    /// Gives out what can be given out: express first, then ordinary, then bulk, and each lane by
    /// the order of coming. At a route that has carried its share of ordinary calls bulk comes
    /// before the next of them. A waiter for whom its routes have no room keeps them from those who
    /// come after it, so that small wishes do not starve a large one.
    pub(super) fn serve(&mut self, now: Timestamp) {
        self.wake = None;
        for live in &mut self.routes {
            live.budget.set_rate(live.health.allowed_rate(now), now);
        }
        if self.lines.is_empty() {
            return;
        }
        let mut round = Round {
            now,
            kept: Vec::new(),
        };
        self.serve_lane(Lane::Express, Among::All, &mut round);
        let mut stuck: Vec<Group> = Vec::new();
        loop {
            self.serve_lane(Lane::Bulk, Among::BulksTurn, &mut round);
            if !self.serve_first(Lane::Ordinary, Among::All, &mut stuck, &mut round) {
                break;
            }
        }
        self.serve_lane(Lane::Bulk, Among::All, &mut round);
        if !self.lines.is_empty() {
            for live in &self.routes {
                // A better route may come back before the one that is waited for has room.
                self.wake = earlier(self.wake, live.health.paused_until(now));
            }
        }
    }

    /// When serving again can help somebody who waits, if nothing else happens before.
    pub(super) fn wake(&self) -> Option<Timestamp> {
        self.wake
    }

    /// Gives back the slot of a call.
    pub(super) fn call_ended(&mut self, route: usize) {
        if let Some(live) = self.routes.get_mut(route) {
            live.in_flight = live.in_flight.saturating_sub(1);
        }
    }

    /// Gives back tokens of messages that were not sent.
    pub(super) fn unused(&mut self, route: usize, messages: usize) {
        if let Some(live) = self.routes.get_mut(route) {
            live.budget.give_back(messages);
        }
    }

    /// What a call showed; returns the health it found.
    pub(super) fn observe(&mut self, route: usize, seen: Observation, now: Timestamp) -> Health {
        let Some(live) = self.routes.get_mut(route) else {
            return Health::Fail;
        };
        let found = live.health.health(now);
        if live.health.observe(seen, now) {
            live.budget.empty(now);
        }
        found
    }

    /// What another sender tells of a route.
    pub(super) fn learn(&mut self, route: usize, heard: SharedState, now: Timestamp) {
        if let Some(live) = self.routes.get_mut(route) {
            live.health.learn(heard, now);
        }
    }

    /// How many senders share the rates.
    pub(super) fn set_live_senders(&mut self, senders: u32, now: Timestamp) {
        self.senders = senders;
        for live in &mut self.routes {
            live.budget.set_share(senders, now);
        }
    }

    /// An operator's pause.
    pub(super) fn set_paused(&mut self, route: usize, paused: bool) {
        if let Some(live) = self.routes.get_mut(route) {
            live.paused = paused;
        }
    }

    /// A route's health machine.
    pub(super) fn health(&self, route: usize) -> Option<&RouteHealth> {
        self.routes.get(route).map(|live| &live.health)
    }

    /// Messages a second a route may carry now; 0 while it is closed or paused by anyone.
    pub(super) fn allowed_rate(&self, route: usize, now: Timestamp) -> u32 {
        self.routes
            .get(route)
            .map_or(0, |live| live.allowed_rate(now))
    }

    /// Messages a second the routes that now carry a type may carry together. Where routes differ
    /// in what they carry, those of every priority: each has messages that no other takes.
    pub(super) fn rate_of(&self, kind: MessageType, now: Timestamp) -> u32 {
        let fit = self.fit_all();
        let routes = match self.is_selective(kind) {
            true => self.open(kind, &fit, now),
            false => self.usable(kind, &fit, now),
        };
        let rates = routes.into_iter().map(|at| self.allowed_rate(at, now));
        rates.fold(0, u32::saturating_add)
    }

    /// The usable routes of the lowest priority number among those that fit; empty if there is none.
    pub(super) fn usable(&self, kind: MessageType, fit: &Fit, now: Timestamp) -> Vec<usize> {
        let mut open = self.open(kind, fit, now);
        let priority = |at: usize| self.routes[at].spec.priority();
        if let Some(best) = open.iter().map(|at| priority(*at)).min() {
            open.retain(|at| priority(*at) == best);
        }
        open
    }

    /// The routes that fit and are neither closed nor paused; none if the routes are others by now.
    fn open(&self, kind: MessageType, fit: &Fit, now: Timestamp) -> Vec<usize> {
        if !self.still_holds(kind, fit) {
            return Vec::new();
        }
        let choice = self.choices.get(&kind);
        let routes = choice.into_iter().flat_map(Choice::routes);
        routes
            .filter(|at| fit.includes(*at) && self.allowed_rate(*at, now) > 0)
            .collect()
    }

    fn still_holds(&self, kind: MessageType, fit: &Fit) -> bool {
        fit.edition == self.edition || (fit.routes.is_none() && !self.is_selective(kind))
    }

    /// Whether an operator has paused a route.
    pub(super) fn is_paused(&self, route: usize) -> bool {
        self.routes.get(route).is_some_and(|live| live.paused)
    }

    /// Takes the probes that are due; those of routes an operator paused wait.
    pub(super) fn take_probes(&mut self, now: Timestamp) -> Vec<usize> {
        self.routes
            .iter_mut()
            .enumerate()
            .filter(|(_, live)| live.is_in_use())
            .filter_map(|(at, live)| live.health.take_probe(now).then_some(at))
            .collect()
    }

    /// A probe ended, or was given up (`None`).
    pub(super) fn probe_ended(&mut self, route: usize, good: Option<bool>, now: Timestamp) {
        if let Some(live) = self.routes.get_mut(route) {
            match good {
                Some(good) => live.health.probe_ended(good, now),
                None => live.health.probe_abandoned(),
            }
        }
    }

    /// Finds out when time alone next changes a route or makes a probe due.
    pub(super) fn look_ahead(&mut self, now: Timestamp) {
        self.event = self.routes.iter().fold(None, |next, live| {
            let probe = live.health.probe_due().filter(|_| live.is_in_use());
            earlier(earlier(next, live.health.next_change(now)), probe)
        });
    }

    /// What [`look_ahead`](Self::look_ahead) found.
    pub(super) fn event(&self) -> Option<Timestamp> {
        self.event
    }

    /// The changes since the last time this was asked.
    pub(super) fn changes(&mut self, now: Timestamp) -> Vec<Change> {
        let mut changes = Vec::new();
        for (route, live) in self.routes.iter_mut().enumerate() {
            let (health, usable) = (live.health.health(now), live.allowed_rate(now) > 0);
            if live.told != (health, usable) {
                live.told = (health, usable);
                changes.push(Change {
                    route,
                    health,
                    usable,
                    closed: live.health.closed_by_vendor(),
                });
            }
        }
        changes
    }

    /// Serves a lane until nobody in it can be served.
    fn serve_lane(&mut self, lane: Lane, among: Among, round: &mut Round) {
        let mut stuck = Vec::new();
        while self.serve_first(lane, among, &mut stuck, round) {}
    }

    /// Serves the first of a lane, leaving out the groups in `stuck`, of which this may become one;
    /// `false` if nobody is there.
    fn serve_first(
        &mut self,
        lane: Lane,
        among: Among,
        stuck: &mut Vec<Group>,
        round: &mut Round,
    ) -> bool {
        let Some((ticket, wanted)) = self.lines.first(lane, stuck) else {
            return false;
        };
        match self.place(&ticket, wanted, among, round) {
            Placed::At(grant) => self.lines.tell(&ticket, Ok(grant)),
            Placed::Nowhere => {
                let refusal = NoRoute(ticket.group.kind);
                self.lines.tell(&ticket, Err(refusal));
            }
            Placed::Later => stuck.push(ticket.group),
        }
        true
    }

    fn place(&mut self, ticket: &Ticket, wanted: usize, among: Among, round: &mut Round) -> Placed {
        let Group { kind, fit } = &ticket.group;
        let (lane, now) = (ticket.lane, round.now);
        let mut open = self.usable(*kind, fit, now);
        if open.is_empty() {
            return Placed::Nowhere;
        }
        open.retain(|at| {
            let is_offered = among == Among::All || self.routes[*at].turn.is_for_bulk();
            is_offered && !round.kept.contains(at)
        });
        let ready: Vec<usize> = open
            .iter()
            .copied()
            .filter(|at| self.routes[*at].has_room(lane, wanted, now))
            .collect();
        let choice = self.choices.get_mut(kind);
        let taken = choice.and_then(|choice| Some((choice.next(&ready)?, choice)));
        let Some((at, choice)) = taken else {
            for at in open {
                round.kept.push(at);
                let room = self.routes[at].room_at(lane, wanted, now);
                self.wake = earlier(self.wake, room);
            }
            return Placed::Later;
        };
        let live = &mut self.routes[at];
        let size = live.budget.take(lane, wanted.min(live.batch), now);
        live.in_flight += 1;
        live.turn.count(lane);
        choice.book(at, &ready, size);
        Placed::At(Grant { route: at, size })
    }
}

impl Live {
    fn new(seat: Seat, now: Timestamp) -> Self {
        let (tps, batch) = (seat.spec.tps(), seat.batch.max(1));
        Self {
            health: RouteHealth::new(tps, now),
            budget: Budget::new(tps, batch, now),
            batch,
            spec: seat.spec,
            in_flight: 0,
            turn: Turn::default(),
            paused: seat.paused,
            retired: false,
            told: (Health::Ok, true),
        }
    }

    /// Calls that are on their way keep their slots, whatever is set anew.
    fn set(&mut self, seat: Seat, now: Timestamp) {
        self.retired = false;
        self.paused = seat.paused;
        if seat.anew {
            let (in_flight, told) = (self.in_flight, self.told);
            *self = Self {
                in_flight,
                told,
                ..Self::new(seat, now)
            };
        } else {
            self.health.set_configured(seat.spec.tps());
            self.spec = seat.spec;
        }
    }

    fn is_in_use(&self) -> bool {
        !self.paused && !self.retired
    }

    fn allowed_rate(&self, now: Timestamp) -> u32 {
        match self.is_in_use() {
            true => self.health.allowed_rate(now),
            false => 0,
        }
    }

    fn has_room(&mut self, lane: Lane, wanted: usize, now: Timestamp) -> bool {
        self.in_flight < self.spec.concurrency()
            && self.budget.would_grant(lane, wanted.min(self.batch), now)
    }

    /// When tokens will be there; `None` if a call must end first.
    fn room_at(&mut self, lane: Lane, wanted: usize, now: Timestamp) -> Option<Timestamp> {
        if self.in_flight >= self.spec.concurrency() {
            return None;
        }
        let wait = self.budget.wait(lane, wanted.min(self.batch), now)?;
        Some(now.plus(wait))
    }
}

fn earlier(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
