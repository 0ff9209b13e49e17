//! All the binds of an account, and which of them takes the next message.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::select_all;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::bind::{Bind, Down, Party};
use super::session::{Room, Session};
use super::status;
use crate::provider::{NotConnected, ReportDesk};

pub(super) struct Binds {
    party: Arc<Party>,
    binds: Vec<Arc<Bind>>,
    turn: AtomicUsize,
}

/// Why no bind takes a message now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoRoom {
    /// None is bound.
    #[error("not bound: {0}")]
    Down(Down),
    /// Every window is full.
    #[error("every window is full")]
    Full,
}

impl Binds {
    pub(super) fn new(party: Party) -> Self {
        let count = party.binding.binds;
        Self {
            party: Arc::new(party),
            binds: (0..count).map(|_| Arc::new(Bind::new())).collect(),
            turn: AtomicUsize::new(0),
        }
    }

    /// Keeps every bind bound until `stop`.
    pub(super) async fn keep(&self, desk: Arc<dyn ReportDesk>, stop: CancellationToken) {
        let mut kept = JoinSet::new();
        for bind in &self.binds {
            let (bind, party) = (Arc::clone(bind), Arc::clone(&self.party));
            let (desk, stop) = (Arc::clone(&desk), stop.clone());
            kept.spawn(async move { bind.keep(&party, desk, stop).await });
        }
        kept.join_all().await;
    }

    /// Room on some bind, each in turn, waiting until `deadline` while every window is full.
    pub(super) async fn room(&self, deadline: Instant) -> Result<Room, NoRoom> {
        loop {
            let sessions = self.sessions().map_err(NoRoom::Down)?;
            if let Some(room) = sessions.iter().find_map(Session::try_enter) {
                return Ok(room);
            }
            let entering = sessions.iter().map(|session| Box::pin(session.enter()));
            match timeout_at(deadline, select_all(entering)).await {
                Ok((Some(room), ..)) => return Ok(room),
                // That one is over; the others may not be.
                Ok((None, ..)) => tokio::task::yield_now().await,
                Err(_) => return Err(NoRoom::Full),
            }
        }
    }

    /// Whether any is bound.
    pub(super) fn are_up(&self) -> Result<(), Down> {
        self.sessions().map(drop)
    }

    /// The sessions there are, another one first each time; if there are none, why.
    fn sessions(&self) -> Result<Vec<Session>, Down> {
        let first = self.turn.fetch_add(1, Ordering::Relaxed) % self.binds.len();
        let (later, sooner) = self.binds.split_at(first);
        let states: Vec<_> = sooner
            .iter()
            .chain(later)
            .map(|one| one.session())
            .collect();
        let sessions: Vec<_> = states.iter().flatten().cloned().collect();
        if !sessions.is_empty() {
            return Ok(sessions);
        }
        let whys = states.into_iter().filter_map(Result::err);
        // What somebody must act on, before what may mend itself.
        let weight = |why: &Down| match why {
            Down::Refused(status) if status::is_about_credentials(*status) => 2,
            Down::Refused(_) => 1,
            Down::NotConnected(_) => 0,
        };
        Err(whys
            .max_by_key(weight)
            .unwrap_or(Down::NotConnected(NotConnected::Refused)))
    }
}
