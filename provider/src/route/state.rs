//! The routes as they are now and who waits for them: everything behind the book's lock.
//!
//! Pure but for the replies it sends: time is passed in, and every change is followed by
//! [`State::serve`].

use std::collections::BTreeMap;

use pabal_common::clock::Timestamp;
use pabal_common::domain::kind::{Lane, MessageType};

use super::budget::Budget;
use super::choice::Choice;
use super::health::{Health, Observation, RouteHealth, SharedState};
use super::line::{Grant, Lines, Ticket};
use super::permit::NoRoute;
use super::spec::RouteSpec;
use super::turn::Turn;

/// Everything that changes.
#[derive(Debug)]
pub(super) struct State {
    routes: Vec<Live>,
    choices: BTreeMap<MessageType, Choice>,
    pub(super) lines: Lines,
    /// When serving again can help somebody who waits, if nothing else happens before.
    wake: Option<Timestamp>,
    /// When time alone next changes a route or makes a probe due.
    event: Option<Timestamp>,
}

/// A change of a route that others must hear of.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) route: usize,
    pub(super) health: Health,
    pub(super) usable: bool,
}

#[derive(Debug)]
struct Live {
    health: RouteHealth,
    budget: Budget,
    batch: usize,
    priority: u32,
    concurrency: u32,
    in_flight: u32,
    turn: Turn,
    /// Paused by an operator.
    paused: bool,
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
    /// The routes at the start, each with the batch size of its adapter.
    pub(super) fn new<'a>(
        routes: impl Iterator<Item = (&'a RouteSpec, usize)>,
        now: Timestamp,
    ) -> Self {
        let mut state = Self {
            routes: Vec::new(),
            choices: BTreeMap::new(),
            lines: Lines::default(),
            wake: None,
            event: None,
        };
        for (at, (spec, batch)) in routes.enumerate() {
            for kind in spec.kinds() {
                state
                    .choices
                    .entry(*kind)
                    .or_default()
                    .add(at, spec.weight());
            }
            state.routes.push(Live {
                health: RouteHealth::new(spec.tps(), now),
                budget: Budget::new(spec.tps(), batch, now),
                batch: batch.max(1),
                priority: spec.priority(),
                concurrency: spec.concurrency(),
                in_flight: 0,
                turn: Turn::default(),
                paused: false,
                told: (Health::Ok, true),
            });
        }
        state
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
        let mut stuck = Vec::new();
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

    /// Messages a second the routes that now carry a type may carry together.
    pub(super) fn rate_of(&self, kind: MessageType, now: Timestamp) -> u32 {
        self.usable(kind, now)
            .into_iter()
            .map(|at| self.allowed_rate(at, now))
            .fold(0, u32::saturating_add)
    }

    /// The usable routes of the lowest priority number for a type; empty if there is none.
    pub(super) fn usable(&self, kind: MessageType, now: Timestamp) -> Vec<usize> {
        let open: Vec<usize> = self
            .choices
            .get(&kind)
            .into_iter()
            .flat_map(Choice::routes)
            .filter(|at| self.routes[*at].allowed_rate(now) > 0)
            .collect();
        let Some(best) = open.iter().map(|at| self.routes[*at].priority).min() else {
            return open;
        };
        open.into_iter()
            .filter(|at| self.routes[*at].priority == best)
            .collect()
    }

    /// Takes the probes that are due; those of routes an operator paused wait.
    pub(super) fn take_probes(&mut self, now: Timestamp) -> Vec<usize> {
        self.routes
            .iter_mut()
            .enumerate()
            .filter(|(_, live)| !live.paused)
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
            let probe = live.health.probe_due().filter(|_| !live.paused);
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

    /// Serves the first of a lane, leaving out the types in `stuck`, of which this may become one;
    /// `false` if nobody is there.
    fn serve_first(
        &mut self,
        lane: Lane,
        among: Among,
        stuck: &mut Vec<MessageType>,
        round: &mut Round,
    ) -> bool {
        let Some((ticket, wanted)) = self.lines.first(lane, stuck) else {
            return false;
        };
        match self.place(ticket, wanted, among, round) {
            Placed::At(grant) => self.lines.tell(ticket, Ok(grant)),
            Placed::Nowhere => self.lines.tell(ticket, Err(NoRoute(ticket.kind))),
            Placed::Later => stuck.push(ticket.kind),
        }
        true
    }

    fn place(&mut self, ticket: Ticket, wanted: usize, among: Among, round: &mut Round) -> Placed {
        let Ticket { kind, lane, .. } = ticket;
        let now = round.now;
        let mut open = self.usable(kind, now);
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
        let choice = self.choices.get_mut(&kind);
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
    fn allowed_rate(&self, now: Timestamp) -> u32 {
        if self.paused {
            0
        } else {
            self.health.allowed_rate(now)
        }
    }

    fn has_room(&mut self, lane: Lane, wanted: usize, now: Timestamp) -> bool {
        self.in_flight < self.concurrency
            && self.budget.would_grant(lane, wanted.min(self.batch), now)
    }

    /// When tokens will be there; `None` if a call must end first.
    fn room_at(&mut self, lane: Lane, wanted: usize, now: Timestamp) -> Option<Timestamp> {
        if self.in_flight >= self.concurrency {
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
