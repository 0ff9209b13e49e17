//! The right to make one vendor call.

use std::fmt;
use std::sync::Arc;

use pabal_common::domain::kind::{Lane, MessageType};
use tokio::sync::oneshot;

use super::book::Book;
use super::line::{Group, Reply, Ticket};
use super::shelf::Route;

/// No route that carries the message is usable: each is closed, paused, or there is none. Also where
/// the routes were changed after it was asked which of them carry it: it has to be asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no usable route for {0}")]
pub struct NoRoute(pub MessageType);

/// The right to make one call with up to [`size`](Self::size) messages on a route. It holds one of
/// the route's concurrency slots until it is dropped; its messages have been counted already.
#[must_use = "dropping a permit ends its call"]
pub struct Permit {
    book: Arc<Book>,
    route: Arc<Route>,
    size: usize,
}

impl Permit {
    pub(super) fn new(book: Arc<Book>, route: Arc<Route>, size: usize) -> Self {
        Self { book, route, size }
    }

    /// The route the call goes to.
    pub fn route(&self) -> &Arc<Route> {
        &self.route
    }

    /// The most messages the call may carry; at least 1 until some are returned.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Gives back the right to send `messages` of them, because nothing of them was sent.
    pub fn return_unused(&mut self, messages: usize) {
        let messages = messages.min(self.size);
        self.size -= messages;
        let at = self.route.at();
        self.book.change(|state, _| state.unused(at, messages));
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let at = self.route.at();
        self.book.change(|state, _| state.call_ended(at));
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("route", &self.route.name())
            .field("size", &self.size)
            .finish()
    }
}

/// Somebody in the line. Whoever stops waiting leaves it, and what was granted in the last moment
/// goes back to the route.
pub(super) struct Waiting {
    book: Arc<Book>,
    ticket: Ticket,
    told: oneshot::Receiver<Reply>,
    settled: bool,
}

impl Waiting {
    /// Joins the line, whose head may be served at once.
    pub(super) fn join(book: Arc<Book>, group: Group, lane: Lane, wanted: usize) -> Self {
        let (ticket, told) = book.change(|state, _| state.lines.join(group, lane, wanted));
        Self {
            book,
            ticket,
            told,
            settled: false,
        }
    }

    /// Waits for the turn. One of those who wait keeps the time for all: tokens come back by time
    /// alone, and a single timer is enough for everybody.
    pub(super) async fn turn(mut self) -> Result<Permit, NoRoute> {
        let told = tokio::select! {
            biased;
            told = &mut self.told => told,
            never = self.book.keep_time() => match never {},
        };
        self.settled = true;
        // The line tells everybody it removes, so nobody is left without a reply.
        let grant = told.unwrap_or(Err(NoRoute(self.ticket.group.kind)))?;
        let book = Arc::clone(&self.book);
        let route = book.route(grant.route);
        Ok(Permit::new(book, route, grant.size))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        let (ticket, told) = (&self.ticket, &mut self.told);
        self.book.change(|state, _| {
            if state.lines.leave(ticket) {
                return;
            }
            if let Ok(Ok(grant)) = told.try_recv() {
                state.call_ended(grant.route);
                state.unused(grant.route, grant.size);
            }
        });
    }
}
